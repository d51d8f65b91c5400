"""What every test has under it: fresh vaults that start from a prepared file.

The migrations of a fresh vault take four times as long as all the rest of opening it, and end in
the same tables every time. Here they run once a session, and each fresh file begins as a copy of
what they made. Nothing here waits for the disk either: that only shows when the power fails, which
no test can bring about. Processes that a test starts know nothing of this and go the whole way.

What is imported before the first test lives as long as the run: no search for garbage looks at it.
"""

from __future__ import annotations

import gc
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from memos_integrations.infrastructure.vault import vault
from memos_integrations.infrastructure.vault.connection import connect, migrate, private_file

gc.disable()  # while everything is imported


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def prepared_vaults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    template = _migrated(tmp_path_factory.mktemp("prepared") / "fresh.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vault, "private_file", lambda path: _begun(path, template))
        patch.setattr(vault, "connect", _without_waiting)
        yield


def _migrated(path: Path) -> bytes:
    private_file(str(path))
    with closing(connect(str(path), synchronous="normal", busy_seconds=1)) as connection:
        migrate(connection, str(path))
    return path.read_bytes()


def _begun(path: str, template: bytes) -> None:
    there = Path(path)
    with suppress(OSError):  # said in its own words by what comes next
        if there.parent.is_dir() and not there.exists():
            # Whole under its name or not there: another thread may open the same file.
            beside = there.with_name(os.urandom(8).hex())
            try:
                beside.touch(mode=0o600)
                beside.write_bytes(template)
                os.link(beside, there)
            finally:
                beside.unlink(missing_ok=True)
    private_file(path)


def _without_waiting(path: str, **settings: Any) -> sqlite3.Connection:
    connection = connect(path, **settings)
    connection.execute("PRAGMA synchronous = OFF")
    return connection
