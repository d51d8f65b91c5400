"""Phrases that name an attribute: ``my employer``, ``Ben's job``, ``the city I live in``.

A table of nouns and one of relative clauses, each row with the attribute it names and the shape
of value that can be one. ``frames`` and ``echoes`` put them together with a value, whichever of
the two comes first. What names a former, future or dreamt thing (``my old job``) names nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from memos_integrations.operation.reading import shapes
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.nouns import NOUNS
from memos_integrations.operation.reading.stating import Values
from memos_integrations.operation.reading.vocabulary import (
    ANIMALS,
    NO_NAMES,
    RELATIONS,
    favourite,
)


def spaced(words: str) -> re.Pattern[str]:
    """A pattern; a blank stands for any white space."""
    return re.compile(words.replace(" ", r"\s"))


class Naming(NamedTuple):
    """Whose attribute a phrase names, and what its value may look like."""

    subject: str
    attribute: str
    shape: Values
    denies: bool = False
    """Whether it names what is not so: ``what I can't stand``."""


RELATION = "|".join(sorted(RELATIONS, key=len, reverse=True))
DEAR = (r"(?:(?:older|younger|elder|little|big|twin|best|oldest|eldest|youngest|new|own|dear|lovely"
         r"|current|beloved|wonderful|sweet|only|first|adorable|amazing|closest|dearest|direct|line|baby|late|step"
         r"|family|brand-new|middle)[\s-])")  # fmt: skip
_MODIFIER = (r"(?:(?:new|current|present|actual|main|full|own|chosen|real|official|permanent|regular"
             r"|primary|adopted|latest|brand new|day-to-day|beloved|biggest|greatest|only|true|main"
             r"|usual|everyday|proper|exact|full-time|part-time|known|severe|personal|private|work"
             r"|mobile|cell) )")  # fmt: skip
_FAVOURITE = (r"(?:(?:most|all-time|absolute|very|current|new|personal|overall|one|big|own) ){0,3}"
              r"(?:favou?rite|fave?)")  # fmt: skip
_NO_THING = (r"(?!(?:is|are|was|were|has|have|had|would|will|remains?|stays|became|becomes?|happens?|turned|changed"
             r"|changes|changing|switched|isn|aren|wasn|used|these|at|right|now|currently|nowadays|lately|today|again"
             r"|ever|since|for|by|overall|any|anymore|too|and|or|but|to|i|because|that|which|when|goes|has|must|can"
             r"|could|depends|so|though|also|of(?= (?:all|mine|ours|the|my|these|those))|in(?= (?:life|general|the (?:whole|entire|wide|world))))\b)")  # fmt: skip
_THING = (
    rf"(?!(?:things?|ones?|parts?|bits?)\b){_NO_THING}[a-z][\w-]*(?: {_NO_THING}[a-z][\w-]*){{0,3}}"
)
_KNOWN = "|".join(sorted(NOUNS, key=len, reverse=True))
_WHOSE = (
    rf"(?:(?P<my>my|our)(?: {DEAR}{{0,2}}(?P<kin>{RELATION})'s)?|(?P<named>[a-z][\w-]{{1,24}})'s"
    r"|(?P<none>(?:the|a|an)?))"
)
_NAMED = spaced(
    rf"{_WHOSE} ?(?:name of (?P<of>my|our) {DEAR}{{0,2}}(?P<relation_of>{RELATION})"
    rf"|(?P<favourite>{_FAVOURITE}) (?P<thing>{_THING})"
    rf"|{_MODIFIER}{{0,2}}(?P<noun>{_KNOWN})"
    rf"|(?P<chosen>[a-z][\w-]+) of choice"
    rf"|{DEAR}{{0,2}}(?P<relation>{RELATION})(?P<called>'s (?:first |full )?name)?)(?![\w-])"
)


def named(
    clause: Clause, at: int, *, bare: bool = False, new: bool = False
) -> tuple[Naming, int] | None:
    """What a noun phrase at this place names, with where it ends.

    ``bare``: whether an owner may be missing; ``new``: because ``I have a new`` stood before.
    """
    found = _NAMED.match(clause.folded, at, clause.to)
    naming = _possessed(clause, found, bare=bare, new=new) if found is not None else None
    return (naming, found.end()) if found is not None and naming is not None else None


def _possessed(clause: Clause, found: re.Match[str], *, bare: bool, new: bool) -> Naming | None:
    groups = found.groupdict()
    who = clause.me if groups["of"] else _owner(clause, found)
    alone = who is None and not _alone(groups, bare=bare, new=new)
    if alone or (groups["none"] and not groups["of"] and not groups["called"]):
        return None
    who = who or clause.me
    if groups["kin"] and groups["noun"] in _NAMES:
        return Naming(clause.me, _relation_of(groups["kin"], found[0]), shapes.person)
    if groups["relation"] or groups["relation_of"]:
        return _related(who, groups, found[0])
    thing = groups["thing"] or groups["chosen"]
    if thing is not None:
        return Naming(who, favourite(thing), shapes.favoured)
    noun = NOUNS[groups["noun"]]
    return Naming(who, noun.attribute, noun.shape)


_NAMES = frozenset({"name", "full name", "first name", "real name"})
_ANY = frozenset("kid kids child children parent parents grandparents baby pet".split())


def _related(who: str, groups: dict[str, str | None], words: str) -> Naming | None:
    relation = groups["relation"] or groups["relation_of"] or ""
    if groups["called"] is None and groups["relation"] in _ANY:
        return None
    return Naming(who, _relation_of(relation, words), shapes.person)


def _relation_of(word: str, words: str) -> str:
    """The attribute of a relation; the closest friend is the best one."""
    close = any(dear in words for dear in ("best", "closest", "dearest"))
    return "best_friend" if close and RELATIONS[word] == "friend" else RELATIONS[word]


def _alone(groups: dict[str, str | None], *, bare: bool, new: bool) -> bool:
    """Whether a noun without an owner may be the speaker's: ``home``, or a label."""
    if groups["relation"]:
        pet = groups["none"] == "the" and RELATIONS[groups["relation"]] in ANIMALS
        return new or (pet and groups["called"] is not None)
    noun = groups["noun"]
    if noun is None:
        return bare or new
    return noun == "home" or (bare and NOUNS[noun].bare) or new


def _owner(clause: Clause, found: re.Match[str]) -> str | None:
    if found["kin"]:
        return f"{clause.me}'s {found['kin']}"
    if found["my"]:
        return clause.me
    if found["named"] is None:
        return None
    name = clause.turn.text[found.start("named") : found.end("named")]
    return name if name[0].isupper() and name.lower() not in NO_NAMES else None
