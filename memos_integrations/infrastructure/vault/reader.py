"""A connection that reads, and what it has read of the file's present state.

Every search asks the same few things: which cube a path means, how far its log is, whether any
rule names the asker. SQLite tells at less cost than one of these whether anybody has committed
since (``PRAGMA data_version``), and as long as nobody has, the answers are what they were. That
holds for rights as well: a grant, a denial or a hold is a commit like any other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
_MOST_KEPT = 512


class Reader(sqlite3.Connection):
    """Used by one thread at a time, for one snapshot after the other."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._known: dict[Hashable, Any] = {}
        self._state: int | None = None
        self._checked = False

    def begin(self) -> None:
        """Open a snapshot."""
        self.execute("BEGIN")
        self._checked = False

    def unless_changed(self, key: Hashable, read: Callable[[], T]) -> T:
        """What ``read`` gave when it was last called for this key, if the file has not changed
        since; ``read`` must look at nothing but this snapshot."""
        if not self._checked:
            # Within a transaction this takes the snapshot, so it speaks of what is read next.
            (state,) = self.execute("PRAGMA data_version").fetchone()
            if state != self._state or len(self._known) > _MOST_KEPT:
                self._known.clear()
            self._state, self._checked = state, True
        if key not in self._known:
            self._known[key] = read()
        found: T = self._known[key]
        return found


def unless_changed(connection: sqlite3.Connection, key: Hashable, read: Callable[[], T]) -> T:
    """As the method of a ``Reader``; on any other connection, which may write, it reads."""
    return connection.unless_changed(key, read) if isinstance(connection, Reader) else read()
