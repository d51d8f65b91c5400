"""Every shortcut that a search takes gives what the long way gives."""

from __future__ import annotations

import json
import random
import re
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_integrations import MOS, Principal, Settings
from memos_integrations.cube.errors import InvalidFilter, InvalidInput
from memos_integrations.cube.filters import _Parser, parse
from memos_integrations.cube.ports import TextEntry
from memos_integrations.infrastructure.backends.column_table import find, find_all
from memos_integrations.infrastructure.backends.lexical import LexicalIndex
from memos_integrations.infrastructure.backends.part_vectors import PartEntry, PartVectors
from memos_integrations.infrastructure.backends.selection import best_first, best_of_ascending
from memos_integrations.infrastructure.vault import governed_sql
from memos_integrations.infrastructure.vault.filter_sql import compile_checked, compile_filter
from memos_integrations.infrastructure.vault.governed_sql import filtered
from memos_integrations.infrastructure.vault.rows import _read
from memos_integrations.operation.operator import question
from memos_integrations.operation.operator.question import Query
from memos_integrations.operation.reading import dates

NUMBERS = st.lists(st.integers(0, 40), unique=True, max_size=20).map(sorted)


@given(NUMBERS, st.lists(st.integers(-5, 45), max_size=12))
def test_the_place_of_each_item_and_whether_all_are_there(
    held: list[int], asked: list[int]
) -> None:
    places, every = find_all(np.array(held, np.int64), np.array(asked, np.int64))
    assert places.tolist() == [held.index(n) if n in held else -1 for n in asked]
    assert every is bool(set(asked) <= set(held))
    assert find(np.array(held, np.int64), np.array(asked, np.int64)).tolist() == places.tolist()


@given(st.lists(st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0]), max_size=60), st.integers(1, 5))
def test_the_best_of_ascending_items_are_the_best(scores: list[float], limit: int) -> None:
    values, items = np.array(scores, np.float32), np.arange(len(scores))
    long = best_first(values, items, limit)
    assert best_of_ascending(values, limit).tolist() == long.tolist()


PIECES = st.lists(
    st.sampled_from(
        [
            "how many", "how", "what kind of ", "what are some", "can", "could you", "would you",
            "you", "I'm looking", "i am planning", "I want", "i need", "I'd like", "tips", "ideas",
            "idea for", "help me", "find", "recommend", "advise", "where can i", "should I", "when",
            "and", "which year", "since when", "2", "s", "'", "1984", "80s", "90's", "the", "late",
            "/", "-", ".", "05", "20", "in", "of", "19", "2023",
            "\t", "\u00a0", "é", "推荐", "几号",
        ]
    ),
    max_size=9,
)  # fmt: skip
TEXTS = st.builds(str.join, st.sampled_from([" ", " ", "", "\n"]), PIECES)


@given(TEXTS)
def test_what_a_question_asks_for_is_what_the_patterns_find(text: str) -> None:
    asked = Query(text)
    assert asked.wants_time is bool(question._WHEN.search(text))
    assert asked.wants_number is bool(question._NUMBER.search(text))
    assert asked.wants_advice is bool(question._ADVICE.search(text))


@pytest.mark.parametrize(
    "text",
    [
        "recommend one", "any suggestion", "advise me", "advice", "should I go", "ideas for tea",
        "tips", "help me find it", "what are some teas", "what would be a good tea",
        "where can i sit", "how can I sit", "what kinds of tea would fit", "what type of x can y",
        "would you sit", "I'm looking", "i am  thinking", "I want it", "i need it", "I'D LIKE it",
        "so\tyou\ncould\tyou", "would\u00a0you", "推荐",
    ],
)  # fmt: skip
def test_each_way_to_ask_for_advice_is_seen(text: str) -> None:
    assert question._ADVICE.search(text)
    assert Query(text).wants_advice
    assert Query(f"and {text.upper()}?").wants_advice


@given(TEXTS)
def test_no_date_in_digits_goes_unread(text: str) -> None:
    found = [r for r in dates._RULES if "0" in r.triggers and r.pattern.search(text)]
    in_words = any(not rule.triggers.isdisjoint(re.findall("[a-z]+", text)) for rule in found)
    assert not found or in_words or dates._DATE_DIGITS.search(text)


@pytest.mark.parametrize("words", [0, 3])
def test_counts_are_the_same_before_and_after_everything_was_scored(words: int) -> None:
    draw, index = random.Random(words), LexicalIndex()
    texts = [" ".join(draw.choices("abcdefgh", k=draw.randint(0, 9))) for _ in range(60)]
    index.upsert(1, [TextEntry(n, 1, text) for n, text in enumerate(texts)])
    index.delete(1, [3, 4])
    for query in ("b c d", "e e zz f", "zz", ""):
        for items in (np.arange(60), np.array([9, 2, 5, 3]), np.zeros(0, np.int64)):
            before = index.counts(1, query, items)
            index.search(1, query, limit=5)
            for one, two in zip(before, index.counts(1, query, items), strict=True):
                np.testing.assert_array_equal(one, two)


def test_bare_words_alone_are_scored_as_they_are_beside_sentences() -> None:
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(9, 8)).astype(np.float32)
    only, mixed = PartVectors(), PartVectors()
    entries = [PartEntry(n, 1, ((0, rows[n]),)) for n in range(8)]
    only.upsert(1, entries)
    mixed.upsert(1, [*entries, PartEntry(8, 1, ((0, rows[8]), (1, rows[0])))])
    for items in (np.arange(8), np.array([5, 1]), np.array([1, 99])):
        one, two = (index.scores(1, rows[3], items) for index in (only, mixed))
        np.testing.assert_array_equal(one[0], two[0])
        assert np.isnan(one[1]).all()
    bare, sentence = mixed.scores(1, rows[3], np.array([8]))
    np.testing.assert_array_equal(sentence, only.scores(1, rows[3], np.array([0]))[0])
    assert bare[0] != sentence[0]
    only.delete(1, [1])
    assert np.isnan(only.scores(1, rows[3], np.array([0, 1]))[0]).tolist() == [False, True]


@pytest.mark.parametrize("value", [1, 1.0, True, "1", "x' OR 1"])
def test_a_comparison_is_bound_to_its_own_value(value: object) -> None:
    compile_filter({"info.n": 2})
    tree = parse({"info.n": value})
    assert tree is not None
    assert compile_checked(tree) == compile_filter({"info.n": value})
    assert json.dumps(value) in compile_checked(tree).parameters
    turned = compile_filter({"not": {"info.n": value}})
    assert turned.sql == f"(NOT {compile_checked(tree).sql})"


class Anything(str):
    """Says of itself that it is any other word."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


@pytest.mark.parametrize("order", [1, -1])
def test_a_filter_read_before_is_that_filter_and_no_other(order: int) -> None:
    words = [Anything("a"), Anything("b"), "1", "", "x" * 300]
    values = [1, 1.0, True, 0, False, 2**60, *words][::order]
    named = [{"info.one": 1, "info.two": "1"}, {"info.two": "1", "info.one": 1}]
    for spec in [*({"info.n": value} for value in values), {"info.n": {"gt": 1}}, *named] * 2:
        read, afresh = parse(spec), _Parser().read(spec, depth=0)
        assert repr(read) == repr(afresh)
        for tree in (read, afresh):
            sql, bound = filtered(tree)
            assert list(bound.values()) == list(compile_filter(spec).parameters)
            assert len(bound) == sql.count(":f")
    assert parse({"info.n": 1}) is parse({"info.n": 1})
    for _ in range(2):
        with pytest.raises(InvalidFilter):
            parse({"nobody.knows": 1})


def test_what_is_bound_to_a_filter_stays_its_own() -> None:
    for n in range(800):  # more than are kept
        tree = parse({"info.n": n if n % 2 else {"gt": n}})
        for _ in range(2):
            words, bound = filtered(tree)
            assert json.dumps(n) in bound.values()
            bound.update(dict.fromkeys(bound, "of another"))
    assert filtered(parse({"info.n": 7}))[0] == words
    assert 0 < len(governed_sql._compiled) <= governed_sql._MOST_COMPILED
    large = parse({"info.n": {"in": list(range(1_000))}})
    filtered(large)
    assert all(kept[0] is not large for kept in governed_sql._compiled.values())


@pytest.mark.parametrize("text", ['{"a":[1,2.5,null,true]}', " [1] ", '"é"', "[]"])
def test_json_is_read_as_json(text: str) -> None:
    assert _read(text) == json.loads(text)


@pytest.mark.parametrize("text", ["", " ", "[1] 2", "[1,", "nope"])
def test_what_is_no_json_is_an_error(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        _read(text)


class Name(str, Enum):  # noqa: UP042  -- its words are not its value, which is what matters here
    ALICE = "alice"


def test_a_name_of_another_kind_does_not_become_everybodys(tmp_path: Path) -> None:
    settings = Settings(worker=False, extract=False)
    with MOS(tmp_path / "a.db", embedder=None, settings=settings) as mos:
        mos.add("the tea is green", user="alice")
        for _ in range(2):
            assert mos._scope(user=Name.ALICE).principal.user is Name.ALICE
            assert type(mos._scope(user="alice").principal.user) is str
            assert [h.text for h in mos.search("tea", user="alice")] == ["the tea is green"]
            assert mos.search("tea", user="bob") == []
            assert mos.acting(Principal(user="bob")).search("tea") == []
            with pytest.raises(InvalidInput):
                mos.search("tea", user=["alice"])  # type: ignore[arg-type]
        for n in range(600):  # more than are kept
            assert mos._scope(user=f"u{n}").principal.user == f"u{n}"
        assert len(mos._scopes) <= 256
