"""Answers in the words of memories that come near enough, or the admission that none does.

Called by ``mos.ask`` and by the answering node of a graph; pure. It reads what search found and
never makes up a sentence.

The floors were set on half of a public set with evidence labels (LoCoMo, three conversations):
with them 56 of 100 questions are quoted for, and two in three questions about things that were
never said get no answer; by words alone it is 63, and more than half. A lower floor answers more of
both kinds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memos_integrations.infrastructure.backends.words import tokens

FLOOR_BY_MEANING = 2.8
FLOOR_BY_WORDS = 0.7
"""Least closeness of an answer. Between these and zero lie memories that only share a name or a
mood. Closeness counts meaning and words alone: what stands near a good hit ranks high, but is
no answer by itself."""
_MEANING, _WORDS = 3.5, 3.9
_NEAR = 0.85
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_NAME = re.compile(r"(?<!^)(?<![.!?]\s)\b[A-Z][\w'-]+|\d+")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A memory that was found for a question: what it says, who said it, what speaks for it."""

    text: str
    speaker: str
    trust: str
    signals: Mapping[str, float]
    """Of the ranking, by name: ``cosine`` for meaning, ``words`` for shared words, ..."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """A sentence, and the place of its memory among those given."""

    text: str
    place: int


def quotes(
    question: str, found: Sequence[Evidence], *, floor: float | None = None, most: int = 2
) -> list[Quoted]:
    """The sentences that answer best, best first; none when no memory comes near enough.

    A memory is evidence only if it is close to the question and holds every name and number of
    it. One that asks instead of telling is none. What the user said stands before what others
    said, and a further memory is quoted only when it fits nearly as well as the first.
    ``floor`` replaces the least closeness of this module.
    """
    chosen: list[Quoted] = []
    for place in sorted(_near(question, found, floor), key=lambda n: _rank(found[n]), reverse=True):
        quoted = Quoted(_sentence(question, found[place]), place)
        told = not quoted.text.endswith("?") and quoted.text not in (q.text for q in chosen)
        if told and (not chosen or _fits_beside(found[place], found[chosen[0].place])):
            chosen.append(quoted)
    return chosen[:most]


def named_in(text: str) -> list[str]:
    """The names and numbers in it; the word a sentence begins with is taken for no name."""
    return _NAME.findall(text)


def _near(question: str, found: Sequence[Evidence], floor: float | None) -> list[int]:
    named = {term for name in named_in(question) for term in tokens(name)}
    return [
        place
        for place, each in enumerate(found)
        if _closeness(each) >= _floor(each, floor)
        and named <= set(tokens(f"{each.speaker} {each.text}"))
    ]


def _floor(memory: Evidence, given: float | None) -> float:
    if given is not None:
        return given
    return FLOOR_BY_MEANING if "cosine" in memory.signals else FLOOR_BY_WORDS


def _closeness(memory: Evidence) -> float:
    signals = memory.signals
    return _MEANING * signals.get("cosine", 0.0) + _WORDS * signals.get("words", 0.0)


def _rank(memory: Evidence) -> tuple[bool, float]:
    return memory.trust == "user", _closeness(memory)


def _fits_beside(memory: Evidence, first: Evidence) -> bool:
    return _closeness(memory) >= _NEAR * _closeness(first)


def _sentence(question: str, memory: Evidence) -> str:
    """The sentence that shares most words with the question; the first of equals."""
    # The speaker's own name says who is asked about, not what.
    asked = set(tokens(question)) - set(tokens(memory.speaker))
    parts = [part.strip() for part in _SENTENCE.split(memory.text) if part.strip()]
    return max(parts, key=lambda part: len(asked & set(tokens(part))), default=memory.text)
