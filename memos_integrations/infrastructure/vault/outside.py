"""A vector index that lives outside the vault: fed by one projector, read with its gap filled.

The projector follows the log from a cursor kept in the vault, under a lease with an epoch, since
such engines have no conditional write. A read asks the engine, drops what changed since the
cursor and scores those items exactly from the truth: a lagging engine is never seen to lag.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.errors import BackendUnavailable, StaleLease
from memos_integrations.cube.ports import (
    DurableVectorIndex,
    Proposal,
    Rows,
    Vector,
    VectorEntry,
    VectorIndex,
)
from memos_integrations.infrastructure.backends.numpy_vectors import NumpyVectors
from memos_integrations.infrastructure.vault.projections import Change, Feed
from memos_integrations.infrastructure.vault.transaction import Transaction

T = TypeVar("T")
Maintain = Callable[[Callable[[Transaction], T]], T]
_LEASE_MICROS = 60_000_000
_CHUNK = 2_000


class OutsideVectors:
    """The projection of one cube after another into a ``DurableVectorIndex``."""

    name = "vector"

    def __init__(self, index: DurableVectorIndex, *, model: str, worker: str) -> None:
        self.index = index
        self._model = model
        self._worker = worker

    def cursor(self, connection: sqlite3.Connection, cube: int) -> int:
        """The place in the log up to which the engine has this cube."""
        row = connection.execute(
            "SELECT seq FROM projection WHERE name = ? AND cid = ?", (self._key, cube)
        ).fetchone()
        return row[0] if row else 0

    @property
    def _key(self) -> str:
        return f"{self.name}:{self._model}"  # another model starts from the beginning

    def project(
        self,
        snapshot: Callable[[], AbstractContextManager[sqlite3.Connection]],
        maintain: Callable[[Callable[[Transaction], int]], int],
        cube: int,
    ) -> int:
        """Bring the engine level with the log for one cube; how many items changed.

        Raises ``BackendUnavailable`` while another worker projects.
        """
        epoch = maintain(self._take_lease)
        with snapshot() as connection:
            feed = Feed(connection, model=self._model)
            cursor, head = self.cursor(connection, cube), feed.head(cube)
            changes = feed.since(cube, cursor) if head > cursor else []
        try:
            for start in range(0, len(changes), _CHUNK):
                self._apply(cube, changes[start : start + _CHUNK])
        except BaseException:
            maintain(lambda tx: self._give_back(tx, epoch))
            raise
        return maintain(lambda tx: self._keep_cursor(tx, cube, head, epoch, len(changes)))

    def purge(self, cube: int) -> None:
        """Have the engine forget deleted vectors in its files."""
        self.index.purge(cube)

    def reset(self, tx: Transaction, cube: int) -> None:
        """Forget the cube in the engine; the next ``project`` replays it."""
        self.index.drop(cube)
        tx.execute("DELETE FROM projection WHERE name = ? AND cid = ?", (self._key, cube))

    def versions(self, cube: int) -> dict[int, int]:
        """Item -> version the engine holds."""
        return dict(self.index.versions(cube))

    def takes(self, change: Change) -> bool:
        """Whether a live item belongs into this index."""
        return change.live and change.vector is not None

    def view(self, connection: sqlite3.Connection, cubes: Sequence[int]) -> VectorIndex:
        """The index as of this snapshot: the engine's answers with the unseen tail merged in."""
        feed = Feed(connection, model=self._model)
        tails = {cube: feed.since(cube, self.cursor(connection, cube)) for cube in cubes}
        return _Merged(self.index, tails)

    def _apply(self, cube: int, changes: Sequence[Change]) -> None:
        gone = [c.item for c in changes if c.vector is None]
        if gone:
            self.index.delete(cube, gone)
        kept = [VectorEntry(c.item, c.version, c.vector) for c in changes if c.vector is not None]
        if kept:
            self.index.upsert(cube, kept)

    def _take_lease(self, tx: Transaction) -> int:
        row = tx.execute(
            "INSERT INTO projector (name, worker, epoch, lease_until) VALUES (?1, ?2, 1, ?3) "
            "ON CONFLICT (name) DO UPDATE SET worker = ?2, epoch = epoch + 1, lease_until = ?3 "
            "WHERE lease_until < ?4 RETURNING epoch",
            (self._key, self._worker, tx.now + _LEASE_MICROS, tx.now),
        ).fetchone()
        if row is None:
            raise BackendUnavailable("another worker is projecting vectors; it will be tried again")
        return int(row[0])

    def _give_back(self, tx: Transaction, epoch: int) -> int:
        """Free the lease; 0 when it went to another worker meanwhile."""
        freed = tx.execute(
            "UPDATE projector SET lease_until = 0 WHERE name = ? AND epoch = ? AND worker = ?",
            (self._key, epoch, self._worker),
        )
        return freed.rowcount

    def _keep_cursor(self, tx: Transaction, cube: int, head: int, epoch: int, changed: int) -> int:
        if not self._give_back(tx, epoch):
            raise StaleLease("the projector's lease went to another worker; nothing was moved")
        tx.execute(
            "INSERT INTO projection (name, cid, seq) VALUES (?, ?, ?) "
            "ON CONFLICT (name, cid) DO UPDATE SET seq = max(seq, excluded.seq)",
            (self._key, cube, head),
        )
        return changed


class _Merged:
    """The read half of a ``VectorIndex`` over an engine and the tail it has not seen."""

    def __init__(self, index: VectorIndex, tails: Mapping[int, Sequence[Change]]) -> None:
        self._index = index
        self._tail = NumpyVectors()
        self._changed: dict[int, Rows] = {}
        for cube, tail in tails.items():
            self._changed[cube] = np.asarray(sorted(c.item for c in tail), dtype=np.int64)
            live = [VectorEntry(c.item, c.version, c.vector) for c in tail if c.vector is not None]
            self._tail.upsert(cube, live)

    def search(
        self, cube: int, vector: Vector, *, limit: int, within: Rows | None = None
    ) -> list[Proposal]:
        changed = self._changed.get(cube, np.empty(0, np.int64))
        # Outdated ones may take the first places, so as many more are asked for.
        found = self._index.search(cube, vector, limit=limit + changed.size, within=within)
        fresh = self._tail.search(cube, vector, limit=limit, within=within)
        outdated = set(changed.tolist())
        merged = [p for p in found if p.item not in outdated] + fresh
        return sorted(merged, key=lambda p: (-p.score, p.item))[:limit]

    def scores(self, cube: int, vector: Vector, items: Rows) -> NDArray[np.float32]:
        out = self._tail.scores(cube, vector, items)
        changed = np.isin(items, self._changed.get(cube, np.empty(0, np.int64)))
        if not changed.all():
            out[~changed] = self._index.scores(cube, vector, np.asarray(items)[~changed])
        return out

    def upsert(self, cube: int, entries: Sequence[VectorEntry]) -> None:
        """For this view only: vectors of memories whose fine stage is still to come."""
        self._tail.upsert(cube, entries)
        items = np.asarray([e.item for e in entries], dtype=np.int64)
        self._changed[cube] = np.union1d(self._changed.get(cube, np.empty(0, np.int64)), items)

    def delete(self, cube: int, items: Sequence[int]) -> None:
        self._tail.delete(cube, items)

    def versions(self, cube: int) -> Mapping[int, int]:
        return self._tail.versions(cube)

    def drop(self, cube: int) -> None:
        self._tail.drop(cube)

    def close(self) -> None:
        self._tail.close()
