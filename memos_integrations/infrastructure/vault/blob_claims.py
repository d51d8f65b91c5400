"""Who may name which blob: whoever brought its bytes, or may read a memory that has it.

Knowing a hash must not be enough to get at the bytes, since they may be somebody else's. Called
inside the transaction that stores the blob or names it.
"""

from __future__ import annotations

from collections.abc import Iterable

from memos_integrations.cube.errors import NotFound
from memos_integrations.cube.item import BlobRef
from memos_integrations.infrastructure.vault.masked_blobs import shows_masked
from memos_integrations.infrastructure.vault.rows import dumps
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import Transaction

# Claims lie beside the idempotency keys, so that an erase of the person takes them along. No
# caller's key may hold a control character, so none can pretend to be a claim.
CLAIM = "\x1fblob:"


def claim(tx: Transaction, ref: BlobRef) -> None:
    """Keep that the principal brought these bytes."""
    key, request = CLAIM + ref.sha256, bytes.fromhex(ref.sha256)
    if tx.once(key, request) is None:
        tx.remember(key, request, "{}")


def ensure_usable(tx: Transaction, refs: Iterable[BlobRef]) -> None:
    """Raise ``NotFound`` for a blob that the principal neither brought nor may read."""
    for sha256 in {ref.sha256 for ref in refs}:
        if tx.once(CLAIM + sha256, bytes.fromhex(sha256)) is None and not _reads(tx, sha256):
            raise NotFound(f"{tx.principal.name} has no blob {sha256}; store it with put_blob")


def forget(tx: Transaction, names: Iterable[str]) -> None:
    """Drop the claims on blobs that are gone."""
    claims = dumps([CLAIM + sha256 for sha256 in names])
    tx.execute(queries("portability")["forget_claims"], (claims,))


def _reads(tx: Transaction, sha256: str) -> bool:
    users = tx.execute(queries("portability")["blob_users"], (sha256,)).fetchall()
    items, cids = [iid for iid, _ in users], {cid for _, cid in users}
    rows = tx.governed().items(items, cids=cids) if items else []
    # In a memory of their own they would be shown all of it.
    return any(not shows_masked(tx.connection, tx.principal, row, sha256) for row in rows)
