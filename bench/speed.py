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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import bare, finding, ours, rivals
from bench.measure import HEADS, Arm, Timings, interleaved, numbers, table
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
    made, items, few = Material(), 200 if quick else 500, 20 if quick else 50
    shared: list[float] = []
    arms = [
        Arm(
            "bare commit, NORMAL",
            lambda: bare.commits(folder / "n.db", synchronous="NORMAL"),
            items,
        ),
        Arm("add, NORMAL", lambda: ours.adds(folder / "add-n.db", synchronous="normal"), items),
        Arm("bare commit, FULL", lambda: bare.commits(folder / "f.db", synchronous="FULL"), items),
        Arm("add, FULL", lambda: ours.adds(folder / "add-f.db", synchronous="full"), items),
        Arm(
            f"add, FULL, {THREADS} threads",
            lambda: ours.threaded(
                folder / "add-t.db", threads=THREADS, synchronous="full", shared=shared
            ),
            items,
        ),
    ]
    if not rivals.missing("chromadb"):
        arms.append(
            Arm(
                "chroma add",
                lambda: rivals.chroma_adds(folder / "chroma-1", made.known, batch=1),
                few,
            )
        )
    if not rivals.missing("mem0"):
        arms.append(
            Arm(
                "mem0 add, infer=False",
                lambda: rivals.mem0_adds(folder / "mem0-1", made.known, batch=1),
                few,
            )
        )
    found = interleaved(arms, made.texts, rounds=3 if quick else 9)
    normal, full = found[0], found[2]
    bases = [None, normal, None, full, full] + [normal] * (len(found) - 5)
    _show_arms("One message a call (base: the bare commit above it; rivals: NORMAL)", found, bases)
    print(f"commits per add with {THREADS} threads: {statistics.median(shared[1:]):.3f}")


def _in_batches(folder: Path, *, quick: bool) -> None:
    """Many messages a call, beside the same rows written by SQLite alone."""
    made, rounds, few = Material(), 3 if quick else 9, 20 if quick else 100
    items = BATCH * (2 if quick else 3)
    model = _filled(folder / "model.db", items * (rounds + 1))
    lookup = Lookup(made.known)
    arms = [
        Arm(
            "the same rows, SQLite alone", lambda: bare.same_rows(model, folder / "rows.db"), items
        ),
        Arm(
            f"add, {BATCH} a call, NORMAL",
            lambda: ours.adds(folder / "many-n.db", synchronous="normal", batch=BATCH),
            items,
        ),
        Arm(
            f"add, {BATCH} a call, FULL",
            lambda: ours.adds(folder / "many-f.db", synchronous="full", batch=BATCH),
            items,
        ),
        Arm(
            "the same + fine stage, vectors",
            lambda: ours.refined(folder / "fine.db", lookup, batch=BATCH),
            BATCH,
        ),
    ]
    if not rivals.missing("chromadb"):
        arms.append(
            Arm(
                f"chroma add, {BATCH} a call",
                lambda: rivals.chroma_adds(folder / "chroma-many", made.known, batch=BATCH),
                BATCH,
            )
        )
    if not rivals.missing("mem0"):
        arms.append(
            Arm(
                f"mem0 add, {few} a call",
                lambda: rivals.mem0_adds(folder / "mem0-many", made.known, batch=few),
                few,
            )
        )
    found = interleaved(arms, made.texts, rounds=rounds)
    _show_arms(
        "Many messages a call (base: the same rows)", found, [None] + [found[0]] * (len(found) - 1)
    )


def _filled(path: Path, items: int) -> Path:
    with ours.adds(path, synchronous="normal", batch=BATCH) as step:
        step(sentences(items, seed=-1))
    return path


def _show_arms(title: str, found: Sequence[Timings], bases: Sequence[Timings | None]) -> None:
    rows = [numbers(each, base) for each, base in zip(found, bases, strict=True)]
    _show(title, HEADS, rows)


def _show(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}")
    print("\n".join(table(heads, rows)))
