"""The ``schedule`` task: rebalances and prunes in the background, at most every so often.

Queued by ``Upkeep.due`` after a write; the worker hands it to ``ScheduleStage``. Which process
queues it is settled in the file, so that several of them do not do it several times.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable

from memos_integrations.cube.errors import BackendUnavailable, StorageFull, UsageError
from memos_integrations.cube.ports import Task, TaskSpec
from memos_integrations.cube.usage import MICROS
from memos_integrations.infrastructure.queue.sqlite import SqliteQueue
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.scheduler.scheduler import MemScheduler

SCHEDULE = "schedule"
"""The kind of task that rebalances."""

_LAST = "scheduler.queued"
_log = logging.getLogger(__name__)


class ScheduleStage:
    """Handles ``schedule`` tasks. Repeating one does no harm: it plans anew."""

    def __init__(self, vault: MemVault, scheduler: MemScheduler) -> None:
        self._vault = vault
        self._scheduler = scheduler

    def prepare(self, task: Task) -> Callable[[Transaction], str | None]:
        """Rebalance; nothing is left for the transaction but to end."""
        del task
        self._vault.flush_reads()
        done = self._scheduler.rebalance()
        return lambda _: json.dumps({"moved": len(done.moves), "considered": done.considered})


class Upkeep:
    """Queues the next ``schedule`` task once ``every_seconds`` have passed since the last."""

    def __init__(self, vault: MemVault, *, every_seconds: float) -> None:
        self._vault = vault
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._next = 0.0

    def due(self) -> None:
        """Call after a write. Costs a commit when it is time, a comparison else; never raises
        for an engine that is busy or full, since the write before it was acknowledged."""
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + self._every_seconds
        try:
            self._vault.maintain(self._queue)
        except (BackendUnavailable, StorageFull, UsageError) as error:
            _log.info("the scheduler waits for the next write: %s", type(error).__name__)

    def _queue(self, tx: Transaction) -> None:
        row = tx.execute("SELECT value FROM meta WHERE key = ?", (_LAST,)).fetchone()
        if row is not None and tx.now - int(row[0]) < self._every_seconds * MICROS:
            return
        tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_LAST, tx.now))
        tx.enqueue(TaskSpec(SCHEDULE, cube=None))


def prune(
    tx: Transaction, queue: SqliteQueue, *, ended_seconds: float, failed_seconds: float
) -> int:
    """Remove tasks that ended long ago; failed ones stay longer, for somebody to look at."""
    return queue.prune(
        tx,
        before=tx.now - int(ended_seconds * MICROS),
        failed_before=tx.now - int(failed_seconds * MICROS),
    )
