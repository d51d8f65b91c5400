"""Holds what a language model said against the words it was given: only what they say is kept.

Called by the extractor. A fact needs a quote that stands in its turn, and a subject and a value
made of the turn's words; so nothing a model makes up, or is told to say, becomes a memory.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from memos_integrations.cube.facts import Fact, FactKind, Mention, TimeSpan, TurnText
from memos_integrations.infrastructure.backends.words import tokens
from memos_integrations.operation.reading.clauses import SELF
from memos_integrations.operation.reading.vocabulary import ATTRIBUTES, known, statement
from memos_integrations.operation.reading_llm.dates import iso_span
from memos_integrations.operation.reading_llm.schema import FactSaid, NameSaid

_CONFIDENCE = 0.8
_SELF = frozenset({"i", "me", "myself", "my", "speaker", "the speaker", "user", "the user", "我"})
_PLAIN = str.maketrans(
    "\u2019\u2018\u02bc\u201c\u201d\u201e\u2013\u2014\u2212\u00a0", "'''\"\"\"--- "
)
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
_MONTHS = "january february march april may june july august september october november december"
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
# Words an attribute's name may be made of besides those of the turn.
_RELATIONS = frozenset(
    tokens(
        "lives home city country address from birthplace born birthday birthdate age works job "
        "occupation profession employer company position role studies school university degree "
        "major field graduated family mother father parent brother sister sibling son daughter "
        "child children husband wife partner spouse friend boss colleague neighbour pet dog cat "
        "name nickname married single relationship status gender nationality speaks language "
        "religion allergic allergy diet vegetarian health condition medication owns drives car "
        "likes loves enjoys prefers dislikes hates favourite favorite interest hobby plays "
        "instrument sport team music food drink colour color book film movie genre wants needs "
        "goal plans planned going travels trip visits visited visiting travelled attends attended "
        "meeting meets met appointment event bought buys sold started starts stopped finished "
        "completed joined left moved moves happened did made went saw read watched won lost "
        "learned learns learning project works_on deadline date time place location phone email "
        "timezone skill experience member uses has had is does type kind count number"
    )
)
# The same thing under the name that the rules and questions use, and whether it turns the sense.
_SAME = {
    **dict.fromkeys(("loves", "enjoys", "is_fond_of"), ("likes", False)),
    **dict.fromkeys(("dislikes", "hates"), ("likes", True)),
    **dict.fromkeys(("moved_to", "home", "city", "residence", "lives_at"), ("lives_in", False)),
    **dict.fromkeys(("works_for", "employer", "company"), ("works_at", False)),
    **dict.fromkeys(("job", "occupation", "profession"), ("works_as", False)),
    **dict.fromkeys(("plans_to", "plan", "planned"), ("plans", False)),
    **dict.fromkeys(("learning", "is_learning"), ("learns", False)),
}
_GLUE = frozenset(tokens(f"{_MONTHS} {_DAYS} will not no longer like dislike want plan has had"))


class Ungrounded(Exception):
    """The fact does not follow from its turn; the text says which part."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A turn with the words that facts about it may be made of."""

    turn: TurnText
    folded: str
    """As ``turn.text``, character by character, typography and case made plain."""
    known: frozenset[str]

    @classmethod
    def of(cls, turn: TurnText) -> Ground:
        speaker = turn.speaker or ""
        return cls(turn, _fold(turn.text), frozenset(tokens(f"{turn.text} {speaker}")))

    @property
    def speaker(self) -> str:
        assistant = self.turn.role if self.turn.role == "assistant" else None
        return self.turn.speaker or assistant or SELF

    def find(self, quote: str) -> tuple[int, int] | None:
        """Where the words stand; blanks, case and typographic signs may differ, nothing else."""
        words = _fold(quote).split()
        if not words:
            return None
        found = re.search(r"\s+".join(map(re.escape, words)), self.folded)
        return found.span() if found else None

    def says(self, words: str) -> bool:
        """Whether ``words`` are words of the turn or of its speaker's name, and hide nothing."""
        if self.find(words) is not None:
            return bool(tokens(words)) or bool(re.search(r"\w", words))
        named = set(tokens(words))
        return bool(named) and named <= self.known and not _hides(words)


def fact(said: FactSaid, ground: Ground) -> Fact:
    """The fact with its place in the turn. Raises ``Ungrounded``."""
    quote = ground.find(said.quote)
    if quote is None:
        raise Ungrounded("quote not found")
    subject = ground.speaker if said.subject.casefold().strip() in _SELF else said.subject.strip()
    if subject != ground.speaker and not ground.says(subject):
        raise Ungrounded("subject not in the words")
    if not ground.says(said.value):
        raise Ungrounded("value not in the words")
    attribute, turned = _SAME.get(said.attribute, (said.attribute, False))
    if not _is_known(attribute, ground):
        raise Ungrounded("attribute not in the words")
    negated, value = said.negated != turned, _plain(said.value)
    when = _when(said, ground)
    return Fact(
        kind=said.kind,
        subject=subject,
        attribute=attribute,
        value=value,
        text=_own_sentence(said, subject, ground, when)
        or _made(subject, attribute, value, negated=negated, date=said.when if when else None),
        at=quote[0],
        to=quote[1],
        single=_single(said, attribute),
        negated=negated,
        when=when,
        confidence=_CONFIDENCE,
    )


def mention(said: NameSaid, ground: Ground) -> Mention | None:
    """The name with its place; ``None`` where it does not stand in the turn."""
    place = ground.find(said.name)
    if place is None or not re.search(r"\w", said.name):
        return None
    at, to = place
    return Mention(ground.turn.text[at:to], said.kind, at, to)


def _when(said: FactSaid, ground: Ground) -> TimeSpan | None:
    if not said.when:
        return None
    place = ground.find(said.when_words or "")
    span = iso_span(said.when, at=0, to=0)
    if span is None:
        raise Ungrounded("date not readable")
    # Without words that give it, a date is the model's guess: the fact stands without it.
    return None if place is None else iso_span(said.when, at=place[0], to=place[1])


def _is_known(attribute: str, ground: Ground) -> bool:
    words = set(tokens(attribute.replace("_", " ")))
    return attribute in ATTRIBUTES or words <= ground.known | _RELATIONS


def _single(said: FactSaid, attribute: str) -> bool:
    """Whether a new value ends the old one: by the table, and a model's word only beyond it."""
    if attribute in ATTRIBUTES:
        return known(attribute).single
    return said.single and said.kind is FactKind.ATTRIBUTE


def _own_sentence(
    said: FactSaid, subject: str, ground: Ground, when: TimeSpan | None
) -> str | None:
    """The model's sentence where every word of it is the turn's."""
    allowed = ground.known | set(tokens(f"{subject} {said.attribute.replace('_', ' ')}")) | _GLUE
    if when is not None and said.when:
        allowed |= set(tokens(re.sub(r"\D", " ", said.when))) | _unpadded(said.when)
    words = set(tokens(said.text))
    own = words and words <= allowed and not _hides(said.text)
    return said.text.strip() if own else None


def _made(subject: str, attribute: str, value: str, *, negated: bool, date: str | None) -> str:
    """A sentence of the parts, for a model whose own one says more than the words do."""
    if attribute in ATTRIBUTES:
        words = statement(subject, attribute, value, negated=negated)
    else:
        words = f"{subject} {'not ' if negated else ''}{attribute.replace('_', ' ')} {value}"
    return f"{words} ({date})" if date else words


def _unpadded(date: str) -> set[str]:
    return {str(int(digits)) for digits in re.findall(r"\d+", date)}


def _hides(words: str) -> bool:
    return any(unicodedata.category(sign) in _HIDDEN for sign in words)


def _plain(words: str) -> str:
    return " ".join(words.split())


def _fold(text: str) -> str:
    plain = text.translate(_PLAIN)
    lower = plain.lower()
    return lower if len(lower) == len(plain) else plain
