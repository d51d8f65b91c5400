"""The embedded text index keeps the contract, and stays itself when it tidies up."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from memos_integrations.cube.ports import TextEntry, TextIndex
from memos_integrations.infrastructure.backends import lexical
from memos_integrations.infrastructure.backends.lexical import LexicalIndex
from memos_integrations.testing.text_index import CUBE, TextIndexTests, entries, found


class TestLexicalIndex(TextIndexTests):
    k1 = lexical.K1
    b = lexical.B

    def make(self, tmp_path: Path) -> TextIndex:
        return LexicalIndex()


class TestLexicalIndexThatMergesAtOnce(TextIndexTests):
    """The same, with every write folded into the sorted postings and every death compacted."""

    @pytest.fixture(autouse=True)
    def _eager(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lexical, "_MIN_TAIL", 0)
        monkeypatch.setattr(lexical, "_MIN_DEAD", 0)

    def make(self, tmp_path: Path) -> TextIndex:
        return LexicalIndex()


def test_many_small_writes_answer_like_one_large() -> None:
    chance = random.Random(5)
    words = [f"w{i}" for i in range(400)]
    texts = [" ".join(chance.choices(words, k=12)) for _ in range(3000)]
    large, small = LexicalIndex(), LexicalIndex()
    large.upsert(CUBE, entries(*texts))
    for first in range(0, len(texts), 7):
        small.upsert(CUBE, entries(*texts[first : first + 7], first=first + 1))
    for _ in range(50):
        query = " ".join(chance.choices(words, k=4))
        assert large.search(CUBE, query, limit=20) == small.search(CUBE, query, limit=20)


def test_a_heavily_rewritten_index_answers_like_a_fresh_one() -> None:
    chance = random.Random(6)
    words = [f"w{i}" for i in range(60)]
    old, truth = LexicalIndex(), dict[int, TextEntry]()
    for version in range(1, 60):
        batch = [
            TextEntry(item, version, " ".join(chance.choices(words, k=8)))
            for item in chance.sample(range(200), 20)
        ]
        old.upsert(CUBE, batch)
        truth.update((entry.item, entry) for entry in batch)
        gone = chance.sample(range(200), 5)
        old.delete(CUBE, gone)
        for item in gone:
            truth.pop(item, None)
    fresh = LexicalIndex()
    fresh.upsert(CUBE, list(truth.values()))
    for word in words:
        mine, theirs = (index.search(CUBE, f"{word} w1", limit=300) for index in (old, fresh))
        assert mine == theirs


def test_a_search_under_way_keeps_the_state_it_began_with() -> None:
    index = LexicalIndex()
    index.upsert(CUBE, entries("red kite", "blue kite"))
    snapshot = index._cubes[CUBE].snapshot
    index.upsert(CUBE, entries(*["kite zeppelin"] * 100, first=10))
    index.delete(CUBE, [1, *range(10, 90)])
    then = snapshot.search("kite zeppelin", limit=500, within=None)
    assert [hit.item for hit in then] == [1, 2]
    assert len(found(index, "kite", limit=500)) == 21


def test_a_search_under_way_outlives_a_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    index = LexicalIndex()
    index.upsert(CUBE, entries("red kite", "blue kite"))
    snapshot = index._cubes[CUBE].snapshot
    with monkeypatch.context() as eager:
        eager.setattr(lexical, "_MIN_TAIL", 0)
        index.upsert(CUBE, entries("green boat", first=10))
    index.upsert(CUBE, entries("stone lamp", "tree river", first=20))
    then = snapshot.search("kite", limit=500, within=None)
    assert [hit.item for hit in then] == [1, 2]


def test_words_of_the_dead_leave_the_memory() -> None:
    index = LexicalIndex()
    index.upsert(CUBE, entries(*(f"secret{i} kite" for i in range(100))))
    index.delete(CUBE, range(1, 61))
    held = index._cubes[CUBE].snapshot
    assert len(held.vocabulary) == 41
    assert "secret5" not in held.vocabulary
    assert len(held.alive) == held.slots.shape[1] == 40
    assert found(index, "secret99") == [100]


def test_a_closed_index_holds_nothing() -> None:
    index = LexicalIndex()
    index.upsert(CUBE, entries("red kite"))
    index.close()
    assert found(index, "kite") == []
