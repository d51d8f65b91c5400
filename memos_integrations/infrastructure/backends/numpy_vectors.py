"""Exact nearest vectors in memory: one matrix per cube, filter first, then product.

Called by the vault's projections and search space; calls numpy only. Readers take a snapshot of
one cube's arrays and never wait; writes take turns and never touch rows that a snapshot shows.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ports import Matrix, Proposal, Rows, Vector, VectorEntry

_GATHER_SHARE: Final = 0.5
"""Below this share of the rows a gathered product beats the full one."""
_FIRST_ROWS: Final = 64


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """One cube as readers see it: the first ``used`` rows, dead ones with item -1."""

    matrix: Matrix
    items: Rows
    versions: Rows
    used: int
    places: Mapping[int, int]
    """Item -> row. Only writers change it; readers copy what they need from it."""


class NumpyVectors:
    """Implements ``VectorIndex`` exactly; memory is four bytes a dimension and item."""

    def __init__(self) -> None:
        self._cubes: dict[int, _Snapshot] = {}
        self._lock = threading.Lock()

    def upsert(self, cube: int, entries: Sequence[VectorEntry]) -> None:
        """Keep one vector per item; an entry older than the kept version changes nothing."""
        if not entries:
            return
        newest: dict[int, VectorEntry] = {}
        for entry in entries:
            held = newest.get(entry.item)
            if held is None or held.version <= entry.version:
                newest[entry.item] = entry
        matrix = _checked([entry.vector for entry in newest.values()])
        with self._lock:
            self._cubes[cube] = _merged(self._cubes.get(cube), list(newest.values()), matrix)

    def delete(self, cube: int, items: Sequence[int]) -> None:
        """Forget these items; unknown ones are no error."""
        with self._lock:
            old = self._cubes.get(cube)
            if old is None:
                return
            gone = [int(n) for n in items if int(n) in old.places]
            if gone:
                self._cubes[cube] = _without(old, gone)

    def search(
        self, cube: int, vector: Vector, *, limit: int, within: Rows | None = None
    ) -> list[Proposal]:
        """The ``limit`` items with the highest cosine, best first, ties by lower item number."""
        shot = self._cubes.get(cube)
        if shot is None or limit < 1:
            return []
        query = _query(vector, shot)
        rows = _rows(shot, within)
        if not rows.size:
            return []
        share = rows.size / shot.used
        scores = (
            shot.matrix[rows] @ query
            if share < _GATHER_SHARE
            else (shot.matrix[: shot.used] @ query)[rows]
        )
        best = _top(scores, shot.items[rows], limit)
        return [
            Proposal(int(shot.items[row]), int(shot.versions[row]), float(score))
            for row, score in zip(rows[best], scores[best], strict=True)
        ]

    def scores(self, cube: int, vector: Vector, items: Rows) -> NDArray[np.float32]:
        """Cosine per item in the order asked; ``nan`` where the item has no vector."""
        out = np.full(len(items), np.nan, dtype=np.float32)
        shot = self._cubes.get(cube)
        if shot is None or not len(items):
            return out
        query = _query(vector, shot)
        rows = np.fromiter((shot.places.get(int(n), -1) for n in items), np.int64, len(items))
        known = (rows >= 0) & (rows < shot.used)
        known[known] = shot.items[rows[known]] == np.asarray(items)[known]
        out[known] = shot.matrix[rows[known]] @ query
        return out

    def versions(self, cube: int) -> Mapping[int, int]:
        """Item -> version of everything held."""
        shot = self._cubes.get(cube)
        if shot is None:
            return {}
        items, versions = shot.items[: shot.used], shot.versions[: shot.used]
        live = items >= 0
        return dict(zip(items[live].tolist(), versions[live].tolist(), strict=True))

    def drop(self, cube: int) -> None:
        """Forget the whole cube."""
        with self._lock:
            self._cubes.pop(cube, None)

    def close(self) -> None:
        with self._lock:
            self._cubes.clear()


def _checked(vectors: Sequence[Vector]) -> Matrix:
    """The vectors as one copied float32 matrix. Raises ``InvalidInput``."""
    if len({np.shape(v) for v in vectors}) != 1 or np.ndim(vectors[0]) != 1:
        raise InvalidInput("vectors must be flat and of one length")
    matrix = np.array(vectors, dtype=np.float32)
    if not np.isfinite(matrix).all():
        raise InvalidInput("a vector holds nan or infinity")
    return matrix


def _query(vector: Vector, shot: _Snapshot) -> Vector:
    query = np.asarray(vector, dtype=np.float32)
    if query.shape != (shot.matrix.shape[1],):
        raise InvalidInput(
            f"the question has {query.size} dimensions, the cube {shot.matrix.shape[1]}"
        )
    if not np.isfinite(query).all():
        raise InvalidInput("the question's vector holds nan or infinity")
    return query


def _rows(shot: _Snapshot, within: Rows | None) -> Rows:
    """Row numbers of what may be proposed, in item order where ``within`` is sorted."""
    if within is None:
        return np.flatnonzero(shot.items[: shot.used] >= 0)
    wanted = np.unique(np.asarray(within, dtype=np.int64))
    found = [shot.places.get(n, -1) for n in wanted.tolist()]
    rows = np.asarray(found, dtype=np.int64)
    rows = rows[(rows >= 0) & (rows < shot.used)]
    return rows[shot.items[rows] >= 0]


def _top(scores: NDArray[np.float32], items: Rows, limit: int) -> NDArray[np.int64]:
    """Places of the best ``limit`` scores; equal scores by lower item number."""
    if scores.size > limit:
        edge = np.partition(scores, scores.size - limit)[scores.size - limit]
        places = np.flatnonzero(scores >= edge)
    else:
        places = np.arange(scores.size)
    order = np.lexsort((items[places], -scores[places]))
    return places[order[:limit]]


def _merged(old: _Snapshot | None, entries: Sequence[VectorEntry], matrix: Matrix) -> _Snapshot:
    if old is not None and old.matrix.shape[1] != matrix.shape[1]:
        raise InvalidInput(
            f"the vectors have {matrix.shape[1]} dimensions, the cube {old.matrix.shape[1]}"
        )
    keep = [n for n, e in enumerate(entries) if old is None or not _outdated(old, e)]
    if old is not None and not keep:
        return old
    replaced = [entries[n].item for n in keep if old and entries[n].item in old.places]
    base = _without(old, replaced) if old is not None and replaced else old
    shot = _with_room(base, len(keep), matrix.shape[1])
    start = shot.used
    places = dict(shot.places)
    for offset, n in enumerate(keep):
        places[entries[n].item] = start + offset
    end = start + len(keep)
    shot.matrix[start:end] = matrix[keep]
    shot.items[start:end] = [entries[n].item for n in keep]
    shot.versions[start:end] = [entries[n].version for n in keep]
    return _Snapshot(shot.matrix, shot.items, shot.versions, end, places)


def _outdated(old: _Snapshot, entry: VectorEntry) -> bool:
    row = old.places.get(entry.item)
    return row is not None and int(old.versions[row]) > entry.version


def _with_room(old: _Snapshot | None, more: int, dim: int) -> _Snapshot:
    """The snapshot with free rows behind ``used``; rows a reader may see are never reused."""
    if old is not None and old.used + more <= len(old.items):
        return old
    live = np.flatnonzero(old.items[: old.used] >= 0) if old is not None else np.empty(0, np.int64)
    size = max(_FIRST_ROWS, 2 * (live.size + more))
    matrix = np.zeros((size, dim), dtype=np.float32)
    items = np.full(size, -1, dtype=np.int64)
    versions = np.zeros(size, dtype=np.int64)
    if old is not None:
        matrix[: live.size] = old.matrix[live]
        items[: live.size] = old.items[live]
        versions[: live.size] = old.versions[live]
    places = {int(item): row for row, item in enumerate(items[: live.size].tolist())}
    return _Snapshot(matrix, items, versions, live.size, places)


def _without(old: _Snapshot, gone: Sequence[int]) -> _Snapshot:
    """The snapshot with these items' rows marked dead, in fresh item numbers."""
    items = old.items.copy()
    places = dict(old.places)
    for item in gone:
        items[places.pop(item)] = -1
    return _Snapshot(old.matrix, items, old.versions, old.used, places)
