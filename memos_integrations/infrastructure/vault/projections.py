"""Indexes that follow the log: apply what changed, reset, and say how far they are.

A local projection lives in this process and catches up as it is read, so a write is searchable
at once. An outside one (a vector server, Chroma's files) is fed by a single projector under a
lease; what it has not seen yet is scored exactly from the truth at read time.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from memos_integrations.cube.ids import LATEST
from memos_integrations.cube.ports import TextEntry, TextIndex, Vector, VectorEntry, VectorIndex
from memos_integrations.infrastructure.vault.indexed_text import indexed_text

_CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one item since a place in the log: its words to index, or its leaving."""

    item: int
    version: int
    live: bool
    text: str = ""
    vector: Vector | None = None


class Feed:
    """What the log and the truth say to a projection, over one snapshot."""

    def __init__(self, connection: sqlite3.Connection, *, model: str | None) -> None:
        self._connection = connection
        self._model = model

    def head(self, cube: int) -> int:
        """The newest place of the log that concerns this cube; 0 for none."""
        row = self._connection.execute("SELECT max(seq) FROM outbox WHERE cid = ?", (cube,))
        return int(row.fetchone()[0] or 0)

    def since(self, cube: int, seq: int) -> list[Change]:
        """The net change of every item touched after ``seq``, in item order."""
        touched = self._connection.execute(
            "SELECT DISTINCT iid FROM outbox WHERE cid = ? AND seq > ? AND iid > 0 ORDER BY iid",
            (cube, seq),
        ).fetchall()
        return [self._change(item) for (item,) in touched]

    def everything(self, cube: int, *, at: int = LATEST) -> list[Change]:
        """Every live item of the cube at a place of the log."""
        rows = self._connection.execute(
            _LIVE + " WHERE v.cid = ? AND v.seq_to > ? AND v.seq <= ? AND " + _IS_LIVE,
            (self._model, cube, at, at),
        )
        return [_live(row) for row in rows]

    def _change(self, item: int) -> Change:
        row = self._connection.execute(
            _LIVE + " WHERE v.iid = ? AND v.seq_to > ? AND " + _IS_LIVE,
            (self._model, item, LATEST),
        ).fetchone()
        return _live(row) if row else Change(item, 0, live=False)


_LIVE = """
SELECT v.iid, v.version, t.text, t.spans, coalesce(v.speaker, v.role), v.time, e.vec
FROM version v JOIN content t ON t.tid = v.tid
LEFT JOIN embedding e ON e.tid = v.tid AND e.model = ?
"""
_IS_LIVE = "v.state IN ('generated', 'activated', 'frozen') AND v.stale = 0"


def _live(row: tuple[int, int, str, str | None, str | None, int, bytes | None]) -> Change:
    item, version, text, spans, speaker, time, vec = row
    words = indexed_text(text=text, spans=spans, speaker=speaker, time=time)
    vector = None if vec is None else np.frombuffer(vec, dtype="<f4")
    return Change(item, version, live=True, text=words, vector=vector)


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
            for projection in self._projections:
                if projection.cursor(cube) < head:
                    with self._lock:
                        _advance(projection, feed, cube, head)

    def reset(self, cube: int) -> None:
        with self._lock:
            for projection in self._projections:
                projection.reset(cube)


def _advance(projection: Projection, feed: Feed, cube: int, head: int) -> None:
    cursor = projection.cursor(cube)
    if cursor >= head:  # another thread was quicker
        return
    changes = feed.everything(cube) if cursor == 0 else feed.since(cube, cursor)
    for start in range(0, len(changes), _CHUNK):
        projection.apply(cube, changes[start : start + _CHUNK], upto=cursor)
    projection.apply(cube, [], upto=head)
