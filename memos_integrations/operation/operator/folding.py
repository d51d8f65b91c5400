"""A fact stands behind the memory it was drawn from: a search shows the source, once.

A fact that fits the question lifts its source; it is shown itself only where the source is not
part of the answer (a filter on memory types, say, or rights on the fact alone).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ports import Rows
from memos_integrations.infrastructure.backends.columns import Columns
from memos_integrations.infrastructure.vault.search_space import Room
from memos_integrations.operation.operator.pool import Pool


def with_sources(items: Rows, columns: Columns | None, room: Room) -> Rows:
    """The proposed items, and the sources of the facts among them as far as they may be shown."""
    if columns is None or not len(items) or not columns.has_facts:
        return items
    rows = columns.rows(items)
    sources = columns.drawn_from[rows[rows >= 0]]
    sources = sources[(sources >= 0) & (columns.rows(sources) >= 0)]
    sources = room.open_of(sources)
    return items if not len(sources) else np.union1d(items, sources)


def fold(
    pool: Pool, scores: NDArray[np.float64], values: NDArray[np.float32]
) -> tuple[Rows, NDArray[np.float64], NDArray[np.float32]]:
    """Items, scores and values with every fact folded into its source, where that is there.

    A source takes the score of its best fact, with that fact's values, if it is the higher one.
    """
    columns = pool.columns
    if columns is None or not len(pool) or not columns.has_facts:
        return pool.items, scores, values
    source = np.where(pool.rows >= 0, columns.drawn_from[pool.rows], -1)
    at = np.minimum(np.searchsorted(pool.items, source), len(pool) - 1)
    behind = (source >= 0) & (pool.items[at] == source)
    if not behind.any():
        return pool.items, scores, values
    best, shown = scores.copy(), values.copy()
    for fact in np.flatnonzero(behind)[np.argsort(scores[behind])].tolist():
        if scores[fact] > best[at[fact]]:
            best[at[fact]], shown[at[fact]] = scores[fact], values[fact]
    keep = ~behind
    return pool.items[keep], best[keep], shown[keep]
