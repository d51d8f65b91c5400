"""Reads leave traces too, but never a write each: usage and audit lines wait and go in batches.

What a crash can cost is at most the last batch of read traces, never a write and never a denial
(those are audited in their own transaction at once).
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from memos_integrations.cube.errors import BackendUnavailable, StorageFull, UsageError
from memos_integrations.infrastructure.governance.audit import AuditEntry

_log = logging.getLogger(__name__)
_FLUSH_SECONDS = 1.0
_NEVER = (0, 0)


@dataclass(slots=True)
class Traces:
    """What is waiting: hits per item and calls per cube, with their latest instant; audit lines."""

    usage: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    cubes: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    entries: list[AuditEntry] = field(default_factory=list[AuditEntry])

    def __bool__(self) -> bool:
        return bool(self.usage or self.entries)


class ReadLog:
    """Collects read traces and hands them to ``write`` about a second after the first."""

    def __init__(self, write: Callable[[Traces], None]) -> None:
        self._write = weakref.WeakMethod(write)
        self._lock = threading.Lock()
        self._waiting = Traces()
        self._timer: threading.Timer | None = None
        self._stopped = False

    def note(
        self,
        items: Iterable[int],
        at: int,
        *,
        cubes: Iterable[int] = (),
        entries: Iterable[AuditEntry] = (),
    ) -> None:
        """Note that one call showed these items out of these cubes, and who read what by it."""
        with self._lock:
            for counts, numbers in ((self._waiting.usage, items), (self._waiting.cubes, cubes)):
                for number in numbers:
                    count, _ = counts.get(number, _NEVER)
                    counts[number] = (count + 1, at)
            self._waiting.entries += entries
            self._schedule()

    def flush(self) -> None:
        """Write everything that waits, now. After a failure it waits on."""
        with self._lock:
            taken, self._waiting = self._waiting, Traces()
            self._timer = None  # what comes in from here on starts the next one
        write = self._write()
        if not taken or write is None:
            return
        try:
            write(taken)
        except BaseException:
            self._put_back(taken)
            raise

    def stop(self) -> None:
        """Start no more flushes."""
        with self._lock:
            self._stopped = True
            if self._timer is not None:
                self._timer.cancel()

    def _put_back(self, traces: Traces) -> None:
        with self._lock:
            self._waiting.entries[:0] = traces.entries
            _add(self._waiting.usage, traces.usage)
            _add(self._waiting.cubes, traces.cubes)

    def _schedule(self) -> None:
        if self._stopped or (self._timer is not None and self._timer.is_alive()):
            return
        self._timer = threading.Timer(_FLUSH_SECONDS, _flush, (weakref.ref(self),))
        self._timer.daemon = True
        self._timer.name = "memos-read-traces"
        self._timer.start()


def _add(counts: dict[int, tuple[int, int]], more: dict[int, tuple[int, int]]) -> None:
    for number, (count, at) in more.items():
        there, later = counts.get(number, (0, 0))
        counts[number] = (count + there, max(at, later))


def _flush(ref: weakref.ref[ReadLog]) -> None:
    log = ref()
    if log is None:
        return
    try:
        log.flush()
    except (UsageError, BackendUnavailable, StorageFull):
        # Closed meanwhile, locked by another process, or no space: the next flush takes them.
        _log.info("read traces wait for the next flush")
