"""What is known of each memory besides its words, as columns in memory: one row per live item.

Fed by the vault's log like every projection. The ranking reads whole columns where asking the
truth row by row would cost more than the search; filters are decided on them first. Whatever
they let through is checked against the truth again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ports import Rows

FOREVER = np.iinfo(np.int64).max


class Mark(IntFlag):
    """What an answer of some type must hold, read off the words once."""

    TIME = 1
    """A date, a weekday, a time of day, "yesterday", "for two years"."""
    NUMBER = 2
    """A number in digits or words."""
    QUESTION = 4
    """The words end in a question."""


@dataclass(frozen=True, slots=True)
class ColumnEntry:
    """One live item, as the log and the truth tell it."""

    item: int
    version: int
    time: int
    valid_from: int
    valid_to: int | None
    session: str | None
    speaker: str | None
    role: str | None
    drawn_from: int | None
    marks: int = 0
    spans: tuple[tuple[int, int], ...] = ()
    """The dates its words speak of, as half-open intervals in microseconds."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A snapshot of one cube. Arrays are aligned, in ascending item order, never changed."""

    items: Rows
    time: NDArray[np.int64]
    session: NDArray[np.int32]
    """A number per session; -1 for none."""
    place: NDArray[np.int32]
    """Position of the row in ``order``."""
    order: NDArray[np.int32]
    """Rows by (session, time, item), so that neighbours in a conversation stand side by side.
    Facts (``drawn_from``) are not in the conversation: they stand at the end."""
    talk: int
    """How many rows of ``order`` belong to conversations (the rest are facts)."""
    speaker: NDArray[np.int32]
    """Index into ``speakers``; -1 for none."""
    speakers: tuple[str, ...]
    """Casefolded names."""
    role: NDArray[np.int32]
    roles: tuple[str, ...]
    drawn_from: NDArray[np.int64]
    """Item the row restates; -1 for none."""
    marks: NDArray[np.uint8]
    span_row: NDArray[np.int32]
    """Row of each spoken date."""
    span_start: NDArray[np.int64]
    span_end: NDArray[np.int64]

    def rows(self, items: Rows) -> NDArray[np.int64]:
        """The row of each item; -1 where it is not held."""
        at = np.searchsorted(self.items, items)
        at = np.minimum(at, max(len(self.items) - 1, 0))
        if not len(self.items):
            return np.full(len(items), -1, dtype=np.int64)
        return np.where(self.items[at] == items, at, -1)

    def beside(self, rows: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """The row ``step`` turns later in the same session (earlier for negative); -1 for none."""
        place = self.place[rows] + step
        inside = (place >= 0) & (place < self.talk) & (self.place[rows] < self.talk)
        found = self.order[np.where(inside, place, 0)].astype(np.int64)
        same = inside & (self.session[found] == self.session[rows])
        return np.where(same & (self.session[rows] >= 0), found, -1)
