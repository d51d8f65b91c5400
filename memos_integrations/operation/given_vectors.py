"""Finding by vectors that came with their texts: filter first, exact cosine, words beside it.

Called by the facade with an open governed reading; calls the vault. The truth of these vectors is
the vault's table of embeddings, as for every other one; the index here follows the log.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.embedded import is_given
from memos_integrations.cube.filters import Filter
from memos_integrations.cube.ids import LATEST
from memos_integrations.cube.ports import Rows, Vector, VectorEntry
from memos_integrations.infrastructure.backends.numpy_vectors import NumpyVectors
from memos_integrations.infrastructure.vault import embedded
from memos_integrations.infrastructure.vault.projections import Feed, Follower, VectorProjection
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.search_space import Room, Space
from memos_integrations.infrastructure.vault.transaction import CubeRow
from memos_integrations.infrastructure.vault.vault import MemVault

_MARGIN = 16


@dataclass(frozen=True, slots=True)
class Sought:
    """What is near: to a vector, to words, or to both in the given balance."""

    vector: Vector | None
    words: str
    balance: float
    """The share of the vector in the score; the words have the rest."""


@dataclass(frozen=True, slots=True)
class Near:
    """A memory that passed truth and governance, with its score."""

    row: Stored
    score: float


class GivenVectors:
    """Indexes of given vectors, one per fingerprint, each level with the log when it is read."""

    def __init__(self) -> None:
        self._indexes: dict[str, tuple[NumpyVectors, Follower]] = {}
        self._lock = threading.Lock()

    def index(self, reading: Reading, cube: CubeRow) -> NumpyVectors:
        """The vectors of the cube as the reading sees it; empty where none were given."""
        if cube.embedding is None or not is_given(cube.embedding):
            return NumpyVectors()
        at = reading.asking.instant.seq
        if at != LATEST:
            return _past(reading, cube, cube.embedding, at)
        with self._lock:
            if cube.embedding not in self._indexes:
                self._indexes[cube.embedding] = _fresh(cube.embedding)
            index, follower = self._indexes[cube.embedding]
        follower.follow(reading.connection, [cube.cid])
        return index

    def forget(self) -> None:
        """Drop every vector held in memory: after an erase none may be left."""
        with self._lock:
            self._indexes.clear()


def _fresh(fingerprint: str) -> tuple[NumpyVectors, Follower]:
    index = NumpyVectors()
    return index, Follower([VectorProjection(index, name="given")], model=fingerprint)


def _past(reading: Reading, cube: CubeRow, fingerprint: str, at: int) -> NumpyVectors:
    index = NumpyVectors()
    live = Feed(reading.connection, model=fingerprint).everything(cube.cid, at=at)
    index.upsert(
        cube.cid, [VectorEntry(c.item, c.version, c.vector) for c in live if c.vector is not None]
    )
    return index


def nearest(
    vault: MemVault,
    given: GivenVectors,
    reading: Reading,
    cubes: Sequence[CubeRow],
    sought: Sought,
    *,
    where: Filter | None,
    limit: int,
) -> list[Near]:
    """The ``limit`` memories nearest to what is sought, best first, ties by age.

    Only rows that pass the filter and that this principal may see are ever scored. Raises
    ``AccessDenied`` for a cube of which it may see nothing, ``InvalidInput`` for a vector of
    another dimension.
    """
    space = vault.space(reading, cubes, where=where, exact=True)
    by_cid = {cube.cid: cube for cube in cubes}
    found: list[tuple[float, int]] = []
    for room in space.rooms:
        index = given.index(reading, by_cid[room.cube])
        found += _scored(space, room, index, sought, limit + _MARGIN)
    found.sort(key=lambda pair: (-pair[0], pair[1]))
    return _shown(vault, reading, space, found, limit)


def _scored(
    space: Space, room: Room, index: NumpyVectors, sought: Sought, limit: int
) -> list[tuple[float, int]]:
    rows = _NONE if room.rows is None else room.rows
    if sought.vector is not None and sought.balance == 1.0:
        best = index.search(room.cube, sought.vector, limit=limit, within=rows)
        return [(each.score, each.item) for each in best]
    scores = np.zeros(len(rows), dtype=np.float32)
    hit = np.zeros(len(rows), dtype=np.bool_)
    if sought.vector is not None and sought.balance:
        near = index.scores(room.cube, sought.vector, rows)
        hit |= ~np.isnan(near)
        scores += np.float32(sought.balance) * np.nan_to_num(near)
    if sought.words.strip():
        words = space.text.scores(room.cube, sought.words, rows)
        hit |= words > 0
        scores += np.float32(1.0 - sought.balance) * words
    return _top(scores, rows, hit, limit)


def _top(
    scores: NDArray[np.float32], rows: Rows, hit: NDArray[np.bool_], limit: int
) -> list[tuple[float, int]]:
    scores, rows = scores[hit], rows[hit]
    best = np.lexsort((rows, -scores))[:limit]
    return list(zip(scores[best].tolist(), rows[best].tolist(), strict=True))


def _shown(
    vault: MemVault,
    reading: Reading,
    space: Space,
    found: Sequence[tuple[float, int]],
    limit: int,
) -> list[Near]:
    """The best that truth and governance let pass."""
    items = [item for _, item in found]
    rows = {r.iid: r for r in vault.resolve(reading, space.cubes, items, where=space.where)}
    return [Near(rows[item], score) for score, item in found if item in rows][:limit]


def vectors_of(reading: Reading, rows: Sequence[Stored]) -> dict[str, list[float]]:
    """The vectors these memories are found by, by memory id; none where a memory has none."""
    by_tid = {row.tid: row.id for row in rows if row.tid is not None}
    found: dict[str, list[float]] = {}
    for tid, item in by_tid.items():
        vector = embedded.vector(reading.connection, tid)
        if vector is not None:
            found[item] = vector
    return found


_NONE: Rows = np.zeros(0, dtype=np.int64)
