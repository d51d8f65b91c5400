"""The best few without sorting all, and what the indexes keep of one question for the next."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import numpy as np
import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.ports import TextEntry, VectorEntry
from memos_integrations.infrastructure.backends import lexical, vector_snapshot
from memos_integrations.infrastructure.backends.lexical import LexicalIndex
from memos_integrations.infrastructure.backends.numpy_vectors import NumpyVectors
from memos_integrations.infrastructure.backends.selection import (
    ascending,
    best_first,
    reached_by,
)

WORDS = [f"w{n}" for n in range(40)]


def values(size: int, *, seed: int, different: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    draw = np.random.default_rng(seed)
    return draw.integers(0, different, size).astype(np.float32) / different - 0.3


@pytest.mark.parametrize("size", [1, 7, 1_023, 2_048, 30_000])
@pytest.mark.parametrize("different", [1, 5, 10_000_000])
@pytest.mark.parametrize("count", [1, 160, 2_000])
def test_enough_values_reach_the_number_and_few_more(size: int, different: int, count: int) -> None:
    if count > size:
        return
    held = values(size, seed=size + count, different=different)
    least = reached_by(held, count)
    exact = np.sort(held)[::-1][count - 1]
    assert least <= exact
    assert int((held >= least).sum()) >= count
    if different > size and size >= 4 * count:
        assert int((held >= least).sum()) <= 1.3 * count + 2


@pytest.mark.parametrize("limit", [1, 3, 50, 400])
def test_the_best_come_first_and_ties_by_item(limit: int) -> None:
    scores = values(300, seed=limit, different=6)
    items = np.random.default_rng(limit).permutation(1_000)[:300]
    wanted = sorted(range(300), key=lambda place: (-scores[place], items[place]))[:limit]
    assert best_first(scores, items, limit).tolist() == wanted


def test_items_are_put_in_order_once() -> None:
    assert ascending(np.array([5, 1, 5, 2])).tolist() == [1, 2, 5]
    sorted_already = np.array([1, 2, 9])
    assert ascending(sorted_already) is sorted_already


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tail", [0, 100, 8_192])
def test_scores_are_the_same_to_the_last_bit_whichever_way_is_shorter(
    seed: int, tail: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexical, "_MIN_TAIL", tail)
    rng = random.Random(seed)
    index, held = LexicalIndex(), set[int]()
    for version in range(1, 60):
        items = rng.sample(range(200), rng.randrange(1, 9))
        texts = [" ".join(rng.choices(WORDS, k=rng.randrange(30))) for _ in items]
        entries = zip(items, texts, strict=True)
        index.upsert(1, [TextEntry(item, version, text) for item, text in entries])
        held |= set(items)
        if rng.random() < 0.4:
            index.delete(1, gone := rng.sample(sorted(held), min(len(held), rng.randrange(1, 6))))
            held -= set(gone)
        query = " ".join(rng.choices([*WORDS, "unheard"], k=rng.randrange(1, 12)))
        few = np.array(sorted(rng.sample(range(200), rng.choice([1, 5, 150]))))
        near = index.search(1, query, limit=9, within=few)  # before all of them were scored
        alone = index.scores(1, query, few)
        every = {hit.item: hit for hit in index.search(1, query, limit=500)}
        wanted = sorted(set(few.tolist()) & every.keys(), key=lambda n: (-every[n].score, n))[:9]
        assert near == [every[item] for item in wanted]
        assert alone.tolist() == [every[n].score if n in every else 0 for n in few.tolist()]


def test_the_same_question_within_other_items_is_another_one() -> None:
    index = LexicalIndex()
    index.upsert(1, [TextEntry(n, 1, "red kite") for n in range(1, 9)])
    for within in ([1, 2], [3], [1, 2, 3], None, [8]):
        rows = None if within is None else np.array(within)
        found = [hit.item for hit in index.search(1, "kite", limit=4, within=rows)]
        assert found == (within if within is not None else [1, 2, 3, 4])
        assert index.nearest(1, "kite", limit=2, within=rows).tolist() == found[:2]


# --- vectors -------------------------------------------------------------------------------------


def unit(rows: int, *, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    matrix = np.random.default_rng(seed).normal(size=(rows, 24)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix


def test_scores_kept_from_a_search_are_those_of_the_same_question_only() -> None:
    index, fresh, matrix = NumpyVectors(), NumpyVectors(), unit(300, seed=1)
    for each in (index, fresh):
        each.upsert(1, [VectorEntry(n, 1, row) for n, row in enumerate(matrix, 1)])
    some, asked = np.array([300, 7, 7, 1, 999]), unit(2, seed=2)
    buffer = asked[0].copy()
    for vector in asked:  # an embedder may hand out one array again and again
        buffer[:] = vector
        index.search(1, buffer, limit=5, within=np.arange(1, 100, 3))
        wanted = fresh.scores(1, vector, some)
        assert np.array_equal(index.scores(1, buffer, some), wanted, equal_nan=True)
        index.search(1, buffer, limit=5)
        assert np.array_equal(index.scores(1, buffer, some), wanted, equal_nan=True)


@pytest.mark.parametrize("row_by_row", [True, False])
@pytest.mark.parametrize("rows", [900, 20_000])
def test_searches_of_few_and_of_many_rows_give_the_same_scores(
    rows: int, row_by_row: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_snapshot, "ROW_BY_ROW", row_by_row)
    index, matrix, asked = NumpyVectors(), unit(rows, seed=3), unit(1, seed=4)[0]
    index.load(1, np.arange(1, rows + 1), np.ones(rows, np.int64), matrix)
    free = {hit.item: hit.score for hit in index.search(1, asked, limit=rows)}
    stretches = np.concatenate([np.arange(1, 101), np.arange(300, 450), [rows]])
    for within in (
        np.arange(1, rows, 50),
        np.arange(200, 900),
        np.arange(1, rows, 2),
        stretches,
        np.array([rows + 7]),
    ):
        hits = index.search(1, asked, limit=20, within=within)
        assert [hit.score for hit in hits] == [free[hit.item] for hit in hits]
        held = [item for item in within.tolist() if item in free]
        wanted = sorted(held, key=lambda item: (-free[item], item))[:20]
        assert [hit.item for hit in hits] == wanted


# --- filters -------------------------------------------------------------------------------------


@pytest.fixture
def mos() -> Iterator[MOS]:
    with MOS(None, embedder=None, settings=Settings(worker=False, extract=False)) as opened:
        yield opened


def test_values_that_python_calls_equal_are_different_filters(mos: MOS) -> None:
    for value in (1, True, "1"):
        mos.add(f"kite {value!r}", user="a", info={"n": value})
    for _ in range(2):
        for value in (1, True, "1", 1.0, True):
            found = [hit.text for hit in mos.search("kite", user="a", filter={"info.n": value})]
            assert found == [f"kite {1 if value == 1.0 and value is not True else value!r}"]


def test_a_filter_asked_again_sees_what_was_written_meanwhile(mos: MOS) -> None:
    where = {"tags": {"contains": "sky"}}
    first = mos.add("red kite", user="a", tags=["sky"]).id
    assert [hit.id for hit in mos.search("kite", user="a", filter=where)] == [first]
    second = mos.add("red kite again", user="a", tags=["sky"]).id
    assert {hit.id for hit in mos.search("kite", user="a", filter=where)} == {first, second}
    assert first is not None
    mos.delete(first, user="a")
    assert [hit.id for hit in mos.search("kite", user="a", filter=where)] == [second]


def test_what_has_expired_is_left_out_of_a_filter_decided_before(mos: MOS) -> None:
    where = {"tags": {"contains": "sky"}}
    mos.add("red kite", user="a", tags=["sky"], ttl_seconds=0.3)
    assert len(mos.search("kite", user="a", filter=where)) == 1
    deadline = time.monotonic() + 5
    while mos.search("kite", user="a", filter=where):
        assert time.monotonic() < deadline


def test_vectors_held_are_told_in_the_order_asked() -> None:
    index = NumpyVectors()
    assert index.holds(1, [3, 1]) == [False, False]
    index.upsert(1, [VectorEntry(n, 1, np.ones(4, np.float32)) for n in (1, 2, 7)])
    assert index.holds(1, [7, 3, 1, -1, 10**12]) == [True, False, True, False, False]
    index.delete(1, [7])
    assert index.holds(1, [7, 2]) == [False, True]
    assert index.holds(1, []) == []
