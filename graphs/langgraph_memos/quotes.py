"""Answers without a language model: the words of the memories that come near enough.

Called by ``AnswerNode``; pure. It reads what search found and never makes up a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from langgraph_memos.state import Recalled
from memos_integrations.infrastructure.backends.words import tokens

FLOOR_BY_MEANING = 2.3
FLOOR_BY_WORDS = 0.5
"""Least closeness of an answer. Between these and zero lie memories that only share a name or a
mood. Closeness counts meaning and words alone: what stands near a good hit ranks high, but is
no answer by itself."""
_MEANING, _WORDS = 3.5, 3.9
_NEAR = 0.85
_OWN = ("user",)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


class Quote(NamedTuple):
    """One sentence of one memory."""

    text: str
    memory: Recalled


def quote(
    question: str, recalled: Sequence[Recalled], *, floor: float | None = None, most: int = 2
) -> list[Quote]:
    """The sentences that answer best, best first; none when no memory comes near enough.

    A memory that asks instead of telling is no evidence. A further memory is quoted only when
    it fits nearly as well as the best. ``floor`` replaces the least closeness of this module.
    """
    asked = frozenset(tokens(question))
    near = [each for each in recalled if _closeness(each) >= _floor(each, floor)]
    found: list[Quote] = []
    for memory in sorted(near, key=_strength, reverse=True):
        # The speaker's own name says who is asked about, not what.
        wanted = asked - frozenset(tokens(memory["speaker"]))
        sentence = _sentence(memory["text"], wanted)
        told = not sentence.endswith("?") and sentence not in (each.text for each in found)
        if told and (not found or _closeness(memory) >= _NEAR * _closeness(found[0].memory)):
            found.append(Quote(sentence, memory))
    return found[:most]


def _floor(memory: Recalled, given: float | None) -> float:
    if given is not None:
        return given
    return FLOOR_BY_MEANING if "cosine" in memory["signals"] else FLOOR_BY_WORDS


def _closeness(memory: Recalled) -> float:
    signals = memory["signals"]
    return _MEANING * signals.get("cosine", 0.0) + _WORDS * signals.get("words", 0.0)


def _strength(memory: Recalled) -> float:
    """The closeness, with what people said themselves a little before what others inferred."""
    return _closeness(memory) * (1.0 if memory["trust"] in _OWN else 0.9)


def _sentence(text: str, asked: frozenset[str]) -> str:
    """The sentence that shares most words with the question; the first of equals."""
    parts = [part.strip() for part in _SENTENCE.split(text) if part.strip()]
    return max(parts, key=lambda part: len(asked & frozenset(tokens(part))), default=text)
