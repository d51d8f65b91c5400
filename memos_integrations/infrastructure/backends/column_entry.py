"""One live item as the columns take it in: what is known of it besides its words."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

FLAGS: Final = ("legal_hold", "quarantined")


class Known(NamedTuple):
    """What filters ask of an item besides what the ranking needs."""

    times: tuple[int | None, ...] = (None, 0, 0)
    """Expires, created, updated."""
    flags: tuple[bool, ...] = (False,) * len(FLAGS)
    named: tuple[Any, ...] = ()
    """In the order of ``column_table.NAMED``; empty where only the ranking is served."""
    tags: str | None = None
    """JSON array."""
    labels: str | None = None
    """JSON array."""
    info: str | None = None
    """JSON object."""


class ColumnEntry(NamedTuple):
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
    known: Known = Known()

    def with_marks(self, marks: int) -> ColumnEntry:
        """The same with these marks."""
        return ColumnEntry(*self[:9], marks, *self[10:])
