"""What the log tells the projections. Events carry ids and numbers, never content."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    PUT = "put"
    """A new version of an item."""
    EMBEDDED = "embedded"
    """A vector for the item's words was made."""
    LINKED = "linked"
    ACCESS = "access"
    ERASED = "erased"
    """The item is gone in every version; with no item, records of the cube are."""


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the outbox: the log that every projection follows."""

    seq: int
    at: int
    cube: int
    item: int
    version: int
    kind: EventKind
