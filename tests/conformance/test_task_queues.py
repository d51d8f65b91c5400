"""The embedded queue keeps the contract, and what only its worker promises."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from memos_integrations.cube.clock import SystemClock
from memos_integrations.cube.errors import BackendUnavailable, Conflict, TaskTimeout, UsageError
from memos_integrations.cube.ports import Statement, Task, TaskQueue, TaskSpec
from memos_integrations.infrastructure.queue.sqlite import (
    SqliteQueue,
    SupportsBatch,
    SupportsStatus,
)
from memos_integrations.infrastructure.queue.worker import Backoff, Effect, Worker
from memos_integrations.testing.task_queue import (
    NOW,
    QueueHarness,
    SqliteHarness,
    TaskQueueTests,
    add,
    add_many,
    known,
    runner,
)


class TestSqliteQueue(TaskQueueTests):
    def make(self, tmp_path: Path) -> QueueHarness:
        return SqliteHarness(tmp_path / "vault.db")

    def test_it_offers_every_capability(self) -> None:
        queue = SqliteQueue()
        assert isinstance(queue, TaskQueue)
        assert isinstance(queue, SupportsStatus)
        assert isinstance(queue, SupportsBatch)

    def test_claim_reads_the_index_of_due_tasks_and_not_the_queue(
        self, harness: QueueHarness
    ) -> None:
        add(harness)
        statements: list[str] = []
        with harness.transaction() as tx:
            assert isinstance(tx, sqlite3.Connection)
            tx.set_trace_callback(statements.append)
            harness.queue.claim(tx, worker="w", now=NOW, lease_micros=1, kinds=["k"])
            tx.set_trace_callback(None)
            for statement in statements:
                plan = [row[3] for row in tx.execute("EXPLAIN QUERY PLAN " + statement)]
                assert "SEARCH task USING INDEX task_due (state=?)" in plan
                assert not [step for step in plan if step.startswith("SCAN task")]
        assert len(statements) == 2


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[SqliteHarness]:
    harness = SqliteHarness(tmp_path / "vault.db")
    yield harness
    harness.close()


class SetClock:
    def __init__(self) -> None:
        self.at = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def pass_seconds(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Doing:
    """A handler out of two functions."""

    def __init__(
        self,
        effect: Callable[[Statement, Task], str | None],
        before: Callable[[Task], object] = lambda task: None,
    ) -> None:
        self._effect, self._before = effect, before

    def prepare(self, task: Task, /) -> Effect[Statement]:
        self._before(task)
        return lambda tx: self._effect(tx, task)


class Batched(Doing):
    def __init__(self, effect: Callable[[Statement, Task], str | None]) -> None:
        super().__init__(effect)
        self.sizes: list[int] = []

    def prepare_many(self, tasks: Sequence[Task], /) -> Sequence[Effect[Statement]]:
        self.sizes.append(len(tasks))
        return [self.prepare(task) for task in tasks]


class Refusing(Batched):
    def prepare_many(self, tasks: Sequence[Task], /) -> Sequence[Effect[Statement]]:
        raise ValueError("one of them is bad")


def worker_of(harness: SqliteHarness, handler: Any, **options: Any) -> Worker[Statement]:
    settings: dict[str, Any] = {"clock": SystemClock(), "name": "w"} | options
    return Worker(runner(harness), harness.queue, {"k": handler}, **settings)


def raising(error: Exception) -> Callable[[Task], object]:
    def before(_: Task) -> object:
        raise error

    return before


def wait_until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def noted(harness: SqliteHarness) -> Doing:
    return Doing(lambda tx, task: harness.record(tx, task.id))


def test_result_of_the_effect_is_kept_with_the_task(harness: SqliteHarness) -> None:
    task_id = add(harness)
    assert worker_of(harness, Doing(lambda tx, task: '{"items": 2}')).run_once() == 1
    assert known(harness, task_id).result == '{"items": 2}'


def test_worker_leaves_kinds_it_has_no_handler_for(harness: SqliteHarness) -> None:
    task_id = add(harness, TaskSpec("other"))
    assert worker_of(harness, noted(harness)).run_until_idle() == 0
    assert known(harness, task_id).state == "waiting"


def test_slow_preparation_holds_no_transaction(harness: SqliteHarness) -> None:
    task_id = add(harness)
    during: list[str] = []

    def before(_: Task) -> None:
        during.append(known(harness, task_id).state)
        during.append(add(harness, TaskSpec("other")))

    handler = Doing(lambda tx, task: None, before)
    assert worker_of(harness, handler).run_once() == 1
    assert during[0] == "running"
    assert known(harness, during[1]).state == "waiting"


def test_failed_preparation_is_retried_with_growing_rests(harness: SqliteHarness) -> None:
    task_id = add(harness, TaskSpec("k", max_attempts=3))
    clock = SetClock()
    handler = Doing(lambda tx, task: None, raising(ValueError("a secret of the user")))
    worker = worker_of(harness, handler, clock=clock, backoff=Backoff(base_seconds=10))
    for seconds in (0, 11, 21):
        clock.pass_seconds(seconds)
        assert known(harness, task_id).state == "waiting"
        assert worker.run_until_idle() == 1
    end = known(harness, task_id)
    assert (end.state, end.attempt, end.error) == ("failed", 3, "ValueError")


def test_failed_effect_leaves_nothing_and_is_retried(harness: SqliteHarness) -> None:
    task_id = add(harness)

    def effect(tx: Statement, task: Task) -> None:
        harness.record(tx, task.id)
        if task.attempt == 1:
            raise KeyError("words")

    clock = SetClock()
    worker = worker_of(harness, Doing(effect), clock=clock)
    worker.run_until_idle()
    assert (harness.recorded(), known(harness, task_id).error) == ([], "KeyError")
    clock.pass_seconds(2)
    worker.run_until_idle()
    assert harness.recorded() == [task_id]
    assert known(harness, task_id).state == "completed"


def test_own_errors_are_kept_in_words_up_to_a_limit(harness: SqliteHarness) -> None:
    task_id = add(harness, TaskSpec("k", max_attempts=1))
    handler = Doing(lambda tx, task: None, raising(Conflict("item 7 changed " * 100)))
    worker_of(harness, handler).run_once()
    error = known(harness, task_id).error or ""
    assert error.startswith("Conflict: item 7 changed")
    assert len(error) == 500


def test_back_off_doubles_to_its_cap_and_is_the_same_each_time() -> None:
    rests = [
        Backoff(base_seconds=1, cap_seconds=60).micros(Task("id", "k", None, "{}", n, 99))
        for n in range(1, 80)
    ]
    for number, rest in enumerate(rests):
        span = min(60, 2**number) * 1_000_000
        assert span // 2 <= rest <= span
    again = Backoff(base_seconds=1, cap_seconds=60).micros(Task("id", "k", None, "{}", 3, 99))
    assert again == rests[2]
    assert len({Backoff().micros(Task(str(n), "k", None, "{}", 1, 9)) for n in range(50)}) > 40


def test_heartbeat_keeps_a_slow_task_with_its_worker_and_tells_progress(
    harness: SqliteHarness,
) -> None:
    task_id = add(harness)
    shares: list[float] = []

    class Slow(Doing):
        def progress(self, task: Task, /) -> float:
            return 0.5

    def slow(_: Task) -> None:
        time.sleep(0.9)
        shares.append(known(harness, task_id).progress)

    rival = worker_of(harness, noted(harness), name="rival", poll_seconds=0.02)
    rival_handled: list[int] = []
    worker = worker_of(
        harness, Slow(lambda tx, task: harness.record(tx, task.id), slow), lease_seconds=0.3
    )
    worker.start()
    wait_until(lambda: known(harness, task_id).state == "running")
    until = time.monotonic() + 0.7
    while time.monotonic() < until:
        rival_handled.append(rival.run_once())
        time.sleep(0.02)
    worker.stop()
    assert sum(rival_handled) == 0
    assert shares == [0.5]
    assert harness.recorded() == [task_id]
    assert known(harness, task_id).attempt == 1


def test_heartbeat_goes_on_for_a_batch_of_which_one_task_was_cancelled(
    harness: SqliteHarness,
) -> None:
    first, second = add_many(harness, 2)

    class SlowBatch(Batched):
        def prepare_many(self, tasks: Sequence[Task], /) -> Sequence[Effect[Statement]]:
            with harness.transaction() as tx:
                harness.queue.cancel(tx, first, now=1)
            time.sleep(0.9)
            rival.run_once()
            return super().prepare_many(tasks)

    rival = worker_of(harness, noted(harness), name="rival")
    handler = SlowBatch(lambda tx, task: harness.record(tx, task.id))
    assert worker_of(harness, handler, lease_seconds=0.6).run_once() == 2
    assert harness.recorded() == [second]
    assert known(harness, second).attempt == 1
    assert known(harness, first).state == "cancelled"


def test_worker_that_lost_its_lease_applies_nothing(harness: SqliteHarness) -> None:
    task_id = add(harness)

    def cancelled_meanwhile(_: Task) -> None:
        with harness.transaction() as tx:
            harness.queue.cancel(tx, task_id, now=1)

    handler = Doing(lambda tx, task: harness.record(tx, task.id), cancelled_meanwhile)
    assert worker_of(harness, handler).run_until_idle() == 1
    assert harness.recorded() == []
    assert known(harness, task_id).state == "cancelled"


def test_batch_handler_prepares_tasks_of_one_kind_together(harness: SqliteHarness) -> None:
    ids = add_many(harness, 10)
    handler = Batched(lambda tx, task: harness.record(tx, task.id))
    assert worker_of(harness, handler, batch_limit=8).run_until_idle() == 10
    assert handler.sizes == [8, 2]
    assert harness.recorded() == ids


def test_slow_tasks_of_one_claim_do_not_wait_for_each_other(harness: SqliteHarness) -> None:
    ids = add_many(harness, 3)
    seen: list[int] = []

    def slow(_: Task) -> None:
        seen.append(len(harness.recorded()))
        time.sleep(0.3)

    handler = Doing(lambda tx, task: harness.record(tx, task.id), slow)
    assert worker_of(harness, handler).run_once() == 3
    assert seen[0] == 0
    assert seen[2] > 0
    assert harness.recorded() == ids


@pytest.mark.parametrize("kind", [Batched, Refusing])
def test_one_bad_task_does_not_hold_up_its_batch(
    harness: SqliteHarness, kind: type[Batched]
) -> None:
    ids = add_many(harness, 6)

    def effect(tx: Statement, task: Task) -> None:
        harness.record(tx, task.id)
        if task.id == ids[2]:
            raise ValueError("bad")

    worker_of(harness, kind(effect)).run_until_idle()
    assert harness.recorded() == [i for i in ids if i != ids[2]]
    assert [known(harness, i).state for i in ids].count("completed") == 5
    assert known(harness, ids[2]).state == "waiting"


def test_worker_waits_for_a_locked_store(harness: SqliteHarness) -> None:
    task_id = add(harness)
    refusals = iter([True, True, False, True, False])

    def run(work: Callable[[Statement], Any], /) -> Any:
        if next(refusals, False):
            raise BackendUnavailable("locked")
        return runner(harness)(work)

    worker = Worker(run, harness.queue, {"k": noted(harness)}, clock=SystemClock(), name="w")
    assert worker.run_until_idle() == 1
    assert harness.recorded() == [task_id]


def test_thread_survives_a_store_that_is_away_for_longer_than_a_lease(
    harness: SqliteHarness,
) -> None:
    away = threading.Event()
    away.set()
    refused: list[int] = []

    def run(work: Callable[[Statement], Any], /) -> Any:
        if away.is_set():
            refused.append(1)
            raise BackendUnavailable("away")
        return runner(harness)(work)

    worker = Worker(
        run,
        harness.queue,
        {"k": noted(harness)},
        clock=SystemClock(),
        name="w",
        lease_seconds=0.03,
        poll_seconds=0.02,
    )
    worker.start()
    wait_until(lambda: len(refused) > 10)
    task_id = add(harness)
    away.clear()
    wait_until(lambda: harness.recorded() == [task_id])
    worker.stop()


def test_notified_worker_wakes_at_once(harness: SqliteHarness) -> None:
    worker = worker_of(harness, noted(harness), poll_seconds=30.0)
    worker.start()
    time.sleep(0.7)
    task_id = add(harness)
    assert harness.recorded() == []
    worker.notify()
    wait_until(lambda: harness.recorded() == [task_id], seconds=0.5)
    worker.stop()


def test_sleeping_worker_finds_what_another_process_enqueued(harness: SqliteHarness) -> None:
    worker = worker_of(harness, noted(harness), poll_seconds=0.05)
    worker.start()
    time.sleep(0.1)
    task_id = add(harness)
    wait_until(lambda: harness.recorded() == [task_id])
    worker.stop()


def test_stop_finishes_the_task_in_hand_and_takes_no_other(harness: SqliteHarness) -> None:
    ids = add_many(harness, 2)
    begun = threading.Event()

    def slow(_: Task) -> None:
        begun.set()
        time.sleep(0.1)

    handler = Doing(lambda tx, task: harness.record(tx, task.id), slow)
    worker = worker_of(harness, handler, batch_limit=1)
    worker.start()
    assert begun.wait(5)
    worker.stop()
    assert harness.recorded() == ids[:1]
    assert not [t for t in threading.enumerate() if t.name == "memos-worker-w"]
    worker.start()
    wait_until(lambda: harness.recorded() == ids)
    worker.stop()


def test_worker_cannot_be_started_twice_or_with_nonsense(harness: SqliteHarness) -> None:
    worker = worker_of(harness, noted(harness))
    worker.start()
    with pytest.raises(UsageError):
        worker.start()
    worker.stop()
    worker.stop()
    with pytest.raises(UsageError):
        worker_of(harness, noted(harness), lease_seconds=0)


def test_running_until_idle_gives_up_after_its_time(harness: SqliteHarness) -> None:
    add_many(harness, 5)
    handler = Doing(lambda tx, task: None, lambda task: time.sleep(0.02))
    with pytest.raises(TaskTimeout):
        worker_of(harness, handler, batch_limit=1).run_until_idle(0.03)
    assert worker_of(harness, handler).run_until_idle() > 0
