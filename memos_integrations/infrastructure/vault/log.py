"""Finding one's place in the log by time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from memos_integrations.cube.ids import Seq
from memos_integrations.infrastructure.vault.governed import Asking
from memos_integrations.infrastructure.vault.sql import queries


def position_at(execute: Callable[..., sqlite3.Cursor], micros: int) -> Seq:
    """The newest place of the log at that system time; 0 before the first write.

    Times never run backwards in the log, so halving finds it without an index to keep.
    """
    low, high = 0, int(execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()[0])
    while low < high:
        middle = (low + high + 1) // 2
        row = execute(
            "SELECT at FROM outbox WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (middle,)
        ).fetchone()
        if row is not None and row[0] > micros:
            high = middle - 1
        else:
            low = middle
    return Seq(low)


def last_change(connection: sqlite3.Connection, cid: int, *, upto: Seq) -> int:
    """The newest place of the log, up to that one, at which this cube changed; 0 for none."""
    row = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM outbox WHERE cid = ? AND seq <= ?", (cid, upto)
    ).fetchone()
    return int(row[0])


def next_end(connection: sqlite3.Connection, cid: int, *, now: int) -> int | None:
    """When the next memory of this cube expires or ceases to hold, in microseconds."""
    row = connection.execute(queries("records")["next_end"], {"cid": cid, "now": now}).fetchone()
    return None if row[0] is None else int(row[0])


def next_right(connection: sqlite3.Connection, asking: Asking, cids: Sequence[int]) -> int | None:
    """When the next right of who asks that may reach these cubes ends, in microseconds."""
    row = connection.execute(queries("records")["next_right"], asking.bindings(cids)).fetchone()
    return None if row[0] is None else int(row[0])
