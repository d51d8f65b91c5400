"""This package behind the same steps as its rivals."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from bench.measure import Step
from bench.words import Lookup
from memos_integrations import MOS, Settings

Synchronous = Literal["full", "normal"]


def memory(
    path: Path, *, synchronous: Synchronous = "normal", embedder: Lookup | None = None
) -> MOS:
    """A MOS without its worker, so that only what is measured runs."""
    settings = Settings(synchronous=synchronous, worker=False)
    return MOS(path, embedder=embedder, settings=settings)


@contextmanager
def adds(path: Path, *, synchronous: Synchronous, batch: int = 1) -> Iterator[Step]:
    """Durable adds without embedding, ``batch`` messages a call."""
    with memory(path, synchronous=synchronous) as mos:

        def one_by_one(texts: Sequence[str]) -> None:
            for text in texts:
                mos.add(text, user="alice")

        def in_batches(texts: Sequence[str]) -> None:
            for start in range(0, len(texts), batch):
                mos.add(list(texts[start : start + batch]), user="alice")

        yield one_by_one if batch == 1 else in_batches


@contextmanager
def refined(path: Path, embedder: Lookup, *, batch: int) -> Iterator[Step]:
    """Adds in batches, and the fine stage run until every vector is stored."""
    with memory(path, embedder=embedder) as mos:

        def step(texts: Sequence[str]) -> None:
            for start in range(0, len(texts), batch):
                mos.add(list(texts[start : start + batch]), user="alice")
            mos.work()

        yield step


@contextmanager
def threaded(
    path: Path, *, threads: int, synchronous: Synchronous, shared: list[float]
) -> Iterator[Step]:
    """Adds one by one from several threads; ``shared`` collects the commits per add."""
    with memory(path, synchronous=synchronous) as mos:

        def step(texts: Sequence[str]) -> None:
            before = mos._rooms.vault.commits
            parts = [texts[n::threads] for n in range(threads)]
            writers = [threading.Thread(target=write, args=(part,)) for part in parts]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
            shared.append((mos._rooms.vault.commits - before) / len(texts))

        def write(texts: Sequence[str]) -> None:
            for text in texts:
                mos.add(text, user="alice")

        yield step
