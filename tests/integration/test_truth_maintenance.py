"""Truth maintenance through the public face: rules, facts, answers, and the generated benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.facts import FactKind
from memos_integrations.cube.ports import Completion
from memos_integrations.testing.fakes import ManualClock

bench = pytest.importorskip("bench.truth", reason="the benchmarks are not part of an installation")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mos(clock: ManualClock) -> Iterator[MOS]:
    with MOS(embedder=None, clock=clock, settings=Settings(worker=False)) as opened:
        yield opened


def tell(mos: MOS, clock: ManualClock, text: str, **given: object) -> str:
    clock.advance(seconds=86_400)
    done = mos.add(text, user="maya", **given)  # type: ignore[arg-type]
    mos.wait()
    return done.id


def test_a_question_is_answered_with_what_holds_now_and_what_held_before(
    mos: MOS, clock: ManualClock
) -> None:
    tell(mos, clock, "I live in Paris.")
    clock.advance(seconds=400 * 86_400)
    turn = tell(mos, clock, "I live in Berlin now.")
    now = mos.ask("Where do I live?", user="maya")
    assert (now.known, now.value) == (True, "Berlin")
    assert [fact.source for fact in now.facts] == [turn]
    assert mos.ask("Where did I live before?", user="maya").value == "Paris"
    assert mos.ask("Where did I live in June 2026?", user="maya").value == "Paris"
    no = mos.ask("Do I live in Paris?", user="maya")
    assert (no.known, no.value) == (True, "no")


def test_what_was_never_told_is_not_known_and_the_answer_says_why(
    mos: MOS, clock: ManualClock
) -> None:
    tell(mos, clock, "Tom lives in Oslo.")
    answer = mos.ask("Where do I live?", user="maya")
    assert (answer.known, answer.text, answer.value) == (False, None, None)
    assert "lives in of maya" in answer.why
    assert not mos.ask("Where did I live in 1999?", user="maya").known


def test_an_open_question_is_answered_by_quoting_or_not_at_all(
    mos: MOS, clock: ManualClock
) -> None:
    tell(mos, clock, "The boiler was repaired by Mr Sand. It was cold.")
    found = mos.ask("Who repaired the boiler?", user="maya")
    assert (found.known, found.text) == (True, "The boiler was repaired by Mr Sand.")
    assert not mos.ask("Who repaired the boiler of Ann?", user="maya").known
    assert not mos.ask("Who painted the kitchen?", user="maya").known


def test_who_my_sister_is_leads_to_what_is_known_of_her(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, "My sister Ann is allergic to peanuts.")
    assert mos.ask("What is my sister allergic to?", user="maya").value == "peanuts"


def test_the_past_answers_from_what_it_knew(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, "I live in Paris.")
    then = clock.now()
    tell(mos, clock, "I live in Berlin now.")
    assert mos.as_of(then).ask("Where do I live?", user="maya").value == "Paris"


def test_others_get_no_answer_from_what_they_may_not_read(mos: MOS, clock: ManualClock) -> None:
    turn = tell(mos, clock, "I live in Paris.")
    mos.share(to="bob", user="maya")
    told = mos.ask("Where does Maya live?", user="bob", cube="users/maya")
    mos.deny(turn, to="bob", user="maya")
    hidden = mos.ask("Where does Maya live?", user="bob", cube="users/maya")
    assert not hidden.known
    assert told.value == "Paris"


class Phrasing:
    """A model that says what it is scripted to say."""

    name = "scripted"

    def __init__(self, words: str, *, truncated: bool = False) -> None:
        self.words, self.truncated = words, truncated

    def complete(self, prompt: str, **_: object) -> Completion:
        return Completion(self.words, self.truncated)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("You live in Paris.", "You live in Paris."),
        ("You live in Paris, next to Bob.", "maya lives in Paris."),
        ("You live somewhere nice.", "maya lives in Paris."),
        ("", "maya lives in Paris."),
    ],
)
def test_a_model_may_phrase_the_answer_but_add_nothing(
    mos: MOS, clock: ManualClock, words: str, shown: str
) -> None:
    tell(mos, clock, "I live in Paris.")
    answer = mos.ask("Where do I live?", user="maya", llm=Phrasing(words))
    assert (answer.text, answer.value) == (shown, "Paris")


def test_a_model_is_not_asked_for_what_is_not_known(mos: MOS) -> None:
    answer = mos.ask("Where do I live?", user="maya", llm=Phrasing("You live in Paris."))
    assert (answer.known, answer.text) == (False, None)


def test_facts_are_audited_like_every_read(mos: MOS, clock: ManualClock) -> None:
    tell(mos, clock, "I live in Paris.")
    (fact,) = mos.facts(kind=FactKind.ATTRIBUTE, user="maya")
    assert any(line.action == "facts" and fact.id in line.items for line in mos.audit(user="maya"))


def test_a_slice_of_the_benchmark_holds() -> None:
    chosen = [case for case in bench.cases()[::7] if case.wording == "plain"]
    done = bench.score(chosen)
    assert len(chosen) >= 15
    for category in ("cascade", "absence", "deletion"):
        right, total = done.share(category)
        assert right >= 0.95 * total, done.misses
    assert not [miss for miss in done.misses if miss.startswith("check")]


def test_the_benchmark_has_hundreds_of_cases_and_always_the_same() -> None:
    one, two = bench.cases(), bench.cases()
    assert len(one) >= 300
    assert [(c.category, c.kind, c.wording) for c in one] == [
        (c.category, c.kind, c.wording) for c in two
    ]
    assert sum(case.wording == "held_out_2" for case in one) >= 300
