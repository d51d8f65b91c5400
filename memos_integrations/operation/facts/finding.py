"""Facts as a principal may see them: what holds, what held, what was said and taken back.

Called by the verbs with an open governed reading; every row has passed the access decision.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product

from memos_integrations.cube.facts import FactKind
from memos_integrations.cube.filters import Filter
from memos_integrations.cube.ids import from_micros
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.vault.governed import Pick
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.operation.facts.keys import folded, slot_key
from memos_integrations.operation.facts.slots import TRUST_ORDER


@dataclass(frozen=True, slots=True)
class FactView:
    """One fact: what it says, when it holds, on which words it rests and what speaks against it."""

    item: MemoryItem
    kind: FactKind
    subject: str
    attribute: str
    value: str
    negated: bool
    valid_from: datetime
    valid_to: datetime | None
    source: str | None
    """The memory whose words it restates."""
    quote: str
    """Those words."""
    sources: tuple[str, ...] = ()
    """Every memory that says the same, ``source`` first."""
    superseded_by: str | None = None
    """The fact that took its place."""
    conflicts: tuple[str, ...] = ()
    """Facts that contradict it and did not take its place: less trusted, or it is held."""
    when: datetime | None = None
    """When a plan or an event is or was."""

    @property
    def id(self) -> str:
        return self.item.id

    @property
    def text(self) -> str:
        return self.item.text


@dataclass(frozen=True, slots=True)
class Asked:
    """Which facts are wanted; ``None`` leaves a field open."""

    subject: str | None = None
    attributes: frozenset[str] | None = None
    kind: FactKind | None = None
    history: bool = False
    at: int = 0
    """The world's time, in microseconds."""
    exact: bool = False
    """Whether ``at`` was named: then what began later than that does not hold yet."""


def find_facts(
    reading: Reading, cids: Sequence[int], asked: Asked, where: Filter | None
) -> list[tuple[Stored, FactView]]:
    """The facts of these cubes that were asked for, in the order they begin to hold."""
    rows = [row for row in _rows(reading, cids, asked, where) if _wanted(row, asked)]
    rows.sort(key=lambda row: (row.valid_from, row.time, row.iid))
    groups = [[row] for row in rows] if asked.history else _grouped(rows)
    links = _links(reading, [row.iid for row in rows])
    return [(group[0], _view(reading, group, links)) for group in groups]


def _rows(
    reading: Reading, cids: Sequence[int], asked: Asked, where: Filter | None
) -> list[Stored]:
    pick: Pick = "kept" if asked.history else "searchable"
    items = _numbers(reading.connection, cids, asked)
    rows = reading.governed.items(items, cids=cids, pick=pick, where=where)
    return rows if asked.history else [row for row in rows if _holds(row, asked)]


def _numbers(link: sqlite3.Connection, cids: Sequence[int], asked: Asked) -> list[int]:
    """Item rows among which the facts asked for are: by their slots, where these are known."""
    if asked.subject is None or asked.attributes is None:
        sql = "SELECT iid FROM fact WHERE cid IN (SELECT value FROM json_each(?))"
        return [iid for (iid,) in link.execute(sql, (json.dumps(list(cids)),))]
    found: list[int] = []
    for cid in cids:
        owners = [owner for (owner,) in link.execute(_OWNERS, {"cid": cid})]
        for owner, attribute in product(owners, asked.attributes):
            slot = (cid, slot_key(owner, asked.subject, attribute))
            found += [iid for (iid,) in link.execute(_OF_SLOT, slot)]
    return found


# A loose scan of the index: one step per owner, however many facts there are.
_OWNERS = """
WITH RECURSIVE some(owner) AS (
    SELECT min(owner) FROM item WHERE cid = :cid AND drawn_from IS NOT NULL
    UNION ALL
    SELECT (SELECT min(i.owner) FROM item i
            WHERE i.cid = :cid AND i.drawn_from IS NOT NULL AND i.owner > some.owner)
    FROM some WHERE some.owner IS NOT NULL)
SELECT owner FROM some WHERE owner IS NOT NULL
"""
_OF_SLOT = "SELECT iid FROM fact WHERE cid = ? AND slot = ?"


def _holds(row: Stored, asked: Asked) -> bool:
    # Messages may carry a time ahead of this machine's clock; what they say holds all the same.
    at = asked.at if asked.exact else max(asked.at, row.time)
    return row.valid_from <= at and (row.valid_to is None or row.valid_to > asked.at)


def _wanted(row: Stored, asked: Asked) -> bool:
    told = json.loads(row.data or "{}").get("fact", {})
    if asked.subject is not None and folded(told.get("subject", "")) != folded(asked.subject):
        return False
    if asked.attributes is not None and told.get("attribute") not in asked.attributes:
        return False
    return asked.kind is None or told.get("kind") == asked.kind.value


def _grouped(rows: Iterable[Stored]) -> list[list[Stored]]:
    """Facts that say the same as one; the most trusted speaks for them."""
    groups: dict[tuple[object, ...], list[Stored]] = {}
    for row in rows:
        told = json.loads(row.data or "{}")["fact"]
        claim = (folded(told["subject"]), told["attribute"], folded(told["value"]))
        key = (row.cid, row.owner, *claim, told["negated"])
        groups.setdefault(key, []).append(row)
    for group in groups.values():
        group.sort(key=lambda row: TRUST_ORDER.index(row.trust))
    return list(groups.values())


@dataclass(slots=True)
class _Links:
    source: dict[int, str] = field(default_factory=dict[int, str])
    superseded: dict[int, str] = field(default_factory=dict[int, str])
    conflicts: dict[int, list[str]] = field(default_factory=dict[int, list[str]])


def _links(reading: Reading, items: Sequence[int]) -> _Links:
    """What the facts rest on and what speaks against them, as far as it may be seen."""
    edges = reading.connection.execute(
        "SELECT source, relation, target FROM edge WHERE seq_from <= ?1 AND seq_to > ?1 AND ("
        "(relation = 'derived_from' AND source IN (SELECT value FROM json_each(?2))) OR "
        "(relation IN ('supersedes', 'contradicts') "
        "AND target IN (SELECT value FROM json_each(?2))))",
        (reading.asking.instant.seq, json.dumps(list(items))),
    ).fetchall()
    ends = {n for s, _, t in edges for n in (s, t)}
    rows = reading.governed.items(sorted(ends), cids=reading.cubes_of(sorted(ends)))
    names = {row.iid: row.id for row in rows if row.tid is not None}
    found = _Links()
    for source, relation, target in edges:
        if source not in names or target not in names:
            continue
        if relation == "derived_from":
            found.source[source] = names[target]
        elif relation == "supersedes":
            found.superseded[target] = names[source]
        else:
            found.conflicts.setdefault(target, []).append(names[source])
    return found


def _view(reading: Reading, group: Sequence[Stored], links: _Links) -> FactView:
    row = group[0]
    item = to_item(row, reading.asking.principal)
    told = (item.data or {})["fact"]
    by = links.superseded.get(row.iid)
    disputed = dict.fromkeys(c for r in group for c in links.conflicts.get(r.iid, ()) if c != by)
    when = told.get("when")
    return FactView(
        item=item,
        kind=FactKind(told["kind"]),
        subject=told["subject"],
        attribute=told["attribute"],
        value=told["value"],
        negated=bool(told["negated"]),
        valid_from=from_micros(min(r.valid_from for r in group)),
        valid_to=item.header.valid_to,
        source=links.source.get(row.iid),
        quote=told["quote"],
        sources=tuple(links.source[r.iid] for r in group if r.iid in links.source),
        superseded_by=by,
        conflicts=tuple(disputed),
        when=datetime.fromisoformat(when["start"]) if when else None,
    )
