"""What feedback asks for, in English and Chinese words: rules, no model.

Pure; called by the verb ``feedback``. It never guesses: words it does not know, or from which it
cannot tell what they are about, are given back as not understood.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from memos_integrations.infrastructure.backends.words import tokens

_MAX_CHARS = 600
"""Longer feedback is read by its beginning; the rules look for phrases, not for stories."""


class Verdict(StrEnum):
    """What is said of a memory."""

    WRONG = "wrong"
    OUTDATED = "outdated"
    KEEP = "keep"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Swap:
    """One value in the place of another."""

    old: str
    new: str

    def applied(self, text: str) -> str | None:
        """``text`` with the new value for the old one; ``None`` where the old is not in it."""
        place = re.compile(_bounded(self.old), re.IGNORECASE)
        return place.sub(lambda _: self.new, text) if place.search(text) else None


@dataclass(frozen=True, slots=True)
class Asked:
    """Feedback, understood."""

    verdict: Verdict
    subject: str = ""
    """The words that say which memory is meant; empty for "this" and "that"."""
    new: str | None = None
    """What is right instead, as a statement of its own."""
    swap: Swap | None = None


_I = re.IGNORECASE
_IT = r"(?:this|that|it|these|those)"
_KEEP_AFTER_ALL = re.compile(
    rf"(?:do\s*n[o']?t|never)\s+forget(?:\s+{_IT})?|"
    r"(?:is|are|was|'s|'re)\s*(?:not|n't)\s+(?:wrong|outdated|incorrect|false)|"
    r"别忘了?|不要忘记?|没有?错|没说错",
    _I,
)
_FORGET = re.compile(
    rf"(?:do\s*n[o']?t|stop|no\s+need\s+to)\s+(?:keep(?:ing)?|remember(?:ing)?|us(?:e|ing))(?:\s+{_IT})?|"
    rf"(?:forget|delete|remove|drop)\s+(?:about\s+)?(?:{_IT}\b)?|"
    r"忘记|忘了|忘掉|删除|删掉|别记|不要记住?|不用记",
    _I,
)
_NO_LONGER_TRUE = re.compile(
    r"(?:is|are|'s|'re)?\s*(?:no\s+longer\s+(?:true|valid|correct|the\s+case|right)|"
    r"not\s+(?:true|valid|correct|the\s+case|right)\s+any\s*more)",
    _I,
)
_OUTDATED = re.compile(
    r"(?:(?:is|are|'s|'re|was)\s+)?(?:now\s+)?(?:outdated|out[\s-]of[\s-]date|obsolete|old\s+news)|"
    rf"{_IT}(?:\s+has|'s)\s+changed|(?:已经)?过时了?|已经变了|是以前的事了?",
    _I,
)
_NOT_NOW = re.compile(r"\bno\s+longer\b|不再", _I)
_NOT_ANY_MORE = re.compile(r"(?:\bdo(?:es)?\s*n[o']?t\b|\bnot\b)(?P<what>.+?)\bany\s*more\b", _I)
_WRONG = re.compile(
    rf"(?:{_IT}\s*)?(?:(?:is|are|'s|'re|was|were)\s+)?(?:all\s+)?(?:wrong|incorrect|false|"
    r"not\s+(?:true|right|correct)|mistaken|a\s+mistake)|不对|错了|错的|有误|不正确|说错|记错",
    _I,
)
_KEEP = re.compile(
    rf"(?:please\s+)?(?:keep|remember)\s+{_IT}\b|{_IT}(?:'s|\s+is)\s+(?:still\s+)?(?:right|correct|true|important)|"
    r"still\s+(?:true|right|valid|correct)|记住这个|记住这一点|记住它|请?记住|保留这个|这是对的|说得对",
    _I,
)
_SWAPS = (
    re.compile(r"不是\s*(?P<old>[^,，。；;]+?)[\s,，]*(?:而)?是\s*(?P<new>[^,，。；;]+)"),
    re.compile(r"是\s*(?P<new>[^,，。；;是]+?)[\s,，]*(?:而)?不是\s*(?P<old>[^,，。；;]+)"),
    re.compile(r"(?:\bnot|n't)\s+(?P<old>[^,.;]+?),?\s+but\s+(?:rather\s+)?(?P<new>[^,.;]+)", _I),
    re.compile(
        r"(?P<new>[^,;]+?),?\s+(?:and\s+not|not|instead\s+of|rather\s+than)\s+(?P<old>[^,;]+)$", _I
    ),
)
_LEAD = re.compile(
    r"^.*\b(?:is|are|was|were|be|it's|its|that's|on|at|in|to|from|with|for|by|called)\s+", _I
)
_OLD_LEAD = re.compile(r"^(?:on|at|in|to|from|with|for|by|the|a|an)\s+", _I)
_TRIM = " \t\r\n,.;:!?-\u2013\u2014\"'()，。；：！？、"
_NEXT = r"(?=$|[\s,.;:!，。：；])"
_INTERJECTION = re.compile(
    r"^(?:(?:no|nope|yes|hey|well|sorry|actually|please|and|but|because|since|now)" + _NEXT
    + r"|不" + _NEXT + r"|请|因为|了)", _I,
)  # fmt: skip
_FILLER = re.compile(
    r"^(?:(?:the\s+fact\s+that|that|this|it|these|those|memory)" + _NEXT
    + r"|这个|那个|这|那|它)", _I,
)  # fmt: skip
_TAIL = re.compile(r"(?:^|\s)(?:is|are|was|were|that|this|it|about|please|memory|anymore)$", _I)
_CHINESE_TAIL = re.compile(r"(?:这个|那个|这|那|已经|是)$")


def read_feedback(text: str) -> Asked | None:
    """What ``text`` asks for; ``None`` when no rule knows it."""
    said = " ".join(text.replace("\u2019", "'").split())[:_MAX_CHARS]
    kept = _KEEP_AFTER_ALL.search(said)
    if kept:
        return Asked(Verdict.KEEP, _joined(said, kept))
    gone = _NO_LONGER_TRUE.search(said) or _OUTDATED.search(said)
    if gone:
        return _with_news(Verdict.OUTDATED, said, gone)
    for pattern in (_NOT_NOW, _NOT_ANY_MORE):
        ended = pattern.search(said)
        if ended:
            what = ended.groupdict().get("what") or ""
            rest = f"{said[: ended.start()]} {what} {said[ended.end() :]}"
            return Asked(Verdict.OUTDATED, _clean(rest))
    return _wrong(said) or _plain(said)


def _wrong(said: str) -> Asked | None:
    wrong = _WRONG.search(said)
    rest = said if wrong is None else said[wrong.end() :]
    swap = _swap(_said(rest))
    if swap is not None:
        return Asked(Verdict.WRONG, _clean(said[: wrong.start()]) if wrong else "", swap=swap)
    return None if wrong is None else _with_news(Verdict.WRONG, said, wrong)


def _plain(said: str) -> Asked | None:
    for verdict, pattern in ((Verdict.FORGET, _FORGET), (Verdict.KEEP, _KEEP)):
        found = pattern.search(said)
        if found:
            return Asked(verdict, _joined(said, found))
    return None


def _with_news(verdict: Verdict, said: str, found: re.Match[str]) -> Asked:
    """Before the phrase stands what it is about, behind it what is right instead."""
    news = _said(said[found.end() :])
    return Asked(verdict, _clean(said[: found.start()]), new=news or None)


def _joined(said: str, found: re.Match[str]) -> str:
    return _clean(f"{_clean(said[: found.start()])} {_clean(said[found.end() :])}")


def _swap(said: str) -> Swap | None:
    for pattern in _SWAPS:
        found = pattern.search(said)
        if found:
            new = _LEAD.sub("", found["new"].strip(_TRIM)).strip(_TRIM)
            old = _OLD_LEAD.sub("", found["old"].strip(_TRIM)).strip(_TRIM)
            if new and old and new.casefold() != old.casefold():
                return Swap(old, new)
    return None


def _said(words: str) -> str:
    """Without the marks and interjections before what is said."""
    words = words.strip(_TRIM)
    while (shorter := _INTERJECTION.sub("", words).strip(_TRIM)) != words:
        words = shorter
    return words


def _clean(words: str) -> str:
    """Without the marks and all words that do not say what it is about."""
    words = " ".join(words.split()).strip(_TRIM)
    while True:
        shorter = _FILLER.sub("", _said(words)).strip(_TRIM)
        shorter = _CHINESE_TAIL.sub("", _TAIL.sub("", shorter)).strip(_TRIM)
        if shorter == words:
            return words
        words = shorter


def _bounded(value: str) -> str:
    """A pattern for the value as whole words; scripts without spaces have no such bounds."""
    left = r"(?<![^\W_])" if value[:1].isascii() else ""
    right = r"(?![^\W_])" if value[-1:].isascii() else ""
    return left + r"\s+".join(map(re.escape, value.split())) + right


# -- which memory is meant ------------------------------------------------------------------------

_SHARED = 0.5
"""The share of the words' terms that a memory must hold to be meant by them."""


def meant(asked: Asked, texts: Sequence[str]) -> list[int]:
    """The places of those texts that the feedback can be about, best first; several are a tie.

    With a value to replace, only texts that hold it. With words that say which, the texts that
    share most of them. Without either, all of them.
    """
    places = [n for n, t in enumerate(texts) if asked.swap is None or asked.swap.applied(t)]
    told = set(tokens(asked.subject))
    if not told:
        return places
    shared = {n: len(told & set(tokens(texts[n]))) / len(told) for n in places}
    best = max(shared.values(), default=0.0)
    if best < _SHARED:
        return places if asked.swap is not None else []
    return [n for n in places if shared[n] == best]
