"""The deterministic extractor: facts, names and dates by rules alone, without a model.

Called by the fine stage with masked words. Precision before recall: what is not plainly stated
gives nothing. Costs time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from memos_integrations.cube.facts import Extraction, Fact, TimeSpan, TurnText
from memos_integrations.operation.reading import answers, corrections, echoes, entities
from memos_integrations.operation.reading.clauses import Clause, clauses
from memos_integrations.operation.reading.dates import spoken_times
from memos_integrations.operation.reading.readers import of_clause
from memos_integrations.operation.reading.said import fold
from memos_integrations.operation.reading.segments import Segment, sentences

MOST_FACTS = 64
"""Facts kept of one memory, first come first. A longer text is a document: it is cut into
pieces before it is read, and what is beyond stands in the memory's own words."""
MOST_MENTIONS = 256
MOST_TIMES = 256
LONGEST_READ = 200_000
"""Characters of one memory that are read for facts; dates and names likewise."""


class RuleExtractor:
    """Reads facts by rules. Deterministic, and never raises whatever the words hold."""

    @property
    def name(self) -> str:
        return "rules/1"

    def extract(self, turns: Sequence[TurnText]) -> list[Extraction]:
        """One result per turn, in order."""
        return [read(turn) for turn in turns]


def read(turn: TurnText) -> Extraction:
    """The facts, names and dates of one turn."""
    text = turn.text[:LONGEST_READ]
    short = turn if len(text) == len(turn.text) else replace(turn, text=text)
    times = spoken_times(text, at=turn.time)
    segments = sentences(text)
    facts = list(_unique(f for f in _facts(short, segments, times) if _meant(turn, f)))
    cut = len(facts) > MOST_FACTS or len(text) < len(turn.text)
    return Extraction(
        tuple(facts[:MOST_FACTS]),
        tuple(entities.mentions(text, segments, turn)[:MOST_MENTIONS]),
        times[:MOST_TIMES],
        note="cut: more than rules keep of one memory" if cut else None,
    )


def _facts(
    turn: TurnText, segments: Sequence[Segment], times: Sequence[TimeSpan]
) -> Iterator[Fact]:
    folded = fold(turn.text)
    fixed = corrections.corrected(turn, segments, of_text)
    yield from fixed.facts
    for fact in _plain_facts(turn, folded, segments, times):
        if fact.text not in fixed.withdrawn:
            yield fact


def _plain_facts(
    turn: TurnText, folded: str, segments: Sequence[Segment], times: Sequence[TimeSpan]
) -> Iterator[Fact]:
    yield from answers.facts(turn, segments)
    yield from _connected(clauses(turn, folded, segments, times))
    if _HAN.search(turn.text):
        # Its patterns take a tenth of a second to compile: only for whom they are.
        from memos_integrations.operation.reading import chinese  # noqa: PLC0415

        yield from chinese.facts(turn, folded, segments, times)


_HAN = re.compile(r"[\u4e00-\u9fff]")


def _connected(parts: Iterable[Clause]) -> Iterator[Fact]:
    """What the clauses state, each alone and with the one before it."""
    before: echoes.Heard | None = None
    for clause in parts:
        found = [*of_clause(clause), *echoes.facts(clause, before)]
        yield from found
        before = echoes.heard(clause, found)


def _meant(turn: TurnText, fact: Fact) -> bool:
    """An assistant without a name says ``I`` out of politeness: it has no home and no plans."""
    return turn.speaker is not None or turn.role != "assistant" or fact.subject != "assistant"


def of_text(turn: TurnText) -> list[Fact]:
    """The facts of plain clauses alone, without answers and corrections."""
    times = spoken_times(turn.text, at=turn.time)
    folded = fold(turn.text)
    return list(_connected(clauses(turn, folded, sentences(turn.text), times)))


def _unique(facts: Iterator[Fact]) -> Iterator[Fact]:
    seen: set[tuple[str, str, str, bool]] = set()
    for fact in facts:
        key = (fact.subject.casefold(), fact.attribute, fact.value.casefold(), fact.negated)
        if key not in seen:
            seen.add(key)
            yield fact
        if len(seen) > MOST_FACTS:
            return
