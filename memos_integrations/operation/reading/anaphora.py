"""Pronouns that carry a name or a reason to what was said before them.

``We have a puppy, her name is Luna``, ``we got a dog and named him Rex``, ``I can't eat peanuts,
I'm allergic``. Called by ``echoes`` with the clause before.
"""

from __future__ import annotations

from collections.abc import Iterator

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import shapes, values
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.naming import RELATION, spaced
from memos_integrations.operation.reading.stating import attributed
from memos_integrations.operation.reading.vocabulary import RELATIONS

_NAME_IS = spaced(
    r"(?:(?:his|her|its|their) name(?:'s| is)|(?:he|she|it)(?:'s| is) (?:called|named)|(?:he|she|it) goes by"
    r"|(?:i|we) (?:named|called) (?:him|her|it|them)) "
)
_THEN_NAMED = spaced(r"(?:,|\band|;) (?:we |i |have )?(?:named|called) (?:him|her|it|them) ")
_HAVING = spaced(
    r"(?:i|we)(?:'ve| have| just| recently| finally| now)* (?:have|has|got|get|had|adopted|bought|keep|own|found|met)"
    rf" (?:an? |my |our |two |the )?(?:[a-z-]+ ){{0,3}}?(?P<relation>{RELATION})(?![\w'-])"
)
_ALLERGIC = spaced(
    r"(?:i'm|i am|im|we're)(?: (?:[a-z]+ly|quite|very))? allergic(?: to (?:it|them|that|those|both))?[\s.!]*$"
)
_PRONOUNS = ("his ", "her ", "its ", "their ", "he", "she", "it", "i ", "we ", "i'm", "im", "we're")


def facts(clause: Clause, before: Clause) -> Iterator[Fact]:
    """What a pronoun of this clause says of the clause before."""
    if clause.folded.startswith(_PRONOUNS, clause.at):
        yield from _named(clause, before)
        yield from _because(clause, before)


def named_at_once(clause: Clause) -> Iterator[Fact]:
    """``We got a dog and named him Rex``."""
    had = _HAVING.match(clause.folded, clause.at, clause.to)
    named = _THEN_NAMED.search(clause.folded, had.end(), clause.to) if had else None
    value = shapes.person(clause, named.end()) if named else None
    if had is not None and value is not None:
        yield attributed(clause, RELATIONS[had["relation"]], value.text, subject=clause.me)


def _named(clause: Clause, before: Clause) -> Iterator[Fact]:
    said = _NAME_IS.match(clause.folded, clause.at, clause.to)
    had = _HAVING.match(before.folded, before.at, before.to) if said else None
    value = values.name(clause, said.end()) if said and had else None
    if had is not None and value is not None:
        whole = clause._replace(at=before.at)
        yield attributed(whole, RELATIONS[had["relation"]], value.text, subject=clause.me)


_DEEDS = frozenset("eat have drink touch do take use go come help".split())
_AVOIDED = spaced(
    r"(?:(?:i|we) )?(?:can't|cannot|can not|cant|mustn't|must not|shouldn't|don't|never|have to avoid|avoid|(?:get|break out in|come out in) (?:hives|a rash|spots|itchy) from|react (?:badly |strongly )?to)(?: ever)?"
    r" (?:(?:eat|have|drink|touch|do|take|use) )?(?=\S)"
)


def _because(clause: Clause, before: Clause) -> Iterator[Fact]:
    """``I can't eat peanuts, I'm allergic``."""
    if _ALLERGIC.match(clause.folded, clause.at, clause.to) is None:
        return
    avoided = _AVOIDED.match(before.folded, before.at, before.to)
    for value in values.several(before, avoided.end()) if avoided else ():
        if value.text in _DEEDS:
            continue
        whole = clause._replace(at=before.at)
        yield attributed(whole, "allergic_to", value.text, subject=clause.me)
