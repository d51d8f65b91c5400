"""The files of adapters that nothing names any more: noted with the row's end, then overwritten.

Called by the registry of adapters and by what trains. Weights are words in disguise, so a kill
between the end of a row and the end of its file must leave a note: whoever opens the vault next,
tends to adapters or erases wipes what the notes name.
"""

from __future__ import annotations

from memos_integrations.infrastructure.vault import adapters, artifacts
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import MemVault


def wipe_noted(vault: MemVault) -> bool:
    """Overwrite and remove every file that a note names; whether there was any. Cheap where there
    was none."""
    with vault.readers.snapshot() as connection:
        if not adapters.noted_files(connection):
            return False

    def work(tx: Transaction) -> None:
        # Within the transaction: a file is written within one too, so none of the same bytes that
        # serves by now is taken.
        for sha256 in adapters.noted_files(tx.connection):
            if not artifacts.blob_used(tx.connection, sha256):
                vault.blobs.erase(sha256)
            adapters.drop_note(tx, sha256)

    vault.maintain(work)
    return True
