"""Sentences and names, with their places."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_integrations.cube.facts import TurnText
from memos_integrations.operation.reading.rules import read
from memos_integrations.operation.reading.segments import sentences

SENTENCES = [
    ("One. Two! Three?", ["One.", "Two!", "Three?"]),
    ("Dr. Smith met Mr. Lee. They talked.", ["Dr. Smith met Mr. Lee.", "They talked."]),
    ("It costs 3.50 euros. Cheap.", ["It costs 3.50 euros.", "Cheap."]),
    ("See https://a.b/c.html?x=1. Then go.", None),
    ("J. K. Rowling wrote it. Good.", ["J. K. Rowling wrote it.", "Good."]),
    ("I like it, e.g. the end. Fine.", ["I like it, e.g. the end.", "Fine."]),
    ("我喜欢猫。你呢？好！", ["我喜欢猫。", "你呢？", "好！"]),
    ("I live in 上海。我喜欢它。", ["I live in 上海。", "我喜欢它。"]),
    ("- one\n- two\n3. three", ["one", "two", "three"]),
    ("Love it 😍 See you", ["Love it 😍", "See you"]),
    ('He said "Go." She left.', ['He said "Go."', "She left."]),
    ("Wait... what", ["Wait... what"]),
    ("", []),
    (" \n ", []),
]


@pytest.mark.parametrize(("text", "expected"), SENTENCES)
def test_sentences_end_where_they_end(text: str, expected: list[str] | None) -> None:
    found = [text[s.at : s.to] for s in sentences(text)]
    if expected is None:
        assert found[-1] == "Then go."
    else:
        assert found == expected


def test_fenced_code_is_one_segment_marked_as_code() -> None:
    found = sentences("Look:\n```\nI live. In Rome.\n```\nDone.")
    assert [segment.code for segment in found] == [False, True, False]


@given(st.text())
def test_segments_lie_apart_in_order_and_hold_something(text: str) -> None:
    end = 0
    for segment in sentences(text):
        assert end <= segment.at < segment.to
        assert text[segment.at : segment.to].strip()
        end = segment.to


@pytest.mark.slow
@pytest.mark.parametrize("shred", ["a. ", ".", "。", "- ", "\n", "1. ", "```", "😀 A", "Dr. "])
def test_a_megabyte_is_cut_in_linear_time(shred: str) -> None:
    begun = time.process_time()
    sentences(shred * (1_000_000 // len(shred)))
    assert time.process_time() - begun < 10


NAMES = [
    ("I met Ann Lee in Paris.", [("Ann Lee", "unknown"), ("Paris", "place")]),
    ("My sister Eva works at Bosch.", [("Eva", "person"), ("Bosch", "organisation")]),
    ("We saw Dr. Okoye yesterday.", [("Okoye", "person")]),
    ("She studies at Oxford University.", [("Oxford University", "organisation")]),
    ('I read "The Old Man and the Sea" again', [("The Old Man and the Sea", "thing")]),
    ("Thanks, Ben!", [("Ben", "person")]),
    ("We hiked in Yosemite Park", [("Yosemite Park", "place")]),
    ("我昨天在上海见到了王老师", [("上海", "place"), ("王", "person")]),
    ("我在读《红楼梦》", [("红楼梦", "thing")]),
]
NO_NAMES = [
    "Sounds good! Really nice. Thanks a lot.",
    "On Monday I was happy. In May too.",
    "I'm fine. I've been busy. OK!",
    "The weather is nice. Great. What a day.",
    "I speak French and I'm Italian",
    "see https://Example.com/Path and @Handle",
    "今天天气很好，我很开心",
]


@pytest.mark.parametrize(("text", "expected"), NAMES)
def test_names_are_found_with_their_kind(text: str, expected: list[tuple[str, str]]) -> None:
    found = read(TurnText(text, 0, "Maya", None, "Hi", "Ben")).mentions
    assert [(name.name, name.kind) for name in found] == expected


@pytest.mark.parametrize("text", NO_NAMES)
def test_ordinary_words_are_no_names(text: str) -> None:
    assert read(TurnText(text, 0, "Maya")).mentions == ()
