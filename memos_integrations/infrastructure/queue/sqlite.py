"""The durable task queue inside the vault's own file: work commits or vanishes with its cause.

Called by the vault (which enqueues in the transaction of a write) and by the worker. It keeps no
state of its own: every verb runs on the open transaction that it is given.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, cast, runtime_checkable

from memos_integrations.cube.errors import InvalidInput, StaleLease
from memos_integrations.cube.ids import clean_name, new_item_id
from memos_integrations.cube.ports import Statement, Task, TaskSpec

TaskState: TypeAlias = Literal["waiting", "running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """How far a task is. ``created`` and ``updated`` are microseconds since 1970 UTC."""

    id: str
    kind: str
    cube: int | None
    state: TaskState
    progress: float
    """From 0 to 1, as its worker last said."""
    error: str | None
    """Why the last attempt did not succeed; it may be waiting for another one."""
    attempt: int
    max_attempts: int
    created: int
    updated: int
    result: str | None
    """JSON of ids and outcomes, once completed."""


@runtime_checkable
class SupportsStatus(Protocol):
    """A queue that can be looked into, stopped and tidied."""

    def status(self, tx: Statement, task_id: str) -> TaskStatus | None:
        """How far the task is; ``None`` for an unknown or pruned one."""
        ...

    def cancel(self, tx: Statement, task_id: str, *, now: int) -> bool:
        """End a waiting or running task; a worker that holds it then gets ``StaleLease``.

        False when it had ended already, or never was.
        """
        ...

    def counts(self, tx: Statement) -> dict[TaskState, int]:
        """How many tasks are in each state; every state is named."""
        ...

    def prune(self, tx: Statement, *, before: int) -> int:
        """Remove completed and cancelled tasks last touched before that instant.

        Failed ones stay, for somebody to look at. Returns how many were removed.
        """
        ...


@runtime_checkable
class SupportsBatch(Protocol):
    """A queue that hands out several tasks of one kind at once."""

    def claim_batch(
        self,
        tx: Statement,
        *,
        limit: int,
        worker: str,
        now: int,
        lease_micros: int,
        kinds: Sequence[str] | None = None,
    ) -> list[Task]:
        """The next due task and up to ``limit - 1`` more of its kind, in queue order.

        A task that was tried before comes alone and joins no batch: if it kills its worker, it
        costs nobody else an attempt.
        """
        ...


_ENQUEUE = """
INSERT INTO task (id, kind, cid, payload, state, priority, max_attempts, not_before,
                  created, updated)
VALUES (?, ?, ?, ?, 'waiting', ?, ?, ?, ?, ?)
"""

_BURY = """
UPDATE task SET state = 'failed', worker = NULL, lease_until = NULL, updated = ?,
    error = 'WorkerDied: its worker died or let the lease run out in attempt ' || attempt
            || ' of ' || max_attempts
WHERE state IN ('waiting', 'running') AND state = 'running'
    AND lease_until < ? AND attempt >= max_attempts
"""

# The IN beside each equality is what lets SQLite use the partial index task_due; two ordered
# halves stop at their first row, where an OR over both states would sort the whole queue.
_CLAIM = """
UPDATE task SET state = 'running', attempt = attempt + 1, worker = ?, lease_until = ?,
    updated = ?
WHERE tid = (
    SELECT tid FROM (
        SELECT * FROM (
            SELECT tid, priority FROM task
            WHERE state IN ('waiting', 'running') AND state = 'waiting' AND not_before <= ?
                AND attempt < ? AND (? IS NULL OR kind IN (SELECT value FROM json_each(?)))
            ORDER BY priority DESC, tid LIMIT 1)
        UNION ALL
        SELECT * FROM (
            SELECT tid, priority FROM task
            WHERE state IN ('waiting', 'running') AND state = 'running' AND lease_until < ?
                AND attempt < ? AND (? IS NULL OR kind IN (SELECT value FROM json_each(?)))
            ORDER BY priority DESC, tid LIMIT 1))
    ORDER BY priority DESC, tid LIMIT 1)
RETURNING id, kind, cid, payload, attempt, max_attempts
"""

_EXTEND = """
UPDATE task SET lease_until = ?, progress = coalesce(?, progress), updated = ?
WHERE id = ? AND attempt = ? AND state = 'running'
"""

_FINISH = """
UPDATE task SET state = 'completed', progress = 1, result = ?, error = NULL, worker = NULL,
    lease_until = NULL, updated = ?
WHERE id = ? AND attempt = ? AND state = 'running'
"""

_FAIL = """
UPDATE task SET state = ?, error = ?, not_before = ?, worker = NULL, lease_until = NULL,
    updated = ?
WHERE id = ? AND attempt = ? AND state = 'running'
"""

_STATUS = """
SELECT id, kind, cid, state, progress, error, attempt, max_attempts, created, updated, result
FROM task WHERE id = ?
"""

_CANCEL = """
UPDATE task SET state = 'cancelled', worker = NULL, lease_until = NULL, updated = ?
WHERE id = ? AND state IN ('waiting', 'running')
"""

_REQUEUE = """
UPDATE task SET state = 'waiting', max_attempts = attempt + min(max_attempts, ?3), progress = 0,
    not_before = ?1, worker = NULL, lease_until = NULL, updated = ?1
WHERE id = ?2 AND (state IN ('failed', 'waiting') OR state = 'running' AND lease_until < ?1)
"""

_COUNTS = "SELECT state, count(*) FROM task GROUP BY state"

_PRUNE = "DELETE FROM task WHERE state IN ('completed', 'cancelled') AND updated < ?"
_PRUNE_FAILED = "DELETE FROM task WHERE state = 'failed' AND updated < ?"

ANY_ATTEMPT = 2**62
_UNTRIED = 1
_MORE_ATTEMPTS = 5


class SqliteQueue:
    """A ``TaskQueue`` on the table ``task``; also ``SupportsStatus`` and ``SupportsBatch``.

    Tasks come by priority (highest first), then in the order they were added. A claim is a lease:
    when it runs out, the task goes to whoever asks next with a higher attempt number, and that
    number is the fence that keeps the slow worker's effect out.
    """

    def enqueue(self, tx: Statement, task: TaskSpec, *, now: int) -> str:
        _check(task)
        task_id = new_item_id(now)
        due = now if task.not_before is None else task.not_before
        numbers = (task.priority, task.max_attempts, due, now, now)
        _run(tx, _ENQUEUE, (task_id, task.kind, task.cube, task.payload, *numbers))
        return task_id

    def claim(
        self,
        tx: Statement,
        *,
        worker: str,
        now: int,
        lease_micros: int,
        kinds: Sequence[str] | None = None,
    ) -> Task | None:
        _run(tx, _BURY, (now, now))
        return self._take(tx, worker=worker, now=now, lease_micros=lease_micros, kinds=kinds)

    def claim_batch(
        self,
        tx: Statement,
        *,
        limit: int,
        worker: str,
        now: int,
        lease_micros: int,
        kinds: Sequence[str] | None = None,
    ) -> list[Task]:
        head = self.claim(tx, worker=worker, now=now, lease_micros=lease_micros, kinds=kinds)
        if head is None or head.attempt > 1:
            return [head] if head else []
        batch = [head]
        while len(batch) < limit:
            more = self._take(
                tx,
                worker=worker,
                now=now,
                lease_micros=lease_micros,
                kinds=[head.kind],
                attempts_below=_UNTRIED,
            )
            if more is None:
                break
            batch.append(more)
        return batch

    def _take(
        self,
        tx: Statement,
        *,
        worker: str,
        now: int,
        lease_micros: int,
        kinds: Sequence[str] | None,
        attempts_below: int = ANY_ATTEMPT,
    ) -> Task | None:
        wanted = None if kinds is None else json.dumps(list(kinds))
        half = (now, attempts_below, wanted, wanted)
        rows: list[tuple[Any, ...]] = _run(
            tx, _CLAIM, (worker, now + lease_micros, now, *half, *half)
        ).fetchall()
        return Task(*rows[0]) if rows else None

    def extend(
        self, tx: Statement, task: Task, *, now: int, lease_micros: int, progress: float | None
    ) -> None:
        share = None if progress is None else min(1.0, max(0.0, progress))
        _fenced(tx, _EXTEND, (now + lease_micros, share, now), task)

    def finish(self, tx: Statement, task: Task, *, now: int, result: str | None = None) -> None:
        _fenced(tx, _FINISH, (result, now), task)

    def fail(
        self, tx: Statement, task: Task, *, now: int, error: str, retry_micros: int | None
    ) -> None:
        again = retry_micros is not None and task.attempt < task.max_attempts
        state: TaskState = "waiting" if again else "failed"
        _fenced(tx, _FAIL, (state, error, now + (retry_micros or 0), now), task)

    def status(self, tx: Statement, task_id: str) -> TaskStatus | None:
        rows = _run(tx, _STATUS, (task_id,)).fetchall()
        return TaskStatus(*rows[0]) if rows else None

    def cancel(self, tx: Statement, task_id: str, *, now: int) -> bool:
        return _run(tx, _CANCEL, (now, task_id)).rowcount > 0

    def requeue(self, tx: Statement, task_id: str, *, now: int) -> bool:
        """Have a failed task, or one whose worker is gone, tried anew; whether it will be.

        It gets as many attempts as it had, five at most. They are counted on, as the number of
        an attempt is what keeps a worker out that was thought dead and comes back.
        """
        return _run(tx, _REQUEUE, (now, task_id, _MORE_ATTEMPTS)).rowcount > 0

    def counts(self, tx: Statement) -> dict[TaskState, int]:
        none: dict[TaskState, int] = {
            "waiting": 0,
            "running": 0,
            "completed": 0,
            "failed": 0,
            "cancelled": 0,
        }
        rows: list[tuple[TaskState, int]] = _run(tx, _COUNTS, ()).fetchall()
        return none | dict(rows)

    def prune(self, tx: Statement, *, before: int, failed_before: int | None = None) -> int:
        """As ``SupportsStatus.prune``; failed tasks go too where their own instant is given."""
        done = _run(tx, _PRUNE, (before,)).rowcount
        if failed_before is not None:
            done += _run(tx, _PRUNE_FAILED, (failed_before,)).rowcount
        return done


def _run(tx: Statement, sql: str, parameters: Sequence[object]) -> sqlite3.Cursor:
    return cast(sqlite3.Cursor, tx.execute(sql, parameters))


def _fenced(tx: Statement, sql: str, values: Sequence[object], task: Task) -> None:
    if _run(tx, sql, (*values, task.id, task.attempt)).rowcount == 0:
        raise StaleLease(
            f"attempt {task.attempt} no longer holds task {task.id}: its lease ran out or the "
            "task was cancelled. Roll this transaction back and claim the next task"
        )


def _check(task: TaskSpec) -> None:
    clean_name(task.kind, "task kind")
    if task.max_attempts < 1:
        raise InvalidInput(f"task {task.kind!r} needs max_attempts of at least 1")
    try:
        payload = json.loads(task.payload)
    except ValueError as cause:
        raise InvalidInput(f"the payload of task {task.kind!r} is not JSON") from cause
    if not isinstance(payload, dict):
        raise InvalidInput(f"the payload of task {task.kind!r} must be a JSON object")
