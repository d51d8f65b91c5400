"""MemOperator's search: arms propose, one ranking decides, truth and governance have the last word.

Called by the facade with an open governed reading; calls the vault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.filters import Filter
from memos_integrations.cube.ids import LATEST
from memos_integrations.cube.item import Signal
from memos_integrations.cube.ports import Rows, Vector
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.search_space import Room, Space
from memos_integrations.infrastructure.vault.transaction import CubeRow
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.operator.arms import (
    Arm,
    LexicalArm,
    NeighbourArm,
    TimeArm,
    VectorArm,
)
from memos_integrations.operation.operator.folding import fold, with_sources
from memos_integrations.operation.operator.fresh import FreshVectors
from memos_integrations.operation.operator.graph_arm import GraphArm, Linked
from memos_integrations.operation.operator.pool import Pool
from memos_integrations.operation.operator.question import (
    Names,
    Query,
    in_first_person,
)
from memos_integrations.operation.operator.ranking import Ranking

_POOL = 160
_POOL_PER_HIT = 8
_LEARNT_FROM = 20


class Found(NamedTuple):
    """A memory that passed truth and governance, with its score."""

    row: Stored
    score: float
    values: tuple[float, ...]
    ranking: Ranking

    @property
    def terms(self) -> tuple[Signal, ...]:
        """What the score is made of."""
        return self.ranking.terms(self.values)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Proposed memories of all rooms, best first."""

    cubes: NDArray[np.int64]
    items: Rows
    scores: NDArray[np.float64]
    values: NDArray[np.float32]
    """Shape (memories, signals)."""
    complete: bool
    """Whether the arms had nothing more to propose."""

    def taken(self, which: NDArray[Any]) -> Ranked:
        """Those of these places (or flags), in this order."""
        return Ranked(
            self.cubes[which],
            self.items[which],
            self.scores[which],
            self.values[which],
            self.complete,
        )


class MemOperator:
    """Finds memories."""

    def __init__(
        self,
        vault: MemVault,
        *,
        arms: Sequence[Arm] | None = None,
        graph: GraphArm | None = None,
        ranking: Ranking | None = None,
        fresh: FreshVectors | None = None,
        embed: Callable[[str], Vector] | None = None,
    ) -> None:
        self._vault = vault
        self._fresh = fresh
        self._embed = embed
        self._graph = GraphArm() if arms is None and graph is None else graph
        self._arms = (
            tuple(arms)
            if arms is not None
            else (LexicalArm(), VectorArm(), NeighbourArm(), TimeArm())
        )
        self.ranking = ranking or Ranking.default()
        self._called: dict[int, tuple[tuple[str, ...], Names]] = {}

    def search(
        self,
        reading: Reading,
        cubes: Sequence[CubeRow],
        query: Query,
        *,
        where: Filter | None,
        limit: int,
    ) -> list[Found]:
        """The best ``limit`` memories the principal may be shown, best first.

        Raises ``AccessDenied`` for a cube of which it may see nothing.
        """
        exact = reading.asking.instant.valid_micros is not None
        space = self._space(reading, cubes, where=where, exact=exact)
        ranked = self.rank(reading, space, query, limit=limit)
        found = self._take(reading, space, ranked, limit)
        if len(found) < limit and not ranked.complete and not space.exact:
            # Too many of the best were hidden, stale or expired: ask for what may be shown first.
            space = self._space(reading, cubes, where=where, exact=True)
            ranked = self.rank(reading, space, query, limit=limit)
            found = self._take(reading, space, ranked, limit)
        return found

    def _space(
        self, reading: Reading, cubes: Sequence[CubeRow], *, where: Filter | None, exact: bool
    ) -> Space:
        space = self._vault.space(reading, cubes, where=where, exact=exact)
        if self._fresh is not None and reading.asking.instant.seq == LATEST:
            self._fresh.fill(reading, space)
        return space

    def rank(self, reading: Reading, space: Space, query: Query, *, limit: int) -> Ranked:
        """What the arms propose, by falling score; ties by place, so one question has one
        answer."""
        size = max(_POOL, limit * _POOL_PER_HIT)
        named = {room.cube: self._named(space, room.cube, query) for room in space.rooms}
        own = self._own_words(space, query, named)
        parts = [
            self._rank_room(
                space,
                room,
                query,
                size,
                speakers=named[room.cube],
                own=own,
                linked=self._linked(reading, space, room, query),
            )
            for room in space.rooms
        ]
        return _merged(parts, signals=len(self.ranking.signals))

    def _rank_room(
        self,
        space: Space,
        room: Room,
        query: Query,
        size: int,
        *,
        speakers: tuple[int, ...],
        own: Vector | None,
        linked: Linked | None,
    ) -> Ranked:
        proposed = [arm.propose(query, space, room, limit=size) for arm in self._arms]
        if linked is not None:
            proposed.append(linked.best(size))
        items = _each_once(proposed)
        pool = Pool(
            query,
            space,
            room.cube,
            with_sources(items, space.columns(room.cube), room),
            speakers=speakers,
            own=own,
            linked=linked,
        )
        values = self.ranking.values(pool)
        kept, scores, values = fold(pool, self.ranking.scores(values), values)
        complete = all(len(each) < size for each in proposed)
        hits = self.ranking.supported(values).nonzero()[0]
        best = hits[np.negative(scores[hits]).argsort(kind="stable")]
        ranked = Ranked(np.full(len(kept), room.cube), kept, scores, values, complete)
        return ranked.taken(best)

    def _linked(self, reading: Reading, space: Space, room: Room, query: Query) -> Linked | None:
        """What the graph says, where the ranking listens to it."""
        columns = space.columns(room.cube)
        if self._graph is None or columns is None or not self.ranking.weights.get("graph"):
            return None
        return self._graph.reach(reading, space, room, query.text, said=columns.speakers)

    def proposals(
        self,
        reading: Reading,
        cubes: Sequence[CubeRow],
        query: Query,
        *,
        where: Filter | None,
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Items that may be shown, with the value of each signal: what weights are learnt from."""
        space = self._space(reading, cubes, where=where, exact=True)
        ranked = self.rank(reading, space, query, limit=_LEARNT_FROM)
        return ranked.items, ranked.values

    def _named(self, space: Space, cube: int, query: Query) -> tuple[int, ...]:
        """The speakers of the cube that the question names."""
        columns = space.columns(cube)
        if columns is None or not columns.speakers:
            return ()
        known = self._called.get(cube)
        if known is None or known[0] is not columns.speakers:
            known = self._called[cube] = (columns.speakers, Names(columns.speakers))
        return tuple(known[1].within(query.text))

    def _own_words(
        self, space: Space, query: Query, named: dict[int, tuple[int, ...]]
    ) -> Vector | None:
        """The vector of the question as the one speaker it names would put it of themselves."""
        who = {
            columns.speakers[number]
            for cube, numbers in named.items()
            if (columns := space.columns(cube)) is not None
            for number in numbers
        }
        if len(who) != 1 or query.vector is None or space.parts is None or self._embed is None:
            return None
        asked = in_first_person(query.text, who.pop())
        return None if asked == query.text else self._embed(asked)

    def _take(self, reading: Reading, space: Space, ranked: Ranked, limit: int) -> list[Found]:
        """The best that truth and governance let pass."""
        found: list[Found] = []
        end = 0
        while end < len(ranked.items) and len(found) < limit:
            # Most often all of the best may be shown; where some may not, a few more are asked for.
            start, end = end, end + (limit if not end else limit + max(4, limit // 4))
            part = slice(start, end)
            items = ranked.items[part].tolist()
            rows = {
                r.iid: r
                for r in self._vault.resolve(reading, space.cubes, items, where=space.where)
            }
            found += [
                Found(rows[item], score, tuple(values), self.ranking)
                for item, score, values in zip(
                    items,
                    ranked.scores[part].tolist(),
                    ranked.values[part].tolist(),
                    strict=True,
                )
                if item in rows
            ]
        return found[:limit]


def _each_once(proposed: Sequence[Rows]) -> Rows:
    """The items of all arms, ascending."""
    some = [each for each in proposed if len(each)]
    if not some:
        return np.zeros(0, np.int64)
    items = np.concatenate(some)
    items.sort()
    first = np.ones(len(items), np.bool_)
    np.not_equal(items[1:], items[:-1], out=first[1:])
    return items[first]


def _merged(parts: Sequence[Ranked], *, signals: int) -> Ranked:
    """The rankings of several rooms as one."""
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return Ranked(none, none, np.zeros(0), np.zeros((0, signals), np.float32), True)
    if len(parts) == 1:
        return parts[0]
    cubes = np.concatenate([part.cubes for part in parts])
    items = np.concatenate([part.items for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    values = np.concatenate([part.values for part in parts])
    whole = Ranked(cubes, items, scores, values, all(part.complete for part in parts))
    return whole.taken(np.lexsort((items, cubes, -scores)))
