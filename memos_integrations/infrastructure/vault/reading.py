"""A governed snapshot: what the verbs read through.

Made by the vault; every row it gives has passed the access decision inside its query.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TypeVar

from memos_integrations.cube.ids import CubePath, Seq, clean_name
from memos_integrations.infrastructure.vault.governed import Asking, Governed
from memos_integrations.infrastructure.vault.log import position_at
from memos_integrations.infrastructure.vault.reader import unless_changed
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import CubeRow

T = TypeVar("T")


class Reading:
    """A governed snapshot: everything read through it shows one state of the vault."""

    def __init__(self, connection: sqlite3.Connection, asking: Asking) -> None:
        self.connection = connection
        self.asking = asking
        self.governed = Governed(connection, asking)

    def cubes(self, paths: Sequence[CubePath], *, tenant: str | None = None) -> list[CubeRow]:
        """The cubes of these paths that exist."""
        sql = queries("writes")["cube"]
        home = tenant or self.asking.principal.tenant

        def found(path: CubePath) -> CubeRow | None:
            row = self.connection.execute(sql, (home, path)).fetchone()
            return None if row is None else CubeRow(*row)

        rows = [
            unless_changed(self.connection, ("cube", home, path), partial(found, path))
            for path in paths
        ]
        return [row for row in rows if row is not None]

    def unless_changed(self, key: Hashable, read: Callable[[], T]) -> T:
        """What ``read`` finds in this snapshot, read anew only if the file changed since."""
        return unless_changed(self.connection, key, read)

    def numbers(self, item_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Item id -> (item row, cube row) of those that exist."""
        sql = "SELECT id, iid, cid FROM item WHERE id = ?"
        item_ids = [clean_name(item, "the id of a memory") for item in item_ids]
        rows = [self.connection.execute(sql, (item,)).fetchone() for item in item_ids]
        return {row[0]: (row[1], row[2]) for row in rows if row is not None}

    def cubes_of(self, items: Sequence[int]) -> list[int]:
        """The cube rows that these item rows lie in."""
        sql = "SELECT DISTINCT cid FROM item WHERE iid IN (SELECT value FROM json_each(?))"
        rows = self.connection.execute(sql, (json.dumps([int(n) for n in items]),))
        return [row[0] for row in rows.fetchall()]

    def seq_at(self, micros: int) -> Seq:
        """The newest place of the log at that system time; 0 before the first write."""
        return position_at(self.connection.execute, micros)
