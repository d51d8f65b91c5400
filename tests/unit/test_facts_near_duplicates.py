"""What was said before in almost the same words: folded where it says the same, else linked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.facts import Extraction, TurnText
from memos_integrations.operation.near import buckets, form
from memos_integrations.operation.reading.dates import spoken_times
from memos_integrations.testing.fakes import FakeEmbedder, ManualClock


class DateReader:
    """Reads dates only: what near duplicates need of an extractor."""

    name = "dates/1"

    def extract(self, turns: Sequence[TurnText]) -> list[Extraction]:
        return [Extraction(times=tuple(spoken_times(t.text, at=t.time))) for t in turns]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mos(clock: ManualClock) -> Iterator[MOS]:
    with MOS(
        embedder=FakeEmbedder(),
        clock=clock,
        extractor=DateReader(),
        settings=Settings(worker=False),
    ) as opened:
        yield opened


def two(mos: MOS, clock: ManualClock, one: str, other: str, **given: object) -> tuple[str, str]:
    first = mos.add(one, user="ann", session="s", **given).id  # type: ignore[arg-type]
    mos.wait()
    clock.advance(seconds=86_400)
    second = mos.add(other, user="ann", session="s").id
    mos.wait()
    return first, second


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I moved to Berlin.", "i moved to BERLIN!!! 🎉"),
        ("I moved to Berlin", "Um, I moved to Berlin…"),
        ("I moved to Berlin", "Well, I moved to Berlin haha"),
    ],
)
def test_the_same_words_but_for_sounds_and_signs_are_folded(
    mos: MOS, clock: ManualClock, one: str, other: str
) -> None:
    first, second = two(mos, clock, one, other)
    assert mos.get(second, user="ann").header.merged_into == first
    mos.split(second, user="ann")
    assert mos.get(second, user="ann").header.state == "activated"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I paid 40 euros for the tram ticket", "I paid 45 euros for the tram ticket"),
        ("I do like the new office in town", "I do not like the new office in town"),
        ("My sister Ann moved to Berlin", "My sister Eve moved to Berlin"),
        ("I moved to Berlin.", "I moved to Berlin?"),
        ("I see the dentist tomorrow", "I see the dentist tomorrow!"),
        ("I feel well", "I feel"),
    ],
)
def test_what_differs_in_a_number_name_denial_question_or_date_is_never_folded(
    mos: MOS, clock: ManualClock, one: str, other: str
) -> None:
    first, second = two(mos, clock, one, other)
    assert mos.get(second, user="ann").header.state == "activated"
    assert mos.get(first, user="ann").header.state == "activated"


def test_what_is_nearly_the_same_is_linked(mos: MOS, clock: ManualClock) -> None:
    words = "my little sister planted seven old cherry trees behind the wooden barn last {}"
    first, second = two(mos, clock, words.format("spring"), words.format("spring indeed"))
    links = {(e.source, e.relation.value, e.target) for e in mos.links(second, user="ann")}
    assert (second, "relates_to", first) in links
    assert mos.get(second, user="ann").header.state == "activated"


def test_other_rights_speakers_and_sessions_are_not_folded(mos: MOS, clock: ManualClock) -> None:
    first, second = two(mos, clock, "I moved to Berlin.", "I moved to Berlin!", visibility="public")
    assert mos.get(second, user="ann").header.state == "activated"
    third = mos.add("I moved to Berlin?!", user="ann", session="other").id
    mos.wait()
    assert mos.get(third, user="ann").header.state == "activated"
    assert first != second


@pytest.mark.parametrize("many", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_thousands_of_near_identical_messages_are_no_burden(clock: ManualClock, many: int) -> None:
    batch = [
        f"I moved to Berlin{'!' * (n % 70)}{' 🎉' * (n % 3)} {n // (many // 2)}"
        for n in range(many)
    ]
    settings = Settings(worker=False)
    with MOS(embedder=None, clock=clock, extractor=DateReader(), settings=settings) as mos:
        begun = time.monotonic()
        mos.add(batch[: many // 10], user="ann", session="s")
        mos.wait()
        tenth = time.monotonic() - begun
        mos.add(batch[many // 10 :], user="ann", session="s")
        mos.wait(timeout_seconds=280)
        assert time.monotonic() - begun < 30 * tenth  # not a hundred times, as pairs would take
        assert mos.count(user="ann") == 2


def test_a_form_keeps_what_matters_and_emptiness_has_no_bucket() -> None:
    assert form("Well, I DON\u2019T live in Berlin…") == "i don't live in berlin"
    assert form("🎉 !!! hm") == ""
    assert buckets("ann", "🎉 ???") == []
    assert buckets("ann", "I moved") != buckets("bob", "I moved")
