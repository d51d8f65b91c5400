"""Who comes when: the background commits a little at a time, and the foreground before it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.clock import SystemClock
from memos_integrations.cube.header import State
from memos_integrations.cube.ports import Task, TaskSpec
from memos_integrations.infrastructure.queue.sqlite import SqliteQueue
from memos_integrations.infrastructure.queue.worker import Effect, Worker
from memos_integrations.infrastructure.vault.group_commit import GroupCommit
from memos_integrations.infrastructure.vault.transaction import Transaction

QUIET = Settings(worker=False, synchronous="normal")


@pytest.fixture
def commits(tmp_path: Path) -> Iterator[GroupCommit]:
    path = str(tmp_path / "plain.db")
    link = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    link.execute("CREATE TABLE done (what TEXT)")
    yield GroupCommit(link, path)
    link.close()


class Turns:
    """Starts units of work one by one while one that is under way holds the writer."""

    def __init__(self, commits: GroupCommit) -> None:
        self.commits, self.order = commits, list[str]()
        self.held, self.go = threading.Event(), threading.Event()
        self.threads = list[threading.Thread]()

    def hold(self) -> None:
        def work(_: sqlite3.Connection) -> None:
            self.held.set()
            assert self.go.wait(30)

        self._start(lambda: self.commits.run(work))
        assert self.held.wait(30)

    def queue(self, name: str, *, behind: bool = False) -> None:
        def work(link: sqlite3.Connection) -> None:
            link.execute("INSERT INTO done VALUES (?)", (name,))
            self.order.append(f"{name}@{self.commits.commits}")

        before = len(self.commits._queue)
        self._start(lambda: (self.commits.run_behind if behind else self.commits.run)(work))
        while len(self.commits._queue) == before:
            threading.Event().wait(0.001)

    def finish(self) -> list[str]:
        self.go.set()
        for thread in self.threads:
            thread.join(30)
        return self.order

    def _start(self, what: object) -> None:
        self.threads.append(threading.Thread(target=what))  # type: ignore[arg-type]
        self.threads[-1].start()


def test_who_waits_in_the_foreground_comes_before_the_background_in_one_commit(
    commits: GroupCommit,
) -> None:
    turns = Turns(commits)
    turns.hold()
    turns.queue("task", behind=True)
    turns.queue("one")
    turns.queue("two")
    assert turns.finish() == ["one@1", "two@1", "task@2"]


def test_units_of_the_background_never_share_a_commit(commits: GroupCommit) -> None:
    turns = Turns(commits)
    turns.hold()
    turns.queue("task", behind=True)
    turns.queue("other task", behind=True)
    assert turns.finish() == ["task@1", "other task@2"]


def test_the_background_comes_at_last_however_many_write(commits: GroupCommit) -> None:
    order, stop = list[str](), threading.Event()

    def keep_writing() -> None:
        while not stop.is_set():
            commits.run(lambda _: order.append("write"))

    writers = [threading.Thread(target=keep_writing) for _ in range(3)]
    for writer in writers:
        writer.start()
    commits.run_behind(lambda _: order.append("task"))
    stop.set()
    for writer in writers:
        writer.join(30)
    assert "task" in order


def test_a_unit_of_the_background_that_fails_keeps_nothing_and_harms_nobody(
    commits: GroupCommit,
) -> None:
    def broken(link: sqlite3.Connection) -> None:
        link.execute("INSERT INTO done VALUES ('half')")
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        commits.run_behind(broken)
    assert commits.run(lambda link: link.execute("SELECT * FROM done").fetchall()) == []


# -- the worker -----------------------------------------------------------------------------------


class Noting:
    """A handler whose effects write a line each."""

    def __init__(self, broken: str | None = None) -> None:
        self.broken = broken

    def prepare(self, task: Task) -> Effect[Transaction]:
        return self.prepare_many([task])[0]

    def prepare_many(self, tasks: list[Task]) -> list[Effect[Transaction]]:
        return [self._effect(task) for task in tasks]

    def _effect(self, task: Task) -> Effect[Transaction]:
        def effect(tx: Transaction) -> None:
            tx.execute("INSERT INTO noted (payload, at) VALUES (?, ?)", (task.payload, tx.seq))
            tx.next_seq()
            if self.broken is not None and self.broken in task.payload:
                raise LookupError("broken")

        return effect


@pytest.mark.parametrize(("commit_seconds", "groups"), [(0.0, 6), (60.0, 1)])
@pytest.mark.parametrize("broken", [None, '{"n":3}'])
def test_effects_share_a_transaction_for_a_while_only_and_each_happens_once(
    tmp_path: Path, commit_seconds: float, groups: int, broken: str | None
) -> None:
    with MOS(tmp_path / "m.db", embedder=None, settings=QUIET) as mos:
        vault, queue = mos._rooms.vault, SqliteQueue()
        vault.maintain(lambda tx: tx.execute("CREATE TABLE noted (payload TEXT, at INTEGER)"))
        for n in range(6):
            spec = TaskSpec("note", payload=f'{{"n":{n}}}', max_attempts=1)
            vault.maintain(lambda tx, spec=spec: queue.enqueue(tx, spec, now=tx.now))
        applied = list[int]()
        worker: Worker[Transaction] = Worker(
            vault.maintain,
            queue,
            {"note": Noting(broken)},
            clock=SystemClock(),
            name="w",
            commit_seconds=commit_seconds,
        )
        apply = worker._apply
        worker._apply = lambda *a: applied.append(apply(*a)) or applied[-1]  # type: ignore[method-assign,func-returns-value]
        assert worker.run_until_idle() == 6
        with vault.readers.snapshot() as link:
            noted = [p for (p,) in link.execute("SELECT payload FROM noted ORDER BY rowid")]
            states = dict(link.execute("SELECT state, count(*) FROM task GROUP BY 1").fetchall())
        if broken is None:
            assert len(applied) == groups
            assert states == {"completed": 6}
        else:
            assert states == {"completed": 5, "failed": 1}
        assert noted == [f'{{"n":{n}}}' for n in range(6) if f'{{"n":{n}}}' != broken]


# -- the fine stage -------------------------------------------------------------------------------


def test_a_write_lands_between_the_steps_of_the_fine_stage_of_a_large_one(tmp_path: Path) -> None:
    with MOS(tmp_path / "m.db", embedder=None, settings=QUIET) as mos:
        many = mos.add([f"Parcel {n} is on shelf {n % 7}." for n in range(600)], user="ann").ids
        over = threading.Event()
        notes = list[str]()

        def write() -> None:
            while not over.is_set():
                notes.append(mos.add(f"note {len(notes)}", user="bob").id)

        writer = threading.Thread(target=write)
        writer.start()
        mos._rooms.worker.run_once()  # one batch of tasks, prepared together
        over.set()
        writer.join(30)
        written = [mos.get(note, user="bob").header.seq for note in notes]
        items = [mos.get(item, user="ann").header for item in many]
        settled = [header.seq for header in items if header.state is State.ACTIVATED]
        between = [seq for seq in written if min(settled) < seq < max(settled)]
        assert between, "the whole batch was one transaction"


def test_each_item_of_a_large_write_is_settled_once(tmp_path: Path) -> None:
    with MOS(tmp_path / "m.db", embedder=None, settings=QUIET) as mos:
        done = mos.add([f"I am allergic to pollen{n}." for n in range(100)], user="ann")
        assert len(done.task_ids) > 1
        mos.work()
        assert {mos.task_status(each, user="ann").state for each in done.task_ids} == {"completed"}
        assert {mos.get(item, user="ann").header.version for item in done.ids} == {2}
        assert len({fact.source for fact in mos.facts(user="ann", history=True)}) == 100
