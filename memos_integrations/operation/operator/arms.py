"""The arms: each proposes memories from its own index; none of them decides.

An arm reads an index of the search space and nothing else. A new arm is one more class with
``propose``; the operator takes whatever arms it is given.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from memos_integrations.cube.ports import Rows
from memos_integrations.infrastructure.backends.columns import Columns
from memos_integrations.infrastructure.backends.lexical import LexicalIndex
from memos_integrations.infrastructure.backends.numpy_vectors import NumpyVectors
from memos_integrations.infrastructure.vault.search_space import Room, Space
from memos_integrations.operation.operator.question import Query


class Arm(Protocol):
    name: str

    def propose(self, query: Query, space: Space, room: Room, *, limit: int) -> Rows:
        """At most ``limit`` items of the room's cube, best first."""
        ...


class LexicalArm:
    """Memories that share words with the question."""

    name = "lexical"

    def propose(self, query: Query, space: Space, room: Room, *, limit: int) -> Rows:
        return _sharing_words(query, space, room, limit)


class VectorArm:
    """Memories whose meaning is close to the question's."""

    name = "vector"

    def propose(self, query: Query, space: Space, room: Room, *, limit: int) -> Rows:
        if query.vector is None or space.vectors is None:
            return _NOTHING
        if isinstance(space.vectors, NumpyVectors):
            return space.vectors.nearest(room.cube, query.vector, limit=limit, within=room.rows)
        found = space.vectors.search(room.cube, query.vector, limit=limit, within=room.rows)
        return np.fromiter((p.item for p in found), np.int64, len(found))


class TimeArm:
    """Memories of the days that the question names: said then, or speaking of then."""

    name = "time"

    def propose(self, query: Query, space: Space, room: Room, *, limit: int) -> Rows:
        columns = space.columns(room.cube)
        if columns is None or not query.times:
            return _NOTHING
        rows = np.concatenate([_then(columns, span.start, span.end) for span in query.times])
        then = np.zeros(len(columns.items), np.bool_)  # many rows: sorting them would be slow
        then[rows] = True
        items = room.open_of(columns.items[then])
        # Of a month of memories the arm cannot say which are meant; the newest stand for it.
        return items[::-1][:limit]


class NeighbourArm:
    """The turns around those that share the question's words: answers follow questions."""

    name = "neighbour"
    _SEEDS = 24
    _STEPS = np.arange(-2, 3)[:, None]

    def propose(self, query: Query, space: Space, room: Room, *, limit: int) -> Rows:
        columns = space.columns(room.cube)
        if columns is None or not columns.talked:
            return _NOTHING
        rows = columns.rows(_sharing_words(query, space, room, limit)[: self._SEEDS])
        rows = rows[columns.session[rows] >= 0]
        if not len(rows):
            return _NOTHING
        near = np.unique(columns.beside(rows, self._STEPS))
        return room.open_of(columns.items[near[near >= 0]])[:limit]


_NOTHING: Rows = np.zeros(0, dtype=np.int64)


def _sharing_words(query: Query, space: Space, room: Room, limit: int) -> Rows:
    """Items that share words with the question, best first. Asked for again, it costs nothing."""
    if isinstance(space.text, LexicalIndex):
        return space.text.nearest(room.cube, query.text, limit=limit, within=room.rows)
    found = space.text.search(room.cube, query.text, limit=limit, within=room.rows)
    return np.fromiter((p.item for p in found), np.int64, len(found))


def _then(columns: Columns, start: int, end: int) -> Rows:
    said = np.flatnonzero((columns.time >= start) & (columns.time < end))
    spoken = (columns.span_start < end) & (columns.span_end > start)
    return np.concatenate((said, columns.span_row[spoken].astype(np.int64)))
