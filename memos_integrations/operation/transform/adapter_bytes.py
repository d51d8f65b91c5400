"""The files of adapters: named before they are written, noted until they serve, overwritten when
nothing names them any more.

Called by the registry of adapters and by what trains. Weights are words in disguise, so a kill at
any point must leave a note of what may lie there: whoever opens the vault next, tends to adapters
or erases wipes what the notes name and no row does. A note stays as long as anyone writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from memos_integrations.infrastructure.durable_file import (
    NewFile,
    directory_lock,
    is_abandoned,
    make_directory,
)
from memos_integrations.infrastructure.vault import adapters, artifacts
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import MemVault

_MARK = "adapter-"


@contextmanager
def writing(vault: MemVault) -> Generator[None]:
    """To be held from before ``adapters.name_bytes`` until the adapter serves or is ended. The file
    is written in between, outside of any transaction; what became of it is looked at behind this,
    by ``wipe_noted``."""
    make_directory(vault.blobs.root)
    with directory_lock(vault.blobs.root, shared=True):
        mark = NewFile(vault.blobs.root, prefix=_MARK)
    try:
        yield
    finally:
        mark.discard()


def wipe_noted(vault: MemVault) -> bool:
    """Overwrite and remove every file that a note names and no row does; whether any note was
    settled. Cheap where there was none."""
    with vault.readers.snapshot() as connection:
        noted = adapters.noted_files(connection)
        if not noted or (_all_used(connection, noted) and _is_written(vault)):
            return False

    def work(tx: Transaction) -> bool:
        # Within the transaction: a row names a file before it is written, so none of the same
        # bytes that is to serve is taken. A mark is there before its note is.
        noted = adapters.noted_files(tx.connection)
        settled = not _is_written(vault)
        for sha256 in noted:
            if not artifacts.blob_used(tx.connection, sha256):
                vault.blobs.erase(sha256)
            if settled:
                adapters.drop_note(tx, sha256)
        return settled and bool(noted)

    return vault.maintain(work)


def _all_used(connection: sqlite3.Connection, noted: list[str]) -> bool:
    return all(artifacts.blob_used(connection, sha256) for sha256 in noted)


def _is_written(vault: MemVault) -> bool:
    """Whether anyone alive writes the file of an adapter. Takes the marks of the dead away."""
    if not vault.blobs.root.is_dir():
        return False
    with directory_lock(vault.blobs.root, shared=False):  # no mark is half made
        marks = list(vault.blobs.root.glob(f"{_MARK}*.tmp"))
        dead = [mark for mark in marks if is_abandoned(mark)]
        for mark in dead:
            mark.unlink(missing_ok=True)
    return len(dead) < len(marks)
