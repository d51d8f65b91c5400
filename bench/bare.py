"""The physical limits: what disk, memory and a bare SQLite cost without any of our work."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from bench.measure import Step

_PER_MESSAGE = ("item", "content", "version", "outbox")
_PER_CALL = ("audit", "audit_detail", "task")


@contextmanager
def commits(path: Path, *, synchronous: str) -> Iterator[Step]:
    """One committed transaction per text, each of one row of 200 bytes: the least there is."""
    row = ("x" * 200,)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("CREATE TABLE bare (n INTEGER PRIMARY KEY, text TEXT)")

        def step(texts: Sequence[str]) -> None:
            for _ in texts:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO bare (text) VALUES (?)", row)
                connection.execute("COMMIT")

        yield step


@contextmanager
def same_rows(
    vault: Path, path: Path, *, synchronous: str, one_by_one: bool = False
) -> Iterator[Step]:
    """The rows of a vault written again by SQLite alone, as many messages to a commit.

    The floor of an add: the same tables and indexes, no reading, hashing or checking.
    ``one_by_one`` commits each message with its audit line and its task.
    """
    tables = (*_PER_MESSAGE, *_PER_CALL) if one_by_one else _PER_MESSAGE
    with closing(sqlite3.connect(vault)) as source:
        schema = [row[0] for row in source.execute(_SCHEMA)]
        rows = {table: source.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA cache_size = -32000")
        for statement in schema:
            connection.execute(statement)
        inserts = {
            table: f"INSERT INTO {table} VALUES ({', '.join('?' * len(held[0]))})"
            for table, held in rows.items()
        }
        done = 0

        def step(texts: Sequence[str]) -> None:
            nonlocal done
            each = 1 if one_by_one else 1000
            for start in range(done, done + len(texts), each):
                connection.execute("BEGIN IMMEDIATE")
                for table, insert in inserts.items():
                    connection.executemany(insert, rows[table][start : start + each])
                connection.execute("COMMIT")
            done += len(texts)

        yield step


_SCHEMA = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC"


def limits(folder: Path, *, rounds: int) -> list[tuple[str, float, str]]:
    """(what, microseconds, note) of this machine: fsync, copying, hashing, interpreter."""
    text = b"x" * 200
    block = bytearray(64 << 20)
    with (folder / "fsync").open("wb", buffering=0) as file:

        def sync() -> None:
            file.write(b"x" * 4096)
            os.fsync(file.fileno())

        synced = _median(sync, rounds=rounds)
    copied = _median(lambda: bytes(block), rounds=5)
    return [
        ("append 4 KiB + fsync", synced, "no durable commit is cheaper"),
        ("copy 1 MiB of memory", copied / 64, f"{len(block) / copied / 1e3:.1f} GB/s"),
        ("sha256 of 200 bytes", _median(lambda: hashlib.sha256(text).digest(), rounds=999), ""),
    ]


def _median(work: Callable[[], object], *, rounds: int) -> float:
    spent: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return sorted(spent)[rounds // 2] * 1e6
