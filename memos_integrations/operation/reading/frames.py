"""Sentences that join a naming phrase and its value, whichever comes first.

``My employer is Bosch``, ``Bosch is where I work``, ``it's Bosch I work for``, ``Bosch employs
me``, ``my employer changed from Bosch to Miele``. Called for every clause; costs one look at its
first word and one search for a link where nothing fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import shapes
from memos_integrations.operation.reading.clauses import Clause, undated, within
from memos_integrations.operation.reading.naming import Naming, named, spaced
from memos_integrations.operation.reading.relatives import done_by, relative
from memos_integrations.operation.reading.stating import attributed
from memos_integrations.operation.reading.values import Value
from memos_integrations.operation.reading.vocabulary import RELATIONS

ASIDE = (
    r"(?:,? (?:for (?:me|us|(?:my|our) (?P<for_kin>[a-z]+)|(?P<for_name>[a-z][\w-]+))|these days"
    r"|at the moment|at present|right now|currently|nowadays|now|in the (?:whole |entire |wide )?world|of all|ever|on earth|of all time|by far|in life|overall"
    r"|as of now|for now|in general|today|of mine|lately),?)*+"
)
_BE = (
    r"(?:'s|'re| (?:is|are|remains|remain|stays|became|becomes|(?:has|have|had) (?:now )?become"
    r"|(?:has|have) always been|(?:has|have) been|would be|would have to be|will always be|has to be"
    r"|have to be|has got to be|happens to be|happen to be|turned out to be|is going to stay"
    r"|(?:has |have |had )?(?:now |just |recently |since )?(?:changed|switched|moved|shifted|turned)"
    r" (?:in)?to|goes by|go by|answers to|falls on|fall on|is known as|includes?|include))"
    r"|(?<=birthday)'s|(?<=name)'s"
)
_ADVERBS = (
    r"(?:[,:] ?| (?:now|currently|actually|still|simply|officially|definitely|again|today|called"
    r"|[a-z]{3,12}ly|named|listed as|hands down|without a doubt|of course|probably still|in fact|as of \w+|and always will be|and has always been"
    r"|and remains|already|just|only|of course|obviously|also|the name(?: of)?|on|in fact))*+"
)
_NEGATION = r"(?P<no>n't| not| no longer| never)?"
_LINKED = spaced(rf"{ASIDE}(?:{_BE}){_NEGATION}{_ADVERBS} (?=\S)")
_FROM_TO = spaced(
    rf"{ASIDE}(?: has| have| had|'s)?(?: now| just| recently| since)? (?:changed|switched"
    r"|moved|shifted|turned|went|gone) from (?P<old>\S.{0,60}?) (?:in)?to (?=\S)"
)
_LINK = spaced(
    r"(?: (?:is|are|remains|became|has (?:now |since )?become|has (?:always )?been|would be|isn't"
    r"|aren't|is going to remain|(?:has|have|has got|have got|would have) to be|must be|happens to be|turned out to be|will always be|used to be|(?:has |have )?(?:now |recently )?(?:taken over|took over|stepped in"
    r"|replaced [a-z][\w-]+) as)|, (?:hands down|easily|definitely|by far|without a doubt|of course|always|still|forever)|'s|'re)(?P<no> not| no longer| never)?(?: (?:now|still|currently"
    r"|[a-z]{3,12}ly|also|and always will be|by far|hands down|without a doubt|just|of course"
    r"|simply|again))*+ (?=(?:my|our|home|where|what|who|the|[a-z][\w-]{1,24}'s) ?)"
)
_AFTER_NAMING = spaced(
    r"(?:,? (?:now|these days|at the moment|right now|currently|nowadays|of all time|by far|today|again"
    r"|anymore|any more|and always will be|for now|in life|in the (?:whole |entire )?world|(?!daily|weekly|monthly|yearly)[a-z]{3,12}ly|overall|ever|so far|at present|of all|though"
    r"|too|for (?:ages|years|decades|ever|good|a while|a long time)|for (?:about |over |almost |the last"
    r" |the past )?\w+ (?:years?|months?|weeks?|decades?)|for (?:me|us)(?: and (?:my|the|our) \w+)?"
    r"|at (?:work|home|the office|school|uni)|as of \w+|until now))*+"
    r"(?:,? (?:since|for as long as) .{1,30})?[\s.!,)]*$"
)
_CLEFT = spaced(r"it(?:'s| is)(?P<no> not|n't)? (?:actually |now |still )*(?=\S)")
_CLEFT_REST = spaced(r" (?:that |where |which |who |whom )?(?=(?:i|we|my|[a-z][\w-]{1,24})\b)")


class Told(NamedTuple):
    """A value that a clause gives to a naming phrase."""

    naming: Naming
    value: Value
    negated: bool
    begins: bool = False


def naming_first(clause: Clause) -> Iterator[Fact]:
    """``my employer is Bosch``, ``my employer, Bosch, ...``, ``my boss changed from A to B``."""
    phrase = named(clause, clause.at)
    if phrase is None:
        return
    for frame in (_changed_told, _apposed_told, _naming_first_told):
        found = list(frame(clause, *phrase))
        if found:
            yield from (fact(clause, told) for told in found)
            return


def relative_first(clause: Clause) -> Iterator[Fact]:
    """``the city I live in is Porto``, ``what I do is being a plumber``."""
    yield from facts(clause, _relative_first_told)


def value_first(clause: Clause) -> Iterator[Fact]:
    """``Bosch is my employer``, ``Bosch is where I work``."""
    yield from facts(clause, _value_first_told)


def cleft(clause: Clause) -> Iterator[Fact]:
    """``it's Bologna I live in``."""
    yield from facts(clause, _cleft_told)


def facts(clause: Clause, *frames: Callable[[Clause], Iterator[Told]]) -> Iterator[Fact]:
    """The facts of the first of these frames that fits."""
    for frame in frames:
        found = list(frame(clause))
        if found:
            yield from (fact(clause, told) for told in found)
            return


def fact(clause: Clause, told: Told) -> Fact:
    """The fact, resting on this clause."""
    return attributed(
        clause,
        told.naming.attribute,
        told.value.text,
        subject=told.naming.subject,
        negated=told.negated != told.naming.denies,
        begins=told.begins,
    )


def values_of(naming: Naming, clause: Clause, at: int) -> list[Value]:
    """The values of the naming's shape that begin here."""
    found = naming.shape(clause, at)
    return [found] if isinstance(found, Value) else list(found or ())


_PREPOSITION = re.compile(r"(?:at|with|for|in)\s")


def _naming_first_told(clause: Clause, naming: Naming, at: int) -> Iterator[Told]:
    """``my employer is Bosch``, ``home for my parents is Cork``."""
    link = _LINKED.match(clause.folded, at, clause.to)
    whose = _of_others(clause, link, naming) if link is not None else None
    if link is not None and whose is not None:
        changed = re.search(r"to\s$|becom|became", link[0][-24:]) is not None
        yield from _valued(clause, whose, link.end(), negated=bool(link["no"]), begins=changed)


def _apposed_told(clause: Clause, naming: Naming, at: int) -> Iterator[Told]:
    """``My employer, Bosch, is relaxed``."""
    if naming.shape not in _BY_NAME or not clause.folded.startswith(", ", at, clause.to):
        return
    for value in values_of(naming, clause, at + 2):
        if value.text[0].isupper() and clause.folded.startswith(",", value.to, clause.to):
            yield Told(naming, value, False)


_BY_NAME = (shapes.company, shapes.home, shapes.person)


def _of_others(clause: Clause, found: re.Match[str], naming: Naming) -> Naming | None:
    """With the owner that ``for my parents`` names."""
    kin, name = found["for_kin"], found["for_name"]
    if kin:
        return naming._replace(subject=f"{clause.me}'s {kin}") if kin in RELATIONS else None
    if name:
        shown = clause.turn.text[found.start("for_name") : found.end("for_name")]
        return naming._replace(subject=shown) if shown[0].isupper() else None
    return naming


def _valued(
    clause: Clause, naming: Naming, at: int, *, negated: bool, begins: bool = False
) -> Iterator[Told]:
    negated = negated or clause.given_up
    if naming.attribute == "address" and clause.folded.startswith("in ", at):
        naming = naming._replace(attribute="lives_in", shape=shapes.home)
    job = naming.attribute == "works_as"
    where = _PREPOSITION.match(clause.folded, at, clause.to) if job else None
    if where is not None and where[0] != "in ":
        naming = naming._replace(attribute="works_at", shape=shapes.company)
        at = where.end()
    for value in values_of(naming, clause, at):
        if value.text != naming.subject:
            yield Told(naming, value, negated, begins)


def _relative_first_told(clause: Clause) -> Iterator[Told]:
    """``the city I live in is Porto``, ``what I do is being a plumber``."""
    for naming, end in relative(clause, clause.at):
        link = _LINKED.match(clause.folded, end, clause.to)
        if link is not None:
            found = list(_valued(clause, naming, link.end(), negated=bool(link["no"])))
            if found:
                yield from found
                return


def _changed_told(clause: Clause, naming: Naming, at: int) -> Iterator[Told]:
    """``my boss changed from Tom to Petra``."""
    found = _FROM_TO.match(clause.folded, at, clause.to)
    if found is None:
        return
    new = list(_valued(clause, naming, found.end(), negated=False, begins=True))
    old = values_of(naming, within(clause, found.end("old")), found.start("old"))
    if new and old:
        yield Told(naming, old[0], True, True)
        yield from new


def _value_first_told(clause: Clause) -> Iterator[Told]:
    """``Bosch is my employer``, ``Bosch is where I work``."""
    clause = undated(clause)
    link = _LINK.search(clause.folded, clause.at, clause.to)
    if link is None or link.start() == clause.at or link.start() - clause.at > _LONGEST_VALUE:
        return
    negated = bool(link["no"]) or "n't" in link[0] or "used" in link[0]
    for naming in namings(clause, link.end()):
        found = list(_before(naming, clause, link.start()))
        for value in found:
            yield Told(naming, value, negated or clause.given_up)
        if found:
            return


_LONGEST_VALUE = 60


def namings(clause: Clause, at: int) -> Iterator[Naming]:
    """What is named from here to the end of the clause."""
    phrase = named(clause, at)
    for naming, end in [*([phrase] if phrase else []), *relative(clause, at)]:
        if ended(clause, end):
            yield naming


def ended(clause: Clause, at: int) -> bool:
    """Whether nothing but time and emphasis follows."""
    return _AFTER_NAMING.match(clause.folded, at, clause.to) is not None


_OF_THING = spaced(r"(?:the )?(?:colou?r|city of|town of|company|name) (?=\S)")


def _before(naming: Naming, clause: Clause, to: int) -> Iterator[Value]:
    """The values between the beginning of the clause and the link, if they fill it."""
    short = within(clause, to)
    lead = _OF_THING.match(clause.folded, clause.at, to)
    for at in dict.fromkeys([clause.at, lead.end() if lead else clause.at]):
        found = filling(naming, short, at)
        if found:
            yield from found
            return


def filling(naming: Naming, clause: Clause, at: int) -> list[Value]:
    """The values from here that fill the clause."""
    if naming.shape is shapes.never:
        naming = naming._replace(shape=shapes.listed)
    found = values_of(naming, clause, at)
    if naming.attribute in _METAPHORS and any(v.text.lower() in _NO_PERSON for v in found):
        return []
    rest = clause.turn.text[found[-1].to : clause.to].strip(" ,\"'") if found else "x"
    return [] if rest else found


_METAPHORS = frozenset(RELATIONS.values())
_NO_PERSON = frozenset(
    "coffee music time google sleep life nature food chocolate wine sunshine god jesus experience "
    "failure pain exercise tea beer work money pizza netflix python chatgpt love winter summer "
    "autumn spring silence art books reading rain alcohol sugar fear patience danger trouble cancer "
    "youtube wikipedia internet science philosophy history poetry laughter honesty kindness".split()
)


def _cleft_told(clause: Clause) -> Iterator[Told]:
    """``it's Bologna I live in``, ``it's not Bosch I work for``."""
    begun = _CLEFT.match(clause.folded, clause.at, clause.to)
    if begun is None:
        return
    for rest in _CLEFT_REST.finditer(clause.folded, begun.end(), clause.to):
        for naming, end in done_by(clause, rest.end(), None):
            if ended(clause, end):
                whole = within(clause, rest.start())
                for value in filling(naming, whole, begun.end()):
                    yield Told(naming, value, bool(begun["no"]))
                return
