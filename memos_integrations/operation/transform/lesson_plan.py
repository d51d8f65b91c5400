"""Which memories of a cube are learnt, in which shards, and why the others are not.

Called by the verb that distils, inside a governed reading: nothing is planned that the asker may
not read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.filters import Filter
from memos_integrations.infrastructure.vault import adapters
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.infrastructure.vault.stored import unexpired
from memos_integrations.infrastructure.vault.transaction import CubeRow
from memos_integrations.operation.transform.lesson import MIN_FORMS, QuestionForms
from memos_integrations.operation.transform.shards import assigned, rights_of, why_not
from memos_integrations.operation.transform.teaching import Order, Teaching, lesson_of


@dataclass(frozen=True, slots=True)
class Shard:
    """Memories that are learnt together."""

    number: int
    rows: tuple[Stored, ...]
    joins: Mapping[int, int]
    """Item rows that come to it now -> its number."""
    unchanged: bool
    """Whether its newest adapter was made of exactly these, by the same order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be learnt of one cube."""

    shards: tuple[Shard, ...]
    skipped: Mapping[str, str]


def planned(
    reading: Reading,
    cube: CubeRow,
    teaching: Teaching,
    forms: QuestionForms,
    *,
    principal: Principal,
    where: Filter | None,
    order: Order,
    most: int,
    stable_seconds: float,
) -> Plan:
    """The shards that hold what passes the filter, each with all that belongs to it. One that holds
    what is hidden from who asks is left as it is: made anew it would lack that for everybody."""
    rows = reading.governed.listing(cids=[cube.cid], pick="kept", where=where)
    everything = rows if where is None else reading.governed.listing(cids=[cube.cid], pick="kept")
    drawn = adapters.drawn_from(reading.connection, [row.iid for row in everything])
    choice = _Choice(reading, teaching, forms, principal, stable_seconds)
    wanted = choice.of(rows, everything, drawn)
    model = teaching.hosted.name
    members = adapters.members(reading.connection, cid=cube.cid, model=model)
    rights = {row.iid: rights_of(row) for row in everything}
    places = assigned([row.iid for row in wanted], members=members, rights=rights, most=most)
    closed = _closed(reading, cube, members, set(places.values()))
    choice.skipped |= {row.id: _CLOSED for row in wanted if places[row.iid] in closed}
    moved = members | places
    also = [r for r in everything if r.iid not in places and moved.get(r.iid) in places.values()]
    learnt = [*wanted, *choice.silently(also)]
    shards = [
        _shard(reading, cube, model, number, learnt, moved, members, order)
        for number in sorted(set(places.values()) - closed)
    ]
    return Plan(tuple(shards), choice.skipped)


class _Choice:
    """Decides memory by memory, and keeps the reasons."""

    def __init__(
        self,
        reading: Reading,
        teaching: Teaching,
        forms: QuestionForms,
        principal: Principal,
        stable_seconds: float,
    ) -> None:
        self._now = reading.asking.now
        self._teaching, self._forms, self._principal = teaching, forms, principal
        self._stable_seconds = stable_seconds
        self.skipped: dict[str, str] = {}

    def of(
        self, rows: Sequence[Stored], everything: Sequence[Stored], drawn: Mapping[int, int]
    ) -> list[Stored]:
        """Those that are learnt, oldest first: a memory, or the facts that restate it where only
        they can be asked for."""
        facts: dict[int, list[Stored]] = {}
        for row in everything:
            if row.iid in drawn:
                facts.setdefault(drawn[row.iid], []).append(row)
        chosen: list[Stored] = []
        for row in sorted(rows, key=lambda row: (row.time, row.iid)):
            if row.iid in drawn:
                continue
            restated = facts.get(row.iid, [])
            why = self._why_not(row, restated)
            if why is None:
                chosen.append(row)
                continue
            said = [] if why != _FORMS else [f for f in restated if self._why_not(f, []) is None]
            chosen += sorted(said, key=lambda fact: fact.iid)
            if not said:
                self.skipped[row.id] = why
        return chosen

    def silently(self, rows: Sequence[Stored]) -> list[Stored]:
        """Those of these that may be learnt."""
        return [row for row in rows if self._why_not(row, []) is None]

    def _why_not(self, row: Stored, restated: Sequence[Stored]) -> str | None:
        why = why_not(row, now=self._now, stable_seconds=self._stable_seconds)
        if why is not None:
            return why
        if any(fact.valid_to is not None for fact in restated):
            return "a later memory says otherwise"
        item = to_item(row, self._principal)
        return None if lesson_of(item, self._teaching, self._forms) is not None else _FORMS


_FORMS = f"fewer than {MIN_FORMS} question forms for what it says"


_CLOSED = "belongs to an adapter that holds memories which you may not see: ask the cube's owner"


def _closed(
    reading: Reading, cube: CubeRow, members: Mapping[int, int], shards: Collection[int]
) -> set[int]:
    """The shards of these of which a member is hidden from who asks."""
    items = [iid for iid, shard in members.items() if shard in shards]
    there = unexpired(reading.connection, items, now=reading.asking.now)
    seen = {row.iid for row in reading.governed.items(sorted(there), cids=[cube.cid])}
    return {members[iid] for iid in there - seen}


def _shard(
    reading: Reading,
    cube: CubeRow,
    model: str,
    number: int,
    learnt: Sequence[Stored],
    places: Mapping[int, int],
    members: Mapping[int, int],
    order: Order,
) -> Shard:
    rows = tuple(row for row in learnt if places[row.iid] == number)
    known = adapters.learnt(
        reading.connection, cid=cube.cid, model=model, shard=number, recipe=order.as_json()
    )
    return Shard(
        number,
        rows,
        {row.iid: number for row in rows if members.get(row.iid) != number},
        unchanged=known == {(row.iid, row.tid) for row in rows},
    )
