"""Tiers at work: memories move between hot, warm and cold, and nothing that is read changes."""

from __future__ import annotations

import importlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from memos_integrations import MOS, Principal, Settings
from memos_integrations.cube.errors import AccessDenied
from memos_integrations.cube.header import StorageMode
from memos_integrations.cube.usage import Form
from memos_integrations.operation.scheduler.decision import Decision, Plan
from memos_integrations.operation.scheduler.scheduler import MemScheduler, Rules
from memos_integrations.testing.fakes import FakeEmbedder, ManualClock

DAY = 86_400.0
LONG = "The lighthouse keeper of Skerryvore writes a log of every ship that passes. " * 20


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mos(tmp_path: Path, clock: ManualClock) -> Iterator[MOS]:
    with MOS(
        tmp_path / "m.db",
        embedder=FakeEmbedder(),
        clock=clock,
        settings=Settings(worker=False, extract=False),
    ) as opened:
        yield opened


def read(mos: MOS, item: str, times: int) -> None:
    for _ in range(times):
        mos.get(item, user="ann")


def tier(mos: MOS, item: str) -> StorageMode:
    return mos.list(user="ann", filter={"id": item})[0].header.storage_mode


def packed(mos: MOS) -> list[bytes]:
    with closing(sqlite3.connect(mos.path)) as raw:
        found = raw.execute("SELECT packed FROM content WHERE packed IS NOT NULL")
        return [blob for (blob,) in found]


def cold(mos: MOS, clock: ManualClock, text: str = LONG) -> str:
    """A memory that has turned cold."""
    made = mos.add(text, user="ann").id
    mos.wait()
    clock.advance(seconds=100 * DAY)
    moved = mos.rebalance(user="ann").moves
    assert [(d.item, d.to_tier) for d in moved] == [(made, "cold")]
    return made


def test_what_is_read_often_turns_hot_and_cools_down_again(mos: MOS, clock: ManualClock) -> None:
    made = mos.add("Ann's boat is called Seven Seas", user="ann").id
    mos.wait()
    read(mos, made, 3)
    assert [d.to_tier for d in mos.rebalance(user="ann").moves] == ["hot"]
    assert mos.get(made, user="ann").header.storage_mode is StorageMode.HOT
    assert mos.get(made, user="ann").header.version == 2  # the fine stage, not the move
    clock.advance(seconds=60 * DAY)
    assert [d.to_tier for d in mos.rebalance(user="ann").moves] == ["warm"]
    assert mos.check().sound


def test_a_plan_moves_nothing_and_says_what_a_rebalance_does(mos: MOS) -> None:
    made = mos.add("Ann's boat is called Seven Seas", user="ann").id
    mos.wait()
    read(mos, made, 3)
    plan = mos.plan(user="ann")
    assert mos.plan(user="ann").moves == plan.moves
    assert tier(mos, made) is StorageMode.WARM
    (done,) = mos.rebalance(user="ann").moves
    assert (done.item, done.to_tier) == (plan.moves[0].item, plan.moves[0].to_tier)


def test_a_cold_memory_is_found_read_listed_and_filtered_as_before(
    mos: MOS, clock: ManualClock
) -> None:
    made = cold(mos, clock)
    assert len(packed(mos)) == 1
    assert mos.search("lighthouse keeper", user="ann")[0].item.text == LONG
    assert mos.get(made, user="ann").text == LONG
    found = mos.list(user="ann", filter={"text": {"contains": "Skerryvore"}})
    assert [item.header.storage_mode for item in found] == [StorageMode.COLD]
    assert mos.as_of(1).search("lighthouse", user="ann")[0].item.text == LONG
    assert mos.check().sound


def test_a_fresh_process_finds_a_cold_memory(mos: MOS, clock: ManualClock) -> None:
    cold(mos, clock)
    with MOS(
        mos.path,
        embedder=FakeEmbedder(),
        clock=clock,
        settings=Settings(worker=False, extract=False),
    ) as two:
        assert two.search("lighthouse keeper", user="ann")[0].item.text == LONG


def test_reading_a_cold_memory_again_brings_its_words_back(mos: MOS, clock: ManualClock) -> None:
    made = cold(mos, clock)
    clock.advance(seconds=1 * DAY)
    read(mos, made, 1)
    mos.rebalance(user="ann")
    assert tier(mos, made) is StorageMode.WARM
    assert packed(mos) == []
    assert mos.get(made, user="ann").text == LONG


def test_a_correction_of_a_cold_memory_lies_warm_and_its_history_stays_readable(
    mos: MOS, clock: ManualClock
) -> None:
    made = cold(mos, clock)
    mos.update(made, "The keeper has retired", user="ann")
    assert mos.get(made, user="ann").header.storage_mode is StorageMode.WARM
    assert mos.history(made, user="ann")[0].item.text == LONG
    assert mos.check().sound


def test_an_erase_takes_packed_words_out_of_every_byte_of_the_file(
    mos: MOS, clock: ManualClock
) -> None:
    made = cold(mos, clock)
    (blob,) = packed(mos)
    assert blob in b"".join(f.read_bytes() for f in Path(mos.path).parent.glob("m.db*"))
    receipt = mos.erase(item=made, user="ann")
    assert receipt.scan.found == 0
    left = b"".join(f.read_bytes() for f in Path(mos.path).parent.glob("m.db*"))
    assert blob not in left
    assert b"Skerryvore" not in left


def test_a_dump_of_a_cold_memory_carries_its_words(
    mos: MOS, clock: ManualClock, tmp_path: Path
) -> None:
    cold(mos, clock)
    mos.dump(tmp_path / "cube.memcube", user="ann")
    with MOS(
        tmp_path / "other.db",
        embedder=FakeEmbedder(),
        clock=clock,
        settings=Settings(extract=False),
    ) as other:
        other.load(tmp_path / "cube.memcube", user="ann")
        assert other.search("lighthouse keeper", user="ann")[0].item.text == LONG


def test_moves_are_audited_as_upkeep(mos: MOS, clock: ManualClock) -> None:
    made = cold(mos, clock)
    lines = [line for line in mos.audit(user="ann", cube="users/ann") if line.action == "tier"]
    assert [(line.items, line.reason) for line in lines] == [((made,), "warm to cold")]


def test_only_who_rules_a_cube_may_plan_for_it(mos: MOS) -> None:
    mos.add("Ann's boat", user="ann")
    with pytest.raises(AccessDenied):
        mos.plan(user="bob", cube="users/ann")
    with pytest.raises(AccessDenied):
        mos.rebalance(user="bob", cube="users/ann")


def test_a_plan_shows_nothing_of_other_tenants(tmp_path: Path) -> None:
    with MOS(
        tmp_path / "m.db", embedder=None, settings=Settings(worker=False, extract=False)
    ) as mos:
        there = mos.acting(Principal(tenant="other"))
        for one in (mos, there):
            made = one.add("A boat of somebody", user="ann").id
            for _ in range(4):
                one.get(made, user="ann")
        plan = mos.plan(user="ann")
        assert {d.tenant for d in plan.decisions} == {"default"}
        assert set(plan.hot) == {"default"}


def test_a_cubes_owner_is_told_nothing_of_what_others_of_the_tenant_have(mos: MOS) -> None:
    read(mos, mos.add("Ann's boat is called Seven Seas", user="ann").id, 4)
    mos.wait()
    alone = mos.plan(user="ann")
    assert alone.considered == sum(alone.counts.values()) > 0
    assert set(alone.hot) == {"default"}
    mos.add("Bob's boat is called Fog", user="bob")
    mos.wait()
    plan = mos.plan(user="ann")
    assert (plan.considered, plan.counts) == (alone.considered, alone.counts)
    assert (plan.hot, plan.forms, plan.kept) == ({}, {}, {})
    whole = mos.acting(Principal(user="root", roles=frozenset({"admin"}))).plan()
    assert whole.considered > plan.considered
    assert set(whole.hot) == {"default"}


def test_a_held_memory_tells_its_owner_nothing_of_what_took_the_share(tmp_path: Path) -> None:
    """The same reason, whatever lies there: a figure in it would tell of others."""
    told: set[tuple[str, ...]] = set()
    for times in (40, 41):
        settings = Settings(worker=False, extract=False, hot_bytes=len(LONG) * 2 + 400)
        with MOS(tmp_path / f"{times}.db", embedder=None, settings=settings) as mos:
            theirs = mos.add("Bob's boat is called Fog. " * times * 3, user="bob").id
            for _ in range(9):
                mos.get(theirs, user="bob")
            read(mos, mos.add(LONG, user="ann").id, 4)
            (held,) = [each for each in mos.plan(user="ann").decisions if each.fate == "held"]
            told.add(held.reasons)
    assert len(told) == 1
    assert "share" in told.pop()[-1]


def test_the_working_set_fits_its_budget_and_says_why(mos: MOS) -> None:
    ids = [mos.add(f"Fact {n} about harbours and ships", user="ann").id for n in range(12)]
    mos.wait()
    read(mos, ids[4], 5)
    chosen = mos.working_set(user="ann", budget_tokens=60)
    assert chosen[0].item.header.id == ids[4]
    assert sum(each.tokens for each in chosen) <= 60
    for each in chosen:
        assert abs(sum(term.amount for term in each.terms) - each.score) < 1e-9
    before = mos.get(ids[4], user="ann").header.usage_count
    mos.working_set(user="ann", budget_tokens=60)
    mos.flush()
    assert mos.get(ids[4], user="ann").header.usage_count == before + 1  # by the get alone


def test_the_working_set_follows_the_work_in_hand(mos: MOS) -> None:
    for text in ("Tea is drunk at four", "Ships leave the harbour at dawn", "Cats sleep all day"):
        mos.add(text, user="ann")
    mos.wait()
    for query in ("Ships leave the harbour at dawn", "Cats sleep all day"):
        first = mos.working_set(user="ann", budget_tokens=200, query=query)[0]
        assert first.item.text == query


def test_a_deleted_or_denied_memory_leaves_the_working_set_at_once(mos: MOS) -> None:
    kept, gone = (mos.add(f"The {n} harbour", user="ann").id for n in ("north", "south"))
    mos.wait()
    read(mos, gone, 5)
    mos.rebalance(user="ann")
    assert mos.working_set(user="ann")[0].item.header.id == gone
    mos.delete(gone, user="ann")
    assert [w.item.header.id for w in mos.working_set(user="ann")] == [kept]
    with pytest.raises(AccessDenied):
        mos.working_set(user="bob", cube="users/ann")


class Recording:
    """An executor that notes what it is asked to carry over."""

    form: Form = "activation"

    def __init__(self) -> None:
        self.asked: list[Decision] = []

    def migrate(self, decisions: tuple[Decision, ...], /) -> None:
        self.asked += decisions


def with_executor(mos: MOS, executor: Recording) -> MemScheduler:
    rules = Rules(policy=mos._rooms.scheduler.rules.policy)
    return MemScheduler(mos._rooms.vault, rules=rules, executors=[executor])


def test_changes_of_form_go_to_their_executor_and_without_one_nothing_happens(
    mos: MOS, clock: ManualClock
) -> None:
    made = mos.add("Ann's boat is called Seven Seas", user="ann").id
    mos.wait()
    clock.advance(seconds=2 * DAY)
    read(mos, made, 6)
    alone = mos.rebalance(user="ann")
    assert [d.fate for d in alone.decisions if d.migrates] == ["no executor"]
    assert [d.to_tier for d in alone.moves] == ["hot"]
    executor = Recording()
    done = with_executor(mos, executor).rebalance()
    assert [d.item for d in executor.asked] == [made]
    assert [d.form for d in done.moves] == ["activation"]


def test_an_untrusted_memory_is_never_handed_to_an_executor(mos: MOS, clock: ManualClock) -> None:
    made = mos.add("Ann's boat is called Seven Seas", user="ann", trust="web").id
    mos.wait()
    clock.advance(seconds=2 * DAY)
    read(mos, made, 60)
    mos.flush()
    executor = Recording()
    with_executor(mos, executor).rebalance()
    assert executor.asked == []


def test_a_rebalance_that_was_overtaken_plans_anew(
    mos: MOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = mos.add("Ann's boat is called Seven Seas", user="ann").id
    mos.wait()
    read(mos, made, 3)
    mos.flush()
    scheduler = mos._rooms.scheduler
    plan, plans = MemScheduler._plan, 0

    def overtaken(self: MemScheduler, connection: sqlite3.Connection) -> Plan:
        nonlocal plans
        plans += 1
        made = plan(self, connection)
        if plans == 1:  # another process is done between this plan and its moves
            mos._rooms.vault.maintain(
                lambda tx: tx.execute("INSERT INTO meta (key, value) VALUES ('scheduler.epoch', 7)")
            )
        return made

    monkeypatch.setattr(MemScheduler, "_plan", overtaken)
    assert [d.to_tier for d in scheduler.rebalance().moves] == ["hot"]
    assert plans == 2


def test_rebalances_at_once_never_fill_the_hot_tier_over_its_budget(tmp_path: Path) -> None:
    settings = Settings(worker=False, extract=False, hot_bytes=200)
    with MOS(tmp_path / "m.db", embedder=None, settings=settings) as mos:
        for n in range(20):
            made = mos.add(f"Ann's boat number {n} is called Seven Seas", user="ann").id
            read(mos, made, 4)
        mos.flush()
        threads = [threading.Thread(target=mos._rooms.scheduler.rebalance) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        hot = mos.list(user="ann", filter={"storage_mode": "hot"})
        assert 0 < sum(len(item.text.encode()) for item in hot) <= 200
        assert mos.working_set(user="ann", budget_tokens=10_000)
        assert 0 < mos._rooms.lines.bytes <= 200


def test_the_command_line_plans_explains_and_moves(tmp_path: Path) -> None:
    runner = pytest.importorskip("typer.testing").CliRunner()
    program = importlib.import_module("memos_integrations.interface.cli.program")
    asked = ["--db", str(tmp_path / "m.db"), "--user", "ann", "--no-embed"]
    with MOS(tmp_path / "m.db", embedder=None, settings=Settings(extract=False)) as mos:
        read(mos, mos.add("Ann's boat is called Seven Seas", user="ann").id, 3)
    dry = runner.invoke(program.app, [*asked, "schedule", "--dry-run", "--explain"])
    assert dry.exit_code == 0, dry.output
    assert "would move" in dry.output
    assert "frequency" in dry.output
    assert "threshold" in dry.output
    moved = runner.invoke(program.app, [*asked, "--json", "schedule"])
    assert json.loads(moved.output)["decisions"][0]["to_tier"] == "hot"
    again = runner.invoke(program.app, [*asked, "--json", "schedule"])
    assert json.loads(again.output)["decisions"] == []
    shown = runner.invoke(program.app, [*asked, "working-set"])
    assert "Seven" in " ".join(shown.output.split())
