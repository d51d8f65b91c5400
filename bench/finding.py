"""Search and opening, ours beside Chroma's: same texts, same vectors, same filter, same run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import ours, rivals
from bench.measure import percentile, table
from bench.words import TOPICS, Lookup, sentences, vectors

LIMIT = 10
_BATCH = 1000
Search = Callable[[str, bool], object]
"""A question, and whether to ask with the filter (one topic in ten)."""


def report(folder: Path, *, quick: bool) -> None:
    """Print search times at two sizes, and what opening the larger store costs."""
    asked = 30 if quick else 200
    for items in (1000, 10_000):
        place = folder / f"find-{items}"
        place.mkdir()
        _search(place, items=items, asked=asked)
    _opening(place, items=items, runs=3 if quick else 7)


def lookup(items: int, asked: int) -> tuple[list[str], list[str], Lookup]:
    """Texts, questions and the look-up of both; equal in every process."""
    texts, questions = sentences(items, seed=1), sentences(asked, seed=2)
    known = dict(zip(texts, vectors(items, seed=1), strict=True))
    known |= zip(questions, vectors(asked, seed=2), strict=True)
    return texts, questions, Lookup(known)


def _search(folder: Path, *, items: int, asked: int) -> None:
    texts, questions, known = lookup(items, asked)
    _fill_ours(folder / "ours.db", texts, known)
    arms: list[tuple[str, Search, bool]] = []
    with our_search(folder / "ours.db", known) as find:
        arms += [("ours", find, False), ("ours, filter", find, True)]
        if not rivals.missing("chromadb"):
            _fill_chroma(folder / "chroma", texts, known)
            theirs = chroma_search(folder / "chroma", known)
            arms += [("chroma", theirs, False), ("chroma, filter", theirs, True)]
        spent: list[list[float]] = [[] for _ in arms]
        for number, question in enumerate(questions):
            for (_, search, filtered), times in zip(arms, spent, strict=True):
                start = time.perf_counter()
                search(question, filtered)
                if number >= len(questions) // 10:
                    times.append((time.perf_counter() - start) * 1e3)
    rows = [
        [name, *(f"{percentile(times, share):.2f}" for share in (0.5, 0.95, 1.0)), str(len(times))]
        for (name, _, _), times in zip(arms, spent, strict=True)
    ]
    print(
        f"\nSearch among {items:,} memories, the best {LIMIT} (ours: words and vectors, governed)"
    )
    print("\n".join(table(("store", "p50 ms", "p95 ms", "max ms", "questions"), rows)))


def _fill_ours(path: Path, texts: Sequence[str], known: Lookup) -> None:
    with ours.memory(path, embedder=known) as mos:
        for topic in range(TOPICS):
            part = texts[topic::TOPICS]
            for start in range(0, len(part), _BATCH):
                mos.add(part[start : start + _BATCH], user="alice", info={"topic": topic})
        mos.work()


def _fill_chroma(folder: Path, texts: Sequence[str], known: Lookup) -> None:
    collection = rivals.chroma(folder)
    for start in range(0, len(texts), _BATCH):
        part = list(texts[start : start + _BATCH])
        collection.add(
            ids=[str(start + n) for n in range(len(part))],
            documents=part,
            embeddings=known.embed(part),
            metadatas=[{"topic": (start + n) % TOPICS} for n in range(len(part))],
        )


@contextmanager
def our_search(path: Path, known: Lookup) -> Iterator[Search]:
    """Searches of the facade: both arms, governance, audit of the read."""
    with ours.memory(path, embedder=known) as mos:

        def search(question: str, filtered: bool) -> object:
            where = {"info.topic": 3} if filtered else None
            found = mos.search(question, user="alice", filter=where, limit=LIMIT)
            assert len(found) == LIMIT
            return found

        yield search


def chroma_search(folder: Path, known: Lookup) -> Search:
    """Queries by the same vectors, with the documents in the answer."""
    collection = rivals.chroma(folder)

    def search(question: str, filtered: bool) -> object:
        found = collection.query(
            query_embeddings=known.embed([question]),
            n_results=LIMIT,
            where={"topic": 3} if filtered else None,
        )
        assert len(found["ids"][0]) == LIMIT
        return found

    return search


def _opening(folder: Path, *, items: int, runs: int) -> None:
    """Each run in a process of its own: nothing is warm but the disk's cache."""
    stores = {"ours": folder / "ours.db"}
    if not rivals.missing("chromadb"):
        stores["chroma"] = folder / "chroma"
    found: dict[str, list[dict[str, float]]] = {name: [] for name in stores}
    for _ in range(runs):
        for name, path in stores.items():
            words = [sys.executable, "-m", "bench.opening", name, str(path), str(items)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            found[name].append(json.loads(done.stdout))
    rows: list[list[str]] = []
    for name, each in found.items():
        cells = [
            f"{percentile([run[key] for run in each], 0.5):,.1f}"
            for key in ("open_ms", "first_ms", "second_ms", "mebibytes")
        ]
        rows.append([name, *cells, f"{folder_bytes(stores[name]) / items:,.0f}", str(runs)])
    print(f"\nOpening {items:,} memories in a fresh process (its imports are not counted)")
    heads = ("store", "open ms", "first search ms", "second ms", "MiB more", "bytes/item", "runs")
    print("\n".join(table(heads, rows)))


def folder_bytes(path: Path) -> int:
    files = path.parent.glob(path.name + "*") if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
