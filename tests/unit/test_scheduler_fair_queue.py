"""The fair queue: tenants in turns, nobody starved, no turns saved up; and its upkeep."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from memos_integrations import MOS, Principal, Settings
from memos_integrations.cube.ports import Statement, TaskSpec
from memos_integrations.infrastructure.queue.fair import FairQueue
from memos_integrations.infrastructure.queue.sqlite import SqliteQueue
from memos_integrations.testing.fakes import ManualClock

TENANTS = ("ada", "ben", "cyd")
LEASE = 60_000_000
SETTINGS = Settings(worker=False, extract=False)


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    with MOS(tmp_path / "m.db", embedder=None, settings=SETTINGS) as opened:
        yield opened


def fill(mos: MOS, tenant: str, count: int) -> None:
    there = mos.acting(Principal(tenant=tenant))
    for n in range(count):
        there.add(f"{tenant} remembers {n}", user="ann")


def served(mos: MOS, count: int, queue: SqliteQueue | None = None, limit: int = 1) -> list[str]:
    """The tenants of the next claims, each task finished at once."""
    takes = queue or FairQueue()

    def work(tx: Statement) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            tasks = takes.claim_batch(  # type: ignore[attr-defined]
                tx, limit=limit, worker="w", now=10**16, lease_micros=LEASE
            )
            if not tasks:
                break
            for task in tasks:
                row = tx.execute("SELECT tenant FROM task WHERE id = ?", (task.id,)).fetchone()
                found.append(row[0])
                takes.finish(tx, task, now=10**16)
        return found

    return mos._rooms.vault.maintain(work)


def test_a_tenant_with_a_long_queue_does_not_hold_up_the_others(mos: MOS) -> None:
    fill(mos, "cyd", 60)
    fill(mos, "ada", 10)
    fill(mos, "ben", 10)
    first = Counter(served(mos, 30))
    assert first == {"ada": 10, "ben": 10, "cyd": 10}


def test_the_plain_queue_would_serve_the_long_queue_first(mos: MOS) -> None:
    fill(mos, "cyd", 60)
    fill(mos, "ada", 10)
    assert Counter(served(mos, 30, SqliteQueue())) == {"cyd": 30}


def test_a_batch_is_shared_too(mos: MOS) -> None:
    fill(mos, "cyd", 40)
    fill(mos, "ada", 40)
    assert Counter(served(mos, 16, limit=16)) == {"ada": 8, "cyd": 8}


def test_shares_are_by_work_not_by_number_of_tasks(mos: MOS) -> None:
    bulk = mos.acting(Principal(tenant="cyd"))
    for n in range(4):
        bulk.add([f"cyd remembers {n} {k}" for k in range(20)], user="ann")
    fill(mos, "ada", 60)
    first = Counter(served(mos, 42))
    assert first["cyd"] == 2  # forty memories in two tasks, beside forty of one each
    assert first["ada"] == 40


def test_nobody_saves_up_turns_while_idle(mos: MOS) -> None:
    fill(mos, "cyd", 40)
    served(mos, 20)
    fill(mos, "ada", 40)  # idle until now: it gets half from here on, not the next twenty
    assert Counter(served(mos, 20)) == {"ada": 10, "cyd": 10}


def test_everybody_is_served_in_the_end_and_nothing_is_lost(mos: MOS) -> None:
    for tenant, count in zip(TENANTS, (3, 50, 17), strict=True):
        fill(mos, tenant, count)
    assert Counter(served(mos, 1000, limit=16)) == {"ada": 3, "ben": 50, "cyd": 17}


def test_within_a_tenant_the_order_of_the_queue_holds(mos: MOS) -> None:
    queue = FairQueue()

    def work(tx: Statement) -> list[str]:
        for n, priority in enumerate((0, 5, 0, 5)):
            queue.enqueue(tx, TaskSpec("k", payload=json.dumps({"n": n}), priority=priority), now=1)
        found: list[str] = []
        while task := queue.claim(tx, worker="w", now=2, lease_micros=LEASE):
            found.append(task.payload)
        return found

    assert [json.loads(p)["n"] for p in mos._rooms.vault.maintain(work)] == [1, 3, 0, 2]


def test_ended_tasks_are_pruned_and_failed_ones_kept_longer(tmp_path: Path) -> None:
    clock = ManualClock()
    day = timedelta(days=1).total_seconds()
    with MOS(tmp_path / "m.db", embedder=None, clock=clock, settings=SETTINGS) as mos:
        done, failed, open_ = (mos.add(f"Fact {n}", user="ann").task_id for n in range(3))

        def work(tx: Statement) -> None:
            tx.execute("UPDATE task SET state = 'completed' WHERE id = ?", (done,))
            tx.execute("UPDATE task SET state = 'failed' WHERE id = ?", (failed,))

        mos._rooms.vault.maintain(work)
        assert mos.prune_tasks() == 0
        clock.advance(seconds=8 * day)
        assert mos.prune_tasks() == 1
        clock.advance(seconds=100 * day)
        assert mos.prune_tasks() == 1
        assert open_ is not None
        assert mos.task_status(open_, user="ann").state == "waiting"
        mos.work()


def test_the_schedule_task_runs_at_most_every_so_often(tmp_path: Path) -> None:
    clock = ManualClock()
    settings = SETTINGS.model_copy(update={"schedule_seconds": 0.001})
    with MOS(tmp_path / "m.db", embedder=None, clock=clock, settings=settings) as mos:
        made = mos.add("Ann's boat is called Seven Seas", user="ann").id
        for _ in range(3):
            mos.get(made, user="ann")
        mos.add("Another", user="ann")  # the clock stands still: not queued again
        assert _scheduled(mos) == 1
        mos.work()
        assert mos.get(made, user="ann").header.storage_mode.value == "hot"
        clock.advance(seconds=10)
        mos.add("A third", user="ann")
        assert _scheduled(mos) == 2


def test_nothing_is_scheduled_unless_asked(mos: MOS) -> None:
    mos.add("Ann's boat is called Seven Seas", user="ann")
    assert _scheduled(mos) == 0


def _scheduled(mos: MOS) -> int:
    with mos._rooms.vault.readers.snapshot() as connection:
        row = connection.execute("SELECT count(*) FROM task WHERE kind = 'schedule'").fetchone()
    return int(row[0])
