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
