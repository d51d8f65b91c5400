"""The shape of what a language model may say about turns: facts and names, bounded.

There is no field that changes, hides or removes anything.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from memos_integrations.cube.facts import FactKind, MentionKind

MAX_FACTS = 96
_KINDS = get_args(MentionKind)


def _short_name(given: object) -> object:
    """``Lives in`` -> ``lives_in``: a repair that small models need, and that adds no word."""
    return re.sub(r"[\s-]+", "_", given.strip().lower()) if isinstance(given, str) else given


def _lower(given: object) -> object:
    return given.strip().lower() if isinstance(given, str) else given


def _known_kind(given: object) -> object:
    """A kind of name outside the list is none of them; the name itself still stands."""
    lower = _lower(given)
    return lower if not isinstance(lower, str) or lower in _KINDS else "unknown"


ShortName: TypeAlias = Annotated[
    str,
    BeforeValidator(_short_name),
    Field(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9_]*$"),
]


class FactSaid(BaseModel):
    """One fact as a model states it."""

    model_config = ConfigDict(frozen=True)

    turn: int = Field(ge=1)
    quote: str = Field(min_length=1, max_length=2_000)
    kind: Annotated[FactKind, BeforeValidator(_lower)]
    subject: str = Field(min_length=1, max_length=80)
    attribute: ShortName
    value: str = Field(min_length=1, max_length=300)
    text: str = Field(default="", max_length=500)
    single: bool = False
    negated: bool = False
    when: str | None = Field(default=None, max_length=40)
    when_words: str | None = Field(default=None, max_length=200)


class NameSaid(BaseModel):
    """One name as a model states it."""

    model_config = ConfigDict(frozen=True)

    turn: int = Field(ge=1)
    name: str = Field(min_length=1, max_length=120)
    kind: Annotated[MentionKind, BeforeValidator(_known_kind)] = "unknown"


class TurnsRead(BaseModel):
    """What a model found in a batch of turns."""

    model_config = ConfigDict(frozen=True)

    facts: tuple[FactSaid, ...] = Field(max_length=MAX_FACTS)
    names: tuple[NameSaid, ...] = Field(default=(), max_length=2 * MAX_FACTS)
