"""The value of a fact, cut out of the words after its verb: shortest form, exact place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from memos_integrations.operation.reading.clauses import Clause
from memos_integrations.operation.reading.vocabulary import (
    JOBS,
    LANGUAGES,
    NATIONALITIES,
    NO_NAMES,
)

_LONGEST, _MOST_WORDS = 70, 9
_STOP = re.compile(
    r"[,.!?;:\n()\"“”。，！？；…🎉]|\s[-–—]\s"
    r"|\s(?:because|since|when|whenever|while|but|so|which|that|who|where|as|after|before|until"
    r"|and (?:i|we|it|he|she|they|my|the|that|now|then|have|has|had|am|is|was|love|like|hate|want"
    r"|need|would|look|looking|hope|interested|trying|know|can|could|should|will|plan|planning|just"
    r"|really|so|also|do|don't|did|went|got|make|makes|making)"
    r"|though|although|if|anymore|any more|any longer|these days|nowadays|at the moment|right now"
    r"|too|as well|a lot|so much|very much|the most|lately|recently|for now|btw|lol|haha|fyi|tbh|imo|imho|ngl|fwiw|rn|atm|again"
    r"|at all|either|in general|mostly|sometimes|thanks to|due to|actually|instead of|instead"
    r"|in order to|than|whose|what|how|why)\b"
    r"|\s(?:now|already|yet|still|though)$"
)
_ARTICLE = re.compile(r"(?:the|an?|some|any|all|my|our|eating|of)\s+")
_TAIL = re.compile(
    r"(?:\s+(?:on|in|at|by|for|since|from|until|around|during|of|to|and|or|with|the|a|an|now|too"
    r"|just|about|this|my|our|is|very|really|also|today|then|early|late))+$|[\s'’*_~-]+$"
)
_EMPTY = frozenset(
    "it that this them these those him her you me us one here there so to everything anything "
    "nothing something someone anyone everyone lot lots bit way things stuff the a an how what "
    "not and or well much more most very good great fine ok okay such up out myself yourself them "
    "myself ourselves same other others both all some idea your you're being be get do doing "
    "going having seeing hearing talking spending".split()
)
_POINTING = re.compile(
    r"(?:it|that|this|these|those|them|him|her|you|your|how|what|when|where|why|his|their|its|the"
    r" (?:way|idea|fact|sound|thought|look|one|ones|part|photo|pic|picture|view)|every|each|to be"
    r"|being|seeing you|hearing|your)\b"
)
_CAPITALS = re.compile(
    r"(?:the\s)?[A-Z][\w’'&.-]*(?:(?:,)?\s(?:(?:of|the|de|la|del|da|do|van|von|and|&)\s){0,2}"
    r"[A-Z0-9][\w’'&-]*){0,5}"
)
_LOWER_PLACE = re.compile(r"[a-zà-ÿ]{3,20}(?:\s[a-zà-ÿ]{3,20})?")
_NAMED = re.compile(r"[A-Z][\w’-]{1,24}(?:\s[A-Z][\w’-]{1,24}){0,2}")
_AND = re.compile(r"\s*,\s*(?:and\s+)?|\s+(?:and|or|&|nor)\s+")


class Value(NamedTuple):
    """A value and where it stands in the turn."""

    text: str
    at: int
    to: int


def phrase(clause: Clause, at: int, *, to: int | None = None) -> Value | None:
    """The words from ``at`` to where the thought ends, without a date or article around them."""
    end = clause.to if to is None else to
    stop = _STOP.search(clause.folded, at, end)
    end = stop.start() if stop else end
    for span in clause.times:
        if at <= span.at < end:
            end = span.at
    return _trimmed(clause, at, end)


def _trimmed(clause: Clause, at: int, end: int) -> Value | None:
    for _ in range(3):
        while at < end and clause.folded[at].isspace():
            at += 1
        article = _ARTICLE.match(clause.folded, at, end)
        if article is None:
            break
        at = article.end()
    text = clause.turn.text[at:end]
    tail = _TAIL.search(text.lower()) if len(text) <= 2 * _LONGEST else None
    while tail is not None:
        text = text[: tail.start()]
        tail = _TAIL.search(text.lower())
    return _checked(Value(text, at, at + len(text)))


def _checked(value: Value) -> Value | None:
    text = value.text.lower()
    if not 1 < len(text) <= _LONGEST or text in _EMPTY or len(text.split()) > _MOST_WORDS:
        return None
    return None if _POINTING.match(text) else value


def several(clause: Clause, at: int) -> Iterator[Value]:
    """The values of a short list: ``jazz, tea and long walks``; one phrase where it is none."""
    whole = phrase(clause, at)
    if whole is None:
        return
    if whole.text.startswith("to "):
        yield whole
        return
    # A comma ends a phrase; a list goes on over it while its parts stay short.
    end = _list_end(clause, whole)
    found, begun = [], whole.at
    for cut in [*_AND.finditer(clause.turn.text, whole.at, end), None]:
        part = _trimmed(clause, begun, end if cut is None else cut.start())
        if part is None or len(part.text.split()) > 3:
            yield whole
            return
        found.append(part)
        begun = end if cut is None else cut.end()
    yield from found


def _list_end(clause: Clause, whole: Value) -> int:
    listed = re.compile(
        r"[\w'’ -]{2,30}(?:,\s[\w'’ -]{2,30}){1,6},?\s(?:and|or)\s[\w'’-]+(?:\s[\w'’-]+){0,2}"
        r"(?=[.!;\s]*$)"
    ).match(clause.turn.text, whole.at, clause.to)
    return listed.end() if listed else whole.to


def place(clause: Clause, at: int) -> Value | None:
    """A place's name; in lower case only where nothing is written with capitals."""
    kind = _SOMEBODY.match(clause.folded, at, clause.to)
    at = kind.end() if kind else at
    found = _CAPITALS.match(clause.turn.text, at, clause.to)
    if found is not None:
        return _named(clause, found)
    if clause.turn.text.isascii() and clause.quote != clause.quote.lower():
        words = clause.quote.replace("I ", "").replace("I'", "").replace("My ", "")
        if words != words.lower():
            return None
    low = _LOWER_PLACE.match(clause.folded, at, clause.to)
    if low is None:
        return None
    more = _PAST_PLACE.search(clause.folded, at, clause.to)
    value = phrase(clause, at, to=more.start() if more else None)
    if value is None or value.at != at or len(value.text.split()) > 2:
        return None
    return None if set(value.text.split()) & (_NO_PLACE | _EMPTY) else value


_PAST_PLACE = re.compile(r"\s(?:for|since|with|near|and|now|atm|rn|these)\b")
_NO_PLACE = frozenset(
    "constant fear peace harmony house flat apartment small big city town village country big "
    "charge need love pain bed school college university place neighborhood neighbourhood suburbs "
    "area moment past present future hospital prison tech finance sales marketing mental health "
    "person my your his her their our general trouble different another".split()
)


def _named(clause: Clause, found: re.Match[str]) -> Value | None:
    at, text = found.start(), found[0]
    for span in clause.times:
        if at < span.at < found.end():
            text = clause.turn.text[at : span.at]
    text = re.sub(r"(?:\s(?:and|of|the|in|&))+$|[\s,.'’&-]+$", "", text)
    if text.lower() in NO_NAMES or len(text) < 2 or len(text) > _LONGEST:
        return None
    return Value(text, at, at + len(text))


def name(clause: Clause, at: int) -> Value | None:
    """A person's (or an animal's) name, ``a woman named`` before it left out."""
    kind = _SOMEBODY.match(clause.folded, at, clause.to)
    at = kind.end() if kind else at
    found = _NAMED.match(clause.turn.text, at, clause.to)
    if found is None or found[0].split()[0].lower() in NO_NAMES:
        return None
    return None if found[0].lower() in NATIONALITIES | _FAITHS else _named(clause, found)


_SOMEBODY = re.compile(
    r"(?:someone\s|somebody\s|(?:an?|the|this|some)\s(?:[a-z-]+\s){1,3}?)(?:named|called|(?:whose|by\sthe)\sname\s(?:is|of))\s"
)
_FAITHS = frozenset(
    "catholic protestant christian muslim jewish hindu buddhist sikh mormon orthodox atheist "
    "republican democrat european african asian american".split()
)


def organisation(clause: Clause, at: int) -> Value | None:
    """A name with a capital, or ``the``/``a`` and a few words: ``a local bakery``.

    One word in lower case only where nothing is written with capitals."""
    if clause.folded.startswith("home", at):
        return None
    found = _CAPITALS.match(clause.turn.text, at, clause.to)
    if found is not None and found[0].lower() != "the":
        return _named(clause, found)
    article = re.compile(r"(?:the|an?|my)\s").match(clause.folded, at, clause.to)
    if not article and not clause.lower:
        return None
    value = phrase(clause, at)
    if value is None or _PERSONAL.search(value.text.lower()):
        return None
    if article:
        return value if 2 <= len(value.text.split()) <= 4 else None
    plain = value.at == at and " " not in value.text and value.text not in _NO_FIRM
    return value if plain and not value.text.endswith("ing") else None


_PERSONAL = re.compile(
    r"\b(?:boss|manager|guy|man|woman|person|friend|uncle|aunt|cousin|named|called)\b"
)
_NO_FIRM = _NO_PLACE | frozenset(
    "night nights noon midnight day days weekends work once least best first last fun free money "
    "cash hire rent food people kids children others everyone myself school university all both "
    "speed height peace times random will ease large sea heart lunch dinner breakfast".split()
)


def job(clause: Clause, at: int, *, strong: bool = False) -> Value | None:
    """An occupation: its last word, or the one before a preposition, is one.

    ``strong``: the words before say that it is one, so an unknown word may be."""
    end = re.compile(
        r"\s(?:at|for|in|with|of|from|and|by|on|to|here|all|through|since|after|i|we|my|these|now|right)\b"
    ).search(clause.folded, at, clause.to)
    value = phrase(clause, at, to=end.start() if end else None)
    if value is None or len(value.text.split()) > 5:
        return None
    word = value.text.lower().split()[-1].split("-")[-1]
    return value if word in JOBS or (_TRADE if strong else _PLAIN_TRADE).search(word) else None


def trade(clause: Clause, at: int) -> Value | None:
    """An occupation where the words before leave nothing else; the list need not know it."""
    return job(clause, at, strong=True)


_PLAIN_TRADE = re.compile(
    r"(?:olog|iatr|graph|therap|hygien)ist$|[a-z]{3}(?:ologist|grapher|smith|keeper)$"
)
_TRADE = re.compile(r"[a-z]{3}(?:er|or|ist|ian|ant|smith|keeper|man|woman|grapher|eer|ier|hand)$")


def language(clause: Clause, at: int) -> Iterator[Value]:
    """The languages of a list."""
    whole = re.compile(r"[\w\s,&’'-]{3,120}").match(clause.turn.text, at, clause.to)
    if whole is None:
        return
    for word in re.compile(r"[A-Za-z]+").finditer(whole[0]):
        if word[0].lower() in LANGUAGES:
            yield Value(word[0], at + word.start(), at + word.end())


_DEED_END = re.compile(
    r"[.!?;:\n()。！？；…]|\s[-–—]\s|,\s(?:for example|like|such as|you know|especially|and|but|so|which|it|i|we|he|she|they|because|then)\b"
    r"|\s(?:because|since|when|whenever|while|but|so|which|that|where|as|after|before|until|if"
    r"|and (?:i|we|it|he|she|they|my|the|that|now|then|am|is|was|had|felt|really|something|everything"
    r"|someone|people|everyone|let|have|see|can't|it's|i'm|we're)"
    r"|though|although|anymore|any more|any longer|again|as well|too|actually|and it)\b"
)


def deed(clause: Clause, at: int) -> Value | None:
    """A verb phrase from ``at`` on, without its dates: ``went to Rome with Tom``."""
    stop = _DEED_END.search(clause.folded, at, clause.to)
    end = stop.start() if stop else clause.to
    text, done = "", at
    for span in clause.times:
        if done <= span.at < end and clause.folded[span.to : span.to + 2] != "'s":
            text += _untailed(clause.turn.text[done : span.at]) + " "
            done = span.to
    text = " ".join(_untailed(text + clause.turn.text[done : max(done, end)]).split())
    text = text.replace(" ,", ",")
    words = text.split()
    if not words or len(text) > 120 or not text[0].isalpha():
        return None
    if len(words) > 1 and words[-1].lower() in {"it", "that", "this"}:
        return None
    return Value(text, at, end)


def _untailed(text: str) -> str:
    """Without blanks, a comma or a preposition left hanging before a date."""
    return re.sub(r"(?:[\s,]+(?:on|in|at|by|for|from|since|until|around|about|during|of))?[\s,]*$", "",
                  text[-400:], flags=re.IGNORECASE)  # fmt: skip
