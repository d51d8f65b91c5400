"""The contract of a durable task queue as tests: subclass ``TaskQueueTests`` and give it ``make``.

    class TestMyQueue(TaskQueueTests):
        def make(self, tmp_path: Path) -> QueueHarness: ...

The subclass stands at the top level of a file, because the kill tests load it anew in processes
of their own.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Protocol, TypeVar, cast

import pytest

from memos_integrations.cube.clock import SystemClock
from memos_integrations.cube.errors import BackendUnavailable, InvalidInput, StaleLease
from memos_integrations.cube.ids import to_micros
from memos_integrations.cube.ports import Statement, Task, TaskQueue, TaskSpec
from memos_integrations.infrastructure.queue.sqlite import (
    SqliteQueue,
    SupportsBatch,
    SupportsStatus,
    TaskState,
    TaskStatus,
)
from memos_integrations.infrastructure.queue.worker import Effect, Run, Worker

T = TypeVar("T")

NOW = 1_700_000_000_000_000
LEASE = 30_000_000

_SCHEMA = files("memos_integrations.infrastructure.vault") / "sql/migrations/0001_core.sql"


class DurableQueue(TaskQueue, SupportsStatus, Protocol):
    """What the vault asks of its queue."""


class QueueHarness(Protocol):
    """One open queue, and a table beside it in which effects are counted."""

    @property
    def queue(self) -> DurableQueue: ...

    def transaction(self) -> AbstractContextManager[Statement]:
        """A durable, serialised transaction: kept on success, rolled back when left by an error.

        Any thread may ask for one. A locked store raises ``BackendUnavailable``.
        """
        ...

    def record(self, tx: Statement, task_id: str) -> None:
        """Note in ``tx`` that the effect of this task happened; twice is noted twice."""
        ...

    def recorded(self) -> list[str]:
        """Every note that was committed."""
        ...

    def close(self) -> None: ...


class Makes(Protocol):
    """A test class that knows how to open its queue."""

    def make(self, tmp_path: Path) -> QueueHarness: ...


class SqliteHarness:
    """The embedded queue in a file of its own, with one connection per thread."""

    def __init__(self, path: Path) -> None:
        self.queue: DurableQueue = SqliteQueue()
        self._path = path
        self._own = threading.local()
        self._all: list[sqlite3.Connection] = []
        if not path.exists():
            connection = self._connection()
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA.read_text())
            connection.execute("CREATE TABLE effect (task TEXT NOT NULL)")

    @contextmanager
    def transaction(self) -> Generator[Statement]:
        connection = self._connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise BackendUnavailable("the queue is locked; try again") from error
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def record(self, tx: Statement, task_id: str) -> None:
        tx.execute("INSERT INTO effect VALUES (?)", (task_id,))

    def recorded(self) -> list[str]:
        return [task for (task,) in self._connection().execute("SELECT task FROM effect")]

    def close(self) -> None:
        for connection in self._all:
            connection.close()

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if found is None:
            found = sqlite3.connect(
                self._path, isolation_level=None, timeout=5, check_same_thread=False
            )
            found.execute("PRAGMA synchronous = NORMAL")  # outlives a killed process
            self._own.connection = found
            self._all.append(found)
        return found


def runner(harness: QueueHarness) -> Run[Statement]:
    """The harness' transactions in the form a ``Worker`` takes them."""

    def run(work: Callable[[Statement], T], /) -> T:
        with harness.transaction() as tx:
            return work(tx)

    return run


class Recorder:
    """A handler whose effect is one note; pauses make room for a kill in either phase."""

    def __init__(self, harness: QueueHarness, *, seed: int = 0, pause_seconds: float = 0) -> None:
        self._harness = harness
        self._random = random.Random(seed)
        self._pause_seconds = pause_seconds

    def prepare(self, task: Task, /) -> Effect[Statement]:
        self._pause(1.0)

        def effect(tx: Statement) -> None:
            self._harness.record(tx, task.id)
            self._pause(0.2)

        return effect

    def _pause(self, share: float) -> None:
        if self._pause_seconds:
            time.sleep(self._random.uniform(0, share * self._pause_seconds))


class TaskQueueTests:
    """Every promise of ``TaskQueue``, ``SupportsStatus`` and (where offered) ``SupportsBatch``."""

    def make(self, tmp_path: Path) -> QueueHarness:
        """Open the queue kept under ``tmp_path``; made anew, it opens the same queue again."""
        raise NotImplementedError

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[QueueHarness]:
        harness = self.make(tmp_path)
        yield harness
        harness.close()

    # -- what can be claimed, and in which order

    def test_enqueued_task_is_claimed_as_it_was_given(self, harness: QueueHarness) -> None:
        spec = TaskSpec("embed", cube=7, payload='{"item": 3}', max_attempts=4)
        task_id = add(harness, spec)
        assert claim(harness) == Task(task_id, "embed", 7, '{"item": 3}', 1, 4)

    def test_task_is_handed_out_only_after_its_commit(self, harness: QueueHarness) -> None:
        committing = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            with harness.transaction() as tx:
                harness.queue.enqueue(tx, TaskSpec("k"), now=NOW)
                rival = pool.submit(lambda: (claim(harness), committing.is_set()))
                time.sleep(0.05)
                committing.set()
            task, after_commit = rival.result()
        assert task is None or after_commit
        assert task is not None or claim(harness) is not None

    def test_rolled_back_task_never_was(self, harness: QueueHarness) -> None:
        ids: list[str] = []
        undone(harness, lambda tx: ids.append(harness.queue.enqueue(tx, TaskSpec("k"), now=NOW)))
        assert claim(harness) is None
        assert status(harness, ids[0]) is None

    def test_rolled_back_claim_gives_the_task_back(self, harness: QueueHarness) -> None:
        task_id = add(harness)
        undone(
            harness,
            lambda tx: harness.queue.claim(tx, worker="w", now=NOW, lease_micros=LEASE),
        )
        assert attempt_of(claim(harness)) == (task_id, 1)

    def test_tasks_come_in_the_order_they_were_added(self, harness: QueueHarness) -> None:
        ids = [add(harness) for _ in range(20)]
        assert [attempt_of(claim(harness))[0] for _ in ids] == ids
        assert claim(harness) is None

    def test_higher_priority_comes_first(self, harness: QueueHarness) -> None:
        low, high, middle, high2 = (add(harness, TaskSpec("k", priority=p)) for p in (-1, 9, 0, 9))
        order = [attempt_of(claim(harness))[0] for _ in range(4)]
        assert order == [high, high2, middle, low]

    def test_task_rests_until_not_before(self, harness: QueueHarness) -> None:
        task_id = add(harness, TaskSpec("k", not_before=NOW + 500, priority=9))
        other = add(harness)
        assert attempt_of(claim(harness, now=NOW + 499))[0] == other
        assert claim(harness, now=NOW + 499) is None
        assert attempt_of(claim(harness, now=NOW + 500))[0] == task_id

    def test_worker_gets_only_the_kinds_it_asked_for(self, harness: QueueHarness) -> None:
        add(harness, TaskSpec("b", priority=5))
        wanted = add(harness, TaskSpec("a"))
        assert claim(harness, kinds=[]) is None
        assert attempt_of(claim(harness, kinds=["a", "c"]))[0] == wanted
        assert claim(harness, kinds=["a", "c"]) is None

    def test_malformed_task_is_refused_when_enqueued(self, harness: QueueHarness) -> None:
        for spec in (
            TaskSpec(""),
            TaskSpec("k", payload="no json"),
            TaskSpec("k", payload="[1]"),
            TaskSpec("k", max_attempts=0),
        ):
            with pytest.raises(InvalidInput):
                add(harness, spec)

    # -- leases and fences

    def test_running_task_belongs_to_one_worker_while_its_lease_lasts(
        self, harness: QueueHarness
    ) -> None:
        add(harness)
        assert claim(harness, worker="a") is not None
        assert claim(harness, worker="b", now=NOW + LEASE) is None

    def test_expired_lease_hands_the_task_over(self, harness: QueueHarness) -> None:
        task_id = add(harness)
        claim(harness, worker="a")
        assert attempt_of(claim(harness, worker="b", now=NOW + LEASE + 1)) == (task_id, 2)

    @pytest.mark.parametrize("waiting_priority", [-1, 0, 1])
    def test_handed_over_task_keeps_its_place_in_the_order(
        self, harness: QueueHarness, waiting_priority: int
    ) -> None:
        lost = claimed(harness)
        other = add(harness, TaskSpec("k", priority=waiting_priority))
        order = [attempt_of(claim(harness, now=NOW + LEASE + 1))[0] for _ in range(2)]
        assert order == ([other, lost.id] if waiting_priority > 0 else [lost.id, other])

    def test_extended_lease_keeps_the_task_and_shows_progress(self, harness: QueueHarness) -> None:
        task = claimed(harness)
        for progress in (0.25, None):
            with harness.transaction() as tx:
                harness.queue.extend(
                    tx, task, now=NOW + LEASE, lease_micros=LEASE, progress=progress
                )
        assert known(harness, task.id).progress == 0.25
        assert claim(harness, now=NOW + 2 * LEASE) is None
        assert attempt_of(claim(harness, now=NOW + 2 * LEASE + 1))[1] == 2

    @pytest.mark.parametrize("verb", ["extend", "finish", "fail"])
    def test_overtaken_attempt_can_change_nothing(self, harness: QueueHarness, verb: str) -> None:
        old = claimed(harness)
        new = claim(harness, worker="b", now=NOW + LEASE + 1)
        assert new is not None
        refused(harness, old, verb)
        with harness.transaction() as tx:
            harness.queue.finish(tx, new, now=NOW)
        refused(harness, old, verb)
        refused(harness, new, verb)
        assert known(harness, old.id).state == "completed"
        assert harness.recorded() == []

    @pytest.mark.parametrize("verb", ["extend", "finish", "fail"])
    def test_failed_attempt_can_change_nothing_while_the_task_waits(
        self, harness: QueueHarness, verb: str
    ) -> None:
        task = claimed(harness)
        fail(harness, task, retry_micros=1000)
        refused(harness, task, verb)
        assert known(harness, task.id).state == "waiting"

    # -- ends

    def test_effect_and_finish_commit_together(self, harness: QueueHarness) -> None:
        task = claimed(harness)
        with harness.transaction() as tx:
            harness.record(tx, task.id)
            harness.queue.finish(tx, task, now=NOW + 5, result='{"n": 1}')
        end = known(harness, task.id)
        assert (end.state, end.result, end.progress) == ("completed", '{"n": 1}', 1.0)
        assert (end.created, end.updated) == (NOW, NOW + 5)
        assert harness.recorded() == [task.id]
        assert claim(harness, now=NOW + 10 * LEASE) is None

    def test_neither_effect_nor_finish_survives_a_rollback(self, harness: QueueHarness) -> None:
        task = claimed(harness)

        def work(tx: Statement) -> None:
            harness.record(tx, task.id)
            harness.queue.finish(tx, task, now=NOW)

        undone(harness, work)
        assert known(harness, task.id).state == "running"
        assert harness.recorded() == []

    def test_failed_attempt_is_retried_after_its_rest(self, harness: QueueHarness) -> None:
        task = claimed(harness)
        fail(harness, task, retry_micros=1000)
        assert known(harness, task.id).error == "broke"
        assert claim(harness, now=NOW + 999) is None
        again = claim(harness, now=NOW + 1000)
        assert attempt_of(again) == (task.id, 2)

    def test_completion_after_a_retry_leaves_no_error(self, harness: QueueHarness) -> None:
        task = claimed(harness)
        fail(harness, task, retry_micros=0)
        again = claim(harness)
        assert again is not None
        with harness.transaction() as tx:
            harness.queue.finish(tx, again, now=NOW)
        assert known(harness, task.id).error is None

    def test_failure_without_retry_is_final(self, harness: QueueHarness) -> None:
        task = claimed(harness)
        fail(harness, task, retry_micros=None)
        assert known(harness, task.id).state == "failed"
        assert claim(harness, now=NOW + 10 * LEASE) is None

    def test_last_failed_attempt_is_final(self, harness: QueueHarness) -> None:
        task_id = add(harness, TaskSpec("k", max_attempts=3))
        for _ in range(3):
            task = claim(harness)
            assert task is not None
            fail(harness, task, retry_micros=0)
        assert claim(harness) is None
        assert known(harness, task_id).state == "failed"

    def test_task_that_kills_its_workers_ends_as_failed(self, harness: QueueHarness) -> None:
        task_id = add(harness, TaskSpec("k", max_attempts=2))
        assert claim(harness) is not None
        assert claim(harness, now=NOW + LEASE + 1) is not None
        assert claim(harness, now=NOW + 3 * LEASE) is None
        end = known(harness, task_id)
        assert end.state == "failed"
        assert "died" in (end.error or "")
        assert "2 of 2" in (end.error or "")

    # -- looking in, stopping, tidying

    def test_cancelled_waiting_task_is_never_claimed(self, harness: QueueHarness) -> None:
        task_id = add(harness)
        assert cancel(harness, task_id)
        assert claim(harness) is None
        assert known(harness, task_id).state == "cancelled"

    def test_cancelled_running_task_gives_its_worker_a_stale_lease(
        self, harness: QueueHarness
    ) -> None:
        task = claimed(harness)
        assert cancel(harness, task.id)
        for verb in ("extend", "finish", "fail"):
            refused(harness, task, verb)
        assert known(harness, task.id).state == "cancelled"
        assert harness.recorded() == []

    def test_ended_or_unknown_task_cannot_be_cancelled(self, harness: QueueHarness) -> None:
        task = claimed(harness)
        fail(harness, task, retry_micros=None)
        assert not cancel(harness, task.id)
        assert not cancel(harness, "no-such-task")
        assert known(harness, task.id).state == "failed"

    def test_counts_name_every_state(self, harness: QueueHarness) -> None:
        ids = [add(harness) for _ in range(4)]
        cancel(harness, ids[3])
        assert claim(harness) is not None
        with harness.transaction() as tx:
            counts = harness.queue.counts(tx)
        assert counts == {"waiting": 2, "running": 1, "completed": 0, "failed": 0, "cancelled": 1}

    def test_prune_removes_only_old_tasks_that_ended_well(self, harness: QueueHarness) -> None:
        expected: dict[TaskState, bool] = {}
        ids: dict[TaskState, str] = {}
        for state in ("completed", "failed", "cancelled", "running", "waiting"):
            ids[state] = add(harness)
            if state in ("completed", "failed", "running"):
                task = claim(harness)
                assert task is not None
                with harness.transaction() as tx:
                    if state == "completed":
                        harness.queue.finish(tx, task, now=NOW)
                    elif state == "failed":
                        harness.queue.fail(tx, task, now=NOW, error="x", retry_micros=None)
            elif state == "cancelled":
                cancel(harness, ids[state])
            expected[state] = state in ("failed", "running", "waiting")
        assert prune(harness, before=NOW) == 0
        assert prune(harness, before=NOW + 1) == 2
        assert {s: status(harness, i) is not None for s, i in ids.items()} == expected

    # -- batches

    def test_batch_holds_one_kind_in_order_up_to_its_limit(self, harness: QueueHarness) -> None:
        ids = [add(harness, TaskSpec(kind)) for kind in "aabaa"]
        assert [t.id for t in batch(harness, limit=3)] == [ids[0], ids[1], ids[3]]
        assert [t.id for t in batch(harness, limit=3)] == [ids[2]]
        assert [t.id for t in batch(harness, limit=3)] == [ids[4]]
        assert batch(harness, limit=3) == []

    def test_task_that_was_tried_before_comes_alone(self, harness: QueueHarness) -> None:
        early, late = (add(harness, TaskSpec("k", priority=p)) for p in (1, -1))
        for task in [claim(harness), claim(harness)]:
            assert task is not None
            fail(harness, task, retry_micros=0)
        fresh = [add(harness) for _ in range(3)]
        assert [t.id for t in batch(harness, limit=9)] == [early]
        assert [t.id for t in batch(harness, limit=9)] == fresh
        assert [t.id for t in batch(harness, limit=9)] == [late]

    # -- many workers

    def test_thousand_tasks_are_done_once_each_by_four_threads(self, harness: QueueHarness) -> None:
        ids = add_many(harness, 1000)
        workers = [
            Worker(
                runner(harness),
                harness.queue,
                {"k": Recorder(harness, pause_seconds=0.001)},
                clock=SystemClock(),
                name=f"w{n}",
                batch_limit=8,
            )
            for n in range(4)
        ]
        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(worker.run_until_idle) for worker in workers]
            handled = [run.result() for run in runs]
        assert sum(handled) == 1000
        assert max(handled) < 1000, "one thread did it all, which proves nothing"
        assert sorted(harness.recorded()) == sorted(ids)

    def test_two_processes_never_do_the_same_task(
        self, harness: QueueHarness, tmp_path: Path
    ) -> None:
        ids = add_many(harness, 100)
        storm(self, tmp_path, kills=0, lease_seconds=60)
        check_each_effect_once(harness, ids)
        assert all(known(harness, task_id).attempt == 1 for task_id in ids)

    def test_killed_workers_lose_and_repeat_no_effect(
        self, harness: QueueHarness, tmp_path: Path
    ) -> None:
        survive_kills(self, tmp_path, tasks=200, kills=25)


def undone(harness: QueueHarness, work: Callable[[Statement], object]) -> None:
    """Do ``work`` in a transaction that is rolled back."""

    def broken(tx: Statement) -> None:
        work(tx)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        runner(harness)(broken)


def refused(harness: QueueHarness, task: Task, verb: str) -> None:
    """Check that a worker which no longer holds ``task`` gets ``StaleLease`` and no effect."""
    queue = harness.queue

    def late(tx: Statement) -> None:
        harness.record(tx, task.id)
        if verb == "extend":
            queue.extend(tx, task, now=NOW, lease_micros=LEASE, progress=None)
        elif verb == "finish":
            queue.finish(tx, task, now=NOW)
        else:
            queue.fail(tx, task, now=NOW, error="late", retry_micros=0)

    with pytest.raises(StaleLease):
        runner(harness)(late)


# -- the verbs, each in a transaction of its own


def add(harness: QueueHarness, spec: TaskSpec | None = None) -> str:
    with harness.transaction() as tx:
        return harness.queue.enqueue(tx, spec or TaskSpec("k"), now=NOW)


def add_many(harness: QueueHarness, count: int) -> list[str]:
    now = to_micros(SystemClock().now())
    with harness.transaction() as tx:
        spec = TaskSpec("k", max_attempts=1000)
        return [harness.queue.enqueue(tx, spec, now=now) for _ in range(count)]


def claim(
    harness: QueueHarness,
    *,
    worker: str = "w",
    now: int = NOW,
    kinds: Sequence[str] | None = None,
) -> Task | None:
    with harness.transaction() as tx:
        return harness.queue.claim(tx, worker=worker, now=now, lease_micros=LEASE, kinds=kinds)


def claimed(harness: QueueHarness) -> Task:
    """A new task, already in hand."""
    add(harness)
    task = claim(harness)
    assert task is not None
    return task


def attempt_of(task: Task | None) -> tuple[str, int]:
    assert task is not None, "nothing could be claimed"
    return task.id, task.attempt


def batch(harness: QueueHarness, *, limit: int) -> list[Task]:
    queue = harness.queue
    if not isinstance(queue, SupportsBatch):
        pytest.skip("this queue hands out one task at a time")
    with harness.transaction() as tx:
        return queue.claim_batch(tx, limit=limit, worker="w", now=NOW, lease_micros=LEASE)


def fail(harness: QueueHarness, task: Task, *, retry_micros: int | None) -> None:
    with harness.transaction() as tx:
        harness.queue.fail(tx, task, now=NOW, error="broke", retry_micros=retry_micros)


def cancel(harness: QueueHarness, task_id: str) -> bool:
    with harness.transaction() as tx:
        return harness.queue.cancel(tx, task_id, now=NOW)


def prune(harness: QueueHarness, *, before: int) -> int:
    with harness.transaction() as tx:
        return harness.queue.prune(tx, before=before)


def status(harness: QueueHarness, task_id: str) -> TaskStatus | None:
    with harness.transaction() as tx:
        return harness.queue.status(tx, task_id)


def known(harness: QueueHarness, task_id: str) -> TaskStatus:
    found = status(harness, task_id)
    assert found is not None, f"task {task_id} is gone"
    return found


# -- killing workers: a process of one thread forks them, so each is there in milliseconds


def survive_kills(suite: Makes, path: Path, *, tasks: int, kills: int) -> None:
    """Kill that many workers at random moments, then check every effect."""
    harness = suite.make(path)
    ids = add_many(harness, tasks)
    storm(suite, path, kills=kills, lease_seconds=0.4)
    check_each_effect_once(harness, ids)
    repeated = sum(known(harness, task_id).attempt > 1 for task_id in ids)
    harness.close()
    assert repeated >= kills // 3, "too few kills hit a task in hand to prove anything"


def check_each_effect_once(harness: QueueHarness, ids: Sequence[str]) -> None:
    assert sorted(harness.recorded()) == sorted(ids)
    assert {known(harness, task_id).state for task_id in ids} == {"completed"}


def storm(suite: Makes, path: Path, *, kills: int, lease_seconds: float, seed: int = 7) -> None:
    """Let two processes drain the queue at ``path`` while ``kills`` of them are killed."""
    if not hasattr(os, "fork"):
        pytest.skip("needs a system with fork and SIGKILL")
    kind = type(suite)
    numbers = [str(kills), str(seed), str(lease_seconds)]
    arguments = [inspect.getfile(kind), kind.__qualname__, str(path), *numbers]
    code = "from memos_integrations.testing.task_queue import nursery; nursery()"
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: S603  our own interpreter and file
        [sys.executable, "-c", code, *arguments],
        env=os.environ | one_thread | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == kills, "the queue was empty before the last kill"


def nursery() -> None:
    """Raise workers and kill them, as the command line says; prints how many kills hit."""
    file, name, path, kills, seed, lease_seconds = sys.argv[1:]
    suite = _load(file, name)
    chance = random.Random(int(seed))

    def bear() -> int:
        return _bear(suite, Path(path), chance.randrange(10**9), float(lease_seconds))

    alive = [bear() for _ in range(2)]
    hits = 0
    for _ in range(int(kills)):
        time.sleep(chance.uniform(0.002, 0.06))
        victim = alive.pop(chance.randrange(len(alive)))
        os.kill(victim, signal.SIGKILL)
        hits += os.WIFSIGNALED(os.waitpid(victim, 0)[1])
        alive.append(bear())
    ends = [os.waitpid(pid, 0)[1] for pid in alive]
    sys.stdout.write(str(hits))
    sys.exit(any(ends))


def _load(file: str, name: str) -> Makes:
    spec = importlib.util.spec_from_file_location("queue_under_test", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(Makes, getattr(module, name)())


def _bear(suite: Makes, path: Path, seed: int, lease_seconds: float) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _drain(suite.make(path), seed, lease_seconds)
    except BaseException as error:  # noqa: BLE001  a fork must never return into pytest
        sys.stderr.write(f"worker ended by {error!r}\n")
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _drain(harness: QueueHarness, seed: int, lease_seconds: float) -> None:
    worker = Worker(
        runner(harness),
        harness.queue,
        {"k": Recorder(harness, seed=seed, pause_seconds=0.03)},
        clock=SystemClock(),
        name=f"w{seed}",
        lease_seconds=lease_seconds,
        poll_seconds=0.05,
        batch_limit=1 + seed % 3,
    )
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        worker.run_until_idle()
        with harness.transaction() as tx:
            counts = harness.queue.counts(tx)
        if counts["waiting"] == counts["running"] == 0:
            return
        time.sleep(0.02)
    raise TimeoutError("the queue did not drain")
