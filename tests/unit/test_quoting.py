"""Quotes from memories that come near enough: one rule for ``ask`` and for the graph's node."""

from __future__ import annotations

import pytest

from memos_integrations.interface.quoting import Evidence, Quoted, quotes


def told(
    text: str, *, cosine: float | None = None, words: float = 0.0, by: str = "", trust: str = "user"
) -> Evidence:
    signals = {"words": words} | ({} if cosine is None else {"cosine": cosine})
    return Evidence(text, by, trust, signals)


def said(question: str, *found: Evidence, **given: object) -> list[str]:
    return [each.text for each in quotes(question, found, **given)]  # type: ignore[arg-type]


def test_the_sentence_that_answers_is_quoted_and_its_memory_named() -> None:
    boiler = told("It was cold. The boiler was repaired by Mr Sand.", words=0.6)
    far = told("The roof leaks.", words=0.01)
    assert quotes("who repaired the boiler?", [far, boiler]) == [
        Quoted("The boiler was repaired by Mr Sand.", 1)
    ]


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Who repaired the boiler of Ann?", "The boiler was repaired by Mr Sand."),
        ("What happened on floor 12?", "Something happened on floor 7."),
    ],
)
def test_a_memory_without_the_name_or_number_asked_about_is_no_evidence(
    question: str, text: str
) -> None:
    assert said(question, told(text, cosine=0.9, words=0.9)) == []


def test_the_name_of_who_said_it_counts_as_said() -> None:
    mine = told("I repaired the boiler.", words=0.6, by="Maya")
    assert said("When did Maya repair the boiler?", mine) == ["I repaired the boiler."]


def test_what_is_only_near_in_mood_is_no_evidence_unless_the_floor_is_lowered() -> None:
    mood = told("Nice weather.", cosine=0.55, words=0.05)
    assert said("what about the weather?", mood) == []
    assert said("what about the weather?", mood, floor=1.0) == ["Nice weather."]


def test_a_memory_that_asks_is_no_evidence() -> None:
    assert said("who has the keys?", told("Who has the keys?", cosine=1.0, words=1.0)) == []


def test_what_the_user_said_stands_before_what_a_tool_said() -> None:
    tool = told("The keys are on the roof.", words=0.9, trust="tool")
    own = told("The keys are in the drawer.", words=0.8)
    assert said("where are the keys?", tool, own, most=1) == ["The keys are in the drawer."]


def test_a_further_memory_is_quoted_only_if_it_fits_nearly_as_well() -> None:
    best, near = told("Ann has the keys.", words=0.9), told("Bo had the keys.", words=0.8)
    far = told("Keys open doors.", words=0.4)
    assert said("who has the keys?", best, near, far, most=3) == [best.text, near.text]
    assert said("who has the keys?", best, best) == [best.text]
