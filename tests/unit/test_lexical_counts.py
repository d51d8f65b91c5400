"""Counts of a question's words: what BM25 over several memories together is made of."""

from __future__ import annotations

import random

import numpy as np
import pytest

from memos_integrations.cube.ports import TermCounts, TextEntry
from memos_integrations.infrastructure.backends.lexical import K1, B, LexicalIndex
from memos_integrations.infrastructure.backends.words import tokens

WORDS = ["apple", "bridge", "copper", "dragon", "ember", "forest", "garnet"]


@pytest.mark.parametrize("seed", range(10))
def test_counts_are_those_of_the_words_and_make_the_scores(seed: int) -> None:
    rng = random.Random(seed)
    index, texts = LexicalIndex(), dict[int, str]()
    for version in range(1, 40):
        batch = {rng.randrange(60): " ".join(rng.choices(WORDS, k=rng.randrange(12))) for _ in "ab"}
        index.upsert(1, [TextEntry(n, version, text) for n, text in batch.items()])
        texts |= batch
        if rng.random() < 0.2:
            index.delete(1, [gone := rng.choice(sorted(texts))])
            del texts[gone]
    items = np.array([-1, *rng.choices(range(70), k=80)])
    query = "apple dragon apple unheard garnet"
    assert isinstance(index, TermCounts)
    counts, idf, lengths, average = index.counts(1, query, items)
    asked = list(dict.fromkeys(tokens(query)))
    held = [tokens(texts.get(int(n), "")) for n in items]
    assert counts.tolist() == [[words.count(word) for word in asked] for words in held]
    assert lengths.tolist() == [len(words) for words in held]
    norm = K1 * (1 - B + B * lengths / average)
    shares = (counts / (counts + norm[:, None])) @ idf / idf.sum()
    assert np.allclose(shares, index.scores(1, query, items), atol=1e-6)


def test_an_empty_cube_counts_nothing() -> None:
    counts, idf, lengths, average = LexicalIndex().counts(1, "apple bridge", np.array([3, 4]))
    assert counts.shape == (2, 2)
    assert not counts.any()
    assert not idf.any()
    assert lengths.tolist() == [0, 0]
    assert average == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("words", [WORDS, [f"word{n}" for n in range(70_000)]])
def test_a_filter_asked_again_gives_the_same_shares_and_counts(seed: int, words: list[str]) -> None:
    """The first question reads the lines of the texts, later ones have them sorted."""
    rng = random.Random(seed)
    told = words if len(words) < 100 else rng.sample(words, 200)
    index, fresh = LexicalIndex(), LexicalIndex()
    if told is not words:  # so many words that they are no longer sorted by counting
        for each in (index, fresh):
            each.upsert(1, [TextEntry(999_999, 1, " ".join(words))])
    for version in range(1, 12):
        batch = [
            TextEntry(rng.randrange(400), version, " ".join(rng.choices(told, k=rng.randrange(9))))
            for _ in range(40)
        ]
        gone = rng.sample(range(400), 3)
        for each in (index, fresh):
            each.upsert(1, batch)
            each.delete(1, gone)
        within = np.array(sorted(rng.sample(range(400), 90)))
        some = np.array(sorted(rng.sample(within.tolist(), 30)))
        for _ in range(3):
            query = " ".join(rng.choices([*told, "unheard"], k=6))
            found = index.search(1, query, limit=20, within=within)
            # The other index sees another array each time, so it keeps no part of the cube.
            assert found == fresh.search(1, query, limit=20, within=within.copy())
            assert index.scores(1, query, some).tolist() == fresh.scores(1, query, some).tolist()
            for mine, theirs in zip(
                index.counts(1, query, some), fresh.counts(1, query, some.copy()), strict=True
            ):
                assert np.array_equal(mine, theirs)
            everywhere = [p for p in index.search(1, query, limit=500) if p.item in within]
            assert everywhere[:20] == found
