"""Facts of short answers follow the question they answer: hidden, corrected and back with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings

QUIET = Settings(worker=False, synchronous="normal")
ASKED = {"role": "assistant", "name": "nurse", "content": "Where do you live?"}
LISBON = {"role": "user", "name": "ann", "content": "Lisbon."}
PENICILLIN = {"role": "assistant", "name": "nurse", "content": "Are you allergic to penicillin?"}
YES = {"role": "user", "name": "ann", "content": "Yes."}


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    with MOS(tmp_path / "m.db", embedder=None, settings=QUIET) as made:
        yield made
        made.work()
        assert made.check().sound


def told(mos: MOS) -> list[tuple[str, str]]:
    return [(fact.attribute, fact.value) for fact in mos.facts("ann", user="ann")]


def asked(mos: MOS, question: dict[str, str] = ASKED, answer: dict[str, str] = LISBON) -> list[str]:
    ids = [
        mos.add(each, user="ann", session="s", source=source).id
        for each, source in ((question, "clinic"), (answer, "ann"))
    ]
    mos.work()
    return ids


CASES = [
    pytest.param(ASKED, LISBON, ("lives_in", "Lisbon"), id="value"),
    pytest.param(PENICILLIN, YES, ("allergic_to", "penicillin"), id="yes"),
]


@pytest.mark.parametrize(("question", "answer", "fact"), CASES)
def test_quarantine_of_the_source_of_a_question_hides_the_fact_of_its_answer_at_once(
    mos: MOS, question: dict[str, str], answer: dict[str, str], fact: tuple[str, str]
) -> None:
    asked(mos, question, answer)
    assert told(mos) == [fact]
    mos.quarantine("clinic", user="ann")
    assert told(mos) == []
    mos.work()
    assert told(mos) == []
    mos.release("clinic", user="ann")
    mos.work()
    assert told(mos) == [fact]


@pytest.mark.parametrize(("question", "answer", "fact"), CASES)
@pytest.mark.parametrize(
    "gone",
    [
        pytest.param(lambda mos, item: mos.delete(item, user="ann"), id="deleted"),
        pytest.param(lambda mos, item: mos.archive(item, user="ann"), id="archived"),
        pytest.param(lambda mos, item: mos.erase(item, user="ann"), id="erased"),
    ],
)
def test_a_question_that_is_taken_away_takes_the_fact_of_its_answer_along(
    mos: MOS,
    question: dict[str, str],
    answer: dict[str, str],
    fact: tuple[str, str],
    gone: Callable[[MOS, str], object],
) -> None:
    first, _ = asked(mos, question, answer)
    assert told(mos) == [fact]
    gone(mos, first)
    assert told(mos) == []
    mos.work()
    assert told(mos) == []


def test_a_corrected_question_changes_what_its_answer_says(mos: MOS) -> None:
    first, _ = asked(mos)
    mos.update(first, "Where do you work?", user="ann")
    assert told(mos) == []
    mos.work()
    assert told(mos) == [("works_at", "Lisbon")]


def test_a_question_that_is_corrected_without_another_sense_keeps_the_fact(mos: MOS) -> None:
    first, _ = asked(mos)
    (before,) = mos.facts("ann", user="ann")
    mos.update(first, "Where do you live now?", user="ann")
    mos.work()
    (after,) = mos.facts("ann", user="ann")
    assert (after.id, after.value, after.item.header.stale) == (before.id, "Lisbon", False)


def test_an_archived_question_that_comes_back_brings_the_fact_back(mos: MOS) -> None:
    first, _ = asked(mos)
    mos.archive(first, user="ann")
    mos.work()
    assert told(mos) == []
    mos.activate(first, user="ann")
    mos.work()
    assert told(mos) == [("lives_in", "Lisbon")]


@pytest.mark.parametrize("how", ["quarantine", "update", "delete"])
def test_what_an_answer_says_by_itself_stands_without_its_question(mos: MOS, how: str) -> None:
    first, _ = asked(mos, answer={**LISBON, "content": "I live in Lisbon."})
    if how == "quarantine":
        mos.quarantine("clinic", user="ann")
    elif how == "update":
        mos.update(first, "How are you?", user="ann")
    else:
        mos.delete(first, user="ann")
    assert told(mos) == [("lives_in", "Lisbon")]  # not even for a moment is it gone
    mos.work()
    assert told(mos) == [("lives_in", "Lisbon")]


def test_an_earlier_question_of_the_session_has_no_say_in_the_answer_to_a_later_one(
    mos: MOS,
) -> None:
    first = mos.add({**ASKED, "content": "How are you today?"}, user="ann", session="s").id
    mos.add({**LISBON, "content": "Fine."}, user="ann", session="s")
    asked(mos)
    mos.delete(first, user="ann")
    assert told(mos) == [("lives_in", "Lisbon")]


def test_a_fact_that_what_it_ended_depends_on_gives_way(mos: MOS) -> None:
    mos.add({"role": "user", "name": "ann", "content": "I live in Porto."}, user="ann")
    mos.work()
    first, _ = asked(mos)
    assert told(mos) == [("lives_in", "Lisbon")]
    mos.delete(first, user="ann")
    mos.work()
    assert told(mos) == [("lives_in", "Porto")]  # it holds again


def test_a_question_erased_to_the_last_byte_leaves_no_fact_of_its_answer(mos: MOS) -> None:
    first, answer = asked(mos)
    receipt = mos.erase(first, user="ann")
    mos.work()
    assert receipt.scan.found == 0
    assert mos.facts(user="ann", history=True) == []
    assert mos.get(answer, user="ann").text == "Lisbon."
