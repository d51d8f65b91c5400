"""A text as the readers of dates see it: in lower case at the same places, with its time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, TypeAlias

from memos_integrations.operation.reading.tense import tense
from memos_integrations.operation.reading.timeline import Stretch, Tense

_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_PLAIN = str.maketrans("０１２３４５６７８９’‘ʼ\u00a0–—−／：", "0123456789''' ---/:")


@dataclass(frozen=True, slots=True)
class Said:
    """Words, the same words folded (as long, so that places agree), and when they were said."""

    shown: str
    folded: str
    at: int
    day: date

    def tense(self, match: re.Match[str]) -> Tense:
        """What the words around a match look to."""
        return tense(self.folded, match.start(), match.end())

    def capital(self, match: re.Match[str], group: str) -> bool:
        """Whether a group begins with a capital: ``May`` is a month, ``may`` is not."""
        return self.shown[match.start(group)].isupper()


class Rule(NamedTuple):
    """A form of date: which words call for it, how it looks, what it means."""

    triggers: frozenset[str]
    pattern: re.Pattern[str]
    read: Reader


Reader: TypeAlias = Callable[[re.Match[str], Said], Stretch | None]
"""The stretch a match means, ``None`` where it is no date after all."""


def fold(text: str) -> str:
    """Lower case of the same length, typographic digits, quotes and dashes made plain."""
    if text.isascii():
        return text.lower()
    plain = text.translate(_PLAIN)
    lower = plain.lower()
    return lower if len(lower) == len(text) else plain.translate(_ASCII_LOWER)


def rule(triggers: str, pattern: str, read: Reader) -> Rule:
    """A rule; a blank in ``pattern`` is one to three blanks in the text, optional before ``?``."""
    spaced = pattern.replace(" ?", r"[\s]{0,3}").replace(" ", r"[\s]{1,3}")
    return Rule(frozenset(triggers.split()), re.compile(spaced), read)
