"""The best few of many numbers, without sorting them all. Used by the indexes in memory."""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ports import Rows

_Float = TypeVar("_Float", np.float32, np.float64)
_GROUPS: Final = 1024
_GROUPS_PER_WANTED: Final = 8
_SORTED_AT_ONCE: Final = 2
"""Up to how many numbers for each one wanted are sorted without looking for the best first."""


def reached_by(values: NDArray[_Float], count: int) -> float:
    """A number that at least ``count`` of the values reach, close below the last of these.

    The values are dealt out to groups; ``count`` groups whose best reaches a number hold that
    many values that do. One pass, where a partition of 100,000 takes ten times as long.
    """
    groups = max(_GROUPS, _GROUPS_PER_WANTED * count)
    deep = len(values) // groups
    if deep > 1:
        values = values[: deep * groups].reshape(deep, groups).max(axis=0)
    place = len(values) - count
    return float(np.partition(values, place)[place])


def best_first(scores: NDArray[_Float], items: Rows, limit: int) -> Rows:
    """Places of the ``limit`` highest scores, best first, ties by lower item number."""
    picked = np.arange(len(scores))
    if len(scores) > limit:
        last = np.partition(scores, -limit)[-limit]
        picked = np.flatnonzero(scores >= last)
        if len(picked) > limit:
            above, level = np.flatnonzero(scores > last), np.flatnonzero(scores == last)
            room = limit - len(above)
            picked = np.append(above, level[np.argpartition(items[level], room - 1)[:room]])
    return picked[np.lexsort((items[picked], -scores[picked]))]


def best_of_ascending(scores: NDArray[_Float], limit: int) -> Rows:
    """As ``best_first``, where the items stand in ascending order: a sort that keeps the order of
    equal numbers takes half the time."""
    if len(scores) <= _SORTED_AT_ONCE * limit:
        order: Rows = np.negative(scores).argsort(kind="stable")[:limit]
        return order
    last = np.partition(scores, -limit)[-limit]
    picked: Rows = (scores >= last).nonzero()[0]
    return picked[np.negative(scores[picked]).argsort(kind="stable")[:limit]]


def ascending(items: Rows) -> Rows:
    """``items`` sorted and without repeats; a plain check spares the usual sorted ones."""
    array = np.asarray(items, dtype=np.int64)
    return array if bool((array[1:] > array[:-1]).all()) else np.unique(array)
