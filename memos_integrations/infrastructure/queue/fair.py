"""A queue that is fair between tenants: who has been served least comes next.

Start-time fair queueing over ``SqliteQueue``: each tenant has a clock of the work it was served,
the claim goes to the tenant whose clock is furthest behind, and a tenant that comes back from
idleness starts at the present, so that nobody saves up turns. Priorities rule first, so urgent
work never waits for fairness; within a tenant the order is that of the queue.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from memos_integrations.cube.ports import Statement, Task, TaskSpec
from memos_integrations.infrastructure.queue.sqlite import ANY_ATTEMPT, SqliteQueue

_OWN = """
UPDATE task SET tenant = coalesce((SELECT tenant FROM cube WHERE cube.cid = task.cid), '')
WHERE id = ?
"""

# A loose scan of the index: one step per tenant, however many tasks it has.
_TENANTS = """
WITH RECURSIVE some(tenant) AS (
    SELECT min(tenant) FROM task WHERE state IN ('waiting', 'running')
    UNION ALL
    SELECT (SELECT min(t.tenant) FROM task t
            WHERE t.state IN ('waiting', 'running') AND t.tenant > some.tenant)
    FROM some WHERE some.tenant IS NOT NULL)
SELECT s.tenant, coalesce(h.served, 0) FROM some s
LEFT JOIN task_share h ON h.tenant = s.tenant WHERE s.tenant IS NOT NULL
"""

_HEAD = """
SELECT tid, priority FROM task
WHERE state IN ('waiting', 'running') AND tenant = ?1
    AND (state = 'waiting' AND not_before <= ?2 OR state = 'running' AND lease_until < ?2)
    AND attempt < ?3 AND (?4 IS NULL OR kind IN (SELECT value FROM json_each(?4)))
ORDER BY priority DESC, tid LIMIT 1
"""

_TAKE = """
UPDATE task SET state = 'running', attempt = attempt + 1, worker = ?, lease_until = ?, updated = ?
WHERE tid = ? RETURNING id, kind, cid, payload, attempt, max_attempts
"""

_SERVED = """
INSERT INTO task_share (tenant, served) VALUES (?, ?)
ON CONFLICT (tenant) DO UPDATE SET served = excluded.served
"""

_DEPTH = """
SELECT count(*) FROM (
    SELECT 1 FROM task WHERE state IN ('waiting', 'running') AND tenant = ? LIMIT ?)
"""

_NOW = "\x00now"
"""The clock of the one served last, in a row of its own; no tenant can have that name."""


@dataclass(frozen=True, slots=True)
class _Head:
    tenant: str
    tid: int
    priority: int
    start: float
    """Where the tenant's clock stands, or the present where it was idle."""


class FairQueue(SqliteQueue):
    """``SqliteQueue`` with tenants served in turns, weighed by the items of their tasks."""

    def enqueue(self, tx: Statement, task: TaskSpec, *, now: int) -> str:
        made = super().enqueue(tx, task, now=now)
        if task.cube is not None:
            tx.execute(_OWN, (made,))
        return made

    def depth(self, tx: Statement, tenant: str, *, limit: int) -> int:
        """How many tasks of the tenant are open, counted up to ``limit``."""
        return int(_rows(tx, _DEPTH, (tenant, limit))[0][0])

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
        present = _clock(tx)
        wanted = None if kinds is None else json.dumps(list(kinds))
        heads = [
            _Head(tenant, tid, priority, max(present, served))
            for tenant, served in _rows(tx, _TENANTS, ())
            if tenant != _NOW
            for tid, priority in _rows(tx, _HEAD, (tenant, now, attempts_below, wanted))
        ]
        if not heads:
            return None
        head = min(heads, key=lambda h: (-h.priority, h.start, h.tid))
        (row,) = _rows(tx, _TAKE, (worker, now + lease_micros, now, head.tid))
        task = Task(*row)
        tx.execute(_SERVED, (_NOW, head.start))
        tx.execute(_SERVED, (head.tenant, head.start + work_of(task.payload)))
        return task


def work_of(payload: str) -> int:
    """A task's share of work: the items it names, at least 1."""
    items = json.loads(payload).get("items")
    return max(1, len(items)) if isinstance(items, list) else 1


def _clock(tx: Statement) -> float:
    rows = _rows(tx, "SELECT served FROM task_share WHERE tenant = ?", (_NOW,))
    return float(rows[0][0]) if rows else 0.0


def _rows(tx: Statement, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
    return cast(sqlite3.Cursor, tx.execute(sql, parameters)).fetchall()
