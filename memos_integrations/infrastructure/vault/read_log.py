"""Reads leave traces too, but never a write each: usage and audit lines wait and go in batches.

What a crash can cost is at most the last batch of read traces, never a write and never a denial
(those are audited in their own transaction at once).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from memos_integrations.infrastructure.governance.audit import AuditEntry


@dataclass(slots=True)
class Traces:
    """What is waiting: hits per item with their latest instant, and audit lines."""

    usage: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    entries: list[AuditEntry] = field(default_factory=list[AuditEntry])

    def __bool__(self) -> bool:
        return bool(self.usage or self.entries)


class ReadLog:
    """Collects read traces; says when they should be written."""

    def __init__(self, *, max_entries: int = 500, max_seconds: float = 1.0) -> None:
        self._max_entries = max_entries
        self._max_seconds = max_seconds
        self._lock = threading.Lock()
        self._waiting = Traces()
        self._since = time.monotonic()

    def used(self, items: Iterable[int], at: int) -> None:
        """Note that these items were shown."""
        with self._lock:
            for item in items:
                count, _ = self._waiting.usage.get(item, (0, 0))
                self._waiting.usage[item] = (count + 1, at)

    def read(self, entry: AuditEntry) -> None:
        """Note who read what."""
        with self._lock:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.entries.append(entry)

    @property
    def due(self) -> bool:
        """Whether enough has piled up, or the oldest trace has waited long enough."""
        waiting = self._waiting
        old = time.monotonic() - self._since > self._max_seconds
        return bool(waiting) and (old or len(waiting.entries) >= self._max_entries)

    def take(self) -> Traces:
        """Everything that waits, for one transaction to write."""
        with self._lock:
            taken, self._waiting = self._waiting, Traces()
            self._since = time.monotonic()
            return taken

    def put_back(self, traces: Traces) -> None:
        """Undo ``take`` after a failed write."""
        with self._lock:
            self._waiting.entries[:0] = traces.entries
            for item, (count, at) in traces.usage.items():
                more, later = self._waiting.usage.get(item, (0, 0))
                self._waiting.usage[item] = (count + more, max(at, later))
