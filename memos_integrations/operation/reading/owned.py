"""Who belongs to whom, and what one is called: ``my sister Eva``, ``call me Max``, ``Ann's son``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import values
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.naming import DEAR, RELATION, spaced
from memos_integrations.operation.reading.stating import attributed
from memos_integrations.operation.reading.vocabulary import NO_NAMES, RELATIONS

_APPOSED = re.compile(
    r"\b(?:[Mm]y|[Oo]ur)\s(?:(?:older|younger|elder|little|big|twin|best|oldest|eldest|youngest|new)\s)?"
    r"(?P<what>[a-zé-]{3,12}),?\s(?P<name>[A-Z][a-zà-ÿ’-]{1,20})(?=[\s,.!;)'’]|$)"
)
_CALL_ME = spaced(
    r"(?:please )?(?:you can |everyone |everybody |people |(?:my |all my )?friends |they |folks |most people )?"
    r"(?:(?:all|just|mostly|usually) )?(?:calls? me |knows? me as |address me as )(?:just |by )?"
)
_NAME_IS = spaced(r"(?:hi,? |hello,? )?the name(?:'s| is) ")
_REACH_ME = spaced(
    r"(?:(?:you can|please|just|feel free to) )*(?:reach|call|text|e-?mail|contact|phone|write|find|message|ring)"
    r"(?: to)? me (?:at|on|under|via|through|by|using) "
)
_MASKED = re.compile(r"\[[a-z]+:(?P<kind>[a-z_ -]+)\]")
_CONTACTS = {"email": "email", "phone": "phone"}
_IS_OF = spaced(
    rf"(?:'m|'s| am| is) (?P<of>[a-z][\w-]{{1,24}})'s (?P<dear>{DEAR}{{0,2}})(?P<relation>{RELATION})(?=[\s,.!]|$)"
)
_NAMED = spaced(
    rf"(?:i|we) (?:have |just |recently |finally )*(?:named|called|christened) (?:my|our|the) {DEAR}{{0,2}}"
    rf"(?P<relation>{RELATION}) "
)


def apposed(clause: Clause) -> Iterator[Fact]:
    """``... with my sister Eva ...``: who she is, anywhere in a plain clause."""
    for found in _APPOSED.finditer(clause.turn.text, clause.at, clause.to):
        relation = RELATIONS.get(found["what"])
        if relation is None or found["name"].lower() in NO_NAMES:
            continue
        relation = (
            "best_friend" if relation == "friend" and " best " in found[0].lower() else relation
        )
        yield attributed(clause, relation, found["name"], subject=clause.me)


def introduced(clause: Clause) -> Iterator[Fact]:
    """``call me Max``, ``the name's Max``, ``we named our daughter Lily``, ``reach me at ...``."""
    for pattern, attribute in ((_CALL_ME, "nickname"), (_NAME_IS, "name"), (_NAMED, "")):
        found = pattern.match(clause.folded, clause.at, clause.to)
        value = values.name(clause, found.end()) if found else None
        if found is not None and value is not None:
            named = attribute or RELATIONS[found["relation"]]
            yield attributed(clause, named, value.text, subject=clause.me)
            return
    reached = _REACH_ME.match(clause.folded, clause.at, clause.to)
    covered = _MASKED.match(clause.turn.text, reached.end(), clause.to) if reached else None
    if covered is not None and covered["kind"] in _CONTACTS:
        yield attributed(clause, _CONTACTS[covered["kind"]], covered[0], subject=clause.me)


def related(clause: Clause) -> Iterator[Fact]:
    """``I'm Ana's husband``, ``Ben is Ana's brother``: Ana's brother is Ben."""
    found = _IS_OF.search(clause.folded, clause.at, min(clause.to, clause.at + 60))
    if found is None or not clause.subject or clause.aux != "be" or found.end() < clause.rest:
        return
    other = clause.turn.text[found.start("of") : found.end("of")]
    if not other[0].isupper() or other.lower() in NO_NAMES or other == clause.subject:
        return
    relation = RELATIONS[found["relation"]]
    best = "best" in found["dear"] and relation == "friend"
    attribute = "best_friend" if best else relation
    yield attributed(clause, attribute, clause.subject, subject=other, negated=clause.denied)
    if clause.first and relation == "partner":
        yield attributed(clause, "partner", other, negated=clause.denied)


_ROLE = spaced(
    r"(?:(?:speaking )?as|being|working as|since becoming) an? (?:(?P<age>[0-9]{1,3})[ -]years?[ -]old\b ?)?(?=\S|$)"
)
_THEN_ME = spaced(r",? (?:i|we|my|our)\b")


def in_the_role(clause: Clause) -> Iterator[Fact]:
    """``As a nurse, I ...``: what somebody is, said on the way."""
    found = _ROLE.match(clause.folded, clause.at, clause.to)
    if found is None:
        return
    if found["age"]:
        yield attributed(clause, "age", found["age"], subject=clause.me)
    value = values.job(clause, found.end())
    if value is not None and _THEN_ME.match(clause.folded, value.to):
        yield attributed(clause, "works_as", value.text, subject=clause.me)
