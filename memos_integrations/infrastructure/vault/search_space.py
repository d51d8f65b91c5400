"""What a search may look at: the right indexes, and the rows this principal may be shown.

Filter first, then rank: with a filter, item rules or a past instant the allowed rows are taken
from the truth before any arm runs, so a filter never costs results and no arm sees a hidden
row. Where a whole cube is open and unfiltered, arms run on all of it and the truth drops what
may not be shown afterwards.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.errors import AccessDenied
from memos_integrations.cube.filters import Filter
from memos_integrations.cube.ports import (
    Rows,
    TextEntry,
    TextIndex,
    Vector,
    VectorEntry,
    VectorIndex,
)
from memos_integrations.infrastructure.backends.column_filters import passing
from memos_integrations.infrastructure.backends.column_table import find
from memos_integrations.infrastructure.backends.columns import (
    ColumnIndex,
    Columns,
    plain_marks,
)
from memos_integrations.infrastructure.backends.lexical import LexicalIndex
from memos_integrations.infrastructure.backends.numpy_vectors import NumpyVectors
from memos_integrations.infrastructure.backends.part_vectors import PartVectors
from memos_integrations.infrastructure.vault.governed import Gate, Governed
from memos_integrations.infrastructure.vault.projections import ColumnProjection, Feed, part_entries
from memos_integrations.infrastructure.vault.transaction import CubeRow

_PASTS_KEPT = 4


class PartIndex(Protocol):
    """Vectors of the parts of memories: their bare words and their sentences."""

    def scores(
        self, cube: int, vector: Vector, items: Rows
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cosine with the bare words, and the best one with a sentence; nan where absent."""
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """One cube of the space. ``rows`` is what may be proposed; ``None`` means all of it."""

    cube: int
    rows: Rows | None
    """Ascending."""

    def open_of(self, items: Rows) -> Rows:
        """Those of these items that may be proposed, in their order."""
        return items if self.rows is None else items[find(self.rows, items) >= 0]


@dataclass(frozen=True, slots=True)
class Space:
    """Where the arms look."""

    rooms: tuple[Room, ...]
    text: TextIndex
    vectors: VectorIndex | None
    index: ColumnIndex = field(default_factory=ColumnIndex)
    parts: PartIndex | None = None
    """Vectors of the bare words and of single sentences."""
    where: Filter | None = None
    """The filter where it was decided on columns, for the truth to decide again."""

    def columns(self, cube: int) -> Columns | None:
        """What is known of the cube's items besides their words; ``None`` where there are none.

        Of all of them: who may see an item stands in the room's rows, and with the truth.
        """
        return self.index.columns(cube)

    @property
    def cubes(self) -> list[int]:
        return [room.cube for room in self.rooms]

    @property
    def exact(self) -> bool:
        """Whether every row the arms can propose was checked beforehand."""
        return all(room.rows is not None for room in self.rooms)


@dataclass(frozen=True, slots=True)
class Indexes:
    """All indexes over the same state of some cubes."""

    text: TextIndex
    vectors: VectorIndex | None
    columns: ColumnIndex
    parts: PartVectors


class Past:
    """Indexes of cubes as they were, made on demand; the few latest are kept."""

    def __init__(self, *, marks: Callable[[str], int] = plain_marks) -> None:
        self._kept: dict[tuple[int, int, int], Indexes] = {}
        self._marks = marks

    def indexes(self, feed: Feed, cubes: Sequence[CubeRow], seq: int) -> Indexes:
        """The indexes over the live items of these cubes at ``seq``."""
        if len(cubes) == 1:
            return self._one(feed, cubes[0].cid, seq)
        return _build(feed, [cube.cid for cube in cubes], seq, self._marks)

    def forget(self) -> None:
        """Drop every kept index (an erase reaches into the past as well)."""
        self._kept.clear()

    def _one(self, feed: Feed, cube: int, seq: int) -> Indexes:
        key = (cube, seq, feed.head(cube))  # the head: an erase reaches into the past as well
        found = self._kept.get(key)
        if found is None:
            found = _build(feed, [cube], seq, self._marks)
            self._kept[key] = found
            while len(self._kept) > _PASTS_KEPT:
                self._kept.pop(next(iter(self._kept)), None)
        return found


def _build(feed: Feed, cubes: Sequence[int], seq: int, marks: Callable[[str], int]) -> Indexes:
    text, vectors, parts = LexicalIndex(), NumpyVectors(), PartVectors()
    columns = ColumnProjection(ColumnIndex(), marks=marks)
    for cube in cubes:
        live = feed.everything(cube, at=seq)
        text.upsert(cube, [TextEntry(c.item, c.version, c.text) for c in live])
        made = [VectorEntry(c.item, c.version, c.vector) for c in live if c.vector is not None]
        vectors.upsert(cube, made)
        columns.apply(cube, live, upto=seq)
        parts.upsert(cube, part_entries(live))
    return Indexes(text, vectors, columns.index, parts)


def open_space(
    connection: sqlite3.Connection,
    governed: Governed,
    cubes: Sequence[CubeRow],
    *,
    where: Filter | None,
    exact: bool,
    present: Indexes,
    past: Past | None,
    model: str | None,
) -> Space:
    """The space over these cubes. ``past`` is given when the instant asked lies behind."""
    gates = {gate.cid: gate for gate in governed.gates_of(cubes)}
    uniform = {c.cid for c in cubes if _uniform(connection, governed, gates[c.cid])}
    always = exact or where is not None or past is not None
    rows: dict[int, Rows] = {}
    if always and past is None and not governed.must_mask(gates, where):
        rows = _decided(governed, present.columns, uniform, where)
    checked = [c.cid for c in cubes if (always or c.cid not in uniform) and c.cid not in rows]
    decided = bool(rows)
    rows |= _rows(governed, checked, where)
    for cube in cubes:
        if not gates[cube.cid].open and cube.cid in checked and not rows[cube.cid].size:
            _ensure_something(governed, gates[cube.cid])
    rooms = tuple(Room(c.cid, rows.get(c.cid)) for c in cubes)
    if past is None:
        now = present
    else:
        now = past.indexes(Feed(connection, model=model), cubes, governed.seq)
    vectors = now.vectors if present.vectors is not None else None
    return Space(rooms, now.text, vectors, now.columns, now.parts, where=where if decided else None)


def _decided(
    governed: Governed, columns: ColumnIndex, uniform: Iterable[int], where: Filter | None
) -> dict[int, Rows]:
    """The rows of those cubes whose columns can tell them, without asking the truth."""
    found: dict[int, Rows] = {}
    for cube in uniform:
        table = columns.table(cube)
        if table is not None:
            rows = passing(table, where, now=governed.now, valid_at=governed.valid_at)
            if rows is not None:
                found[cube] = rows
    return found


def _uniform(connection: sqlite3.Connection, governed: Governed, gate: Gate) -> bool:
    """Whether the whole cube is open to the principal, without rules for single items."""
    if not gate.open:
        return False
    if governed.named_by_rules() and governed.has_item_denials():
        return False
    if gate.master:
        return True
    special = "SELECT 1 FROM item WHERE cid = ? AND (visibility <> 'inherit' OR labels IS NOT NULL)"
    return connection.execute(special + " LIMIT 1", (gate.cid,)).fetchone() is None


def _rows(governed: Governed, cids: Sequence[int], where: Filter | None) -> dict[int, Rows]:
    found: dict[int, list[int]] = {cid: [] for cid in cids}
    if cids:
        for cid, item, _ in governed.rows(cids=cids, where=where):
            found[cid].append(item)
    return {cid: np.asarray(items, dtype=np.int64) for cid, items in found.items()}


def _ensure_something(governed: Governed, gate: Gate) -> None:
    """A closed cube with nothing shared out of it is refused, not answered with nothing."""
    if gate.denied or not governed.rows(cids=[gate.cid]):
        error = AccessDenied(
            f"{governed.name} may not read cube {gate.path}; ask its owner for a grant"
        )
        error.cube = gate.path
        raise error
