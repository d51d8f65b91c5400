"""What is made in one thread is read from any."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from memos_integrations.interface.one_thread import in_one_thread

WHO: ContextVar[str] = ContextVar("who", default="nobody")


def test_items_come_in_order_and_from_one_thread_whoever_reads() -> None:
    held = threading.RLock()

    def make() -> Generator[tuple[int, int]]:
        with held:  # left in the thread that entered it, or this raises
            for n in range(20):
                yield n, threading.get_ident()

    source = in_one_thread(make)
    with ThreadPoolExecutor(2) as one, ThreadPoolExecutor(2) as other:
        read = [(one, other)[n % 2].submit(next, source).result() for n in range(20)]
    assert [n for n, _ in read] == list(range(20))
    assert len({thread for _, thread in read}) == 1
    assert list(source) == []


def test_what_it_raises_comes_after_what_it_gave() -> None:
    def make() -> Generator[int]:
        yield 1
        raise OSError("broken")

    source = in_one_thread(make)
    assert next(source) == 1
    with pytest.raises(OSError, match="broken"):
        next(source)


def test_making_it_may_fail() -> None:
    def make() -> Generator[int]:
        raise LookupError("nothing to read")

    with pytest.raises(LookupError, match="nothing to read"):
        list(in_one_thread(make))


def test_closing_ends_it_and_leaves_no_thread() -> None:
    ended, go_on = threading.Event(), threading.Event()

    def make() -> Generator[int]:
        try:
            yield 1
            go_on.wait(10)
            yield 2
            raise AssertionError("read after it was closed")
        finally:
            ended.set()

    source = in_one_thread(make)
    assert next(source) == 1
    threading.Timer(0.05, go_on.set).start()
    source.close()
    assert ended.is_set()
    assert not [t for t in threading.enumerate() if t.name == "memos-stream"]


def test_context_of_the_reader_goes_along() -> None:
    WHO.set("maya")
    assert list(in_one_thread(lambda: (each for each in [WHO.get()]))) == ["maya"]
