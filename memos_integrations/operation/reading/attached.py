"""Facts that hang on a name in passing: ``Oslo, where I live``, ``my employer, Bosch, ...``.

Also ``my home in Oslo``, ``an Oslo resident``, ``green as my favourite colour`` and ``no nuts because
of my allergy``: what is told is not what the sentence is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import shapes, values
from memos_integrations.operation.reading.clauses import Clause, within
from memos_integrations.operation.reading.frames import Told, ended, fact, filling, values_of
from memos_integrations.operation.reading.naming import named, spaced
from memos_integrations.operation.reading.relatives import done_by
from memos_integrations.operation.reading.stating import attributed

_WHERE = re.compile(r",?\swhere\s")
_NAME_BEFORE = re.compile(r"(?:^|[\s,])(?P<v>[A-Z][\w'’.-]{1,24}(?:\s[A-Z][\w'’.-]{1,24}){0,2})$")
_HOME_IN = spaced(r"\b(?P<who>my|our) (?:\w+ )?(?:home|flat|apartment|place) in (?=\S)")
_NO_HOME = re.compile(
    r"\b(?:sold|sell|selling|rent\sout|renting\sout|rented|bought|lost|left|leaving|moved\sout|old|former|previous|second"
    r"|holiday|vacation|summer|used|was|were|childhood|parents?'?)\b"
)
_AFFILIATED = spaced(
    r"an? (?:(?:proud|permanent|long-time|full-time|new|happy|loyal|lifelong) )?(?P<v>[a-z][\w-]+(?: [a-z][\w-]+)?) (?P<as>resident|local"
    r"|employee|staffer|native)(?=[\s.!,]|$)"
)
_AS: dict[str, tuple[str, shapes.Shape]] = {
    "resident": ("lives_in", shapes.home), "local": ("lives_in", shapes.home),
    "employee": ("works_at", shapes.named_firm), "staffer": ("works_at", shapes.named_firm),
    "native": ("from", shapes.home),
}  # fmt: skip
_DECLARED = spaced(
    r"\b(?:go with|went with|pick|picked|choose|chose|name|say|have|had|count|consider|regard|call|list|put(?: down)?|save|note|record"
    r"|store|remember|see|rank|rate|settle on) (?P<v>(?!(?:to|with|a|an)\b)\S.{0,38}?) (?:as )?(?=(?:my|our) )"
)
_ALLERGY = spaced(
    r"(?:(?:can't|cannot|can not|cant|mustn't|must not|don't) (?:eat|have|drink|touch|do|take|use)|avoid"
    r"|stay away from|steer clear of) (?P<v>[a-z][\w -]{1,38}?) (?:because of|due to|thanks to"
    r"|on account of) (?:my|an|a) (?:\w+ )?allerg(?:y|ies)"
)


def where(clause: Clause) -> Iterator[Fact]:
    """``Greetings from Oslo, where I live``."""
    for found in _WHERE.finditer(clause.folded, clause.at, clause.to):
        name = _NAME_BEFORE.search(clause.turn.text, clause.at, found.start())
        if name is None:
            continue
        for naming, _ in done_by(clause, found.end(), "where"):
            for value in values_of(naming, within(clause, found.start()), name.start("v")):
                yield fact(clause, Told(naming, value, False))
            return


def home_in(clause: Clause) -> Iterator[Fact]:
    """``from my home in Oslo``."""
    found = _HOME_IN.search(clause.folded, clause.at, clause.to)
    if found is None or _NO_HOME.search(clause.folded, clause.at, found.end()) is not None:
        return
    value = shapes.home(clause, found.end())
    if value is not None:
        yield attributed(clause, "lives_in", value.text, subject=clause.me)


_PLACE_IN = spaced(
    r"(?:got|have|found|bought|rent|own|took)? ?(?:an? |our own |my own )(?:\w+ ){0,2}?(?:place|flat|apartment|house|home|studio|room|condo"
    r"|cottage|spot) in (?=\S)"
)
_MOVED_IN = spaced(
    r"\b(?:moved in|live there|living there|settled (?:in|there)|call it home|moving in)\b"
)


def moved_in(clause: Clause) -> Iterator[Fact]:
    """``I've got a place in Oslo, moved in last summer``."""
    if not clause.first or clause.denied or clause.aux not in {"", "have"}:
        return
    found = _PLACE_IN.match(clause.folded, clause.rest, clause.to)
    value = shapes.home(clause, found.end()) if found is not None else None
    if value is not None and _MOVED_IN.search(clause.folded, value.to, value.to + _NEAR):
        yield attributed(clause, "lives_in", value.text)


_NEAR = 60
"""Characters within which a second remark is of the same place."""


_MY_WORK = spaced(
    r"\bmy (?:(?:current|new|full-time|part-time) )?(?:work|job|role|career|position|day job) (?P<as>as|at|with) (?:an? |the )?(?=\S)"
)
_NO_WORK = re.compile(
    r"\b(?:quit|left|leaving|lost|losing|old|former|previous|last|first|was|were|applied|dream|interview|used|ended|during|future|next"
    r"|before|after|miss|missed|resigned|gave)\b"
)


def my_work(clause: Clause) -> Iterator[Fact]:
    """``I love my job at Bosch``, ``my work as a plumber pays the bills``."""
    found = _MY_WORK.search(clause.folded, clause.at, clause.to)
    if found is None or _NO_WORK.search(clause.folded, clause.at, clause.to) is not None:
        return
    job = found["as"] == "as"
    value = (
        shapes.occupation(clause, found.end()) if job else shapes.named_firm(clause, found.end())
    )
    if value is not None:
        yield attributed(clause, "works_as" if job else "works_at", value.text, subject=clause.me)


def affiliated(clause: Clause) -> Iterator[Fact]:
    """``I'm an Oslo resident``, ``I'm officially a Bosch employee``."""
    if not clause.subject or clause.aux != "be":
        return
    found = _AFFILIATED.match(clause.folded, clause.rest, clause.to)
    if found is None or not clause.turn.text[found.start("v")].isupper():
        return
    attribute, shape = _AS[found["as"]]
    value = shape(within(clause, found.end("v")), found.start("v"))
    if value is not None and value.to == found.end("v"):
        yield attributed(clause, attribute, value.text, negated=clause.denied)


def declared(clause: Clause) -> Iterator[Fact]:
    """``I'd go with green as my favourite colour``, ``I consider Ana my best friend``."""
    found = _DECLARED.search(clause.folded, clause.at, clause.to)
    phrase = named(clause, found.end()) if found is not None else None
    if found is None or phrase is None or not ended(clause, phrase[1]) or clause.denied:
        return
    for value in filling(phrase[0], within(clause, found.end("v")), found.start("v")):
        yield fact(clause, Told(phrase[0], value, False))


def allergic(clause: Clause) -> Iterator[Fact]:
    """``I can't have nuts because of my allergy``."""
    found = _ALLERGY.search(clause.folded, clause.at, clause.to)
    if found is None or not clause.first:
        return
    for value in values.several(within(clause, found.end("v")), found.start("v")):
        yield attributed(clause, "allergic_to", value.text)
