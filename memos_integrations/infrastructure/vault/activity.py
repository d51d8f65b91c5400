"""What was done with memory, day by day, as counts: reads from the audit log, work from the queue.

Called by the analytics verbs with what the asker may count; no words and no ids leave here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

_DAY = 86_400_000_000

_READS = """
SELECT a.at / ?1, count(*), sum(coalesce(json_array_length(d.body, '$.items'), 0))
FROM audit a CROSS JOIN audit_detail d ON d.n = a.n
WHERE a.at >= ?2 AND a.outcome = 'allowed' AND d.tenant = ?3 AND (?4 IS NULL OR d.actor = ?4)
  AND a.action IN (SELECT value FROM json_each(?5))
  AND json_extract(d.body, '$.cube') IN (SELECT value FROM json_each(?6))
GROUP BY 1
"""

_TASKS = """
SELECT state, kind, created, updated FROM task
WHERE cid IN (SELECT value FROM json_each(?1))
  AND (state IN ('waiting', 'running') OR updated >= ?2)
"""


def reads_by_day(
    connection: sqlite3.Connection,
    *,
    since: int,
    tenant: str,
    actor: str | None,
    actions: Sequence[str],
    cubes: Iterable[str],
) -> dict[int, tuple[int, int]]:
    """Day since 1970 -> (reads, memories shown). ``actor`` ``None`` counts everybody's."""
    wanted = (json.dumps(list(actions)), json.dumps(sorted(cubes)))
    rows = connection.execute(_READS, (_DAY, since, tenant, actor, *wanted))
    return {day: (reads, shown) for day, reads, shown in rows}


def tasks_since(
    connection: sqlite3.Connection, cids: Iterable[int], *, since: int
) -> list[tuple[str, str, int, int]]:
    """(state, kind, created, updated) of the open tasks and of those that ended since."""
    return connection.execute(_TASKS, (json.dumps(sorted(cids)), since)).fetchall()
