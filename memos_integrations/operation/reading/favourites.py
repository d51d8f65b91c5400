"""Favourites without the word, or with the kind named apart: ``I like green best of all colours``."""

from __future__ import annotations

from collections.abc import Iterator

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import shapes
from memos_integrations.operation.reading.clauses import Clause, within
from memos_integrations.operation.reading.naming import spaced
from memos_integrations.operation.reading.stating import attributed
from memos_integrations.operation.reading.vocabulary import favourite

_LIKE = r"(?:i|we) (?:really |still |always |now )?(?:like|love|prefer|enjoy) "
_V = r"(?P<v>\S.{0,40}?)"
_X = r"(?P<x>[a-z][\w-]*(?: [a-z][\w-]*)?)"
_BEST = r"(?:the )?(?:best|most)"
_FORMS = tuple(
    spaced(words + r"[\s.!]*$")
    for words in (
        rf"(?:of|out of|from|among) (?:all )?(?:the |my )?{_X},? {_LIKE}{_V} {_BEST}",
        rf"{_LIKE}{_V} {_BEST} of all (?:the )?{_X}",
        rf"{_LIKE}{_V} (?:more|better) than any (?:other )?{_X}",
        rf"(?:when it comes to|as for|as far as|in terms of) {_X}(?: goes?| go| are concerned)?,? {_LIKE}{_V} {_BEST}",
        rf"(?:of|out of|from|among) (?:all )?(?:the |my )?{_X},? {_V}(?: is|'s| has to be| must be) my (?:absolute |all-time |new )?"
        r"(?:favou?rite|fave?|number one)",
        rf"(?:when it comes to|as for|in terms of) {_X},? {_V}(?: is|'s|'d be| would be) my (?:absolute |all-time |new )?"
        r"(?:favou?rite|fave?|number one|first choice|top pick)",
        rf"(?:when it comes to|as for|in terms of) {_X},? my (?:absolute |all-time |new )?favou?rite (?:one )?is {_V}",
        rf"(?P<x>colou?r) {_V} (?:is|has always been|was always|will always be|remains|has been) my (?:absolute |all-time |new )?(?:favou?rite|fave?)",
        rf"no (?:other )?{_X} (?:beats|tops|is better than) {_V}",
    )
)
_GATE = spaced(r"(?:of|out|from|among|when|as|in|the|no|i|we|colou?r) ")
_NO_KIND = frozenset("my the your it them that things thing one all anyone anything people".split())


def facts(clause: Clause) -> Iterator[Fact]:
    """The favourite a clause tells without saying ``my favourite colour``."""
    at = clause.at + 4 if clause.folded.startswith("the ", clause.at) else clause.at
    if _GATE.match(clause.folded, at, clause.to) is None:
        return
    for form in _FORMS:
        found = form.match(clause.folded, at, clause.to)
        if found is None or set(found["x"].split()) & _NO_KIND:
            continue
        value = shapes.favoured(within(clause, found.end("v")), found.start("v"))
        if value is not None:
            name = favourite(found["x"])
            yield attributed(clause, name, value.text, subject=clause.me)
            return
