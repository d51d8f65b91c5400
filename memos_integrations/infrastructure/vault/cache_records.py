"""Rows of the caches on disk as people and budgets look at them: governed, counted, weighed.

Called by the operation layer. Holds hashes and numbers only. Who may be told of a cache is decided
inside the query: it was made of memories, so it is shown to whoever holds the right on all of them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.vault.blob_claims import CLAIM
from memos_integrations.infrastructure.vault.governed import Asking
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import Transaction


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """What is known of a cache on disk. Times are microseconds since 1970 UTC."""

    key: Digest
    tenant: str
    architecture: str
    tokens: int
    bytes: int
    hits: int
    saved_seconds: float
    build_seconds: float
    created: int
    used: int | None
    pinned: bool
    withdrawn: int | None
    """The place of the log at which a source changed: it is never served again."""
    sources: int


@dataclass(frozen=True, slots=True)
class Resident:
    """What a cache takes on disk and what it is worth there."""

    key: Digest
    bytes: int
    build_seconds: float
    hits: int
    used: int
    pinned: bool


@dataclass(frozen=True, slots=True)
class FileRow:
    """What the row of a cache says of its file and of itself."""

    key: Digest
    identity: str
    tokens: int
    bytes: int
    sha256: str
    withdrawn: int | None
    findable: bool
    """Whether its own last block leads to it."""
    groundless: bool
    """Whether a version it was made of is gone."""


@dataclass(slots=True)
class Uses:
    """How often something served, what that saved, and when it last did."""

    hits: int = 0
    misses: int = 0
    saved_seconds: float = 0.0
    used: int = 0

    def add(self, more: Uses) -> None:
        self.hits += more.hits
        self.misses += more.misses
        self.saved_seconds += more.saved_seconds
        self.used = max(self.used, more.used)


def seen(
    connection: sqlite3.Connection, asking: Asking, *, within: Iterable[int] | None = None
) -> list[CacheFacts]:
    """The caches on disk that the asker may be told of; ``within`` those made of these cubes."""
    cubes = None if within is None else json.dumps(sorted(set(within)))
    bound = {**asking.bindings(None), "within": cubes}
    rows = connection.execute(_governed("seen"), bound)
    return [CacheFacts(*row) for row in rows]


def readable(
    connection: sqlite3.Connection, asking: Asking, items: Iterable[str]
) -> dict[str, int]:
    """Which of these memories the asker holds the right on, and the cube row of each."""
    bound = {**asking.bindings(None), "items": json.dumps(sorted(set(items)))}
    return dict(connection.execute(_governed("readable"), bound).fetchall())


def add_uses(
    tx: Transaction, uses: Mapping[Digest, Uses], tenants: Mapping[str, Uses]
) -> set[Digest]:
    """Add to what rows and tenants have counted; the keys that have a row."""
    sql = queries("cache_records")
    found: set[Digest] = set()
    for key, each in uses.items():
        told = {"key": key, "hits": each.hits, "saved_seconds": each.saved_seconds}
        if tx.execute(sql["used"], {**told, "used": each.used}).rowcount:
            found.add(key)
    for tenant, each in tenants.items():
        told = {"tenant": tenant, "hits": each.hits, "misses": each.misses}
        tx.execute(sql["asked"], {**told, "saved_seconds": each.saved_seconds})
    return found


def totals(connection: sqlite3.Connection, tenant: str) -> Uses:
    """What a tenant's lookups have come to, over all processes."""
    row = connection.execute(queries("cache_records")["totals"], (tenant,)).fetchone()
    return Uses() if row is None else Uses(*row)


def pin(tx: Transaction, key: Digest) -> bool:
    """Whether there was a row to pin."""
    return _pinned(tx, key, 1)


def unpin(tx: Transaction, key: Digest) -> bool:
    """Whether there was a row to unpin."""
    return _pinned(tx, key, 0)


def _pinned(tx: Transaction, key: Digest, pinned: int) -> bool:
    told = {"key": key, "pinned": pinned}
    return tx.execute(queries("cache_records")["pin"], told).rowcount > 0


def residents(connection: sqlite3.Connection) -> list[Resident]:
    """Everything that takes room, the withdrawn too: their files are still there."""
    rows = connection.execute(queries("cache_records")["residents"])
    return [Resident(*row) for row in rows]


def file_rows(connection: sqlite3.Connection) -> list[FileRow]:
    """Every cache that should have a file."""
    rows = connection.execute(queries("cache_records")["rows"])
    return [FileRow(*row) for row in rows]


def named_blobs(connection: sqlite3.Connection) -> set[str]:
    """The blobs that anything names, or that somebody brought to name them later."""
    rows = connection.execute(queries("cache_records")["named_blobs"], {"claim": CLAIM})
    return {str(name) for (name,) in rows}


def _governed(name: str) -> str:
    """A query behind the rules of who may see what."""
    rules = queries("governed")
    sql = queries("cache_records")[name]
    for part in ("present", "item_allowed"):
        sql = sql.replace(f"{{{part}}}", rules[part])
    return f"WITH {rules['rules']}, {rules['gate']} {sql}"
