"""How well entries fit a query: the closest of their fields, by meaning; by words without a model.

Called by the facade with a governed reading. Only what the truth lets the asker find is scored,
and a value is found from the moment it is put: what has no vector yet gets one on the spot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ids import LATEST
from memos_integrations.cube.ports import Embedder, Rows, Vector
from memos_integrations.infrastructure.backends.embedders import embed_query
from memos_integrations.infrastructure.backends.part_vectors import PartEntry
from memos_integrations.infrastructure.vault.entries import Candidate, EntryRows
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.search_space import Space
from memos_integrations.infrastructure.vault.transaction import CubeRow
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.entry_texts import searched_texts

Scores = NDArray[np.float32]
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Fit:
    """An entry's memory, and how well it fits; ``None`` where nothing could be compared."""

    iid: int
    score: float | None


class EntrySearch:
    """Ranks entries. Keeps nothing but the vectors it puts into the vault's index."""

    def __init__(self, vault: MemVault, embedder: Embedder | None) -> None:
        self._vault = vault
        self._embedder = embedder

    def ranked(
        self,
        reading: Reading,
        cubes: Sequence[CubeRow],
        rows: EntryRows,
        found: Sequence[Candidate],
        query: str,
    ) -> list[Fit]:
        """The candidates, best first; those that could not be compared last, oldest first."""
        if not found:
            return []
        space = self._vault.space(reading, cubes, where=None, exact=False)
        vector = None if self._embedder is None else embed_query(self._embedder, query)
        scores = np.full(len(found), np.nan, np.float32)
        for cube in space.cubes:
            places = [n for n, each in enumerate(found) if each.cid == cube]
            items = np.array([found[n].iid for n in places], np.int64)
            if items.size:
                scores[places] = self._scores(reading, space, rows, cube, items, query, vector)
        return _best_first(found, scores)

    def _scores(
        self,
        reading: Reading,
        space: Space,
        rows: EntryRows,
        cube: int,
        items: Rows,
        query: str,
        vector: Vector | None,
    ) -> Scores:
        if vector is None or self._embedder is None or space.parts is None:
            shares = space.text.scores(cube, query, items)
            return np.where(shares > 0, shares, np.float32(np.nan))
        close = _closest(space, cube, vector, items)
        waiting = items[np.isnan(close)]
        if waiting.size:
            made = self._made(rows, waiting)
            if reading.asking.instant.seq == LATEST:
                self._vault.parts.index.upsert(cube, made)
                return _closest(space, cube, vector, items)
            own = {entry.item: max(float(v @ vector) for _, v in entry.parts) for entry in made}
            for place in np.flatnonzero(np.isnan(close)):
                close[place] = own.get(int(items[place]), np.nan)
        return close

    def _made(self, rows: EntryRows, items: Rows) -> list[PartEntry]:
        """Vectors of the fields of these entries, made now."""
        assert self._embedder is not None  # noqa: S101  -- the caller has a vector of it
        texts: list[tuple[int, int, str]] = []
        for named in rows.of_items(items.tolist()).values():
            said = searched_texts(named.row.data, named.fields)
            texts += [(named.row.iid, named.row.version, text) for text in said]
        parts: dict[tuple[int, int], list[Vector]] = {}
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            vectors = self._embedder.embed([text for *_, text in batch])
            for (iid, version, _), vector in zip(batch, vectors, strict=True):
                parts.setdefault((iid, version), []).append(vector)
        return [PartEntry(*item, tuple(enumerate(each))) for item, each in parts.items()]


def _closest(space: Space, cube: int, vector: Vector, items: Rows) -> Scores:
    assert space.parts is not None  # noqa: S101  -- asked before
    return np.fmax(*space.parts.scores(cube, vector, items))


def _best_first(found: Sequence[Candidate], scores: Scores) -> list[Fit]:
    # A stable sort: equals stay in the order in which their names were given.
    order = np.argsort(np.where(np.isnan(scores), np.inf, -scores), kind="stable")
    return [
        Fit(found[n].iid, None if np.isnan(scores[n]) else float(scores[n])) for n in order.tolist()
    ]
