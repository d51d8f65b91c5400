"""What went from one value to another in one clause: ``I left Bosch for Miele``.

Also what is declared: ``I call Bergen home``, ``set my home to Linz``, ``I used to be a teacher``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import shapes
from memos_integrations.operation.reading.clauses import Clause, within
from memos_integrations.operation.reading.frames import Told, ended, fact, values_of
from memos_integrations.operation.reading.naming import Naming, named, spaced
from memos_integrations.operation.reading.stating import Values

_WENT = spaced(
    r"(?:'ve |have |has |'s )?(?:just |recently |since |now |finally )?(?:went|gone|switched|moved|changed|transitioned"
    r"|transferred|jumped ship|go|turned)(?P<what> jobs?| employers?| compan(?:y|ies)| careers?| professions?| roles?)?"
    r" from (?P<verb>being |living |working |studying )?(?:(?P<prep>in|at|for|as) )?(?:an? )?(?P<old>\S.{0,40}?) to"
    r" (?:be |being |living |working |becoming |become |studying )?(?:(?:in|at|for|as) )?(?:an? )?(?=\S)"
)
_LEFT = spaced(
    r"(?:'ve |have |has )?(?:just |recently |finally )?(?:left|quit) (?P<old>\S.{0,40}?) (?:for|to join)"
    r" (?=\S)"
)
_CALL_HOME = spaced(
    r"(?:'ve |have |has )?(?:now |just |proudly |recently |currently )*(?:call|calls|made|consider) (?P<v>\S.{1,30}?) (?:my |our "
    r"|his |her |their )?(?:new |second )?home"
)
_SET = spaced(
    r"(?:please )?(?:(?:i|we)(?:'ve| have)? (?:just |recently )?)?(?:changed?|set|update[d]?|switched?|make|made)"
    r" (?=(?:my|our|[a-z][\w-]{1,24}'s) )"
)
_TO = spaced(r"(?: from (?P<old>\S.{0,40}?))? to (?=\S)")
_USED = spaced(r" used to be (?:called )?(?=\S)")
_KINDS = {"job": "works_at", "employer": "works_at", "compan": "works_at", "career": "works_as",
          "profession": "works_as", "role": "works_as", "living": "lives_in", "being": "works_as",
          "studying": "studies_at", "working": "works_at"}  # fmt: skip
_SHAPES = {"works_at": shapes.company, "works_as": shapes.occupation, "lives_in": shapes.home,
           "studies_at": shapes.company}  # fmt: skip
_FIRST = frozenset("went gone go switched moved changed transitioned transferred jumped turned left quit "
                   "call calls made consider have".split())  # fmt: skip


def facts(clause: Clause) -> Iterator[Fact]:
    """The changes and declarations of a clause."""
    frames = [_set, _used]
    acts = clause.subject and clause.aux in {"", "have"} and not clause.denied
    if acts and clause.head in _FIRST:
        frames = [_went, _left, _called_home, *frames]
    for frame in frames:
        found = list(frame(clause))
        for told in found:
            yield fact(clause, told)
        if found:
            return


def _went(clause: Clause) -> Iterator[Told]:
    """``I went from teacher to baker``, ``I changed jobs from Bosch to Miele``."""
    found = _WENT.match(clause.folded, clause.rest, clause.to)
    if found is None:
        return
    said = (found["what"] or found["verb"] or "").strip()
    kind = next((attribute for word, attribute in _KINDS.items() if said.startswith(word)), None)
    if said == "working" and found["prep"] == "as":
        kind = "works_as"
    # Without a word for it only two jobs are plain: two names may be teams, brands or trains.
    attribute = kind or "works_as"
    shape = shapes.known_job if kind is None else _SHAPES[attribute]
    yield from _between(clause, attribute, found, shape)


def _between(clause: Clause, attribute: str, found: re.Match[str], shape: Values) -> Iterator[Told]:
    naming = Naming(clause.subject, attribute, shape)
    old = values_of(naming, within(clause, found.end("old")), found.start("old"))
    new = values_of(naming, clause, found.end())
    if old and new and old[0].text != new[0].text:
        yield Told(naming, old[0], True, begins=True)
        yield Told(naming, new[0], False, begins=True)


def _left(clause: Clause) -> Iterator[Told]:
    """``I left Bosch for Miele``: two firms by name, and nothing after them."""
    found = _LEFT.match(clause.folded, clause.rest, clause.to)
    if found is None:
        return
    told = list(_between(clause, "works_at", found, shapes.named_firm))
    if told and ended(clause, told[-1].value.to):
        yield from told


def _called_home(clause: Clause) -> Iterator[Told]:
    """``I call Bergen home``, ``we've made Bergen our home``."""
    found = _CALL_HOME.match(clause.folded, clause.rest, clause.to)
    if found is None or not ended(clause, found.end()):
        return
    naming = Naming(clause.subject, "lives_in", shapes.home)
    for value in values_of(naming, within(clause, found.end("v")), found.start("v")):
        if value.to == found.end("v"):
            yield Told(naming, value, False)


def _set(clause: Clause) -> Iterator[Told]:
    """``Change my favourite colour to green``: told to remember, or told that it was done."""
    begun = _SET.match(clause.folded, clause.at, clause.to)
    phrase = named(clause, begun.end()) if begun is not None else None
    found = _TO.match(clause.folded, phrase[1], clause.to) if phrase is not None else None
    if phrase is None or found is None:
        return
    naming, old = phrase[0], []
    if found["old"]:
        old = values_of(naming, within(clause, found.end("old")), found.start("old"))
    for value in values_of(naming, clause, found.end()):
        yield from (Told(naming, each, True, begins=True) for each in old[:1])
        yield Told(naming, value, False, begins=True)


def _used(clause: Clause) -> Iterator[Told]:
    """``My boss used to be Tom``."""
    phrase = named(clause, clause.at)
    found = _USED.match(clause.folded, phrase[1], clause.to) if phrase is not None else None
    if phrase is not None and found is not None:
        for value in values_of(phrase[0], clause, found.end()):
            yield Told(phrase[0], value, True)
