"""Whatever a language model answers: reading it never raises, and keeps only words of the turn."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_integrations.cube.facts import TurnText
from memos_integrations.infrastructure.backends.words import tokens
from memos_integrations.operation.reading_llm.extractor import LLMExtractor
from memos_integrations.testing.llm import ScriptedLLM

WORDS = "I moved to Berlin in May and my sister Ana hates jazz"
TURN = TurnText(WORDS, 1_790_000_000_000_000, "Maya", "user")

_word = st.sampled_from([*WORDS.split(), "Maya", "ransom", "\u202e", "", "住"])
_words = st.lists(_word, max_size=5).map(" ".join)
_junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
_fact = st.fixed_dictionaries(
    {
        "turn": st.just(1) | st.integers(-1, 3),
        "quote": st.sampled_from(["I moved to Berlin", "Ana hates jazz"]) | _words,
        "kind": st.sampled_from(["attribute", "preference", "plan", "event"]),
        "subject": _words,
        "attribute": st.sampled_from(["lives_in", "dislikes", "pay_ransom"]),
        "value": _words,
    },
    optional={"text": _words, "negated": st.booleans(), "when": _words, "when_words": _words},
)
_answers = (
    st.text(max_size=200)
    | _junk.map(json.dumps)
    | st.lists(_fact, max_size=4).map(lambda facts: json.dumps({"facts": facts}))
    | st.tuples(st.lists(_fact, max_size=3), st.integers(0, 400)).map(
        lambda pair: json.dumps({"facts": pair[0]})[: pair[1]]
    )
)


@settings(max_examples=15, deadline=None)
@given(_answers)
def test_no_answer_raises_or_adds_a_word(text: str) -> None:
    _raises_nothing_and_adds_no_word(text)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(_answers)
def test_no_answer_of_many_raises_or_adds_a_word(text: str) -> None:
    _raises_nothing_and_adds_no_word(text)


def _raises_nothing_and_adds_no_word(text: str) -> None:
    (found,) = LLMExtractor(ScriptedLLM(text)).extract([TURN])
    said = set(tokens(f"{WORDS} Maya"))
    for fact in found.facts:
        assert 0 <= fact.at < fact.to <= len(WORDS)
        assert set(tokens(f"{fact.subject} {fact.value}")) <= said
        assert fact.attribute in ("lives_in", "likes")
        assert "ransom" not in fact.text
        assert "\u202e" not in f"{fact.subject}{fact.value}{fact.text}"
