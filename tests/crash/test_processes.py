"""Several processes and many threads on one file: nothing lost, nothing twice, no lock errors."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from memos_integrations import MOS
from memos_integrations.cube.errors import UsageError
from memos_integrations.interface.settings import Settings
from memos_integrations.testing.crash import (
    Children,
    observe,
    once_violations,
    open_mos,
    read_journal,
    words_of,
)

_MINE = "users/alice"


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children() as started:
        yield started


def write_together(
    children: Children, path: Path, *, writers: int, count: int, synchronous: str, worker: bool
) -> dict[str, str]:
    """Note -> id of everything that ``writers`` processes had acknowledged, working at once."""
    job = {"path": str(path), "synchronous": synchronous, "worker": worker, "count": count}
    names = [f"p{n}" for n in range(writers)]
    journals = [path.with_name(f"journal-{name}") for name in names]
    started = [
        children.start("write", journal=str(journal), name=name, **job)
        for name, journal in zip(names, journals, strict=True)
    ]
    assert [children.wait(child) for child in started] == [0] * writers
    return {line["note"]: line["id"] for journal in journals for line in read_journal(journal)}


@pytest.mark.parametrize(("writers", "synchronous"), [(2, "full"), (4, "normal"), (4, "full")])
def test_processes_writing_at_once_lose_nothing_and_keep_one_order(
    children: Children, tmp_path: Path, writers: int, synchronous: str
) -> None:
    path = tmp_path / "agent.db"
    open_mos(str(path), synchronous="normal", worker=False).close()
    written = write_together(
        children, path, writers=writers, count=60, synchronous=synchronous, worker=True
    )
    assert len(written) == writers * 60
    assert observe(path).ids == written
    with closing(sqlite3.connect(path)) as connection:
        numbers = [n for (n,) in connection.execute("SELECT seq FROM outbox ORDER BY seq")]
    assert numbers == list(range(1, len(numbers) + 1))
    with open_mos(str(path), synchronous="normal", worker=False) as mos:
        mos.wait(timeout_seconds=30)
        assert mos.check().sound
        assert mos.audit_verify().intact
    assert once_violations(path) == []


def test_processes_that_open_a_new_file_at_once_agree_on_one_chain(
    children: Children, tmp_path: Path
) -> None:
    path = tmp_path / "agent.db"
    written = write_together(children, path, writers=4, count=5, synchronous="normal", worker=False)
    assert observe(path).ids == written
    with open_mos(str(path), synchronous="normal", worker=False) as mos:
        assert mos.audit_verify().intact
        assert mos.check().sound


def test_write_of_another_process_is_searchable_at_once(children: Children, tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with open_mos(str(path), synchronous="normal", worker=False) as here:
        here.add("something of our own", user="alice")
        assert here.search(words_of("p0x0", 1), user="alice")
        written = write_together(
            children, path, writers=1, count=3, synchronous="normal", worker=False
        )
        for note, item in written.items():
            assert here.search(words_of(note, 1), user="alice", limit=1)[0].id == item


def test_delete_in_another_opening_hides_the_memory_here_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "agent.db")
    with (
        open_mos(path, synchronous="normal", worker=False) as here,
        open_mos(path, synchronous="normal", worker=False) as there,
    ):
        item = here.add("peanuts are dangerous", user="alice").id
        assert [h.id for h in there.search("peanuts", user="alice")] == [item]
        there.delete(item, user="alice")
        assert here.search("peanuts", user="alice") == []


def test_two_workers_do_each_task_once(children: Children, tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    written = write_together(
        children, path, writers=2, count=80, synchronous="normal", worker=False
    )
    journals = [tmp_path / "worker-1", tmp_path / "worker-2"]
    workers = [children.start("work", path=str(path), journal=str(j)) for j in journals]
    assert [children.wait(child) for child in workers] == [0, 0]
    attempts = [read_journal(journal)[0]["attempts"] for journal in journals]
    assert sum(attempts) == len(written)
    assert once_violations(path) == []


def test_long_read_does_not_hold_up_writers(children: Children, tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with open_mos(str(path), synchronous="normal", worker=False) as mos:
        mos.add("before", user="alice")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            before = reader.execute("SELECT count(*) FROM item").fetchone()
            start = time.monotonic()
            for n in range(20):
                mos.add(f"written during the read, number {n}", user="alice")
            write_together(children, path, writers=1, count=20, synchronous="normal", worker=False)
            assert time.monotonic() - start < 30.0  # a writer that waited would give up at 60
            assert reader.execute("SELECT count(*) FROM item").fetchone() == before
        assert mos.count(user="alice") == 41


def test_forked_process_gets_a_typed_error_and_the_parent_goes_on(tmp_path: Path) -> None:
    with open_mos(str(tmp_path / "agent.db"), synchronous="normal", worker=False) as mos:
        item = mos.add("before the fork", user="alice").id
        ends = [_in_a_fork(mos, verb, item) for verb in ("get", "search", "add")]
        assert ends == [0, 0, 0]
        assert _in_a_fork(mos, "close", None) == 1  # no error, and the file is left alone
        mos.add("after the fork", user="alice")
        assert mos.count(user="alice") == 2
        assert mos.check().sound


def _in_a_fork(mos: MOS, verb: str, argument: str | None) -> int:
    """In a forked child: 0 when the verb raised ``UsageError`` about it, 1 when nothing."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 3
    try:
        mos.close() if argument is None else getattr(mos, verb)(argument, user="alice")
        code = 1
    except UsageError as error:
        code = 0 if "fork" in str(error) else 2
    finally:
        os._exit(code)


def test_many_threads_share_one_mos(tmp_path: Path) -> None:
    def work(name: int) -> list[str]:
        made = [mos.add(f"t{name}x{n} revision 1", user="alice").id for n in range(15)]
        mos.update(made[0], f"t{name}x0 revision 2", user="alice")
        hits = mos.search(f"t{name}x0 revision 2", user="alice", limit=3)
        assert made[0] in [hit.id for hit in hits]
        return made

    path = tmp_path / "agent.db"
    with open_mos(str(path), synchronous="normal", worker=True) as mos:
        with ThreadPoolExecutor(12) as threads:
            made = [item for each in threads.map(work, range(12)) for item in each]
        mos.wait(timeout_seconds=30)
        assert len(set(made)) == 180
        assert mos.count(user="alice") == 180
        assert mos.check().sound
        assert mos.audit_verify().intact
    seen = observe(path)
    assert {seen.notes[f"t{n}x0"] for n in range(12)} == {(2, "live")}
    assert once_violations(path) == []


def test_threads_share_durable_commits(tmp_path: Path) -> None:
    with MOS(
        tmp_path / "agent.db",
        embedder=None,
        settings=Settings(worker=False, synchronous="full"),
    ) as mos:
        vault = mos._rooms.vault
        mos.add("the cube is there", user="alice")
        together = threading.Barrier(8)

        def write(name: int) -> None:
            together.wait()
            for n in range(25):
                mos.add(f"thread {name} says {n}", user="alice")

        before = vault.commits
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(write, range(8)))
        assert mos.count(user="alice") == 201
        assert vault.commits - before < 200


def test_failing_write_does_not_take_its_neighbours_in_the_group_with_it(tmp_path: Path) -> None:
    with open_mos(str(tmp_path / "agent.db"), synchronous="full", worker=False) as mos:
        mos.add("first", user="alice", idempotency_key="taken")

        def write(n: int) -> str:
            key = "taken" if n % 4 == 0 else None
            try:
                return mos.add(f"note number {n}", user="alice", idempotency_key=key).id
            except Exception as error:
                return type(error).__name__

        with ThreadPoolExecutor(8) as threads:
            ends = list(threads.map(write, range(80)))
        assert ends.count("IdempotencyConflict") == 20
        assert mos.count(user="alice") == 61
        assert mos.check().sound
