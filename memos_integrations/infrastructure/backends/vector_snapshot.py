"""One cube's vectors as a reader sees them, and how a question is scored over them.

Made by the writer in ``numpy_vectors``. A score is the product of one row, summed in one order
whatever else is scored, so equal vectors get equal scores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ports import Matrix, Rows, Vector
from memos_integrations.infrastructure.backends.column_table import find_all
from memos_integrations.infrastructure.backends.selection import (
    ascending,
    best_of_ascending,
    reached_by,
)

ROW_BY_ROW = hasattr(np, "vecdot")
"""From NumPy 2.0 on. Before, BLAS scores all rows and ``_cosines`` the best once more."""
_GATHER_SHARE: Final = 0.2
"""Below this share of the rows, gathering them beats the full product (measured: 0.15 to 0.3
at 1,000 to 100,000 rows of 384 dimensions)."""
_ROWS_PER_STRETCH: Final = 64
"""Where rows that follow on each other are longer on average, no gathering pays."""
_CHUNK_ROWS: Final = 512
"""So that what is gathered of 384 dimensions stays in a core's own cache."""
NONE: Final[Rows] = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Part:
    """Some items, and where they stand."""

    within: Rows
    """What was asked for: the same array means the same part."""
    places: Rows
    """In the directory, ascending."""
    rows: Rows
    """In the matrix."""
    ends: list[int]
    """Of the stretches of rows that follow on each other, as those of a conversation often do."""


class _Kept:
    """What readers work out about a snapshot and leave for the next one."""

    __slots__ = ("part", "scored")

    def __init__(self) -> None:
        self.part: _Part | None = None
        """The items that were asked about last, as by a filter."""
        self.scored: tuple[bytes, Rows | None, NDArray[np.float32]] | None = None
        """The last question, directory places (``None``: all), and their exact scores."""


@dataclass(frozen=True, slots=True)
class Snapshot:
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

    def nearest(
        self, query: Vector, *, limit: int, within: Rows | None
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Directory places of the highest scores, best first, ties by lower item; and these."""
        part = None if within is None else _part(self, within)
        places = None if part is None else part.places
        if limit < 1 or (places is not None and not places.size):
            return NONE, np.empty(0, np.float32)
        quick, exact = _quick_scores(self, query, part)
        if exact:
            self.kept.scored = query.tobytes(), places, quick
        near = _near_top(quick, limit)
        places = near if places is None else places[near]
        scores = quick[near] if exact else _cosines(self, self.rows[places], query)
        best = best_of_ascending(scores, limit)  # places are in item order
        return places[best], scores[best]

    def scores(self, query: Vector, places: Rows) -> NDArray[np.float32]:
        """Exact scores of these directory places, from the last search for the same vector if it
        has them."""
        scored = self.kept.scored
        if scored is not None and scored[0] == query.tobytes():
            at, every = (places, True) if scored[1] is None else find_all(scored[1], places)
            if every:
                kept: NDArray[np.float32] = scored[2][at]
                return kept
        return _cosines(self, self.rows[places], query)


def _part(shot: Snapshot, within: Rows) -> _Part:
    part = shot.kept.part
    if part is None or part.within is not within:
        places, every = find_all(shot.items, ascending(within))
        held = places if every else places[places >= 0]
        rows = shot.rows[held]
        part = shot.kept.part = _Part(within, held, rows, _stretches(rows))
    return part


def _quick_scores(
    shot: Snapshot, query: Vector, part: _Part | None
) -> tuple[NDArray[np.float32], bool]:
    """Scores of these items (of all: ``None``), and whether they are exact or off by rounding."""
    if part is None and shot.in_order:
        return _products(shot.matrix[: shot.used], query)
    rows, ends = (shot.rows, _stretches(shot.rows)) if part is None else (part.rows, part.ends)
    if len(ends) * _ROWS_PER_STRETCH < rows.size + _ROWS_PER_STRETCH:
        return _of_stretches(shot.matrix, rows, ends, query), ROW_BY_ROW
    if rows.size < _GATHER_SHARE * shot.used:
        return _cosines(shot, rows, query), True
    scores, exact = _products(shot.matrix[: shot.used], query)
    return scores[rows], exact


def _stretches(rows: Rows) -> list[int]:
    """Where rows that follow on each other end."""
    return [*(np.flatnonzero(rows[1:] != rows[:-1] + 1) + 1).tolist(), rows.size]


def _of_stretches(
    matrix: Matrix, rows: Rows, ends: list[int], query: Vector
) -> NDArray[np.float32]:
    """The products of stretches of the matrix, which need not be gathered."""
    out = np.empty(rows.size, dtype=np.float32)
    start = 0
    for end in ends if rows.size else ():
        out[start:end] = _products(matrix[rows[start] : rows[end - 1] + 1], query)[0]
        start = end
    return out


def _products(matrix: Matrix, query: Vector) -> tuple[NDArray[np.float32], bool]:
    """The product of each row, and whether it is exact.

    BLAS is no quicker: it wakes its threads, which costs twenty times a small product, and reads
    a large matrix at half the speed of one thread row by row (measured, 2 cores).
    """
    if ROW_BY_ROW:
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
    near: Rows = (scores >= np.float32(edge - 1e-4 * max(1, abs(edge)))).nonzero()[0]
    return near


def _cosines(shot: Snapshot, rows: Rows, query: Vector) -> NDArray[np.float32]:
    """Cosines summed row by row in one fixed order: equal vectors get equal scores."""
    out = np.empty(rows.size, dtype=np.float32)
    for start in range(0, rows.size, _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        out[part] = dots(shot.matrix.take(rows[part], axis=0), query)
    return out


def dots(matrix: Matrix, query: Vector) -> NDArray[np.float32]:
    """The product of each row by one thread, whatever stands beside it."""
    if ROW_BY_ROW:
        products: NDArray[np.float32] = np.vecdot(matrix, query)
    else:
        products = np.sum(matrix * query, axis=1)
    return products
