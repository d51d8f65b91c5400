"""One test body for both halves of an interface: the sync methods, and the async ones awaited."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

Half: TypeAlias = Literal["sync", "async"]
HALVES: Final[tuple[Half, ...]] = ("sync", "async")


class Through:
    """``inner`` with the names of its sync half, whose calls go through the half that is asked.

    An async method is called ``a`` and the sync name, unless ``names`` says otherwise.
    """

    def __init__(self, inner: Any, half: Half, names: Mapping[str, str] | None = None) -> None:
        self.inner = inner
        self._half = half
        self._names = names or {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self._half == "sync":
            found: Callable[..., Any] = getattr(self.inner, name)
            return found
        method = getattr(self.inner, self._names.get(name, f"a{name}"))

        def awaited(*given: Any, **named: Any) -> Any:
            async def call() -> Any:
                return await method(*given, **named)

            return asyncio.run(call())

        return awaited


def at_once(work: Callable[[int], object], count: int, *, seconds: float = 30.0) -> None:
    """Call ``work`` with 0, 1, ... in as many threads. Raises its first error.

    What hangs fails the test after ``seconds`` instead of keeping the others from running.
    """
    raised: list[BaseException] = []

    def call(n: int) -> None:
        try:
            work(n)
        except BaseException as error:  # noqa: BLE001  -- raised again below
            raised.append(error)

    threads = [threading.Thread(target=call, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))
    assert not any(thread.is_alive() for thread in threads), "calls from several threads hang"
    if raised:
        raise raised[0]
