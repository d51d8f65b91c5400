"""Which memory of another system became which memory here, so that it never comes twice.

Kept among the results of idempotent writes: it commits with the memory, and an erase that removes
the memory removes the note.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass

from memos_integrations.cube.acl import Principal
from memos_integrations.infrastructure.vault.transaction import Transaction

_KNOWN = "SELECT result FROM idempotency WHERE tenant = ? AND actor = ? AND key = ?"
_NOTE = (
    "INSERT OR REPLACE INTO idempotency (tenant, actor, key, request, result, created) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a foreign memory: the item, and hashes of what the file said then."""

    item: str
    words: str
    whole: str


def known(connection: sqlite3.Connection, who: Principal, key: str) -> Imported | None:
    """What an earlier import of this principal made under the key."""
    row = connection.execute(_KNOWN, (who.tenant, who.name, key)).fetchone()
    return None if row is None else Imported(**json.loads(row[0]))


def note(tx: Transaction, key: str, made: Imported) -> None:
    """Keep what a key became; replaces what it became before."""
    who, result = tx.principal, json.dumps(asdict(made))
    tx.execute(_NOTE, (who.tenant, who.name, key, key.encode(), result, tx.at))
