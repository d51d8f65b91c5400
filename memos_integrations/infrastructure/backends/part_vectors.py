"""Further vectors of one memory in memory: of its bare words, and of each of its sentences.

Fed by the log like every projection; the ranking asks how close the closest of them is. Only
what another arm proposed is scored, so there is no search here.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ports import Rows, Vector
from memos_integrations.infrastructure.backends.column_table import find_all
from memos_integrations.infrastructure.backends.growing import Growing, runs
from memos_integrations.infrastructure.backends.numpy_vectors import stacked
from memos_integrations.infrastructure.backends.vector_snapshot import dots

BARE = 0
"""The part that holds the words without speaker and date; sentences are 1 and up."""
_WASTE = 0.5
"""Share of outdated rows at which the matrix is made anew."""


@dataclass(frozen=True, slots=True)
class PartEntry:
    item: int
    version: int
    parts: tuple[tuple[int, Vector], ...]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """One cube as a reader sees it. Item ``n`` has the rows from ``starts[n]`` on."""

    items: Rows
    versions: Rows
    starts: Rows
    counts: Rows
    bare: NDArray[np.bool_]
    """Per row of the matrix."""
    matrix: NDArray[np.float32]
    only_bare: bool = False
    """Whether every item has a vector of its bare words and no other."""


class PartVectors:
    """The parts' vectors of every cube. Readers take a snapshot and never wait."""

    def __init__(self) -> None:
        self._cubes: dict[int, _Parts] = {}
        self._lock = threading.Lock()

    def upsert(self, cube: int, entries: Sequence[PartEntry]) -> None:
        """Keep the parts of each item; an entry older than the kept version changes nothing."""
        entries = [entry for entry in entries if entry.parts]
        if entries:
            matrix = stacked([vector for entry in entries for _, vector in entry.parts])
            with self._lock:
                held = self._cubes.setdefault(cube, _Parts(matrix.shape[1]))
                held.put(entries, matrix)

    def delete(self, cube: int, items: Sequence[int]) -> None:
        """Forget these items; unknown ones are no error."""
        with self._lock:
            held = self._cubes.get(cube)
            if held is not None:
                held.remove(np.asarray(items, np.int64))

    def scores(
        self, cube: int, vector: Vector, items: Rows
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Per item the cosine of its bare words and of its best sentence; ``nan`` for none."""
        held = self._cubes.get(cube)
        none = np.full(len(items), np.nan, np.float32)
        if held is None or not len(items):
            return none, none
        shot = held.snapshot
        places, every = find_all(shot.items, np.asarray(items, np.int64))
        if shot.matrix.shape[1] != len(vector):
            return none, none
        if every and shot.only_bare:
            return dots(shot.matrix.take(shot.starts[places], axis=0), vector), none
        return self._scores(shot, vector, places, none)

    def _scores(
        self, shot: _Snapshot, vector: Vector, places: Rows, bare: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        sentence = bare.copy()
        known = np.flatnonzero(places >= 0)
        if not known.size:
            return bare, sentence
        starts, counts = shot.starts[places[known]], shot.counts[places[known]]
        rows = starts if int(counts.max()) == 1 else runs(starts, counts)
        close, whole = dots(shot.matrix.take(rows, axis=0), vector), shot.bare[rows]
        bare[np.repeat(known, counts)[whole]] = close[whole]
        if not whole.all():
            close[whole] = -np.inf
            best = np.maximum.reduceat(close, np.cumsum(counts) - counts)
            sentence[known] = np.where(np.isneginf(best), np.nan, best)
        return bare, sentence

    def versions(self, cube: int) -> Mapping[int, int]:
        """Item -> version of everything held."""
        held = self._cubes.get(cube)
        if held is None:
            return {}
        shot = held.snapshot
        return dict(zip(shot.items.tolist(), shot.versions.tolist(), strict=True))

    def drop(self, cube: int) -> None:
        """Forget the whole cube."""
        with self._lock:
            self._cubes.pop(cube, None)

    def close(self) -> None:
        with self._lock:
            self._cubes.clear()


class _Parts:
    """The one writer of a cube's snapshots."""

    def __init__(self, dim: int) -> None:
        self._matrix = Growing(np.float32, dim)
        self._bare = Growing(np.bool_)
        none = np.empty(0, np.int64)
        self.snapshot = _Snapshot(
            none, none, none, none, np.empty(0, np.bool_), np.empty((0, dim), np.float32)
        )

    def put(self, entries: Sequence[PartEntry], matrix: NDArray[np.float32]) -> None:
        items = np.array([entry.item for entry in entries], np.int64)
        versions = np.array([entry.version for entry in entries], np.int64)
        counts = np.array([len(entry.parts) for entry in entries], np.int64)
        starts = len(self._matrix.view) + np.cumsum(counts) - counts
        self._matrix.extend(matrix)
        self._bare.extend(np.array([n == BARE for entry in entries for n, _ in entry.parts]))
        old = self.snapshot
        self._publish(
            np.concatenate((old.items, items)),
            np.concatenate((old.versions, versions)),
            np.concatenate((old.starts, starts)),
            np.concatenate((old.counts, counts)),
        )

    def remove(self, items: Rows) -> None:
        old = self.snapshot
        stay = ~np.isin(old.items, items)
        self._publish(old.items[stay], old.versions[stay], old.starts[stay], old.counts[stay])

    def _publish(self, items: Rows, versions: Rows, starts: Rows, counts: Rows) -> None:
        """Of several entries of an item the newest stays; of equal versions the last."""
        order = np.lexsort((versions, items))
        last = np.ones(len(order), np.bool_)
        np.not_equal(items[order][1:], items[order][:-1], out=last[:-1])
        order = order[last]
        items, versions, starts, counts = (a[order] for a in (items, versions, starts, counts))
        if int(counts.sum()) < _WASTE * len(self._matrix.view):
            rows = runs(starts, counts)
            self._matrix.replace(self._matrix.view[rows])
            self._bare.replace(self._bare.view[rows])
            starts = np.cumsum(counts) - counts
        bare = self._bare.view
        only_bare = bool(len(items)) and int(counts.max()) == 1 and bool(bare[starts].all())
        self.snapshot = _Snapshot(
            items, versions, starts, counts, bare, self._matrix.view, only_bare
        )
