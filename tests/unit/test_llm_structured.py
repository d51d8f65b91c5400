"""Objects out of what a language model says: only whole, valid and unambiguous ones."""

from __future__ import annotations

import json
import time
from enum import StrEnum

import pytest
from pydantic import BaseModel, Field

from memos_integrations.cube.errors import LLMUnavailable
from memos_integrations.cube.ports import LLM, Completion
from memos_integrations.operation.reading_llm.answer import objects_in
from memos_integrations.operation.reading_llm.structured import structured
from memos_integrations.testing.llm import ScriptedLLM


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"


class Report(BaseModel):
    title: str = Field(min_length=1, max_length=20)
    mood: Mood
    scores: list[int] = Field(max_length=3)


GOOD = '{"title": "A day", "mood": "good", "scores": [1, 2]}'


def ask(*lines: object, **options: object) -> tuple[object, ScriptedLLM]:
    llm = ScriptedLLM(*lines)  # type: ignore[arg-type]
    return structured(llm, "Report.", Report, **options), llm  # type: ignore[arg-type]


def test_the_scripted_model_is_a_language_model() -> None:
    assert isinstance(ScriptedLLM("x"), LLM)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}```",
        f"Sure! Here is what you asked for:\n\n{GOOD}\n\nLet me know {{if}} you need more.",
        '{"title": "A day", "mood": "good", "scores": [1, 2,],}',
        f'<think>maybe {{"title": "B", "mood": "bad", "scores": []}}?</think>{GOOD}',
        f'maybe {{"title": "B", "mood": "bad", "scores": []}}?\n</think>\n{GOOD}',
        f"\ufeff{GOOD}",
        f"{GOOD}\n{GOOD}",
        json.dumps(json.loads(GOOD), indent=2).replace("\n", "\r\n"),
    ],
)
def test_json_is_found_in_fences_prose_thoughts_and_with_trailing_commas(text: str) -> None:
    found, llm = ask(text)
    assert found.value == Report(title="A day", mood=Mood.GOOD, scores=[1, 2])
    assert found.why is None
    assert len(llm.asked) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("  \n\t", "empty"),
        ("I cannot help with that.", "no JSON object"),
        ('{"title": "A day", "mood": "go', "no JSON object"),
        ('["title"]', "no JSON object"),
        ('{"title": NaN}', "no JSON object"),
        ('{"title": "a", "title": "b", "mood": "good", "scores": []}', "no JSON object"),
        ('{"title": "\\ud800", "mood": "good", "scores": []}', "no JSON object"),
        ("{" * 5_000, "no JSON object"),
        ('{"a":' * 50 + "1" + "}" * 50, "no JSON object"),
        ('{"title": "a", "mood": "good"}', "scores missing"),
        ('{"title": "a", "mood": "good", "scores": ["1"]}', "scores.0 int_type"),
        ('{"title": 7, "mood": "good", "scores": []}', "title string_type"),
        ('{"title": "a", "mood": "fine", "scores": []}', "mood enum"),
        ('{"title": "a", "mood": "good", "scores": [1, 2, 3, 4]}', "scores too_long"),
        ('{"title": "' + "a" * 30 + '", "mood": "good", "scores": []}', "title string_too_long"),
        (GOOD + GOOD.replace("A day", "B day"), "several different answers"),
        ("x" * 500_000, "too long"),
    ],
)
def test_anything_else_is_no_answer_and_says_why(text: str, why: str) -> None:
    found, llm = ask(text)
    assert found.value is None
    assert found.why == why
    assert len(llm.asked) == 2, "one repair round, then it gives up"


def test_a_second_try_is_told_what_was_wrong_and_its_answer_is_used() -> None:
    found, llm = ask('{"title": "a"}', GOOD)
    assert found.value is not None
    assert found.calls == 2
    assert "mood missing" in llm.asked[1].prompt
    assert "mood missing" not in llm.asked[0].prompt


def test_a_truncated_answer_is_refused_even_where_it_parses_and_not_asked_again() -> None:
    found, llm = ask(Completion(GOOD, truncated=True))
    assert (found.value, found.why, len(llm.asked)) == (None, "truncated", 1)


def test_a_reason_never_repeats_the_words_of_an_answer() -> None:
    class Closed(BaseModel, extra="forbid"):
        title: str

    llm = ScriptedLLM('{"title": ["my password is swordfish"], "swordfish": 1}')
    found = structured(llm, "Report.", Closed)
    assert found.why is not None
    assert "swordfish" not in found.why
    assert "title string_type" in found.why


def test_a_check_refuses_what_fits_the_shape() -> None:
    found, _ = ask(GOOD, check=lambda report: "the title is about a day")
    assert (found.value, found.why) == (None, "the title is about a day")


def test_a_model_that_cannot_be_reached_raises_so_that_the_task_is_tried_again() -> None:
    with pytest.raises(LLMUnavailable):
        ask(LLMUnavailable("down"))


def test_tokens_of_every_round_are_counted() -> None:
    bad = Completion("no", prompt_tokens=10, completion_tokens=1)
    good = Completion(GOOD, prompt_tokens=20, completion_tokens=2)
    found, _ = ask(bad, good)
    assert (found.prompt_tokens, found.completion_tokens) == (30, 3)


@pytest.mark.parametrize(
    "text", ["{" * 300_000, '{"' * 100_000, '{"a":"\\' * 50_000, "[{" * 150_000]
)
def test_hostile_text_costs_no_unbounded_time(text: str) -> None:
    started = time.perf_counter()
    assert objects_in(text) == []
    assert time.perf_counter() - started < 5
