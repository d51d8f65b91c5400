"""Facts drawn from turns: kept beside their source, contradicted, confirmed and withdrawn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.facts import (
    Extraction,
    Fact,
    FactKind,
    Mention,
    TimeSpan,
    TurnText,
)
from memos_integrations.testing.fakes import ManualClock

_LIVES = re.compile(r"(?:I|i) (?P<no>don't |no longer )?live in (?P<place>\w+)")
_LIKES = re.compile(r"I (?P<no>no longer |don't )?like (?P<what>\w+)")
_DAY = 86_400_000_000


class ScriptedExtractor:
    """Understands two sentences; enough to drive everything behind it."""

    name = "scripted/1"

    def __init__(self) -> None:
        self.read: list[str] = []

    def extract(self, turns: Sequence[TurnText]) -> list[Extraction]:
        self.read += [turn.text for turn in turns]
        return [self._one(turn) for turn in turns]

    def _one(self, turn: TurnText) -> Extraction:
        who = turn.speaker or "user"
        facts: list[Fact] = []
        mentions: list[Mention] = []
        for m in _LIVES.finditer(turn.text):
            place = m["place"]
            negated = m["no"] is not None
            facts.append(
                Fact(
                    FactKind.ATTRIBUTE,
                    who,
                    "lives_in",
                    place,
                    f"{who} {'does not live' if negated else 'lives'} in {place}",
                    m.start(),
                    m.end(),
                    single=True,
                    negated=negated,
                )
            )
            mentions.append(Mention(place, "place", m.start("place"), m.end("place")))
        facts += [
            Fact(
                FactKind.PREFERENCE,
                who,
                "likes",
                m["what"],
                f"{who} likes {m['what']}" if m["no"] is None else f"{who} dislikes {m['what']}",
                m.start(),
                m.end(),
                negated=m["no"] is not None,
            )
            for m in _LIKES.finditer(turn.text)
        ]
        times = [TimeSpan(turn.time, turn.time + _DAY, "day", 0, 5)] if "today" in turn.text else []
        return Extraction(tuple(facts), tuple(mentions), tuple(times))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mos(clock: ManualClock) -> Iterator[MOS]:
    with MOS(
        embedder=None,
        clock=clock,
        extractor=ScriptedExtractor(),
        settings=Settings(worker=False),
    ) as opened:
        yield opened


def tell(mos: MOS, clock: ManualClock, text: str, **given: object) -> str:
    clock.advance(seconds=3600)
    done = mos.add(text, user="maya", **given)  # type: ignore[arg-type]
    mos.wait()
    return done.id


def facts_of(mos: MOS) -> dict[str, object]:
    rows = mos.list(user="maya", filter={"model": "scripted/1", "state": "activated"})
    return {row.text: row.header.valid_to for row in rows}


def test_a_turn_becomes_a_fact_of_its_own_with_its_quote_and_source(
    mos: MOS, clock: ManualClock
) -> None:
    turn = tell(mos, clock, "Hello! I live in Berlin, you know.", tags=["x"], info={"a": 1})
    (fact,) = mos.list(user="maya", filter={"model": "scripted/1"})
    assert fact.text == "maya lives in Berlin"
    assert fact.header.memory_type == "user"
    assert fact.header.origin == "inference"
    assert fact.header.state == "activated"
    assert fact.header.tags == ()
    assert fact.header.info == {}
    assert fact.header.time == mos.get(turn, user="maya").header.time
    (step,) = fact.header.provenance
    assert (step.source, step.quote) == (turn, "I live in Berlin")
    assert [s.id for s in mos.provenance(fact.id, user="maya").sources] == [turn]


def test_a_later_fact_of_the_slot_ends_the_earlier_one_and_links_both(
    mos: MOS, clock: ManualClock
) -> None:
    tell(mos, clock, "I live in Paris")
    tell(mos, clock, "I live in Berlin")
    old, new = sorted(mos.list(user="maya", filter={"model": "scripted/1"}), key=lambda f: f.id)
    assert old.header.valid_to == new.header.valid_from
    assert new.header.valid_to is None
    links = {(e.source, e.relation.value, e.target) for e in mos.links(new.id, user="maya")}
    assert {(new.id, "supersedes", old.id), (new.id, "contradicts", old.id)} <= links
    assert mos.check().sound
