"""What a look at whole cubes needs of each memory, and the numbers that stand around them.

Called by the analytics verbs. Words come only through the governed query; the tables around them
are read as numbers and kinds, which mean nothing but beside a row that was governed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from memos_integrations.cube.filters import Filter
from memos_integrations.cube.ids import LATEST
from memos_integrations.infrastructure.vault.governed import Governed, Pick

_PRESENT = LATEST + 1


class Examined(NamedTuple):
    """One present memory, in the order of ``_COLUMNS``. Times are microseconds."""

    iid: int
    id: str
    cid: int
    path: str
    master: int
    home: int
    owner: str
    visibility: str
    labels: str | None
    trust: str
    created: int
    quarantined: int
    held: int
    drawn_from: int | None
    version: int
    tid: int
    state: str
    kind: str
    memory_type: str
    time: int
    valid_from: int
    valid_to: int | None
    who: str | None
    model: str | None
    priority: float
    stale: int
    usage: int
    embedded_by: str | None
    fold: bytes
    text: str
    spans: str | None
    data: str | None
    named: int
    """Whether it is what a name holds: data of a program, to be kept as it is."""


_COLUMNS = (
    "i.iid, i.id, v.cid, g.path, g.master, g.home, i.owner, i.visibility, i.labels, i.trust, "
    "i.created, i.quarantined, i.legal_hold OR v.state = 'frozen', i.drawn_from, v.version, v.tid, "
    "v.state, v.kind, v.memory_type, v.time, v.valid_from, v.valid_to, "
    "coalesce(v.speaker, v.role), v.model, v.priority, v.stale, coalesce(u.count, 0), "
    "(SELECT model FROM embedding e WHERE e.tid = v.tid), t.fold, t.text, t.spans, t.data, "
    "EXISTS (SELECT 1 FROM entry n WHERE n.iid = i.iid)"
)


def examined(
    governed: Governed, cids: Iterable[int], *, where: Filter | None = None, pick: Pick = "kept"
) -> Iterator[Examined]:
    """Every memory of these cubes that the principal may see, in item order."""
    for row in governed.columns(_COLUMNS, cids=cids, where=where, pick=pick):
        yield Examined._make(row)


def writable(governed: Governed, cids: Iterable[int]) -> set[int]:
    """Item rows of these cubes on which the principal holds what ``governed`` asks for."""
    rows = list(governed.columns("i.iid", cids=cids, pick="kept"))
    rows += governed.columns("i.iid", cids=cids, pick="due")
    return {iid for (iid,) in rows}


# -- numbers ---------------------------------------------------------------------------------------


def alike_keys(connection: sqlite3.Connection, cids: Iterable[int]) -> list[tuple[bytes, int]]:
    """(bucket, item row) of what the fine stage noted for finding near duplicates."""
    sql = "SELECT bucket, iid FROM sketch WHERE cid IN (SELECT value FROM json_each(?))"
    return connection.execute(sql, (_list(cids),)).fetchall()


def disputes(connection: sqlite3.Connection, cids: Iterable[int]) -> list[tuple[int, int]]:
    """Pairs of item rows between which a ``contradicts`` edge stands."""
    sql = (
        "SELECT e.source, e.target FROM item i CROSS JOIN edge e ON e.source = i.iid "
        "WHERE i.cid IN (SELECT value FROM json_each(?)) AND e.relation = 'contradicts' "
        "AND e.seq_to = ? ORDER BY e.source, e.target"
    )
    return connection.execute(sql, (_list(cids), _PRESENT)).fetchall()


class Claim(NamedTuple):
    """What a fact says, as keys: facts of one slot are about the same attribute."""

    cid: int
    slot: bytes
    value: bytes
    single: int
    negated: int
    iid: int


def claims(connection: sqlite3.Connection, cids: Iterable[int]) -> list[Claim]:
    """The claims of every fact of these cubes, slot by slot."""
    sql = (
        "SELECT cid, slot, value, single, negated, iid FROM fact "
        "WHERE cid IN (SELECT value FROM json_each(?)) ORDER BY cid, slot, iid"
    )
    return [Claim._make(row) for row in connection.execute(sql, (_list(cids),))]


class Source(NamedTuple):
    """What a memory rests on, as it stands now; ``state`` is ``None`` where it is gone."""

    iid: int
    source: int
    state: str | None
    stale: int
    same_words: int
    """Whether the source says what it said when the memory was derived."""


def sources(connection: sqlite3.Connection, cids: Iterable[int]) -> list[Source]:
    """The sources that the memories of these cubes are derived or drawn from."""
    sql = (
        "WITH rests(iid, source, since) AS ("
        "SELECT i.iid, e.target, e.target_version FROM item i CROSS JOIN edge e "
        "ON e.source = i.iid AND e.relation = 'derived_from' AND e.seq_to = ?2 "
        "WHERE i.cid IN (SELECT value FROM json_each(?1)) "
        "UNION ALL SELECT iid, drawn_from, NULL FROM item "
        "WHERE drawn_from IS NOT NULL AND cid IN (SELECT value FROM json_each(?1))) "
        "SELECT r.iid, r.source, v.state, coalesce(v.stale, 0), "
        "r.since IS NULL OR v.tid IS (SELECT o.tid FROM version o "
        "WHERE o.iid = r.source AND o.version = r.since) "
        "FROM rests r LEFT JOIN version v ON v.iid = r.source AND v.seq_to = ?2 ORDER BY r.iid"
    )
    return [Source._make(r) for r in connection.execute(sql, (_list(cids), _PRESENT))]


class Job(NamedTuple):
    """A task that is not done. ``why`` is the kind of its last error, never its words."""

    id: str
    cid: int
    kind: str
    state: str
    not_before: int
    lease_until: int | None
    why: str


def jobs(connection: sqlite3.Connection, cids: Iterable[int]) -> list[Job]:
    """Failed, running and waiting tasks of these cubes, oldest first."""
    sql = (
        "SELECT id, cid, kind, state, not_before, lease_until, coalesce(error, '') FROM task "
        "WHERE state IN ('waiting', 'running', 'failed') "
        "AND cid IN (SELECT value FROM json_each(?)) ORDER BY tid"
    )
    rows = connection.execute(sql, (_list(cids),))
    return [Job._make((*row[:-1], _error_kind(row[-1]))) for row in rows]


def _error_kind(error: str) -> str:
    kind = error.partition(":")[0].strip()
    return kind if kind.isidentifier() else ""


def waiting_items(connection: sqlite3.Connection, cids: Iterable[int]) -> set[int]:
    """Item rows that an open task is going to look at."""
    sql = (
        "SELECT payload FROM task WHERE state IN ('waiting', 'running') "
        "AND cid IN (SELECT value FROM json_each(?))"
    )
    found: set[int] = set()
    for (payload,) in connection.execute(sql, (_list(cids),)):
        found.update(int(n) for n in json.loads(payload or "{}").get("items", ()))
    return found


def barred_sources(connection: sqlite3.Connection, cids: Iterable[int]) -> list[tuple[int, str]]:
    """(cube row, source) of every quarantine in these cubes."""
    sql = (
        "SELECT cid, source FROM quarantine WHERE cid IN (SELECT value FROM json_each(?)) "
        "ORDER BY cid, source"
    )
    return connection.execute(sql, (_list(cids),)).fetchall()


def _list(cids: Iterable[int]) -> str:
    return json.dumps(sorted(set(cids)))
