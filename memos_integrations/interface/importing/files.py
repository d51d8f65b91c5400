"""Files of other systems, read as what they are: bounded, strict JSON, or a database opened to be
read and nothing else.

A file is hostile until it was read: no code of it runs (SQLite gets no functions, views, triggers
or virtual tables), it is never written to, and errors never repeat what stands in it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from memos_integrations.cube.errors import HostileArchive, InvalidInput
from memos_integrations.infrastructure.strict_json import decode_value

_MAGIC = b"SQLite format 3\x00"
_READS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ})
_MAX_STEPS = 100_000_000
_STEP = 10_000


@dataclass(frozen=True, slots=True)
class ImportLimits:
    """How large a foreign file, and what stands in it, may be."""

    max_json_bytes: int = 2**27
    max_database_bytes: int = 2**32
    max_value_bytes: int = 2**24
    max_records: int = 1_000_000
    max_depth: int = 64


def is_database(path: Path) -> bool:
    """Whether the file begins as SQLite's do. Raises ``InvalidInput`` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise InvalidInput(f"cannot read {path.name}: {error.strerror}") from error


def json_values(path: Path, limits: ImportLimits) -> list[Any]:
    """The one value of a JSON document, or one for each line of JSON Lines."""
    raw = _bytes(path, limits.max_json_bytes).removeprefix(b"\xef\xbb\xbf").strip()
    if not raw:
        raise InvalidInput(f"{path.name} is empty")
    head, _, rest = raw.partition(b"\n")
    lines = head.startswith(b"{") and head.rstrip().endswith(b"}") and rest.strip()
    parts = raw.split(b"\n") if lines else [raw]
    if len(parts) > limits.max_records:
        raise InvalidInput(f"{path.name} has more than {limits.max_records} lines; split it")
    try:
        return [
            decode_value(part, max_depth=limits.max_depth, what=_where(path, n, bool(lines)))
            for n, part in enumerate(parts, 1)
            if part.strip()
        ]
    except HostileArchive as error:
        raise InvalidInput(str(error)) from error


def _where(path: Path, number: int, lines: bool) -> str:
    return f"{path.name}, line {number}," if lines else path.name


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read {path.name}: {error.strerror}") from error
    if len(raw) > most:
        raise InvalidInput(f"{path.name} is larger than {most} bytes; split it first")
    return raw


@contextmanager
def database(path: Path, limits: ImportLimits) -> Generator[sqlite3.Connection]:
    """The SQLite file, open for plain reads of its own tables. Raises ``InvalidInput``."""
    if path.stat().st_size > limits.max_database_bytes:
        raise InvalidInput(f"{path.name} is larger than {limits.max_database_bytes} bytes")
    try:
        with closing(_opened(path, limits)) as connection:
            yield connection
    except sqlite3.DatabaseError as error:
        raise InvalidInput(
            f"{path.name} cannot be read as a SQLite database: {type(error).__name__}. Close the "
            "program that writes to it; a damaged one may be saved with `sqlite3 FILE .recover`"
        ) from error


def _opened(path: Path, limits: ImportLimits) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.max_value_bytes)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON", "mmap_size=0"):
        connection.execute(f"PRAGMA {pragma}")
    steps = iter(range(_MAX_STEPS // _STEP))
    connection.set_progress_handler(lambda: next(steps, None) is None, _STEP)
    connection.set_authorizer(_only_reads)
    return connection


def _only_reads(action: int, first: str | None, *_: object) -> int:
    described = action == sqlite3.SQLITE_PRAGMA and first == "table_xinfo"
    return sqlite3.SQLITE_OK if described or action in _READS else sqlite3.SQLITE_DENY


def columns_of(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    """The columns of a real table of this name; none where there is no such table.

    A view, a virtual table, or one with computed columns is none: it would run what it holds.
    """
    found = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name = ?", (table,)
    ).fetchone()
    described = connection.execute(_DESCRIBED[table]).fetchall() if found else []
    if any(hidden for *_, hidden in described):
        return frozenset()
    return frozenset(name for _, name, *_ in described)


_DESCRIBED = {
    "store": "PRAGMA table_xinfo(store)",
    "history": "PRAGMA table_xinfo(history)",
}


def rows(connection: sqlite3.Connection, sql: str, limits: ImportLimits) -> Iterator[Sequence[Any]]:
    """The rows of a constant query. Raises ``InvalidInput`` beyond ``limits.max_records``."""
    for number, row in enumerate(connection.execute(sql)):
        if number >= limits.max_records:
            raise InvalidInput(f"the file holds more than {limits.max_records} records")
        yield row
