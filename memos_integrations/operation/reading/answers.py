"""Short answers to the question of the turn before: ``What's your favourite colour?`` ``Blue.``"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from memos_integrations.cube.facts import Fact, TurnText
from memos_integrations.operation.reading.clauses import speaker_of
from memos_integrations.operation.reading.numbers import WORDS
from memos_integrations.operation.reading.questions import Asked, asked
from memos_integrations.operation.reading.segments import Segment, sentences
from memos_integrations.operation.reading.vocabulary import (
    JOBS,
    NO_NAMES,
    RELATIONS,
    known,
    statement,
)

_LONGEST = 80
_TURNED = (
    (re.compile(r"\b(?:are|were) you\b", re.I), "am I"),
    (re.compile(r"\byours?\b", re.I), "my"),
    (re.compile(r"\byou\b", re.I), "I"),
    (re.compile("您的|你的"), "我的"),
    (re.compile("您|你"), "我"),
)
_THEIRS = re.compile(r"\b(?:i|my|me|mine|we|our)\b|我", re.I)
_LEAD = re.compile(
    r"(?:(?:oh|well|hmm+|um+|uh+|ah|haha|definitely|easy|sure|it(?:'|’)s|it is|that(?:'|’)s|that would be"
    r"|it would be|i(?:'|’)d say|i have to say|def|hey|my answer is|(?:her|his|its) name is|in|at|to"
    r"|an?|the|是|在|叫)\b[,.!:\s]*){0,4}",
    re.I,
)
_YES = re.compile(
    r"\s*(?:yes|yeah|yep|yup|i am|i do|sure|of course|absolutely|definitely|是的|对|会|嗯)\b", re.I
)
_NO = re.compile(r"\s*(?:no|nope|nah|not at all|i'm not|i don't|不|没有|不是)\b", re.I)
_POINTING = re.compile(
    r"(?:it|that|this|these|those|them|him|her|any|my|your|his|their|some|one|ones|being|to)\b",
    re.I,
)
_CONFIRMED = frozenset(
    "allergic_to likes lives_in works_at works_as speaks eats drinks from diet relationship_status "
    "nationality plays".split()
)
_UNSURE = re.compile(
    r"\b(?:not sure|don't know|no idea|depends|why|none|nothing|guess|maybe|probably|both|either|same"
    r"|you|i|we|it|that|thanks|thank|good|great|hard|many|lots?|secret|ask|later|if|but|what|how)\b"
    r"|不知道|不确定|也许|可能|你|为什么",
    re.I,
)


def facts(turn: TurnText, segments: Sequence[Segment]) -> Iterator[Fact]:
    """The fact a short answer gives, if the turn before ends with a question to its speaker."""
    if turn.before is None or not segments or turn.before_speaker == turn.speaker:
        return
    question = _question(turn.before, speaker_of(turn))
    if question is None:
        return
    first = segments[0]
    said = turn.text[first.at : first.to]
    if len(said) > _LONGEST or said.rstrip().endswith(("?", "？")):
        return
    made = _yes_or_no(question, said, first) if question.yes_no else _named(question, turn, first)
    if made is not None:
        yield made


def _question(before: str, me: str) -> Asked | None:
    if not before.rstrip().endswith(("?", "？")):
        return None
    last = sentences(before[-400:])[-1:]
    words = before[-400:][last[0].at : last[0].to] if last else ""
    if _THEIRS.search(words):
        return None
    return asked(turned(words), speaker=me)


def turned(words: str) -> str:
    """Words to somebody as that person would say them: ``your name`` -> ``my name``."""
    for old, new in _TURNED:
        words = old.sub(new, words)
    return words


def _yes_or_no(question: Asked, said: str, where: Segment) -> Fact | None:
    yes = _YES.match(said) is not None
    value = question.value
    if yes == (_NO.match(said) is not None) or value is None or _POINTING.match(value):
        return None
    if question.attribute not in _CONFIRMED:
        return None
    return _fact(question, value, where.at, where.to, negated=yes == question.negated)


def _named(question: Asked, turn: TurnText, where: Segment) -> Fact | None:
    lead = _LEAD.match(turn.text, where.at, where.to)
    at = lead.end() if lead else where.at
    value = turn.text[at : where.to].strip(" .!,。！，~\n")
    short = len(value.split()) <= 5 and len(value) <= 40
    if not value or not short or _UNSURE.search(value) or not _fits(question.attribute, value):
        return None
    start = turn.text.index(value, at)
    return _fact(question, value, start, start + len(value), negated=question.negated)


def _fits(attribute: str, value: str) -> bool:
    """Whether a value can be one of the attribute: an age is a number, a friend has a name."""
    word = value.lower()
    if attribute == "age":
        return word.split()[0].isdigit() or word.split()[0] in WORDS
    if attribute == "works_as":
        return word.split()[-1] in JOBS or not value.isascii()
    if attribute in {"lives_in", "works_at", "studies_at", "from", "name", *RELATIONS.values()}:
        return (value[0].isupper() or not value.isascii()) and word not in NO_NAMES
    return attribute not in {"plans", "phone", "email", "address", "birthday"}


def _fact(question: Asked, value: str, at: int, to: int, *, negated: bool) -> Fact:
    reads = known(question.attribute)
    if question.attribute == "age" and not value.isdigit():
        word = value.lower().split()[0]
        value = word if word.isdigit() else str(WORDS[word])
    return Fact(
        reads.kind, question.subject, question.attribute, value,
        statement(question.subject, question.attribute, value, negated=negated),
        at, max(to, at + 1), single=reads.single, negated=negated, confidence=0.9,
    )  # fmt: skip
