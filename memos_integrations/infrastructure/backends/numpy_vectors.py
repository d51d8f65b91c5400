"""Exact nearest vectors in memory: one matrix per cube, filter first, then product.

Called by the vault's projections and search space; calls numpy only.

Readers take a snapshot of one cube and never wait; writers take turns, append rows behind those
that a snapshot shows, and publish a new snapshot in one assignment. A replaced or deleted row
stays in memory, unseen, until the matrix is next compacted.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ports import Matrix, Proposal, Rows, Vector, VectorEntry
from memos_integrations.infrastructure.backends.column_table import find
from memos_integrations.infrastructure.backends.selection import (
    ascending,
    best_first,
    reached_by,
)

_GATHER_SHARE: Final = 0.15
"""Below this share of the rows, gathering them beats the full product (measured: 0.15 to 0.3
at 1,000 to 100,000 rows of 384 dimensions)."""
_ONE_THREAD_ROWS: Final = 20_000
_FIRST_ROWS: Final = 64
_COMPACT_BELOW: Final = 0.25
"""A delete that leaves a smaller share of the used rows alive gives the memory back."""
_CHUNK_ROWS: Final = 1024
_NONE: Rows = np.empty(0, dtype=np.int64)


class _Kept:
    """What readers work out about a snapshot and leave for the next one."""

    __slots__ = ("scored",)

    def __init__(self) -> None:
        self.scored: tuple[bytes, Rows | None, NDArray[np.float32]] | None = None
        """The last question, directory places (``None``: all), and their exact scores."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """One cube as a reader sees it. The three directory arrays are never changed in place."""

    matrix: Matrix
    """Rows from ``used`` on are free; a writer fills them for the next snapshot."""
    used: int
    items: Rows
    """Live item numbers, ascending."""
    rows: Rows
    """The matrix row of each."""
    versions: Rows
    in_order: bool
    """Whether the matrix holds the live items in item order, and nothing else."""
    kept: _Kept = field(default_factory=_Kept)

    @property
    def dim(self) -> int:
        return int(self.matrix.shape[1])


class NumpyVectors:
    """Implements ``VectorIndex`` exactly, for as many vectors as fit in memory.

    Four bytes a dimension and item, up to 1.5 times that after growth. A search of 100,000
    vectors of 384 dimensions is bound by memory bandwidth (6 to 16 ms on two shared cores);
    below about 20,000 rows one BLAS thread is as fast as several.
    """

    def __init__(self) -> None:
        self._cubes: dict[int, _Snapshot] = {}
        self._writing = threading.Lock()

    def upsert(self, cube: int, entries: Sequence[VectorEntry]) -> None:
        """Keep one vector per item; an entry older than the kept version changes nothing.

        An entry of the kept version replaces it. Raises ``InvalidInput``, and then keeps nothing
        of the batch, for a vector that is not finite or not of the cube's dimension.
        """
        if entries:
            self.load(
                cube,
                np.array([entry.item for entry in entries], dtype=np.int64),
                np.array([entry.version for entry in entries], dtype=np.int64),
                stacked([entry.vector for entry in entries]),
            )

    def load(self, cube: int, items: Rows, versions: Rows, matrix: Matrix) -> None:
        """As ``upsert``, from arrays: row ``n`` of ``matrix`` is the vector of ``items[n]``.

        100,000 vectors of 384 dimensions take about 0.2 s.
        """
        items, versions = np.asarray(items, np.int64), np.asarray(versions, np.int64)
        matrix = finite(matrix)
        if matrix.ndim != 2 or not len(items) == len(versions) == len(matrix):
            raise InvalidInput("load needs one version and one row of the matrix for each item")
        if not len(items):
            return
        latest = newest(items, versions)
        with self._writing:
            old = self._cubes.get(cube) or _empty(matrix.shape[1])
            _check_dim(old, matrix.shape[1])
            keep = latest[_not_outdated(old, items[latest], versions[latest])]
            if keep.size:
                self._cubes[cube] = _with(old, items[keep], versions[keep], matrix[keep])

    def delete(self, cube: int, items: Sequence[int]) -> None:
        """Forget these items and their versions; unknown ones are no error."""
        with self._writing:
            old = self._cubes.get(cube)
            if old is None or not len(items):
                return
            stay = ~np.isin(old.items, np.asarray(items, dtype=np.int64))
            if not stay.any():
                del self._cubes[cube]
            elif not stay.all():
                self._cubes[cube] = _only(old, stay)

    def search(
        self, cube: int, vector: Vector, *, limit: int, within: Rows | None = None
    ) -> list[Proposal]:
        """The ``limit`` items with the highest cosine, best first, ties by lower item number.

        An item's score is the same to the last bit with and without ``within``.
        """
        shot, places, scores = self._nearest(cube, vector, limit, within)
        if shot is None:
            return []
        hits = (shot.items[places].tolist(), shot.versions[places].tolist(), scores.tolist())
        return list(map(Proposal, *hits))

    def nearest(self, cube: int, vector: Vector, *, limit: int, within: Rows | None = None) -> Rows:
        """The items of ``search`` alone."""
        shot, places, _ = self._nearest(cube, vector, limit, within)
        return _NONE if shot is None else shot.items[places]

    def _nearest(
        self, cube: int, vector: Vector, limit: int, within: Rows | None
    ) -> tuple[_Snapshot | None, Rows, NDArray[np.float32]]:
        """Directory places in one snapshot, best first, and their scores."""
        shot = self._cubes.get(cube)
        query = _question(vector, shot)
        places = None if shot is None or within is None else _places(shot, ascending(within))
        if shot is None or limit < 1 or (places is not None and not places.size):
            return None, _NONE, np.empty(0, np.float32)
        quick, exact = _quick_scores(shot, query, places)
        if exact:
            shot.kept.scored = query.tobytes(), places, quick
        near = _near_top(quick, limit)
        places = near if places is None else places[near]
        scores = quick[near] if exact else _cosines(shot, shot.rows[places], query)
        best = best_first(scores, places, limit)  # places are in item order
        return shot, places[best], scores[best]

    def scores(self, cube: int, vector: Vector, items: Rows) -> NDArray[np.float32]:
        """Cosine per item in the order asked; ``nan`` where the item has no vector."""
        shot = self._cubes.get(cube)
        query = _question(vector, shot)
        asked = np.asarray(items, dtype=np.int64)
        out = np.full(len(asked), np.nan, dtype=np.float32)
        if shot is not None:
            places = find(shot.items, asked)
            known = np.flatnonzero(places >= 0)
            out[known] = _exact_scores(shot, query, places[known])
        return out

    def versions(self, cube: int) -> Mapping[int, int]:
        """Item -> version of everything held, as a copy."""
        shot = self._cubes.get(cube)
        if shot is None:
            return {}
        return dict(zip(shot.items.tolist(), shot.versions.tolist(), strict=True))

    def drop(self, cube: int) -> None:
        """Forget the whole cube."""
        with self._writing:
            self._cubes.pop(cube, None)

    def close(self) -> None:
        """Give the memory back; afterwards the index is empty."""
        with self._writing:
            self._cubes.clear()


def stacked(vectors: Sequence[Vector]) -> Matrix:
    """The vectors as rows of one new matrix. Raises ``InvalidInput``."""
    shapes = {np.shape(vector) for vector in vectors}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise InvalidInput("vectors must be flat and of one length")
    return finite(vectors)


def finite(values: object) -> NDArray[np.float32]:
    """``values`` as a float32 array without nan and infinity. Raises ``InvalidInput``."""
    with np.errstate(over="ignore"):  # a float64 too large becomes inf, which is refused
        out = np.asarray(values, dtype=np.float32)
    if not np.isfinite(out).all():
        raise InvalidInput("a vector holds nan or infinity")
    return out


def _question(vector: Vector, shot: _Snapshot | None) -> Vector:
    query = finite(vector)
    if query.ndim != 1:
        raise InvalidInput("the question must be one flat vector")
    if shot is not None:
        _check_dim(shot, query.size)
    return query


def _check_dim(shot: _Snapshot, dim: int) -> None:
    if shot.dim != dim:
        raise InvalidInput(
            f"the cube holds vectors of {shot.dim} dimensions, not {dim}: embed with the model "
            "the cube was embedded with, or drop the cube and load it anew"
        )


def newest(items: Rows, versions: Rows) -> NDArray[np.int64]:
    """Places of the newest entry of each item, in item order; of equal versions the last."""
    order = np.lexsort((versions, items))
    last = np.ones(len(order), dtype=np.bool_)
    np.not_equal(items[order][1:], items[order][:-1], out=last[:-1])
    return order[last]


def _find(shot: _Snapshot, items: Rows) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each item stands in the directory (or would), and whether it is there."""
    places = shot.items.searchsorted(items)
    if not shot.items.size:
        return places, np.zeros(len(items), dtype=np.bool_)
    inside = np.minimum(places, shot.items.size - 1)
    return places, shot.items[inside] == items


def _places(shot: _Snapshot, items: Rows) -> NDArray[np.int64]:
    places = find(shot.items, items)
    return places if not places.size or places.min() >= 0 else places[places >= 0]


def _quick_scores(
    shot: _Snapshot, query: Vector, places: NDArray[np.int64] | None
) -> tuple[NDArray[np.float32], bool]:
    """Scores of these directory places (of all: ``None``), and whether they are exact or off by
    rounding."""
    if places is None and shot.in_order:
        return _products(shot.matrix[: shot.used], query)
    rows = shot.rows if places is None else shot.rows[places]
    if _is_run(rows):
        return _products(shot.matrix[rows[0] : rows[-1] + 1], query)
    if rows.size < _GATHER_SHARE * shot.used:
        return _products(shot.matrix.take(rows, axis=0), query)
    scores, exact = _products(shot.matrix[: shot.used], query)
    return scores[rows], exact


def _is_run(rows: Rows) -> bool:
    """Whether these rows are one stretch of the matrix, as those of a conversation often are."""
    stretch = bool(rows.size) and int(rows[-1] - rows[0]) == rows.size - 1
    return stretch and bool((rows[1:] > rows[:-1]).all())


def _products(matrix: Matrix, query: Vector) -> tuple[NDArray[np.float32], bool]:
    """The product of each row, and whether it is exact. Few rows are one thread's work: BLAS would
    wake its threads for them, which on a busy machine costs twenty times the product itself."""
    if len(matrix) <= _ONE_THREAD_ROWS:
        return dots(matrix, query), True
    return matrix @ query, False


def _near_top(scores: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
    """Ascending places of all that could be among the best ``limit`` after exact scoring.

    BLAS sums a row differently depending on its neighbours, so equal vectors can differ in the
    last bits; the margin is the bound of that error for unit vectors of 1,000 dimensions.
    """
    if scores.size <= limit:
        return np.arange(scores.size)
    edge = reached_by(scores, limit)
    return np.flatnonzero(scores >= np.float32(edge - 1e-4 * max(1, abs(edge))))


def _exact_scores(shot: _Snapshot, query: Vector, places: Rows) -> NDArray[np.float32]:
    """Scores of these directory places, from the last search for the same vector if it has them."""
    scored = shot.kept.scored
    if scored is not None and scored[0] == query.tobytes():
        at = places if scored[1] is None else find(scored[1], places)
        if scored[1] is None or not at.size or at.min() >= 0:
            kept: NDArray[np.float32] = scored[2][at]
            return kept
    return _cosines(shot, shot.rows[places], query)


def _cosines(shot: _Snapshot, rows: Rows, query: Vector) -> NDArray[np.float32]:
    """Cosines summed row by row in one fixed order: equal vectors get equal scores."""
    out = np.empty(rows.size, dtype=np.float32)
    for start in range(0, rows.size, _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        out[part] = dots(shot.matrix.take(rows[part], axis=0), query)
    return out


def dots(matrix: Matrix, query: Vector) -> NDArray[np.float32]:
    """The product of each row by one thread, whatever stands beside it."""
    if hasattr(np, "vecdot"):  # from NumPy 2.0 on
        products: NDArray[np.float32] = np.vecdot(matrix, query)
    else:
        products = np.sum(matrix * query, axis=1)
    return products


def _empty(dim: int) -> _Snapshot:
    return _snapshot(np.empty((0, dim), dtype=np.float32), 0, _NONE, _NONE, _NONE)


def _snapshot(matrix: Matrix, used: int, items: Rows, rows: Rows, versions: Rows) -> _Snapshot:
    in_order = rows.size == used and bool((rows == np.arange(used)).all())
    return _Snapshot(matrix, used, items, rows, versions, in_order)


def _not_outdated(old: _Snapshot, items: Rows, versions: Rows) -> NDArray[np.bool_]:
    places, known = _find(old, items)
    keep = np.ones(items.size, dtype=np.bool_)
    keep[known] = versions[known] >= old.versions[places[known]]
    return keep


def _with(old: _Snapshot, items: Rows, versions: Rows, matrix: Matrix) -> _Snapshot:
    """The next snapshot, with these ascending items added or replaced."""
    if old.used + items.size > len(old.matrix):
        old = _compacted(old, free=items.size + (old.items.size + items.size) // 2)
    used = old.used + items.size
    old.matrix[old.used : used] = matrix
    new_rows = np.arange(old.used, used)
    places, known = _find(old, items)
    rows, held = old.rows.copy(), old.versions.copy()
    rows[places[known]], held[places[known]] = new_rows[known], versions[known]
    fresh, at = ~known, places[~known]
    return _snapshot(
        old.matrix,
        used,
        np.insert(old.items, at, items[fresh]),
        np.insert(rows, at, new_rows[fresh]),
        np.insert(held, at, versions[fresh]),
    )


def _only(old: _Snapshot, stay: NDArray[np.bool_]) -> _Snapshot:
    """The next snapshot, with only the items marked in ``stay``."""
    items, rows, versions = old.items[stay], old.rows[stay], old.versions[stay]
    shot = _snapshot(old.matrix, old.used, items, rows, versions)
    if items.size < _COMPACT_BELOW * old.used:
        return _compacted(shot, free=items.size // 2)
    return shot


def _compacted(old: _Snapshot, *, free: int) -> _Snapshot:
    """The same items in a matrix of their own, in item order, with at least ``free`` free rows."""
    size = old.items.size
    matrix = np.empty((max(_FIRST_ROWS, size + free), old.dim), dtype=np.float32)
    np.take(old.matrix, old.rows, axis=0, out=matrix[:size], mode="clip")  # "raise" would buffer
    return _snapshot(matrix, size, old.items, np.arange(size), old.versions)
