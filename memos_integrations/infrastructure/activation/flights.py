"""One build for one key, whoever else wants it: other threads and other processes wait for it.

Called by the keeper; knows no tensors. Needs filelock (extra ``activation``). The locks are the
operating system's, so a process that is killed holds none. Their files bear derived hashes, and
each is removed by its holder before it lets go: whoever opened the old one sees that it has no
name any more and opens the new one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

from memos_integrations.cube.errors import MissingExtra
from memos_integrations.infrastructure.activation.identity import Digest, tagged_digest
from memos_integrations.infrastructure.durable_file import make_directory

try:
    from filelock import BaseFileLock, FileLock, Timeout
except ModuleNotFoundError as error:
    raise MissingExtra("activation memory", "activation") from error

K = TypeVar("K")

_log = logging.getLogger(__name__)
_ASK_AGAIN_SECONDS = 0.01
_PRIVATE_FILE = 0o600


class _Door:
    """A lock between processes, and one for whoever is next, so that its holder knows of them."""

    def __init__(self, folder: Path, key: Digest) -> None:
        name = folder / tagged_digest({"flight": key})
        self._folder = folder
        self._inside = _lock_file(f"{name}.lock")
        self._next = _lock_file(f"{name}.next")

    def enter(self, deadline: float) -> bool:
        """Whether it opened before ``deadline``, on the monotonic clock."""
        make_directory(self._folder)
        try:
            self._next.acquire(timeout=max(0.0, deadline - time.monotonic()))
            try:
                self._inside.acquire(timeout=max(0.0, deadline - time.monotonic()))
            finally:
                _let_go(self._next)
        except Timeout:
            return False
        return True

    def is_wanted(self) -> bool:
        """Whether another process stands before it."""
        try:
            self._next.acquire(timeout=0)
        except Timeout:
            return True
        _let_go(self._next)
        return False

    def leave(self) -> None:
        _let_go(self._inside)


def _lock_file(path: str) -> BaseFileLock:
    # A soft lock, which filelock takes where there are no others, would outlive its process.
    return FileLock(
        path, mode=_PRIVATE_FILE, poll_interval=_ASK_AGAIN_SECONDS, fallback_to_soft=False
    )


def _let_go(lock: BaseFileLock) -> None:
    with suppress(OSError):  # where an open file cannot be removed, it stays
        Path(lock.lock_file).unlink()
    lock.release()


@dataclass(slots=True)
class _Queue(Generic[K]):
    """The threads of this process that want one key."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0
    made: K | None = None


@dataclass(slots=True)
class Flight(Generic[K]):
    """A thread's turn at one key."""

    key: Digest
    late: bool
    """It waited as long as it may: it computes for itself and keeps nothing."""
    _queue: _Queue[K]
    _door: _Door | None = None

    @property
    def made(self) -> K | None:
        """What a thread before it has made, also where it found no lasting place."""
        return self._queue.made

    @made.setter
    def made(self, what: K) -> None:
        self._queue.made = what

    def is_wanted_elsewhere(self) -> bool:
        """Whether another process waits for what is made here."""
        return self._door is not None and self._door.is_wanted()


class Flights(Generic[K]):
    """Turns at keys: one at a time for each, among all threads and processes on one folder."""

    def __init__(self, folder: Path, *, wait_seconds: float) -> None:
        self._folder = folder
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._queues: dict[Digest, _Queue[K]] = {}

    @contextmanager
    def turn(self, key: Digest, *, at_hand: Callable[[], bool]) -> Generator[Flight[K]]:
        """This thread's turn. Other processes are waited for only where nothing is ``at_hand``.

        After ``wait_seconds`` in all the turn is given without the others having ended, as a late
        one.
        """
        deadline = time.monotonic() + self._wait_seconds
        queue = self._joined(key)
        try:
            if not queue.lock.acquire(timeout=self._wait_seconds):
                yield Flight(key, True, queue)
                return
            with _released_once(queue.lock) as release:
                if queue.made is not None or at_hand():
                    yield Flight(key, False, queue)
                    return
                door = _Door(self._folder, key)
                match _entered(door, deadline):
                    case "late":
                        release()
                        yield Flight(key, True, queue)
                    case "inside":
                        try:
                            yield Flight(key, False, queue, door)
                        finally:
                            door.leave()
                    case "no door":
                        yield Flight(key, False, queue)
        finally:
            self._left(key, queue)

    def sweep(self) -> int:
        """Remove the lock files that killed processes left; how many there were."""
        gone = 0
        for path in [*self._folder.glob("*.lock"), *self._folder.glob("*.next")]:
            lock = _lock_file(str(path))
            with suppress(Timeout, OSError):
                lock.acquire(timeout=0)
                _let_go(lock)
                gone += 1
        return gone

    def _joined(self, key: Digest) -> _Queue[K]:
        with self._lock:
            queue = self._queues.setdefault(key, _Queue())
            queue.waiting += 1
            return queue

    def _left(self, key: Digest, queue: _Queue[K]) -> None:
        with self._lock:
            queue.waiting -= 1
            if not queue.waiting:
                del self._queues[key]


def _entered(door: _Door, deadline: float) -> Literal["inside", "late", "no door"]:
    """How it went. A folder without locks must not keep anybody from computing."""
    try:
        return "inside" if door.enter(deadline) else "late"
    except OSError as error:
        _log.warning("caches are computed without asking other processes: %s", type(error).__name__)
        return "no door"


@contextmanager
def _released_once(lock: threading.Lock) -> Generator[Callable[[], None]]:
    """Releases a held lock at the end, or before that when told."""
    held = [lock]

    def release() -> None:
        if held:
            held.pop().release()

    try:
        yield release
    finally:
        release()
