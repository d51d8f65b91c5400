"""Which texts of a value are searched: LangGraph's paths, read as LangGraph reads them."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from langgraph.store.base import get_text_at_path

from memos_integrations.cube.filters import canonical_json
from memos_integrations.operation.entry_texts import MAX_PARTS, field_texts, whole_text

KEYS = ["a", "list", "naïve"]


def value(rng: random.Random, depth: int = 0) -> Any:
    pick = rng.random()
    if depth < 3 and pick < 0.5:
        return {rng.choice(KEYS): value(rng, depth + 1) for _ in range(rng.randrange(1, 4))}
    if depth < 3 and pick < 0.8:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return rng.choice(["apple", "日本", 7, 0.5, True, None, ""])


def path(rng: random.Random) -> str:
    found = ""
    for _ in range(rng.randrange(1, 4)):
        step = rng.choice([*KEYS, "*", "[*]", "[0]", "[-1]", "[5]", "[x]"])
        found += step if step.startswith("[") or not found else f".{step}"
    # What stands behind the braces is passed over there, so they end a path.
    return found + rng.choice(["", "", ".{a,naïve}", ".{a, list}"])


def test_paths_find_the_texts_that_langgraph_finds() -> None:
    rng = random.Random(3)
    telling = 0
    for _ in range(20_000):
        item, field = {"a": value(rng), "list": value(rng)}, path(rng)
        theirs = [_without_spaces(text) for text in get_text_at_path(item, field)]
        expected = list(dict.fromkeys(text for text in theirs if text.strip()))
        assert field_texts(item, [field]) == expected, (item, field)
        telling += bool(expected)
    assert telling > 500


def _without_spaces(text: str) -> str:
    """Whole objects are told as the vault writes JSON."""
    return canonical_json(json.loads(text)) if text.startswith(("{", "[")) else text


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"memory": "likes pizza"}, "memory: likes pizza"),
        ({"a": {"b": ["x", {"c": 1}]}, "d": None}, "a.b: x\na.b.c: 1"),
        ({}, "{}"),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_the_whole_value_is_told_in_words(item: dict[str, Any], words: str) -> None:
    assert whole_text(item) == words


def test_many_fields_are_many_texts_each_once_and_bounded() -> None:
    item = {"tags": ["x", "y", "x"], "title": "x"}
    assert field_texts(item, ["title", "tags[*]"]) == ["x", "y"]
    assert field_texts(item, ["missing", "title.deeper", "tags[9]"]) == []
    assert field_texts({"n": {"k": [1, {"z": 2}]}}, ["n.k"]) == ['[1,{"z":2}]']
    assert len(field_texts({"t": [str(n) for n in range(1_000)]}, ["t[*]"])) == MAX_PARTS


def test_fields_that_name_one_part_many_times_cost_no_more_than_naming_it_once() -> None:
    item: Any = {"a": "deep"}
    for _ in range(40):
        item = {"a": item}
    twice = ".".join(["{a,a}"] * 41)
    assert field_texts(item, [twice]) == ["deep"]
    assert field_texts(item, [f"{twice}.missing"]) == []
    assert field_texts(item, [".".join(["{a,*, a}"] * 41)]) == ["deep"]
