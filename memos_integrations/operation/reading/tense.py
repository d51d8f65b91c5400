"""Whether words around a date look back or ahead: decides what a date without a year means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from memos_integrations.operation.reading.timeline import Tense

_BEFORE, _AFTER = 80, 60

_FUTURE = frozenset(
    "will won't shall gonna plan plans planned planning intend intends intending hope hopes hoping "
    "hopefully want wants wanna would looking upcoming coming let's should must need needs can "
    "can't due deadline scheduled excited booked remind starts launch launches opens until by "
    "i'll you'll he'll she'll it'll we'll they'll that'll there'll tomorrow 要 将 会".split()
)
_PAST = frozenset(
    "was were wasn't weren't did didn't had hadn't been went saw met got took made came gave "
    "bought ate ran won lost began left flew drove found felt said told thought taught became "
    "broke built caught chose drank fell fought heard held kept knew led paid read rode sang sold "
    "sent slept spent spoke stood swam threw wore wrote happened since born agreed freed died "
    "tied 了 过".split()
)
_NOW = frozenset("am is are i'm we're he's she's they're it's you're".split())
_WORD = re.compile(r"[a-z']+|[了过要将会]|[.!?;\n](?=\s|$)|[。！？；]")
_ENDS = frozenset(".!?;\n。！？；")


def tense(text: str, at: int, to: int) -> Tense:
    """What the sentence around ``text[at:to]`` (lower case) looks to; ``open`` where it is silent.

    The nearest cue before the words decides, else the first one after them.
    """
    before = _WORD.findall(text, max(0, at - _BEFORE), at)
    found = _first(reversed(_last_sentence(before)))
    if found != "open":
        return found
    return _first(_first_sentence(_WORD.findall(text, to, to + _AFTER)))


def _last_sentence(words: list[str]) -> list[str]:
    for place in range(len(words) - 1, -1, -1):
        if words[place] in _ENDS:
            return _with_present(words[place + 1 :])
    return _with_present(words)


def _first_sentence(words: list[str]) -> list[str]:
    for place, word in enumerate(words):
        if word in _ENDS:
            return _with_present(words[:place])
    return _with_present(words)


def _with_present(words: Sequence[str]) -> list[str]:
    """``am visiting`` looks ahead as ``will`` does; ``have got`` does not look back."""
    return [
        _in_context(word, words[place - 1] if place else "") for place, word in enumerate(words)
    ]


def _in_context(word: str, before: str) -> str:
    if word.endswith("ing") and before in _NOW:
        return "will"
    return "have" if word == "got" and before.endswith(("'ve", "have", "has")) else word


def _first(words: Iterable[str]) -> Tense:
    for word in words:
        if word in _FUTURE:
            return "future"
        if word in _PAST or (len(word) > 3 and word.endswith("ed") and word[-3] != "e"):
            return "past"
    return "open"
