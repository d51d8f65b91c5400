"""Answers to plain questions from facts and from the words of memories, without a language model.

Called by ``mos.ask``; pure. It says what is known, that nothing is known, or that it cannot tell,
and never makes up a value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from memos_integrations.cube.facts import TimeSpan
from memos_integrations.cube.header import State
from memos_integrations.cube.ids import to_micros
from memos_integrations.cube.item import Hit
from memos_integrations.infrastructure.backends.words import tokens
from memos_integrations.interface.quoting import Evidence, named_in, quotes
from memos_integrations.operation.facts.finding import FactView
from memos_integrations.operation.facts.keys import folded
from memos_integrations.operation.facts.slots import TRUST_ORDER
from memos_integrations.operation.reading.dates import spoken_times
from memos_integrations.operation.reading.questions import Asked, asked

_BEFORE = re.compile(
    r"\b(?:before(?: that| then)?|previously|formerly|earlier|in the past)\b", re.I
)
_USED_TO = re.compile(r"\b(did|do|does) (.{1,40}?) (?:used? to)\b", re.I)
_LEADING = re.compile(r"\b(?:in|on|at|during|around|back in|as of|by)\s*$", re.I)
_PLAIN_CHARS = 500
"""No plain question is longer."""
_STANDS = (State.GENERATED, State.ACTIVATED, State.FROZEN)

Era = Literal["now", "before"] | TimeSpan


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known, in a sentence and as a value, and on what it rests."""

    known: bool
    text: str | None = None
    value: str | None = None
    facts: tuple[FactView, ...] = ()
    hits: tuple[Hit, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        return self.text or f"not known: {self.why}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A question that asks for a fact, and of which time."""

    asked: Asked
    era: Era


def plan(question: str, *, speaker: str | None, now: int) -> Plan | None:
    """What the question asks for; ``None`` where it is not a plain question for a fact."""
    if len(question) > _PLAIN_CHARS:
        return None  # each date in it is tried as the one it asks about
    whole = asked(question, speaker=speaker)
    if whole is not None and not _BEFORE.search(question):
        spans = spoken_times(question, at=now)
        if not spans:
            return Plan(whole, "now")
    spans = spoken_times(question, at=now)
    for span in spans:
        rest = _LEADING.sub("", question[: span.at].rstrip()) + question[span.to :]
        found = asked(_tidy(rest), speaker=speaker)
        if found is not None:
            return Plan(found, span)
    earlier = _USED_TO.sub(r"\1 \2", question)
    if earlier != question or _BEFORE.search(question):
        found = asked(_tidy(_BEFORE.sub("", earlier)), speaker=speaker)
        return None if found is None else Plan(found, "before")
    return None if whole is None else Plan(whole, "now")


def _tidy(question: str) -> str:
    return re.sub(r"\s+", " ", question).replace(" ?", "?").strip(" ,")


def answer(plan: Plan, facts: Sequence[FactView]) -> Answer:
    """The answer from the facts of this subject and attribute, every one there is."""
    held = [f for f in facts if f.item.header.state in _STANDS and _of_era(f, plan.era)]
    if plan.era == "before":
        held = _latest_ended(held)
    if plan.asked.yes_no:
        return _yes_no(plan, held)
    fitting = [fact for fact in held if fact.negated == plan.asked.negated]
    chosen = _believed(fitting, plan.era)
    if not chosen:
        return Answer(False, facts=tuple(held), why=_nothing(plan, held))
    value = ", ".join(dict.fromkeys(fact.value for fact in chosen))
    text = "; ".join(dict.fromkeys(fact.text.rstrip(".") for fact in chosen)) + "."
    return Answer(True, text, value, tuple(chosen), why=_rests(chosen))


def _of_era(fact: FactView, era: Era) -> bool:
    header = fact.item.header
    if header.stale or header.quarantined:
        return False
    if era == "now":
        return True  # the look-up asked for what holds
    if era == "before":
        return fact.superseded_by is not None and fact.valid_to is not None
    start, end = to_micros(fact.valid_from), fact.valid_to
    return start < era.end and (end is None or to_micros(end) > era.start)


def _latest_ended(facts: Sequence[FactView]) -> list[FactView]:
    ended = [fact.valid_to for fact in facts if fact.valid_to is not None]
    return [fact for fact in facts if fact.valid_to == max(ended)] if ended else []


def _believed(facts: Sequence[FactView], era: Era = "now") -> list[FactView]:
    """One per value; of a thing that has one value at a time only the most trusted: the newest,
    or the one that held most of the time asked about."""
    single = [fact for fact in facts if (fact.item.data or {})["fact"].get("single")]
    if not single:
        return list(facts)
    rank = min(TRUST_ORDER.index(fact.item.header.trust) for fact in single)
    best = [f for f in single if TRUST_ORDER.index(f.item.header.trust) == rank]
    return [max(best, key=lambda fact: (_share(fact, era), fact.valid_from))]


def _share(fact: FactView, era: Era) -> int:
    """How much of the time asked about the fact held, in microseconds."""
    if not isinstance(era, TimeSpan):
        return 0
    end = era.end if fact.valid_to is None else min(era.end, to_micros(fact.valid_to))
    return max(0, end - max(era.start, to_micros(fact.valid_from)))


def _yes_no(plan: Plan, held: Sequence[FactView]) -> Answer:
    wanted = plan.asked.value
    if wanted is None:
        some = [fact for fact in held if fact.negated == plan.asked.negated]
        if not some:
            return Answer(False, facts=tuple(held), why=_nothing(plan, held))
        text = "Yes: " + "; ".join(fact.text.rstrip(".") for fact in some) + "."
        return Answer(True, text, "yes", tuple(some), why=_rests(some))
    same = [fact for fact in held if _same(fact.value, wanted)]
    others = [f for f in held if not f.negated and (f.item.data or {})["fact"].get("single")]
    for said in (same, others):
        if said:
            best = _believed(said)[0]
            yes = said is same and best.negated == plan.asked.negated
            text = f"{'Yes' if yes else 'No'}: {best.text.rstrip('.')}."
            return Answer(True, text, "yes" if yes else "no", (best,), why=_rests([best]))
    return Answer(False, facts=tuple(held), why=_nothing(plan, held))


def _same(value: str, wanted: str) -> bool:
    return folded(value) == folded(wanted) or set(tokens(wanted)) == set(tokens(value)) != set()


def _nothing(plan: Plan, held: Sequence[FactView]) -> str:
    what = f"{plan.asked.attribute.replace('_', ' ')} of {plan.asked.subject}"
    if held:
        return f"of {what} only this is known: {held[0].text}"
    when = {"now": "", "before": " of an earlier time"}.get(str(plan.era), " of that time")
    return f"nothing was told about {what}{when}"


def _rests(facts: Sequence[FactView]) -> str:
    count = len({source for fact in facts for source in fact.sources})
    return f"rests on {count} {'memory' if count == 1 else 'memories'}"


def from_evidence(question: str, hits: Sequence[Hit], *, speaker: str | None) -> Answer:
    """The sentence that answers best, or the admission that none comes near enough."""
    quoted = quotes(question, [_evidence(hit, speaker) for hit in hits], most=len(hits))
    if not quoted:
        return Answer(False, why="no memory comes near enough to answer that")
    rests = tuple(hits[each.place] for each in quoted)
    return Answer(True, quoted[0].text, None, hits=rests, why="quoted from a memory")


def _evidence(hit: Hit, speaker: str | None) -> Evidence:
    """``speaker`` is who asks: whose words they are where no name is noted with them."""
    header = hit.item.header
    said_by = header.speaker or (speaker if header.trust == "user" else None)
    signals = {signal.name: signal.value for signal in hit.signals}
    return Evidence(hit.text, said_by or "", header.trust.value, signals)


def phrased(answer: Answer, words: str) -> Answer:
    """The answer in a model's words, where these name nothing that the evidence does not."""
    evidence = " ".join([answer.text or "", *(f.quote for f in answer.facts)])
    evidence += " ".join(hit.text for hit in answer.hits)
    allowed = {word.casefold() for word in re.findall(r"[\w'-]+", evidence)}
    strange = [w for w in named_in(words) if w.casefold() not in allowed]
    said = words.strip()
    if not said or strange or (answer.value and folded(answer.value) not in folded(said)):
        return answer
    return replace(answer, text=said)
