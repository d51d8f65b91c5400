"""What belongs to somebody: ``my name is Ann``, ``Ben's sister is Eva``, ``my favourite tea``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import values
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.phrasing import birthday_of
from memos_integrations.operation.reading.stating import attributed
from memos_integrations.operation.reading.vocabulary import NO_NAMES, RELATIONS
from memos_integrations.operation.reading.vocabulary import favourite as favourite_of

_MY = re.compile(
    r"(?:my|our)\s(?P<what>(?:[\w-]+\s){0,3}?[\w-]+?)(?:'s\s(?:first\s)?(?P<name>name)|(?P<s>'s\s"
    r"birthday))?(?:\s(?:is|are|was|will\sbe)|(?<=birthday)'s|(?<=name)'s)\s(?P<not>not\s|no\slonger\s)?(?:now\s|currently\s"
    r"|actually\s|called\s|named\s|on\s|also\s|still\s)*(?P<rest>(?=\S))"
)
_OF_NAMED = re.compile(
    r"(?P<who>[A-Z][\w-]{1,24})['’]s\s(?P<what>(?:[\w-]+\s){0,2}?[\w-]+?)(?:['’]s\sname)?\s(?:is|are)\s"
    r"(?P<not>not\s|no\slonger\s)?(?:called\s|named\s|now\s|on\s)?(?P<rest>(?=\S))"
)
_MINE = re.compile(r"\s(?:is|are)\s(?:still\s|now\s)?(?:my|our)\s")
_APPOSED = re.compile(
    r"\b(?:[Mm]y|[Oo]ur)\s(?:(?:older|younger|elder|little|big|twin|best|oldest|eldest|youngest|new)\s)?"
    r"(?P<what>[a-zé-]{3,12}),?\s(?P<name>[A-Z][a-zà-ÿ’-]{1,20})(?=[\s,.!;)'’]|$)"
)
_NO_FAVOURITE = frozenset({"thing", "things", "one", "ones", "part", "parts", "bit"})
_SUPER = re.compile(
    r"(?:most |all-time |absolute |very |current |new )*favou?rite ".replace(" ", r"\s")
)
_CONTACT = {"phone": "phone", "phone number": "phone", "mobile number": "phone", "number": "phone",
            "cell": "phone", "email": "email", "email address": "email", "e-mail": "email",
            "address": "address", "home address": "address"}  # fmt: skip
_CALL_ME = re.compile(r"(?:please\s)?(?:you can |everyone |everybody |people |friends )?(?:calls? me |"
                      r"call me )".replace(" ", r"\s"))  # fmt: skip


def of_mine(clause: Clause) -> Iterator[Fact]:
    """``my name is Ann``, ``my sister is called Eva``, ``my favourite colour is blue``."""
    found = _MY.match(clause.folded, clause.at, clause.to)
    if found is not None:
        value_at = found.start("rest")
        yield from _owned(clause, clause.me, found["what"], value_at, bool(found["not"]))
        return
    named = _OF_NAMED.match(clause.turn.text, clause.at, clause.to)
    if named is not None and named["who"].lower() not in NO_NAMES:
        value_at = named.start("rest")
        yield from _owned(clause, named["who"], named["what"].lower(), value_at, bool(named["not"]))
        return
    yield from _favoured(clause)


def _owned(clause: Clause, who: str, what: str, at: int, negated: bool) -> Iterator[Fact]:
    words = what.split()
    favourite = _SUPER.match(what)
    relation = _relation(words)
    if favourite is not None:
        value = values.phrase(clause, at)
        thing = what[favourite.end() :]
        if value is not None and thing and thing not in _NO_FAVOURITE:
            name = favourite_of(thing)
            yield attributed(clause, name, value.text, subject=who, negated=negated)
    elif what in _CONTACT:
        masked = _MASKED.search(clause.turn.text, at, clause.to)
        if masked is not None:
            yield attributed(clause, _CONTACT[what], masked[0], subject=who)
    elif words[-1] == "birthday":
        yield from _birthday(clause, who, at)
    elif relation is not None:
        yield from _named(clause, relation, who, at, negated)
    elif what in _OWNED:
        attribute, shape = _OWNED[what]
        article = _ARTICLE.match(clause.folded, at)
        value = shape(clause, article.end() if article else at)
        if value is not None and value.text != who:
            yield attributed(clause, attribute, value.text, subject=who, negated=negated)
    elif what in {"native language", "mother tongue", "first language"}:
        for each in values.language(clause, at):
            yield attributed(clause, "speaks", each.text, subject=who)


def _relation(words: list[str]) -> str | None:
    """The relation that ``older sister`` or ``best friend`` names."""
    if words[-1] not in RELATIONS or (len(words) > 1 and words[-2] not in _DEAR):
        return None
    return "best_friend" if words[-2:] == ["best", "friend"] else RELATIONS[words[-1]]


_MASKED = re.compile(r"\[[a-z]+:[a-z_ -]+\]")
_ARTICLE = re.compile(r"(?:an?\s|the\s|being\s)*")
_OWNED: dict[str, tuple[str, Callable[[Clause, int], values.Value | None]]] = {
    **dict.fromkeys(("name", "full name", "first name"), ("name", values.name)),
    "nickname": ("nickname", values.name),
    **dict.fromkeys(("job", "profession", "occupation"), ("works_as", values.job)),
    **dict.fromkeys(("hometown", "home town"), ("from", values.place)),
}
_DEAR = frozenset("older younger elder little big twin best oldest eldest youngest new old".split())


def _named(clause: Clause, attribute: str, who: str, at: int, negated: bool) -> Iterator[Fact]:
    value = values.name(clause, at)
    if value is None or value.text == who:
        return
    if clause.folded[value.to : value.to + 2] != "'s":
        yield attributed(clause, attribute, value.text, subject=who, negated=negated)


def _birthday(clause: Clause, who: str, at: int) -> Iterator[Fact]:
    for span in clause.times:
        if span.at >= at - 4 and span.grain == "day":
            yield attributed(clause, "birthday", birthday_of(span), subject=who)
            return


def _favoured(clause: Clause) -> Iterator[Fact]:
    """``Blue is my favourite colour``."""
    link = _MINE.search(clause.folded, clause.at, clause.to)
    favourite = _SUPER.match(clause.folded, link.end(), clause.to) if link else None
    if link is None or favourite is None:
        return
    thing = values.phrase(clause, favourite.end())
    value = values.phrase(clause, clause.at, to=link.start())
    if thing is None or thing.text in _NO_FAVOURITE:
        return
    if value is not None and len(thing.text.split()) <= 3:
        yield attributed(clause, favourite_of(thing.text), value.text, subject=clause.me)


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
    """``call me Max``, ``hi, I'm Max``."""
    called = _CALL_ME.match(clause.folded, clause.at, clause.to)
    if called is not None:
        yield from _named(clause, "nickname", clause.me, called.end(), False)
