"""Rows of what was made of memories: which blob, of which versions, still to be served or not.

Called by the keeper of caches. Holds hashes and numbers only. What a source's new version or its
end withdraws is withdrawn by the tables themselves, in that transaction.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from memos_integrations.cube.events import EventKind
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import Transaction

_SALT = "activation salt:"


@dataclass(frozen=True, slots=True)
class Source:
    """A memory at the version that was read."""

    item: str
    version: int
    place: int | None = None
    """Of the log, at the reading: for what counts on everybody seeing the memory who saw it then.
    ``None`` where its words alone matter."""


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """An artifact on disk. ``blocks`` is how many blocks of the asked prompt it covers."""

    key: Digest
    sha256: str
    tokens: int
    bytes: int
    build_seconds: float
    architecture: str
    pinned: bool
    blocks: int


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """What is to be recorded of one that was written to disk."""

    key: Digest
    identity: Digest
    tokens: int
    bytes: int
    build_seconds: float
    sha256: str
    blocks: tuple[tuple[Digest, int], ...]
    """Hash and number of each block it can serve up to."""
    sources: tuple[Source, ...]
    kind: str = "activation"
    architecture: str = ""
    pinned: bool = False


def find(
    connection: sqlite3.Connection, blocks: Sequence[Digest], *, identity: Digest, tenant: str
) -> ArtifactRow | None:
    """What covers the most of a prompt's blocks, given in the order of the prompt."""
    places = [[block, place] for place, block in enumerate(blocks, 1)]
    asked = {"blocks": json.dumps(places), "identity": identity, "tenant": tenant}
    row = connection.execute(queries("artifacts")["find"], asked).fetchone()
    return None if row is None else ArtifactRow(*row)


def serves(connection: sqlite3.Connection, block: Digest) -> bool:
    """Whether an artifact can be used up to this very block."""
    return connection.execute(queries("artifacts")["serves"], (block,)).fetchone() is not None


def stale(connection: sqlite3.Connection, sources: Iterable[Source], *, now: int) -> set[Source]:
    """Those that have changed, ended, been withdrawn or been hidden since they were read."""
    asked = json.dumps([[each.item, each.version, each.place] for each in sources])
    rows = connection.execute(queries("artifacts")["stale"], {"sources": asked, "now": now})
    return {Source(*row) for row in rows}


def add(tx: Transaction, new: NewArtifact, *, tenant: str) -> list[str] | None:
    """Record it; the blobs that nothing names any longer. ``None``, and nothing recorded, where a
    source has changed since it was read."""
    if stale(tx.connection, new.sources, now=tx.now):
        return None
    sql = queries("artifacts")
    before = tx.execute(sql["blob_of"], {"key": new.key}).fetchone()
    told = {
        "tenant": tenant,
        "kind": new.kind,
        "key": new.key,
        "identity": new.identity,
        "tokens": new.tokens,
        "bytes": new.bytes,
        "build_seconds": new.build_seconds,
        "sha256": new.sha256,
        "created": tx.at,
        "architecture": new.architecture,
        "pinned": new.pinned,
    }
    (aid,) = tx.execute(sql["add"], told).fetchone()
    tx.execute(sql["add_blocks"], {"aid": aid, "blocks": json.dumps(new.blocks)})
    tx.execute(sql["forget_sources"], {"aid": aid})
    sources = json.dumps([[each.item, each.version] for each in new.sources])
    tx.execute(sql["add_sources"], {"aid": aid, "sources": sources})
    replaced = [] if before is None else [str(before[0])]
    return [each for each in replaced if not blob_used(tx.connection, each)]


def take_out(tx: Transaction, keys: Sequence[Digest] | None = None) -> list[str]:
    """Remove these caches, or all that were withdrawn; the blobs that nothing names any longer."""
    if keys is None:
        return _take_out(tx, "withdrawn", {})
    return _take_out(tx, "named", {"keys": json.dumps(list(keys))})


def take_out_made_of(tx: Transaction, items: str) -> list[str]:
    """As ``take_out``, for all that was made of these item rows, a JSON array: adapters too."""
    return _take_out(tx, "made_of", {"items": items})


def _take_out(tx: Transaction, which: str, asked: Mapping[str, str]) -> list[str]:
    return remove(tx, tx.execute(queries("artifacts")[which], asked).fetchall())


def remove(tx: Transaction, rows: Iterable[tuple[int, str]]) -> list[str]:
    """Remove these artifacts, (row, blob) each; the blobs that nothing names any longer. One in
    training has no blob yet."""
    sql, rows = queries("artifacts"), list(rows)
    aids = {"aids": json.dumps([aid for aid, _ in rows])}
    for name in ("remove_blocks", "remove_sources", "remove"):
        tx.execute(sql[name], aids)
    blobs = dict.fromkeys(str(sha256) for _, sha256 in rows if sha256)
    return [each for each in blobs if not blob_used(tx.connection, each)]


def blob_used(connection: sqlite3.Connection, sha256: str) -> bool:
    """Whether an artifact or a memory names this blob."""
    sql = queries("artifacts")["blob_used"]
    return connection.execute(sql, {"sha256": sha256}).fetchone() is not None


def sources_of(connection: sqlite3.Connection, key: Digest) -> tuple[Source, ...]:
    """What an artifact was made of, as far as it still exists. Its row stands, so nothing has been
    hidden since."""
    rows = connection.execute(queries("artifacts")["sources_of"], {"key": key})
    place = head(connection)
    return tuple(Source(str(item), int(version), place) for item, version in rows)


def blocks_of(connection: sqlite3.Connection, key: Digest) -> tuple[Digest, ...]:
    """The hashes of the blocks an artifact serves, in the order of its prompt."""
    rows = connection.execute(queries("artifacts")["blocks_of"], {"key": key})
    return tuple(Digest(block) for (block,) in rows)


def any_withdrawn(connection: sqlite3.Connection) -> bool:
    """Whether any cache waits to be taken out."""
    return connection.execute(queries("artifacts")["any_withdrawn"]).fetchone() is not None


def head(connection: sqlite3.Connection) -> int:
    """The place of the newest event in the log: nothing has changed while it stands."""
    (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()
    return int(seq)


def erased_since(connection: sqlite3.Connection, seq: int) -> bool:
    """Whether any memory or record was erased behind that place of the log."""
    sql = "SELECT 1 FROM outbox WHERE seq > ? AND kind = ? LIMIT 1"
    return connection.execute(sql, (seq, EventKind.ERASED.value)).fetchone() is not None


def salt_of(connection: sqlite3.Connection, tenant: str) -> str | None:
    """The tenant's secret, if it has one."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_SALT + tenant,)).fetchone()
    return None if row is None else bytes(row[0]).hex()


def make_salt(tx: Transaction, tenant: str) -> str:
    """The tenant's secret, made where there is none yet."""
    made = (_SALT + tenant, secrets.token_bytes(32))
    tx.execute("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", made)
    known = salt_of(tx.connection, tenant)
    assert known is not None  # noqa: S101  -- written in the line above
    return known
