"""What a reader finds in the words of a memory: facts, names and dates, each with its place.

Pure data. Made by an ``Extractor`` (rules or a language model), stored by the fine stage as
memories of their own, ``derived_from`` the memory whose words they rest on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias, runtime_checkable


class FactKind(StrEnum):
    """What a fact says. An attribute and a preference can be contradicted by a later one."""

    ATTRIBUTE = "attribute"
    PREFERENCE = "preference"
    PLAN = "plan"
    EVENT = "event"


Grain: TypeAlias = Literal["minute", "hour", "day", "week", "month", "season", "year", "years"]
MentionKind: TypeAlias = Literal["person", "place", "organisation", "thing", "unknown"]


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A stretch of the world's time that words speak of, as a half-open interval in UTC."""

    start: int
    """Microseconds since 1970, inclusive."""
    end: int
    """Microseconds since 1970, exclusive."""
    grain: Grain
    at: int
    """Where the words stand: first character."""
    to: int
    """One past the last character."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A name in the words."""

    name: str
    kind: MentionKind
    at: int
    to: int


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement drawn from a memory, readable on its own."""

    kind: FactKind
    subject: str
    """Whom or what it is about: a speaker's name, or a name from the words."""
    attribute: str
    """What is said of it, as a short name: ``lives_in``, ``works_as``, ``likes``, ``plans``."""
    value: str
    text: str
    """A self-contained sentence, its dates normalised: ``"Maya lives in Berlin"``."""
    at: int
    """The quoted span of the source: first character."""
    to: int
    """One past its last character."""
    single: bool = False
    """Whether a subject has one value at a time, so that a new one ends the old one."""
    negated: bool = False
    """Whether it denies the value: ``"I no longer like jazz"`` ends ``likes: jazz``."""
    when: TimeSpan | None = None
    """When it happens or happened, for plans and events; from when on, for attributes."""
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class TurnText:
    """A memory as an extractor sees it: masked words and what its source says about them."""

    text: str
    time: int
    """When it was said, in microseconds since 1970 UTC."""
    speaker: str | None = None
    role: str | None = None
    before: str | None = None
    """The turn before it in the same session, for answers to questions."""
    before_speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Extraction:
    """Everything found in one memory."""

    facts: tuple[Fact, ...] = ()
    mentions: tuple[Mention, ...] = ()
    times: tuple[TimeSpan, ...] = ()
    complete: bool = True
    """Whether a fact that is not here was not said. ``False`` where reading failed or a model
    read, which finds other things another day: then earlier facts of the same words stay."""
    by: str | None = None
    """The name of what drew it, where that is not the extractor that was asked."""
    note: str | None = None
    """``"kind: why"`` where something was not read as asked (``invalid: truncated``). It stands
    in the task's result, so it quotes nothing."""


@runtime_checkable
class Extractor(Protocol):
    """Reads memories into facts. Never raises for what the words say; finding nothing is fine."""

    @property
    def name(self) -> str:
        """Stands in ``header.model`` of what it drew: ``rules/1``, or a language model's name."""
        ...

    def extract(self, turns: Sequence[TurnText]) -> list[Extraction]:
        """One result per turn, in order."""
        ...


@runtime_checkable
class SupportsFallback(Extractor, Protocol):
    """An extractor that needs something outside, and can do without it when it must."""

    def fall_back(self, turns: Sequence[TurnText], why: str) -> list[Extraction]:
        """As ``extract`` without what does not answer: for a task's last attempt. Each ``note``
        says ``unavailable: why``."""
        ...
