"""What a reader of another system's file gives: memories, and what of the file is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from memos_integrations.cube.entries import Namespace
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ids import from_micros
from memos_integrations.interface.reader import micros_of


@dataclass(frozen=True, slots=True)
class Foreign:
    """One memory of another system. ``id`` is the same whenever the same memory is read."""

    id: str
    text: str = ""
    name: tuple[Namespace, str] | None = None
    """The namespace and key it had there: then it becomes an entry that holds ``value``."""
    value: Mapping[str, Any] = field(default_factory=dict[str, Any])
    owner: str | None = None
    """Whose memory it was there."""
    time: datetime | None = None
    role: str = "user"
    speaker: str | None = None
    session: str | None = None
    agent: str | None = None
    memory_type: str | None = None
    tags: tuple[str, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    expires: datetime | None = None
    earlier: tuple[str, ...] = ()
    """Its wordings before ``text``, the oldest first."""
    words_only: bool = False
    """Whether the file tells of its words alone, and so is silent about ``info``."""


@dataclass(frozen=True, slots=True)
class Left:
    """Something in the file that becomes no memory, and why; no content of it."""

    why: str


Record: TypeAlias = Foreign | Left
Records: TypeAlias = Iterator[Record]


def moment(value: object) -> datetime | None:
    """A time as other systems write it; ``None`` where there is none that can be read."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return from_micros(micros_of(value, "time"))
    except InvalidInput:
        return None


def word(value: object) -> str | None:
    """``value`` where it is text that says something."""
    return value if isinstance(value, str) and value.strip() else None


def told(**facts: object) -> dict[str, Any]:
    """The facts that are there."""
    return {name: fact for name, fact in facts.items() if fact not in (None, "", [], {})}
