"""Relative clauses that name an attribute: ``the city I live in``, ``what I do for a living``.

A table: which heads, which verb, what it names. ``it's Bosch I work for`` has no head at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from memos_integrations.operation.reading import shapes
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.naming import DEAR, RELATION, Naming
from memos_integrations.operation.reading.stating import Values
from memos_integrations.operation.reading.vocabulary import NO_NAMES, favourite

_PLACES = "city town place village country area neighbourhood neighborhood state region island"
_FIRMS = (
    "company firm organisation organization business place hospital school bank employer startup "
    "agency shop restaurant corporation outfit practice office studio charity"
)
_PEOPLE = "who woman man person one girl guy lady individual partner"
_WHAT = "what thing"
_BUSY = r"(?:'ve\sbeen|\shave\sbeen|\shas\sbeen|'ve|\shave|\shas|'m|'re|'s|\sam|\sare|\sis|\swas|\swere|m\b)?"
_ADVERB = (r"(?:\s(?:now|currently|actually|mostly|really|truly|absolutely|personally|originally"
           r"|still|presently|normally|simply|just|always|do))?")  # fmt: skip


class _Relative(NamedTuple):
    heads: frozenset[str]
    verb: re.Pattern[str]
    attribute: str
    shape: Values
    denies: bool
    cleft: bool
    """Whether ``it's X I ...`` may stand before it."""


def _relative(
    heads: str, verb: str, attribute: str, shape: Values, *, denies: bool = False,
    cleft: bool = False,
) -> _Relative:  # fmt: skip
    spaced = re.compile((rf"{_ADVERB} (?:{verb})\b{_ADVERB}" if verb else "").replace(" ", r"\s"))
    return _Relative(frozenset(heads.split()), spaced, attribute, shape, denies, cleft)


_BEST = r"(?:likes?|loves?|enjoys?|prefers?|adores?) (?:the )?(?:best|most)(?: of all)?"
_LOVE = r"(?:likes?|loves?|enjoys?|adores?)(?: doing)?(?: (?:the )?(?:most|best))?"
_HATE = r"(?:hates?|can't stand|cannot stand|can't bear|dislikes?|detests?|despises?|loathes?)(?: (?:the )?most)?"
RELATIVES = (
    _relative(f"where {_PLACES}", r"born and (?:raised|bred)", "from", shapes.home),
    _relative(f"where {_PLACES}", r"(?:lives?|lived|living|resides?|residing|based|settled|at home)"
              r"(?: in| at)?", "lives_in", shapes.home, cleft=True),
    _relative(f"what {_PLACES}", r"calls? (?:my |our |their )?home", "lives_in", shapes.home),
    _relative(f"where who {_FIRMS}", r"(?:works?|working|employed|earns? (?:my|our) living)"
              r"(?: at| for| with| by)?", "works_at", shapes.company, cleft=True),
    _relative(_PEOPLE, r"(?:married|engaged) to|dating|going out with|(?:lives?|living) with as a "
              r"couple", "partner", shapes.person, cleft=True),
    _relative(f"{_PEOPLE} boss manager", r"reports? to|answers? to", "boss", shapes.person,
              cleft=True),
    _relative("", _BEST, "favourite_", shapes.favoured),
    _relative("what job work", r"do(?:es)? (?:for (?:a living|work|money|my living|my job)|as a job"
              r"|professionally)|do(?:es)?", "works_as", shapes.occupation),
    _relative("what", "", "works_as", shapes.occupation),
    _relative(f"where {_PLACES}", r"from|comes? from|hails? from|originates? from", "from",
              shapes.home, cleft=True),
    _relative(f"where {_PLACES}", r"(?:grew up|raised|spent (?:my|our) childhood)(?: in)?",
              "grew_up_in", shapes.home),
    _relative(f"where {_PLACES}", r"born(?: in)?", "born_in", shapes.home),
    _relative(f"{_WHAT} food", r"allergic to", "allergic_to", shapes.listed, cleft=True),
    _relative("what language languages", r"speaks?(?: fluently| at home)?", "speaks",
              shapes.language),
    _relative("what subject", r"stud(?:y|ies|ying)|majors? in|majoring in", "studies",
              shapes.listed),
    _relative("where university school college uni", r"(?:stud(?:y|ies|ying)|enrolled)(?: at)?"
              r"|goes? to|attends?|attending|go to", "studies_at", shapes.company),
    _relative("what car vehicle", r"drives?|driving", "drives", shapes.vehicle),
    _relative("what instrument instruments sport sports", r"plays?", "plays", shapes.listed),
    _relative("what language thing", r"learning", "learns", shapes.listed),
    _relative(f"{_WHAT} something hobby food drink", _LOVE, "likes", shapes.listed),
    _relative(f"{_WHAT} something food drink", _HATE, "likes", shapes.listed, denies=True),
)  # fmt: skip
_RELATIVE_HEAD = re.compile(
    (
        r"(?:(?:the|my|one|a|an|some)(?: (?:only|very|current|new|main))? (?P<head>[a-z]+)"
        r"(?: (?:that|which|who|whom|where|in which|for whom))?|(?P<wh>where|what|who)(?: it is(?: that)?)?) "
    ).replace(" ", r"\s")
)
_SUBJECT = re.compile(
    (
        rf"(?:(?P<i>i|we)(?=['\sm])|my {DEAR}{{0,2}}(?P<kin>{RELATION})(?=['\s])"
        rf"|(?P<named>[a-z][\w-]{{1,24}})(?=['\s])){_BUSY}"
    ).replace(" ", r"\s")
)
_EMPLOYING = re.compile(
    rf"the\s(?:{'|'.join(_FIRMS.split())})\s(?:that|which|who)\s(?:employs|pays|hired)\s(?P<who>me|us)\b"
)


def relative(clause: Clause, at: int) -> Iterator[tuple[Naming, int]]:
    """What a relative clause at this place names, with where it ends."""
    employing = _EMPLOYING.match(clause.folded, at, clause.to)
    if employing is not None:
        yield Naming(clause.me, "works_at", shapes.company), employing.end()
        return
    head = _RELATIVE_HEAD.match(clause.folded, at, clause.to)
    if head is not None:
        yield from done_by(clause, head.end(), head["wh"] or head["head"])


def done_by(clause: Clause, at: int, head: str | None) -> Iterator[tuple[Naming, int]]:
    """What ``I live in``, ``my parents live`` names after this head; ``None`` is that of a cleft."""
    subject = _SUBJECT.match(clause.folded, at, clause.to)
    who = _doer(clause, subject) if subject is not None else None
    if subject is None or who is None:
        return
    for row in RELATIVES:
        fits = row.cleft if head is None else head in row.heads or not row.heads
        verb = row.verb.match(clause.folded, subject.end(), clause.to) if fits else None
        if verb is None or (not verb[0] and not subject[0].endswith(("am", "'m"))):
            continue
        attribute = row.attribute
        if attribute == "favourite_":
            if head in _UNFAVOURED or head is None:
                continue
            attribute = favourite(head)
        if _is_over(subject[0], verb[0]) and "born" not in verb[0]:
            continue
        yield Naming(who, attribute, row.shape, row.denies), verb.end()


_UNFAVOURED = frozenset("what where who thing something one".split())


def _is_over(subject: str, verb: str) -> bool:
    """``I was living in``, ``I lived in``; but not ``I've lived in``."""
    perfect = subject.endswith(("'ve", "have", "has", "been"))
    return subject.endswith(("was", "were")) or ("lived" in verb and not perfect)


def _doer(clause: Clause, found: re.Match[str]) -> str | None:
    if found["i"]:
        return clause.me
    if found["kin"]:
        return f"{clause.me}'s {found['kin']}"
    name = clause.turn.text[found.start("named") : found.end("named")]
    return name if name[0].isupper() and name.lower() not in NO_NAMES else None
