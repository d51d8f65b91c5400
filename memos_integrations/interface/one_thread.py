"""Reading, from whichever thread, what must be made in one.

Called by the chat models of the adapters: frameworks read a stream from a thread of a pool at a
time, and a hosted model is held by the thread that took it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from contextvars import copy_context
from typing import Final, TypeVar

T = TypeVar("T")
_END: Final = object()


def in_one_thread(make: Callable[[], Generator[T]]) -> Generator[T]:
    """The items of a generator that is made, run and closed in a thread of its own.

    Closing this one closes that one after the item at hand. Raises what it raises, after what
    came before.
    """
    items: queue.SimpleQueue[object] = queue.SimpleQueue()
    stop, failed = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            source = make()
            try:
                for item in source:
                    items.put(item)
                    if stop.is_set():
                        break
            finally:
                source.close()
        except BaseException as error:  # noqa: BLE001  -- raised again where the items are read
            failed.append(error)
        finally:
            items.put(_END)

    thread = threading.Thread(target=copy_context().run, args=(work,), name="memos-stream")
    thread.start()
    try:
        while (item := items.get()) is not _END:
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]
