"""Arrays that grow at their end under readers who hold earlier views of them.

Used by the indexes in memory. One writer at a time; a view taken earlier never changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Growing:
    """A flat or two-dimensional array; ``view`` is what it holds now."""

    __slots__ = ("_buffer", "view")

    def __init__(self, dtype: Any, width: int | None = None) -> None:
        shape = (0,) if width is None else (0, width)
        self._buffer: Array = np.zeros(shape, dtype)
        self.view: Array = self._buffer

    def extend(self, values: Array) -> None:
        """Add values behind those held; costs only them, but for a doubling now and then."""
        held, more = len(self.view), len(values)
        if held + more > len(self._buffer):
            grown = np.empty(
                (max(64, held + more + held // 2), *self.view.shape[1:]), self.view.dtype
            )
            grown[:held] = self.view
            self._buffer = grown
        self._buffer[held : held + more] = values
        self.view = self._buffer[: held + more]

    def replace(self, values: Array) -> None:
        """Hold these instead, in memory of their own."""
        self._buffer = self.view = np.ascontiguousarray(values, self.view.dtype)


class Ragged:
    """Several values for each row: ``counts`` says how many, ``values`` holds them in order."""

    __slots__ = ("counts", "values")

    def __init__(self, dtype: Any, width: int | None = None) -> None:
        self.counts = Growing(np.int32)
        self.values = Growing(dtype, width)

    def extend(self, counts: Array, values: Array) -> None:
        self.counts.extend(counts)
        self.values.extend(values)

    def keep(self, stay: NDArray[np.bool_]) -> None:
        """Only the rows marked in ``stay``."""
        self.values.replace(self.values.view[np.repeat(stay, self.counts.view)])
        self.counts.replace(self.counts.view[stay])

    def reorder(self, order: NDArray[np.int64]) -> None:
        """Row ``n`` becomes what row ``order[n]`` was."""
        starts = np.cumsum(self.counts.view) - self.counts.view
        counts = self.counts.view[order]
        self.values.replace(self.values.view[runs(starts[order], counts)])
        self.counts.replace(counts)


def runs(starts: NDArray[np.int64], counts: Array) -> NDArray[np.int64]:
    """``[s, s + 1, ..., s + c - 1]`` of every start and count, one after the other."""
    ends = np.cumsum(counts, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - ends + counts, counts)
