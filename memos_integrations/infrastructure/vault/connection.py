"""SQLite connections as the vault needs them: WAL, one writer, pooled readers, typed errors.

Called by the vault only. Everything that touches ``sqlite3`` errors goes through ``map_errors``.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from memos_integrations.cube.errors import (
    BackendUnavailable,
    Conflict,
    InvalidInput,
    MemosError,
    StorageFull,
    UsageError,
    VaultDamaged,
)
from memos_integrations.infrastructure.durable_file import full_disk_is_typed
from memos_integrations.infrastructure.vault.packing import see_words
from memos_integrations.infrastructure.vault.reader import Reader
from memos_integrations.infrastructure.vault.sql import migrations

C = TypeVar("C", bound=sqlite3.Connection)
_APPLICATION_ID = 0x4D454D4F  # "MEMO"
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_TRANSLATIONS: tuple[tuple[set[int], type[MemosError], str], ...] = (
    (
        _BUSY,
        BackendUnavailable,
        "{path} is locked by another process; retry",
    ),
    (
        {sqlite3.SQLITE_FULL},
        StorageFull,
        "no space left for {path}; nothing of this write was kept",
    ),
    (
        {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB},
        VaultDamaged,
        "{path} is not a readable vault; restore a copy or load a dump",
    ),
    (
        {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM},
        UsageError,
        "{path} cannot be opened for writing: check the folder and its rights",
    ),
    (
        {sqlite3.SQLITE_IOERR},
        BackendUnavailable,
        "the disk failed while using {path}; nothing was half-written",
    ),
    (
        {sqlite3.SQLITE_CONSTRAINT},
        Conflict,
        "the write breaks a rule of {path} and was not kept; please report how it came about",
    ),
    ({sqlite3.SQLITE_TOOBIG}, InvalidInput, "a value is larger than the vault stores"),
)


@contextmanager
def map_errors(path: str) -> Generator[None]:
    """Turn the driver's errors into ours, keeping the original as ``__cause__``."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translate(error, path) from error


DRIVER_ERRORS = (sqlite3.Error, UnicodeEncodeError, OverflowError)
"""What the driver raises: for a value that it cannot bind, the builtin errors."""


def translate(error: Exception, path: str) -> MemosError:
    """The typed error for a driver error on the file ``path``."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    for codes, kind, words in _TRANSLATIONS:
        if code in codes:
            return kind(words.format(path=path))
    if isinstance(error, sqlite3.DataError):
        return InvalidInput("a value is larger than the vault stores")
    if not isinstance(error, sqlite3.Error) or "binding parameter" in str(error):
        # Without the driver's text: it may quote the value.
        return InvalidInput("a value is of a type, or holds characters, that cannot be stored")
    return BackendUnavailable(f"{path}: {error}")


def connect(path: str, *, synchronous: str, busy_seconds: float) -> sqlite3.Connection:
    """An autocommit connection with the vault's settings; migrations are the caller's."""
    return _opened(sqlite3.connect, path, synchronous, busy_seconds)


def _opened(kind: Callable[..., C], path: str, synchronous: str, busy_seconds: float) -> C:
    connection = kind(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        _use_wal(connection, busy_seconds)
        connection.execute(f"PRAGMA synchronous = {'FULL' if synchronous == 'full' else 'NORMAL'}")
        for pragma in (
            "secure_delete = ON",  # freed cells are zeroed: an erase leaves nothing in the file
            "temp_store = MEMORY",
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "cache_size = -32000",
            "wal_autocheckpoint = 4000",  # 16 MiB: an add rewrites the same pages many times
            "journal_size_limit = 67108864",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    # SQLite does not wait its turn when the journal mode changes, so two processes that open a
    # fresh file at once would trip over each other.
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the file to this release's schema; each step commits with its number.

    Raises ``UsageError`` for a file of a newer release and ``VaultDamaged`` for one that is
    somebody else's database.
    """
    newest = migrations()[-1][0]
    if _stamp(connection, path) == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        have = _stamp(connection, path)
        for number, script in migrations():
            if number > have:
                _run_script(connection, script)
                connection.execute(f"PRAGMA user_version = {number:d}")
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _stamp(connection: sqlite3.Connection, path: str) -> int:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and owner != _APPLICATION_ID:
        raise VaultDamaged(f"{path} is a database of another program; choose another file")
    if version > migrations()[-1][0]:
        raise UsageError(f"{path} was written by a newer release; upgrade memos-integrations")
    return int(version)


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    # executescript would commit the open transaction, so statements run one by one.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


_IDLE_READERS = 16


class Readers:
    """A pool of read connections: one per open snapshot, reused by whichever thread is next."""

    def __init__(self, path: str, *, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._local = threading.local()
        self._lock = threading.Lock()
        self._idle: list[Reader] = []
        self._pid = os.getpid()
        self._closed = False

    @contextmanager
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """A read transaction: everything inside sees one state of the vault.

        Inside another snapshot of the same thread it is that one.
        """
        outer: sqlite3.Connection | None = getattr(self._local, "connection", None)
        try:  # what map_errors does, without a context manager inside of one for every read
            if outer is not None:
                yield outer
                return
            connection = self._borrow()
            self._local.connection = connection
            try:
                connection.begin()
                yield connection
            finally:
                self._local.connection = None
                self._give_back(connection)
        except DRIVER_ERRORS as error:
            raise translate(error, self._path) from error

    def _borrow(self) -> Reader:
        if self._pid != os.getpid():
            raise UsageError("a vault cannot be used across fork(); open MOS in the child process")
        with self._lock:
            if self._closed:
                raise UsageError("this MOS is closed; open the file again")
            if self._idle:
                return self._idle.pop()
        connection = _opened(Reader, self._path, "normal", self._busy_seconds)
        see_words(connection)
        return connection

    def _give_back(self, connection: Reader) -> None:
        if connection.in_transaction:
            connection.execute("COMMIT")
        with self._lock:
            if not self._closed and len(self._idle) < _IDLE_READERS:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()


def private_file(path: str) -> None:
    """Create the file readable by its owner only, where it is not there yet."""
    target = Path(path)
    try:
        if not target.parent.is_dir():
            raise UsageError(f"the folder {target.parent} does not exist; create it first")
        if target.is_dir():
            raise UsageError(f"{path} is a folder; name a file such as agent.db")
        if not target.exists():
            with full_disk_is_typed(target.parent):
                target.touch(mode=0o600)
    except OSError as error:
        if isinstance(error, MemosError):
            raise
        raise UsageError(
            f"{path} cannot be made ({error.strerror}); choose another file"
        ) from error
