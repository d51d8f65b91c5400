"""How fast memories are found, ours beside others: ``python -m bench.find [--quick] [--million]``.

One run, one machine, question by question in turn: the full ranked hybrid search of the facade
(governed, audited), Chroma, LangGraph's ``InMemoryStore``, LlamaIndex's ``SimpleVectorStore`` and
the floor, a bare product in numpy. The same texts, vectors and filters for all.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench import rivals
from bench.finding import LIMIT, folder_bytes, lookup
from bench.measure import percentile, table
from bench.words import DIMENSIONS, Lookup
from memos_integrations import MOS, Settings

SHARES = {"none": 0, "10 %": 10, "1 %": 100}
"""Filters: ``tenth`` has 10 values, ``hundredth`` 100; 0 asks without one."""
SIZES = (1_000, 10_000, 100_000)
_MILLION = 1_000_000
_BATCH = 1_000
_SLOW_MS = 100.0
"""A rival slower than this is asked fewer questions."""
Find = Callable[[str, int], int]
"""A question and how many values the filter tells apart (0: no filter); how many were found."""


@dataclass(slots=True)
class Store:
    """One store under measurement."""

    name: str
    find: Find
    build_seconds: float
    mebibytes: float
    disk: int = 0
    spent: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    worked: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """CPU time of the asking thread: what a busy machine changes least."""


def main() -> None:
    """Parse the command line and print one table per size."""
    parser = argparse.ArgumentParser(prog="python -m bench.find", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the two smaller sizes, few questions")
    parser.add_argument(
        "--million", action="store_true", help="ours with a million memories as well"
    )
    parser.add_argument("--ours", action="store_true", help="without the other stores")
    given = parser.parse_args()
    sizes = SIZES[:2] if given.quick else SIZES
    folder = Path(tempfile.mkdtemp(prefix="find-", dir=os.environ.get("BENCH_DIR", ".")))
    try:
        for items in (*sizes, *((_MILLION,) if given.million else ())):
            few = given.quick or items == _MILLION
            alone = given.ours or items == _MILLION  # the others take hours to fill
            report(folder, items=items, asked=30 if few else 100, alone=alone)
    finally:
        shutil.rmtree(folder)


def report(folder: Path, *, items: int, asked: int, alone: bool) -> None:
    """Build every store with so many items, ask them in turn, and print what it took."""
    place = folder / str(items)
    place.mkdir()
    texts, questions, known = lookup(items, asked)
    with our_store(place / "ours.db", texts, known) as ours:
        stores = [ours, numpy_floor(texts, known)]
        stores += [] if alone else list(others(place, texts, known))
        for number, question in enumerate(questions):
            for store in stores:
                _ask(store, question, number)
    _print(stores, items)
    print(
        f"limit: {items * DIMENSIONS * 4 / 2**20:,.0f} MiB of vectors, read at {_bandwidth():.1f}"
        f" GB/s by one thread: {items * DIMENSIONS * 4 / _bandwidth() / 1e6:.2f} ms without filter"
    )
    shutil.rmtree(place)


def _ask(store: Store, question: str, number: int) -> None:
    for name, values in SHARES.items():
        times = store.spent.setdefault(name, [])
        slow = bool(times) and min(times) > _SLOW_MS
        if slow and number % 10:
            continue
        start, work = time.perf_counter(), time.thread_time()
        found = store.find(question, values)
        store.worked.setdefault(name, []).append((time.thread_time() - work) * 1e3)
        times.append((time.perf_counter() - start) * 1e3)
        # Ours leaves out what neither a word nor the meaning speaks for.
        assert 0 < found <= LIMIT, f"{store.name} found {found}"


def _print(stores: Sequence[Store], items: int) -> None:
    base = {name: percentile(stores[0].spent[name], 0.5) for name in SHARES}
    rows: list[list[str]] = []
    for store in stores:
        cells = [store.name]
        for name in SHARES:
            middle = percentile(store.spent[name], 0.5)
            work = percentile(store.worked[name], 0.5)
            cells += [f"{middle:.2f}", f"{work:.2f}", f"{middle / base[name]:.2f}"]
        asked = min(len(times) for times in store.spent.values())
        cells += [f"{store.build_seconds:.1f}", f"{store.mebibytes:,.0f}"]
        rows.append([*cells, f"{store.disk / items:,.0f}", str(asked)])
    heads = ["store"]
    for name in SHARES:
        heads += [f"{name} ms", "CPU", "x ours"]
    heads += ["build s", "MiB more", "disk bytes/item", "questions"]
    print(
        f"\nThe best {LIMIT} of {items:,} memories, p50 (fewer questions: slower than "
        f"{_SLOW_MS:.0f} ms); load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    )
    print("\n".join(table(heads, rows)))


@contextmanager
def our_store(path: Path, texts: Sequence[str], known: Lookup) -> Iterator[Store]:
    """The facade with its fine stage done; facts are not drawn, as others draw none."""
    held, start = _resident(), time.perf_counter()
    # Nobody works the queue while it fills, so there is nobody to wait for.
    settings = Settings(
        synchronous="normal", worker=False, extract=False, max_waiting_tasks=10_000_000
    )
    with MOS(path, embedder=known, settings=settings) as mos:
        for part in range(100):
            mine = list(texts[part::100])
            for at in range(0, len(mine), _BATCH):
                info = {"tenth": part % 10, "hundredth": part}
                mos.add(mine[at : at + _BATCH], user="alice", info=info)
        added = time.perf_counter()
        mos.work()
        done = time.perf_counter()
        print(f"ours: {len(texts) / (done - added):,.0f} items/s in the fine stage")
        mos.search(texts[0], user="alice")

        def find(question: str, values: int) -> int:
            where = _filter(values, "info.")
            return len(mos.search(question, user="alice", filter=where, limit=LIMIT))

        spent, more = time.perf_counter() - start, _resident() - held
        yield Store("ours, ranked hybrid", find, spent, more, folder_bytes(path))


def numpy_floor(texts: Sequence[str], known: Lookup) -> Store:
    """A product over the rows that pass and a partial sort: nothing else, no store at all."""
    held, start = _resident(), time.perf_counter()
    matrix = known.embed(texts)
    group = np.arange(len(texts)) % 100
    rows = {0: np.arange(len(texts))}
    rows |= {n: np.flatnonzero(group % n == 3) for n in SHARES.values() if n}

    def find(question: str, values: int) -> int:
        vector = known.embed([question])[0]
        at = rows[values]
        scores = matrix[at] @ vector if values else matrix @ vector
        return len(at[np.argpartition(-scores, LIMIT - 1)[:LIMIT]])

    return Store("numpy floor", find, time.perf_counter() - start, _resident() - held)


def others(folder: Path, texts: Sequence[str], known: Lookup) -> Iterator[Store]:
    """The rivals that are installed; for each that is not, a line that says so."""
    made = (
        ("chromadb", rivals.chroma_finds),
        ("langgraph.store.memory", rivals.langgraph_finds),
        ("llama_index.core", rivals.llama_index_finds),
    )
    for package, make in made:
        gap = rivals.missing(package)
        if gap:
            print(gap)
            continue
        held, start = _resident(), time.perf_counter()
        try:
            name, find = make(folder, texts, known)
        except rivals.TooLarge as error:
            print(error)
            continue
        spent = time.perf_counter() - start
        disk = folder_bytes(folder / "chroma") if package == "chromadb" else 0
        yield Store(name, _counted(find), spent, _resident() - held, disk)


def _counted(find: Callable[[str, dict[str, int] | None], int]) -> Find:
    return lambda question, values: find(question, _filter(values, ""))


def _filter(values: int, prefix: str) -> dict[str, int] | None:
    return {prefix + {10: "tenth", 100: "hundredth"}[values]: 3} if values else None


def _bandwidth() -> float:
    """GB/s at which one thread reads memory: a sum over an array that no cache holds."""
    block = np.ones(32 << 20, np.float32)
    spent: list[float] = []
    for _ in range(5):
        start = time.perf_counter()
        block.max()
        spent.append(time.perf_counter() - start)
    return block.nbytes / min(spent) / 1e9


def _resident() -> float:
    """The most memory this process held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
