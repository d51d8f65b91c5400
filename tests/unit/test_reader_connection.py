"""What a reading connection keeps is what the file says, whoever wrote to it last."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_integrations import MOS, Principal, Settings
from memos_integrations.cube.errors import AccessDenied
from memos_integrations.infrastructure.vault.reader import Reader, unless_changed

COUNT = "SELECT count(*) FROM t"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a)")
    yield connection
    connection.close()


@pytest.fixture
def reader(tmp_path: Path, writer: sqlite3.Connection) -> Iterator[Reader]:
    connection = Reader(str(tmp_path / "a.db"), isolation_level=None)
    yield connection
    connection.close()


def counted(reader: Reader, calls: list[int]) -> int:
    """How many rows the reader says there are, in a snapshot of its own."""

    def read() -> int:
        calls.append(1)
        return int(reader.execute(COUNT).fetchone()[0])

    reader.begin()
    found = reader.unless_changed("rows", read)
    assert found == reader.execute(COUNT).fetchone()[0]
    reader.execute("COMMIT")
    return found


def test_what_was_read_is_kept_until_somebody_commits(
    writer: sqlite3.Connection, reader: Reader
) -> None:
    calls: list[int] = []
    assert [counted(reader, calls) for _ in range(3)] == [0, 0, 0]
    assert len(calls) == 1
    writer.execute("INSERT INTO t VALUES (1)")
    assert [counted(reader, calls) for _ in range(2)] == [1, 1]
    assert len(calls) == 2


def test_a_commit_of_another_process_counts_as_well(
    tmp_path: Path, writer: sqlite3.Connection, reader: Reader
) -> None:
    calls: list[int] = []
    assert counted(reader, calls) == 0
    write = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
    write += "c.execute('INSERT INTO t VALUES (1)')"
    subprocess.run([sys.executable, "-c", write, str(tmp_path / "a.db")], check=True)
    assert counted(reader, calls) == 1


def test_a_commit_while_a_snapshot_is_open_is_seen_by_the_next(
    writer: sqlite3.Connection, reader: Reader
) -> None:
    reader.begin()
    read = lambda: reader.execute(COUNT).fetchone()[0]  # noqa: E731
    assert reader.unless_changed("rows", read) == 0
    writer.execute("INSERT INTO t VALUES (1)")
    assert reader.unless_changed("rows", read) == 0 == read()
    reader.execute("COMMIT")
    assert counted(reader, []) == 1


def test_a_connection_that_writes_keeps_nothing(writer: sqlite3.Connection) -> None:
    read = lambda: writer.execute(COUNT).fetchone()[0]  # noqa: E731
    assert unless_changed(writer, "rows", read) == 0
    writer.execute("INSERT INTO t VALUES (1)")
    assert unless_changed(writer, "rows", read) == 1


@pytest.mark.parametrize("elsewhere", [False, True])
def test_rights_given_and_taken_hold_in_the_very_next_search(
    tmp_path: Path, elsewhere: bool
) -> None:
    """``elsewhere``: the rights are changed through another opening of the same file."""
    settings = Settings(worker=False, extract=False)
    bob = Principal(user="bob")
    with (
        MOS(tmp_path / "a.db", embedder=None, settings=settings) as mos,
        MOS(tmp_path / "a.db", embedder=None, settings=settings) as other,
    ):
        giving, home = (other if elsewhere else mos), "users/alice"
        kept = mos.add("the tea is green", user="alice")
        asking = mos.acting(bob)
        for _ in range(3):
            with pytest.raises(AccessDenied):
                asking.search("tea", cube=home)
            giving.share(to="bob", user="alice")
            assert [hit.id for hit in asking.search("tea", cube=home)] == [kept.id]
            giving.deny(to="bob", user="alice")
            with pytest.raises(AccessDenied):
                asking.search("tea", cube=home)
            giving.revoke(to="bob", denial=True, user="alice")
            giving.deny(kept.id, to="bob", user="alice")
            assert asking.search("tea", cube=home) == []
            giving.revoke(kept.id, to="bob", denial=True, user="alice")
            assert [hit.id for hit in asking.search("tea", cube=home)] == [kept.id]
            giving.revoke(to="bob", user="alice")
