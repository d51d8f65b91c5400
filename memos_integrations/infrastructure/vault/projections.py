"""Indexes that follow the log: apply what changed, reset, and say how far they are.

A local projection lives in this process and catches up as it is read, so a write is searchable
at once. An outside one (a vector server, Chroma's files) is fed by a single projector under a
lease; what it has not seen yet is scored exactly from the truth at read time.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from memos_integrations.cube.ids import LATEST
from memos_integrations.cube.ports import TextEntry, TextIndex, Vector, VectorEntry, VectorIndex
from memos_integrations.infrastructure.backends.column_entry import ColumnEntry
from memos_integrations.infrastructure.backends.columns import ColumnIndex, plain_marks
from memos_integrations.infrastructure.backends.part_vectors import PartEntry, PartVectors
from memos_integrations.infrastructure.vault.live_rows import IS_LIVE, LIVE, entry, vector, words
from memos_integrations.infrastructure.vault.reader import unless_changed

_CHUNK = 20_000
_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one item since a place in the log: its words to index, or its leaving."""

    item: int
    version: int
    live: bool
    text: str = ""
    vector: Vector | None = None
    shown: str = ""
    """The masked words alone, without speaker and date."""
    columns: ColumnEntry | None = None
    """What is known of it besides, without the marks of its words."""
    parts: tuple[tuple[int, Vector], ...] = ()
    """Vectors of its bare words (0) and of its sentences (1 and up)."""


class Feed:
    """What the log and the truth say to a projection, over one snapshot."""

    def __init__(self, connection: sqlite3.Connection, *, model: str | None) -> None:
        self._connection = connection
        self._model = model

    def head(self, cube: int) -> int:
        """The newest place of the log that concerns this cube; 0 for none."""
        return unless_changed(self._connection, ("head", cube), lambda: self._head(cube))

    def _head(self, cube: int) -> int:
        row = self._connection.execute("SELECT max(seq) FROM outbox WHERE cid = ?", (cube,))
        return int(row.fetchone()[0] or 0)

    def since(self, cube: int, seq: int) -> list[Change]:
        """The net change of every item touched after ``seq``, in item order."""
        touched = self._connection.execute(
            "SELECT DISTINCT iid FROM outbox WHERE cid = ? AND seq > ? AND iid > 0 ORDER BY iid",
            (cube, seq),
        ).fetchall()
        items = [item for (item,) in touched]
        found: list[Change] = []
        for start in range(0, len(items), _BATCH):
            found += self._changes(items[start : start + _BATCH])
        return found

    def everything(self, cube: int, *, at: int = LATEST) -> list[Change]:
        """Every live item of the cube at a place of the log."""
        rows = self._connection.execute(
            LIVE + " WHERE v.cid = ? AND v.seq_to > ? AND v.seq <= ? AND " + IS_LIVE,
            (self._model, cube, at, at),
        )
        found: list[Change] = []
        while batch := rows.fetchmany(_BATCH):
            found += self._live(batch)
        return found

    def _changes(self, items: Sequence[int]) -> list[Change]:
        rows = self._connection.execute(
            LIVE + _OF_ITEMS + IS_LIVE,
            (self._model, json.dumps(items), LATEST),
        )
        live = {change.item: change for change in self._live(rows.fetchall())}
        return [live.get(item) or Change(item, 0, live=False) for item in items]

    def _live(self, rows: Sequence[tuple[Any, ...]]) -> list[Change]:
        parts = self._parts([row[2] for row in rows])
        spans = self._spoken([row[0] for row in rows])
        return [_live(row, spans.get(row[0], ()), parts.get(row[2], ())) for row in rows]

    def _parts(self, tids: Sequence[int]) -> dict[int, tuple[tuple[int, Vector], ...]]:
        found: dict[int, tuple[tuple[int, Vector], ...]] = {}
        if self._model is None:
            return found
        sql = (
            "SELECT tid, part, vec FROM part_vector WHERE tid IN (SELECT value FROM json_each(?)) "
            "AND model = ? ORDER BY tid, part"
        )
        for tid, part, vec in self._connection.execute(sql, (json.dumps(tids), self._model)):
            found[tid] = (*found.get(tid, ()), (part, np.frombuffer(vec, dtype="<f4")))
        return found

    def _spoken(self, items: Sequence[int]) -> dict[int, tuple[tuple[int, int], ...]]:
        found: dict[int, tuple[tuple[int, int], ...]] = {}
        sql = (
            "SELECT iid, starts, ends FROM spoken_time "
            "WHERE iid IN (SELECT value FROM json_each(?)) ORDER BY iid, starts, ends"
        )
        for item, starts, ends in self._connection.execute(sql, (json.dumps(items),)):
            found[item] = (*found.get(item, ()), (starts, ends))
        return found


_OF_ITEMS = " WHERE v.iid IN (SELECT value FROM json_each(?)) AND v.seq_to > ? AND "


def _live(
    row: tuple[Any, ...], spans: tuple[tuple[int, int], ...], parts: tuple[tuple[int, Vector], ...]
) -> Change:
    text, shown = words(row)
    return Change(
        row[0],
        row[1],
        live=True,
        text=text,
        vector=vector(row),
        shown=shown,
        columns=entry(row, spans),
        parts=parts,
    )


class Projection(Protocol):
    """An index that can be rebuilt from the truth at any time."""

    name: str

    def cursor(self, cube: int) -> int:
        """The place in the log up to which this cube was applied; 0 for never."""
        ...

    def apply(self, cube: int, changes: Sequence[Change], *, upto: int) -> None:
        """Take in changes. Idempotent and version-fenced; moves the cursor."""
        ...

    def reset(self, cube: int) -> None:
        """Forget the cube; the next ``follow`` replays it."""
        ...

    def takes(self, change: Change) -> bool:
        """Whether a live item belongs into this index."""
        ...

    def versions(self, cube: int) -> dict[int, int]:
        """Item -> version held."""
        ...


class TextProjection:
    """Feeds a ``TextIndex``."""

    def __init__(self, index: TextIndex, *, name: str = "text") -> None:
        self.name = name
        self.index = index
        self._cursors: dict[int, int] = {}

    def cursor(self, cube: int) -> int:
        return self._cursors.get(cube, 0)

    def apply(self, cube: int, changes: Sequence[Change], *, upto: int) -> None:
        gone = [c.item for c in changes if not c.live]
        if gone:
            self.index.delete(cube, gone)
        self.index.upsert(cube, [TextEntry(c.item, c.version, c.text) for c in changes if c.live])
        self._cursors[cube] = upto

    def reset(self, cube: int) -> None:
        self.index.drop(cube)
        self._cursors.pop(cube, None)

    def takes(self, change: Change) -> bool:
        return change.live

    def versions(self, cube: int) -> dict[int, int]:
        return dict(self.index.versions(cube))


class VectorProjection:
    """Feeds a ``VectorIndex``."""

    def __init__(self, index: VectorIndex, *, name: str = "vector") -> None:
        self.name = name
        self.index = index
        self._cursors: dict[int, int] = {}

    def cursor(self, cube: int) -> int:
        return self._cursors.get(cube, 0)

    def apply(self, cube: int, changes: Sequence[Change], *, upto: int) -> None:
        gone = [c.item for c in changes if not self.takes(c)]
        if gone:
            self.index.delete(cube, gone)
        self.index.upsert(
            cube,
            [
                VectorEntry(c.item, c.version, c.vector)
                for c in changes
                if c.live and c.vector is not None
            ],
        )
        self._cursors[cube] = upto

    def reset(self, cube: int) -> None:
        self.index.drop(cube)
        self._cursors.pop(cube, None)

    def takes(self, change: Change) -> bool:
        return change.live and change.vector is not None

    def versions(self, cube: int) -> dict[int, int]:
        return dict(self.index.versions(cube))


class ColumnProjection:
    """Feeds a ``ColumnIndex``. ``marks`` reads off the words what an answer must hold."""

    def __init__(
        self,
        index: ColumnIndex,
        *,
        marks: Callable[[str], int] = plain_marks,
        name: str = "columns",
    ) -> None:
        self.name = name
        self.index = index
        self._marks = marks
        self._cursors: dict[int, int] = {}

    def cursor(self, cube: int) -> int:
        return self._cursors.get(cube, 0)

    def apply(self, cube: int, changes: Sequence[Change], *, upto: int) -> None:
        gone = [c.item for c in changes if not c.live]
        if gone:
            self.index.delete(cube, gone)
        self.index.upsert(cube, self.entries(changes))
        self._cursors[cube] = upto

    def entries(self, changes: Sequence[Change]) -> list[ColumnEntry]:
        """What the live ones of these bring into the index."""
        return [
            c.columns.with_marks(self._marks(c.shown))
            for c in changes
            if c.live and c.columns is not None
        ]

    def reset(self, cube: int) -> None:
        self.index.drop(cube)
        self._cursors.pop(cube, None)

    def takes(self, change: Change) -> bool:
        return change.live

    def versions(self, cube: int) -> dict[int, int]:
        return dict(self.index.versions(cube))


class PartProjection:
    """Feeds ``PartVectors``."""

    def __init__(self, index: PartVectors, *, name: str = "parts") -> None:
        self.name = name
        self.index = index
        self._cursors: dict[int, int] = {}

    def cursor(self, cube: int) -> int:
        return self._cursors.get(cube, 0)

    def apply(self, cube: int, changes: Sequence[Change], *, upto: int) -> None:
        gone = [c.item for c in changes if not self.takes(c)]
        if gone:
            self.index.delete(cube, gone)
        self.index.upsert(cube, part_entries(changes))
        self._cursors[cube] = upto

    def reset(self, cube: int) -> None:
        self.index.drop(cube)
        self._cursors.pop(cube, None)

    def takes(self, change: Change) -> bool:
        return change.live and bool(change.parts)

    def versions(self, cube: int) -> dict[int, int]:
        return dict(self.index.versions(cube))


def part_entries(changes: Sequence[Change]) -> list[PartEntry]:
    """The vectors of the parts of these, as the index takes them."""
    return [PartEntry(c.item, c.version, c.parts) for c in changes if c.live and c.parts]


class Follower:
    """Keeps local projections level with the log, cube by cube, one thread at a time."""

    def __init__(self, projections: Sequence[Projection], *, model: str | None) -> None:
        self._projections = tuple(projections)
        self._model = model
        self._lock = threading.Lock()

    def follow(self, connection: sqlite3.Connection, cubes: Iterable[int]) -> None:
        """Bring every projection of these cubes up to what this snapshot shows."""
        feed = Feed(connection, model=self._model)
        for cube in cubes:
            head = feed.head(cube)
            if any(each.cursor(cube) < head for each in self._projections):
                with self._lock:
                    _advance(self._projections, feed, cube, head)

    def reset(self, cube: int) -> None:
        with self._lock:
            for projection in self._projections:
                projection.reset(cube)


def _advance(projections: Sequence[Projection], feed: Feed, cube: int, head: int) -> None:
    """Bring those that lag behind level; what several have missed is read once for all."""
    behind: dict[int, list[Projection]] = {}
    for projection in projections:
        if projection.cursor(cube) < head:  # another thread may have been quicker
            behind.setdefault(projection.cursor(cube), []).append(projection)
    for cursor, lagging in behind.items():
        changes = feed.everything(cube) if cursor == 0 else feed.since(cube, cursor)
        for projection in lagging:
            for start in range(0, len(changes), _CHUNK):
                projection.apply(cube, changes[start : start + _CHUNK], upto=cursor)
            projection.apply(cube, [], upto=head)
