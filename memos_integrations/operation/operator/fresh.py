"""Read your own writes by meaning: vectors for what the fine stage has not reached yet.

A question asked right after ``add`` must find it, so the newest few memories that still wait are
embedded on the spot into this process's index. The fine stage keeps its own vectors later.
"""

from __future__ import annotations

import json
from heapq import nlargest
from typing import TypeAlias

from memos_integrations.cube.ports import Embedder, VectorEntry
from memos_integrations.infrastructure.backends.numpy_vectors import NumpyVectors
from memos_integrations.infrastructure.vault.indexed_text import indexed_text
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.search_space import Space

_MAX_EMBEDDED = 32
_Row: TypeAlias = tuple[int, int, str, str | None, str | None, int]
"""Item, version, text, spans, speaker and time of a memory that waits."""


class FreshVectors:
    """Fills the gap between a write and its fine stage, for a bounded number of memories."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def fill(self, reading: Reading, space: Space) -> None:
        """Put vectors of the newest waiting memories of these cubes into the index."""
        if space.vectors is None:
            return
        for cube in space.cubes:
            rows = _without_vector(space, cube, _waiting(reading, cube))
            if rows:
                words = [
                    indexed_text(text=text, spans=spans, speaker=who, time=time)
                    for _, _, text, spans, who, time in rows
                ]
                vectors = self._embedder.embed(words)
                made = [VectorEntry(r[0], r[1], v) for r, v in zip(rows, vectors, strict=True)]
                space.vectors.upsert(cube, made)


def _without_vector(space: Space, cube: int, rows: list[_Row]) -> list[_Row]:
    if not rows or space.vectors is None:
        return rows
    if isinstance(space.vectors, NumpyVectors):
        held = space.vectors.holds(cube, [row[0] for row in rows])
        return [row for row, there in zip(rows, held, strict=True) if not there]
    versions = space.vectors.versions(cube)
    return [row for row in rows if row[0] not in versions]


def _waiting(reading: Reading, cube: int) -> list[_Row]:
    newest = reading.unless_changed(("waiting", cube), lambda: _newest_waiting(reading, cube))
    if not newest:
        return []
    return reading.connection.execute(
        "SELECT v.iid, v.version, t.text, t.spans, coalesce(v.speaker, v.role), v.time "
        "FROM version v JOIN content t ON t.tid = v.tid LEFT JOIN embedding e ON e.tid = v.tid "
        "WHERE v.seq_to > ? AND e.tid IS NULL AND v.stale = 0 "
        "AND v.state IN ('generated', 'activated', 'frozen') "
        "AND v.iid IN (SELECT value FROM json_each(?))",
        (2**63 - 2, json.dumps(newest)),
    ).fetchall()


def _newest_waiting(reading: Reading, cube: int) -> list[int]:
    """The newest items that a task is still going to look at."""
    tasks = reading.connection.execute(
        # The numbers first: to sort payloads of thousands of items would take longer than a search.
        "SELECT payload FROM task WHERE tid IN (SELECT tid FROM task WHERE "
        "state IN ('waiting', 'running') AND cid = ? ORDER BY tid DESC LIMIT 8)",
        (cube,),
    ).fetchall()
    items = [n for (payload,) in tasks for n in json.loads(payload).get("items", [])]
    return nlargest(_MAX_EMBEDDED, items)
