"""How fast memories are written, found and opened: ``python -m bench speed [--quick]``.

Every figure stands beside what bounds it, measured in the same run on the same disk.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import bare, finding, ours, rivals
from bench.measure import HEADS, Arm, Step, Timings, interleaved, numbers, table
from bench.words import Lookup, sentences, vectors

THREADS = 8
BATCH = 1000


class Material:
    """Fresh texts for every step, and the vector of each text made so far."""

    def __init__(self) -> None:
        self.known: dict[str, NDArray[np.float32]] = {}

    def texts(self, place: int, count: int) -> Sequence[str]:
        made = sentences(count, seed=place)
        self.known.update(zip(made, vectors(count, seed=place), strict=True))
        return made


def main(*, quick: bool) -> None:
    """Print one table per question."""
    # Beside the checkout's disk, not in a temporary folder that may lie in memory.
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("BENCH_DIR", ".")))
    try:
        _say_where(folder)
        _limits(folder, rounds=50 if quick else 300)
        _one_by_one(folder, quick=quick)
        _in_batches(folder, quick=quick)
        finding.report(folder, quick=quick)
    finally:
        shutil.rmtree(folder)


def _say_where(folder: Path) -> None:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} "
        f"CPUs, load {load}, {shutil.disk_usage(folder).free >> 30} GiB free"
    )
    for package in ("chromadb", "mem0"):
        print(rivals.missing(package) or f"{package} is there")


def _limits(folder: Path, *, rounds: int) -> None:
    rows = [
        (name, f"{micros:,.2f}", note) for name, micros, note in bare.limits(folder, rounds=rounds)
    ]
    _show("What this machine costs", ("limit", "us", "note"), rows)


def _one_by_one(folder: Path, *, quick: bool) -> None:
    """Durable adds, one message a call, beside the least a durable commit costs."""
    made, rounds = Material(), 3 if quick else 9
    items, few = (200, 20) if quick else (500, 50)
    model = _filled(folder / "model-1.db", items * (rounds + 1), batch=1)
    shared: list[float] = []

    def bare_commit(level: str) -> Arm:
        path = folder / f"bare-{level}.db"
        return Arm(f"bare commit, {level}", lambda: bare.commits(path, synchronous=level), items)

    def same_rows(level: str) -> Arm:
        path = folder / f"rows-{level}.db"
        return Arm(
            f"same rows, SQLite alone, {level}",
            lambda: bare.same_rows(model, path, synchronous=level, one_by_one=True),
            items,
        )

    def add(level: ours.Synchronous) -> Arm:
        path = folder / f"add-{level}.db"
        return Arm(f"add, {level.upper()}", lambda: ours.adds(path, synchronous=level), items)

    def add_from_threads() -> AbstractContextManager[Step]:
        path = folder / "threads.db"
        return ours.threaded(path, threads=THREADS, synchronous="full", shared=shared)

    arms = [
        bare_commit("NORMAL"),
        same_rows("NORMAL"),
        add("normal"),
        bare_commit("FULL"),
        same_rows("FULL"),
        add("full"),
        Arm(f"add, FULL, {THREADS} threads", add_from_threads, items),
        *_rivals(folder, made, batch=1, items=few),
    ]
    found = interleaved(arms, made.texts, rounds=rounds)
    bases = [found[3] if "FULL" in each.name else found[0] for each in found]
    _show_arms(
        "One message a call (base: the bare commit of that level; rivals: NORMAL)", found, bases
    )
    print(f"commits per add with {THREADS} threads: {statistics.median(shared[1:]):.3f}")


def _rivals(folder: Path, made: Material, *, batch: int, items: int) -> list[Arm]:
    """The rivals that are installed; mem0 writes message by message, so it gets fewer."""
    arms: list[Arm] = []
    if not rivals.missing("chromadb"):
        theirs = folder / f"chroma-{batch}"
        name = f"chroma add, {batch} a call"
        arms.append(Arm(name, lambda: rivals.chroma_adds(theirs, made.known, batch=batch), items))
    if not rivals.missing("mem0"):
        place, few = folder / f"mem0-{batch}", min(batch, 100)
        name = f"mem0 add, infer=False, {few} a call"
        step = lambda: rivals.mem0_adds(place, made.known, batch=few)  # noqa: E731
        arms.append(Arm(name, step, min(items, 100)))
    return arms


def _in_batches(folder: Path, *, quick: bool) -> None:
    """Many messages a call, beside the same rows written by SQLite alone."""
    made, rounds, items = Material(), 3 if quick else 9, BATCH * (2 if quick else 3)
    model = _filled(folder / "model.db", items * (rounds + 1), batch=BATCH)
    lookup = Lookup(made.known)

    def add(level: ours.Synchronous) -> Arm:
        path = folder / f"many-{level}.db"
        name = f"add, {BATCH} a call, {level.upper()}"
        return Arm(name, lambda: ours.adds(path, synchronous=level, batch=BATCH), items)

    arms = [
        Arm(
            "same rows, SQLite alone, NORMAL",
            lambda: bare.same_rows(model, folder / "rows.db", synchronous="NORMAL"),
            items,
        ),
        add("normal"),
        add("full"),
        Arm(
            "the same + fine stage, vectors",
            lambda: ours.refined(folder / "fine.db", lookup, batch=BATCH),
            BATCH,
        ),
        *_rivals(folder, made, batch=BATCH, items=BATCH),
    ]
    found = interleaved(arms, made.texts, rounds=rounds)
    _show_arms("Many messages a call (base: the same rows)", found, [found[0]] * len(found))


def _filled(path: Path, items: int, *, batch: int) -> Path:
    with ours.adds(path, synchronous="normal", batch=batch) as step:
        step(sentences(items, seed=-1))
    return path


def _show_arms(title: str, found: Sequence[Timings], bases: Sequence[Timings]) -> None:
    rows = [numbers(each, base) for each, base in zip(found, bases, strict=True)]
    _show(title, HEADS, rows)


def _show(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}")
    print("\n".join(table(heads, rows)))
