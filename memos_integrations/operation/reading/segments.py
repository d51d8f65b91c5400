"""Where sentences begin and end, in English, Chinese and both mixed, by character offsets.

Survives abbreviations, initials, decimals, addresses of the web, emoji, lists and code: a dot
ends a sentence only before a blank and something that can begin one. Linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_MARK = re.compile(
    r"(?P<code>```)|(?P<line>[\r\n\u2028\u2029]+)|(?P<zh>[。！？；!?…]{1,99}[」』”’\"')）]{0,9})"
    r"|(?P<dot>\.{1,99}[\"')\]”’]{0,9}(?=\s|$))"
    r"|(?P<emoji>[\u2600-\u27bf\U0001f300-\U0001faff\ufe0f]{1,99}(?=\s{1,9}[A-Z\u4e00-\u9fff]))"
)
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st jr sr vs etc eg e.g ie i.e approx dept est fig inc ltd co corp no vol pp "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri a.m p.m u.s u.k".split()
)
_LAST_WORD = re.compile(r"[A-Za-z.]{1,12}$")
_NEXT = re.compile(r"\s{0,20}")
_LEAD = re.compile(r"\s*(?:[-*•·]\s+|\(?[0-9]{1,3}[.)]\s+|#{1,6}\s+|>\s+)?")
_CAN_GO_ON = frozenset({"etc", "a.m", "p.m", "u.s", "u.k", "inc", "ltd", "co", "corp"})


class Segment(NamedTuple):
    """A sentence: ``text[at:to]``, without the blanks and the list mark around it."""

    at: int
    to: int
    code: bool = False
    """Whether it stands in a fenced block of code."""


def sentences(text: str) -> list[Segment]:
    """The sentences of a text in order; what holds only blanks is left out."""
    return [
        trimmed
        for at, to, code in _pieces(text)
        if (trimmed := _trimmed(text, at, to, code)) is not None
    ]


def _pieces(text: str) -> Iterator[tuple[int, int, bool]]:
    at, code = 0, False
    for mark in _MARK.finditer(text):
        kind = mark.lastgroup
        if kind == "code":
            yield at, mark.start(), code
            at, code = mark.end(), not code
        elif not code and (kind != "dot" or _ends(text, mark)):
            yield at, mark.end(), False
            at = mark.end()
    yield at, len(text), code


def _ends(text: str, mark: re.Match[str]) -> bool:
    """Whether a dot before a blank ends the sentence."""
    gap = _NEXT.match(text, mark.end())
    after = text[gap.end() : gap.end() + 1] if gap else ""
    if after.islower():
        return _ends_in_lower(text, mark)
    last = _LAST_WORD.search(text, max(0, mark.start() - 12), mark.start())
    if last is None or mark[0] != ".":
        return True
    word = last[0].lower().lstrip(".")
    if word in _CAN_GO_ON:
        return True
    return word not in _ABBREVIATIONS and not (len(last[0]) == 1 and last[0].isupper())


def _ends_in_lower(text: str, mark: re.Match[str]) -> bool:
    """Before a small letter a dot ends a sentence only after a whole word: ``sorry. i live``."""
    last = _LAST_WORD.search(text, max(0, mark.start() - 12), mark.start())
    if last is None or mark[0] != "." or "." in last[0] or len(last[0]) <= _SHORTEST_LAST:
        return False
    return last[0].lower() not in _ABBREVIATIONS


_SHORTEST_LAST = 2
"""Letters of what may be an abbreviation that is not in the list."""


def _trimmed(text: str, at: int, to: int, code: bool) -> Segment | None:
    lead = None if code else _LEAD.match(text, at, to)
    at = at if lead is None else lead.end()
    body = text[at:to].rstrip()
    return Segment(at, at + len(body), code) if body else None
