"""What others do, on the same turns with the same vectors: each a function from question to rank.

Exact cosine over bare turns is what LangGraph's store, LlamaIndex, Chroma and mem0 without its
language model come to; reciprocal rank fusion is the usual hybrid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from bench import rivals
from bench.datasets import Store, Turn
from memos_integrations.cube.ids import to_micros
from memos_integrations.cube.ports import Embedder, TextEntry
from memos_integrations.infrastructure.backends.lexical import LexicalIndex
from memos_integrations.infrastructure.vault.indexed_text import indexed_text

Ranker: TypeAlias = Callable[[str], list[str]]
"""A question in, ids of turns out, best first."""

DEPTH = 200
_CUBE = 1
_RRF_K = 60


def rankers(store: Store, embedder: Embedder, folder: Path) -> dict[str, Ranker]:
    """Every baseline over this store; Chroma where it is installed."""
    bare, dated = [turn.text for turn in store.turns], told(store)
    cosine, words = by_cosine(store, bare, embedder), by_words(store, bare)
    dated_cosine, dated_words = by_cosine(store, dated, embedder), by_words(store, dated)
    found = {
        "cosine, bare turns": cosine,
        "BM25, bare turns": words,
        "RRF of these two": fused(cosine, words),
        "cosine, speaker (date): text": dated_cosine,
        "BM25, speaker (date): text": dated_words,
        "RRF of these two, dated": fused(dated_cosine, dated_words),
    }
    if not rivals.missing("chromadb"):
        found["Chroma"] = by_chroma(store, embedder, folder)
    return found


def told(store: Store) -> list[str]:
    """Each turn with its speaker and date in front, as our index has it."""
    return [_told(turn) for turn in store.turns]


def _told(turn: Turn) -> str:
    return indexed_text(
        text=turn.text, spans=None, speaker=turn.name or turn.role, time=to_micros(turn.time)
    )


def by_cosine(store: Store, texts: Sequence[str], embedder: Embedder) -> Ranker:
    """Exact cosine of the question with each text."""
    matrix = embedder.embed(texts)

    def rank(question: str) -> list[str]:
        scores = matrix @ embedder.embed([question])[0]
        return [store.turns[n].id for n in np.argsort(-scores, kind="stable")[:DEPTH]]

    return rank


def by_words(store: Store, texts: Sequence[str]) -> Ranker:
    """BM25 of our own index, alone."""
    index = LexicalIndex()
    index.upsert(_CUBE, [TextEntry(n, 1, text) for n, text in enumerate(texts)])

    def rank(question: str) -> list[str]:
        found = index.search(_CUBE, question, limit=DEPTH)
        return [store.turns[proposal.item].id for proposal in found]

    return rank


def fused(*parts: Ranker) -> Ranker:
    """Reciprocal rank fusion (Cormack et al. 2009), k = 60."""

    def rank(question: str) -> list[str]:
        scores: dict[str, float] = {}
        for part in parts:
            for place, turn in enumerate(part(question), 1):
                scores[turn] = scores.get(turn, 0.0) + 1 / (_RRF_K + place)
        return sorted(scores, key=lambda turn: -scores[turn])

    return rank


def by_chroma(store: Store, embedder: Embedder, folder: Path) -> Ranker:
    """Chroma's own approximate index over bare turns."""
    place = folder / f"chroma-{store.name}"
    collection = rivals.chroma(place)
    texts = [turn.text for turn in store.turns]
    collection.add(
        ids=[turn.id for turn in store.turns], documents=texts, embeddings=embedder.embed(texts)
    )

    def rank(question: str) -> list[str]:
        asked = embedder.embed([question])
        return list(collection.query(query_embeddings=asked, n_results=50)["ids"][0])

    return rank
