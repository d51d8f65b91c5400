"""Reading costs time linear in the words, whatever they are: every pattern against its own words.

A pattern that can match one stretch in many ways shows it on the words it is made of, repeated,
with an end that does not fit. Clauses are at most 400 characters; an exponential pattern needs
fewer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import product
from types import ModuleType

import pytest

from memos_integrations.cube.facts import TurnText
from memos_integrations.operation.reading import (
    anaphora,
    attached,
    attribute_table,
    attributes,
    changes,
    chinese,
    chinese_table,
    clauses,
    echoes,
    favourites,
    frames,
    inverse,
    naming,
    naming_zh,
    owned,
    preferences,
    relatives,
    sentence_words,
    shapes,
    stating,
    values,
)
from memos_integrations.operation.reading.rules import RuleExtractor

MODULES = (
    anaphora, attached, attribute_table, attributes, changes, chinese, chinese_table, clauses,
    echoes, favourites, frames, inverse, naming, naming_zh, owned, preferences, relatives,
    sentence_words, shapes, stating, values,
)  # fmt: skip
_CLAUSE = 400
_WORD = re.compile(r"[a-z']{2,}|[\u4e00-\u9fff]+")


def _patterns(thing: object, depth: int = 0) -> Iterator[re.Pattern[str]]:
    if isinstance(thing, re.Pattern):
        yield thing
    elif depth < 4 and isinstance(thing, dict):
        for each in thing.values():
            yield from _patterns(each, depth + 1)
    elif depth < 4 and isinstance(thing, (tuple, list)):
        for each in thing:
            yield from _patterns(each, depth + 1)


def _of(module: ModuleType) -> list[re.Pattern[str]]:
    found = [p for value in vars(module).values() for p in _patterns(value)]
    return list({pattern.pattern: pattern for pattern in found}.values())


def _near(pattern: re.Pattern[str]) -> Iterator[str]:
    """Strings of the pattern's own words, as long as a clause may be."""
    words = list(dict.fromkeys(_WORD.findall(pattern.pattern.replace(r"\s", " "))))[:40]
    ends = ("\x00", " ~", "x" * 45 + "~")
    for word, end in product([*words, "a", "x's", ","], ends):
        yield (f"{word} " * _CLAUSE)[:_CLAUSE] + end
    for place in range(0, max(len(words) - 3, 1), 2):
        some = " ".join(words[place : place + 4])
        yield (f"i my {some} a " * _CLAUSE)[:_CLAUSE] + "\x00"
    yield (" ".join(words) * _CLAUSE)[:_CLAUSE] + "\x00"


def test_the_strings_find_a_pattern_that_blows_up() -> None:
    bad = re.compile(r"(?:\s(?:now|since\s.{1,30}))*[\s.!]*$")
    assert any(_slow(bad, text[:185] + text[-46:]) for text in _near(bad))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rsplit(".", 1)[-1])
def test_no_pattern_blows_up_on_its_own_words(module: ModuleType) -> None:
    patterns = _of(module)
    slow = [(p.pattern[:60], text[:40]) for p in patterns for text in _near(p) if _slow(p, text)]
    assert slow == []
    assert patterns


def _slow(pattern: re.Pattern[str], text: str) -> bool:
    begun = time.process_time()
    pattern.search(text)
    return time.process_time() - begun > 0.05


@pytest.mark.parametrize(
    "shred",
    ["as for my job, ", "since a ", "我的家是", "home for me for me ", *(
        pytest.param(each, marks=pytest.mark.slow) for each in (
            "my favourite colour is ", "I've been at a for ", "my boss, Tom, ",
            "it's Oslo where I live, ", "I went from a to b to ", "that's where I live, ",
            "job: ", "as my favourite ", "the city I live in is ", "Bosch hired me as ",
        )
    )],
)  # fmt: skip
def test_a_megabyte_of_near_facts_is_read_quickly(shred: str) -> None:
    text = (shred * (1_000_000 // len(shred) + 1))[:1_000_000]
    begun = time.process_time()
    RuleExtractor().extract([TurnText(text, 1_683_730_800_000_000, "Maya")])
    assert time.process_time() - begun < 20
