"""MemOperator's search: arms propose, one ranking decides, truth and governance have the last word.

Called by the facade with an open governed reading; calls the vault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memos_integrations.cube.filters import Filter
from memos_integrations.cube.ids import LATEST
from memos_integrations.cube.item import Signal
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.search_space import Space
from memos_integrations.infrastructure.vault.transaction import CubeRow
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.operator.arms import Arm, LexicalArm, Place, Query, VectorArm
from memos_integrations.operation.operator.fresh import FreshVectors
from memos_integrations.operation.operator.ranking import (
    DEFAULT_SIGNALS,
    Ranked,
    RankSignal,
    rank,
    terms,
)

_POOL = 200
_POOL_PER_HIT = 8


@dataclass(frozen=True, slots=True)
class Found:
    """A memory that passed truth and governance, with its score."""

    row: Stored
    score: float
    terms: tuple[Signal, ...]


class MemOperator:
    """Finds memories."""

    def __init__(
        self,
        vault: MemVault,
        *,
        arms: Sequence[Arm] | None = None,
        signals: Sequence[RankSignal] | None = None,
        fresh: FreshVectors | None = None,
    ) -> None:
        self._vault = vault
        self._fresh = fresh
        self._arms = tuple(arms) if arms is not None else (LexicalArm(), VectorArm())
        self._signals = tuple(signals) if signals is not None else DEFAULT_SIGNALS

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
        space = self._vault.space(reading, cubes, where=where, exact=exact)
        if self._fresh is not None and reading.asking.instant.seq == LATEST:
            self._fresh.fill(reading, space)
        found, complete = self._take(reading, space, query, limit)
        if len(found) < limit and not complete and not space.exact:
            # Too many of the best were hidden, stale or expired: ask for what may be shown first.
            space = self._vault.space(reading, cubes, where=where, exact=True)
            found, _ = self._take(reading, space, query, limit)
        return found

    def _take(
        self, reading: Reading, space: Space, query: Query, limit: int
    ) -> tuple[list[Found], bool]:
        """The best that pass, and whether the arms had nothing more to propose."""
        pool = max(_POOL, limit * _POOL_PER_HIT)
        proposals = [arm.propose(query, space, limit=pool) for arm in self._arms]
        places = list(dict.fromkeys(p for each in proposals for p in each))
        ranked = rank(query, space, places, self._signals)
        found: list[Found] = []
        for start in range(0, len(ranked), 2 * limit):
            found += self._resolve(reading, space, ranked[start : start + 2 * limit])
            if len(found) >= limit:
                break
        complete = all(len(each) < pool for each in proposals)
        return found[:limit], complete

    def _resolve(self, reading: Reading, space: Space, ranked: Sequence[Ranked]) -> list[Found]:
        items = [r.place.item for r in ranked if r.score > 0]
        rows = {row.iid: row for row in self._vault.resolve(reading, space.cubes, items)}
        return [
            Found(rows[r.place.item], r.score, terms(r, self._signals))
            for r in ranked
            if r.place.item in rows
        ]


__all__ = ["Found", "MemOperator", "Place"]
