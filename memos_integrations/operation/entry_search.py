"""How well entries fit a query: the closest of their fields, by meaning; by words without a model.

Called by the facade with a governed reading. Only what the truth lets the asker find is scored,
and a value is found from the moment it is put: what has no vector yet gets one on the spot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.entries import FindEntries
from memos_integrations.cube.ids import LATEST
from memos_integrations.cube.ports import Embedder, Rows, Vector
from memos_integrations.infrastructure.backends.embedders import embed_query
from memos_integrations.infrastructure.backends.part_vectors import PartEntry
from memos_integrations.infrastructure.vault.entries import EntryRows
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

    def vector(self, query: str) -> Vector | None:
        """The direction of a query; to be asked for before a snapshot is opened, as it can take
        long. ``None`` without a model."""
        return None if self._embedder is None else embed_query(self._embedder, query)

    def ranked(
        self,
        reading: Reading,
        cubes: Sequence[CubeRow],
        rows: EntryRows,
        asked: FindEntries,
        vector: Vector | None,
    ) -> list[Fit]:
        """A page of what the query may find, best first; last what could not be compared."""
        query = asked.query or ""
        filtered = asked.filter is not None
        space = self._vault.space(reading, cubes, where=None, exact=not filtered)
        if asked.filter is None:
            found = _allowed(space, rows.places(asked.prefix))
        else:
            found = rows.filtered(asked.prefix, asked.filter)
        scores = [
            self._scores(reading, space, rows, cube, items, query, vector)
            for cube, items in found.items()
        ]
        if not scores:
            return []
        return _page(np.concatenate(list(found.values())), np.concatenate(scores), asked)

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
        if not items.size:
            return np.empty(0, np.float32)
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


def _allowed(space: Space, named: Mapping[int, Rows]) -> dict[int, Rows]:
    """Of the items that hold a name those that the truth lets the asker find."""
    return {
        room.cube: np.intersect1d(named[room.cube], room.rows, assume_unique=True)
        for room in space.rooms
        if room.rows is not None
    }


def _page(items: Rows, scores: Scores, asked: FindEntries) -> list[Fit]:
    # Equals stay in the order in which their names were given.
    order = np.lexsort((items, np.where(np.isnan(scores), np.inf, -scores)))
    page = order[asked.offset : asked.offset + asked.limit]
    pairs = zip(items[page].tolist(), scores[page].tolist(), strict=True)
    return [Fit(iid, None if math.isnan(score) else score) for iid, score in pairs]
