"""One test body for both halves of an interface: the sync methods, and the async ones awaited."""

from __future__ import annotations

import asyncio
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
