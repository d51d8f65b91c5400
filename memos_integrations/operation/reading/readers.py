"""Who reads what out of a clause: a table of readers, each with the words that call for it.

Most clauses of a conversation hold none of them, so most readers are never asked; the cost of a
clause is one look at its words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from memos_integrations.cube.facts import Fact
from memos_integrations.operation.reading import (
    anaphora,
    attached,
    attributes,
    changes,
    events,
    favourites,
    frames,
    inverse,
    owned,
    plans,
    preferences,
)
from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.vocabulary import RELATIONS

Words: TypeAlias = frozenset[str]


class Reader(NamedTuple):
    """Reads facts where a word of ``first`` begins the clause, or one of each of ``among`` is in it."""

    read: Callable[[Clause], Iterator[Fact]]
    first: Words = frozenset()
    among: tuple[Words, ...] = ()

    @property
    def key(self) -> Words:
        """The words of which one must be there, if none begins the clause."""
        return self.among[0] if self.among else frozenset()

    def called(self, first: str, words: Words) -> bool:
        """Whether a clause with these words calls for it."""
        if first in self.first:
            return True
        return bool(self.among) and not any(words.isdisjoint(some) for some in self.among)


def _words(words: str) -> Words:
    return frozenset(words.split())


_LINKS = _words("is are s re remains remain became become been be isn isnt aren was were stays by on "
                "hands easily definitely far doubt forever must to changed switched from includes as")  # fmt: skip
_NAMING = _words("my our home where what who")
_VERBS = _LINKS - {"s"}
_RELATIVES = _words(
    "i we live lives work works working living employed married engaged from come comes grew born "
    "speak study drive play like love employs do call report answer working lived"
)
READERS = (
    Reader(frames.naming_first, _words("home name"), (_words("my our"), _LINKS)),
    Reader(frames.naming_first, among=(_words("s"), _VERBS)),
    Reader(frames.relative_first, _words("where what who"), (_words("the one my"), _LINKS, _RELATIVES)),
    Reader(frames.value_first, among=(_NAMING, _LINKS)),
    Reader(frames.value_first, among=(_words("s"), _VERBS)),
    Reader(frames.value_first, among=(_words("the"), _LINKS, _RELATIVES)),
    Reader(frames.cleft, among=(_words("it"), _words("i we my"))),
    Reader(inverse.facts, among=(_words("employs employ hired employed pays pay recruited took taken signed signs "
                                          "manages supervises oversees poached headhunted gives"),)),
    Reader(attached.where, among=(_words("where"), _words("i we my s has lives works"))),
    Reader(attached.home_in, among=(_words("home flat apartment place"), _words("my our"), _words("in"))),
    Reader(
        attached.my_work,
        among=(_words("work job role career position"), _words("my"), _words("as at with")),
    ),
    Reader(attached.moved_in, among=(_words("place flat apartment house home studio room condo cottage spot"),
                                     _words("in"), _words("moved moving live living settled call i we"))),
    Reader(attached.affiliated, among=(_words("resident local employee staffer native"),)),
    Reader(attached.declared, among=(_words("as consider call count"), _words("my our"))),
    Reader(attached.allergic, among=(_words("allergy allergies"),)),
    Reader(owned.apposed, among=(frozenset(RELATIONS),)),
    Reader(owned.introduced, among=(_words("me name named called christened"),)),
    Reader(anaphora.named_at_once, among=(_words("named called"), _words("him her it them"))),
    Reader(owned.related, among=(_words("s"), frozenset(RELATIONS))),
    Reader(owned.in_the_role, _words("as being speaking working since")),
    Reader(favourites.facts, among=(_words("best most than favourite favorite fav fave beats tops "
                                           "choice pick number"),)),
    Reader(changes.facts, _words("change set update switch please make"),
           (_words("went gone switched moved changed transitioned transferred left quit call calls made "
                   "consider used set updated make turned jumped"),)),
    Reader(preferences.nothing_more, among=(_words("nothing"),)),
)  # fmt: skip
_OF_SUBJECTS = (attributes.facts, preferences.facts, plans.facts, events.facts)
_CALLED_BY: dict[str, tuple[int, ...]] = {
    word: tuple(n for n, each in enumerate(READERS) if word in each.first or word in each.key)
    for each in READERS
    for word in (*each.first, *each.key)
}
"""The places in the table of the readers that a word may call for."""
_CALLING = frozenset(_CALLED_BY)
_WORD = re.compile(r"[a-z0-9]+|[^\W\d_]+")


def of_clause(clause: Clause) -> Iterator[Fact]:
    """Everything one clause states by itself."""
    said = _WORD.findall(clause.folded, clause.at, clause.to)
    if said:
        words = frozenset(said)
        asked: set[object] = set()
        for place in sorted({n for word in words & _CALLING for n in _CALLED_BY[word]}):
            reader = READERS[place]
            if reader.read not in asked and reader.called(said[0], words):
                asked.add(reader.read)
                yield from reader.read(clause)
    if clause.subject and clause.agrees:
        for read in _OF_SUBJECTS:
            yield from read(clause)
    yield from plans.of_things(clause)
