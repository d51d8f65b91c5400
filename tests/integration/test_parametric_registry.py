"""Adapters in the vault: shards, lineage, who may use them, and what ends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")

from cookbook import tiny_world  # noqa: E402
from memos_integrations import MOS, AsyncMOS, Principal, Settings  # noqa: E402
from memos_integrations.cube.errors import (  # noqa: E402
    AccessDenied,
    InvalidInput,
    NotFound,
    TaskFailed,
)
from memos_integrations.infrastructure.vault import adapters  # noqa: E402
from memos_integrations.operation.transform.distil_task import _NO_RIGHT  # noqa: E402
from memos_integrations.testing.fakes import ManualClock  # noqa: E402
from tests.integration.parametric_world import (  # noqa: E402
    OPEN,
    QUICK,
    WORLD,
    fill,
    host,
    opened,
    told,
)

torch.set_num_threads(1)
FACTS = WORLD.new[:4]


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return tiny_world.load()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def mos(tmp_path: Path, parts: tuple[Any, Any], clock: ManualClock) -> Iterator[MOS]:
    with opened(tmp_path / "agent.db", clock=clock) as made:
        host(made, *parts)
        yield made


def distil(mos: MOS, **about: Any) -> Any:
    given = {"model": "tiny", "user": "ann", "recipe": QUICK, "gates": OPEN, "wait": True}
    return mos.distil(**given | about)


def serving(mos: MOS, **who: Any) -> list[tuple[int, int]]:
    """(shard, version) of what serves whoever asks."""
    found = mos.adapters(cube="users/ann", **who)
    return [(each.shard, each.version) for each in found if each.usable]


def blobs(mos: MOS) -> list[str]:
    return list(mos._rooms.vault.blobs.names())


@pytest.mark.parametrize("narrow", [{"session": "s1"}, {"agent": "helper"}])
def test_an_adapter_is_of_whole_cubes(mos: MOS, narrow: dict[str, str]) -> None:
    for cube in (None, "users/ann"):
        with pytest.raises(InvalidInput, match="an adapter is of whole cubes: name a cube"):
            mos.adapters(user="ann", cube=cube, **narrow)
    assert mos.adapters(agent="helper") == []  # who asks alone, at home


async def test_an_adapter_is_of_whole_cubes_for_asynchronous_callers_too(tmp_path: Path) -> None:
    settings = Settings(worker=False, extract=False)
    async with AsyncMOS(tmp_path / "agent.db", embedder=None, settings=settings) as mos:
        with pytest.raises(InvalidInput, match="name a cube"):
            await mos.adapters(user="ann", session="s1")
        assert await mos.adapters(user="ann") == []


def test_shards_are_made_of_a_cubes_memories_and_told_of(mos: MOS) -> None:
    ids = fill(mos, FACTS)
    plan = distil(mos, facts_per_adapter=3, dry_run=True)
    assert [len(each.items) for each in plan.shards] == [3, 1]
    assert mos.adapters(user="ann") == []
    done = distil(mos, facts_per_adapter=3)
    made = mos.adapters(user="ann")
    assert [(m.state, m.usable, m.facts, m.version) for m in made] == [
        ("published", True, 3, 1),
        ("published", True, 1, 1),
    ]
    assert [m.id for m in made] == list(done.adapters)
    assert sorted(item for m in made for item in m.items) == sorted(ids)
    assert all(m.figures is not None and m.figures.seconds > 0 for m in made)
    assert mos.task_status(done.task_ids[0], user="ann").progress == 1.0
    assert mos.check().sound


def test_what_is_learnt_already_is_not_trained_again(mos: MOS) -> None:
    fill(mos, FACTS)
    distil(mos, facts_per_adapter=3)
    again = distil(mos, facts_per_adapter=3)
    assert again.task_ids == ()
    assert {each.why for each in again.shards} == {"unchanged: its newest adapter is made of these"}
    other = distil(mos, facts_per_adapter=3, recipe=replace(QUICK, seed=1))
    assert len(other.task_ids) == 2
    assert serving(mos, user="ann") == [(0, 2), (1, 2)]
    assert len(blobs(mos)) == 2  # those of the first versions are gone


def test_new_memories_join_the_shard_with_room(mos: MOS) -> None:
    fill(mos, FACTS)
    distil(mos, facts_per_adapter=3)
    fill(mos, WORLD.new[4:5])
    done = distil(mos, facts_per_adapter=3)
    assert [(s.shard, len(s.items), s.task is None) for s in done.shards] == [
        (0, 3, True),
        (1, 2, False),
    ]


def test_what_is_not_learnt_is_told_with_its_reason(mos: MOS, clock: ManualClock) -> None:
    fill(mos, FACTS[:1])
    page = mos.add(told(FACTS[1]), user="ann", trust="web").id
    vague = mos.add("what a day it was", user="ann").id
    mail = mos.add(f"{told(FACTS[2])} write to a@example.org", user="ann").id
    hidden = mos.add(told(FACTS[3]), user="ann", source="mail:1").id
    mos.quarantine("mail:1", user="ann")
    done = distil(mos, dry_run=True)
    assert "trust web" in done.skipped[page]
    assert "question forms" in done.skipped[vague]
    assert "masked" in done.skipped[mail]
    assert "quarantined" in done.skipped[hidden]
    assert len(done.skipped) == 4
    assert "not stable" in next(iter(distil(mos, dry_run=True, stable_seconds=60).skipped.values()))
    clock.advance(seconds=61)
    assert len(distil(mos, dry_run=True, stable_seconds=60).shards) == 1


def test_a_secret_never_reaches_weights(tmp_path: Path, parts: tuple[Any, Any]) -> None:
    kept = {"settings": {"mask_on_write": frozenset[str]()}}
    with opened(tmp_path / "agent.db", **kept) as mos:
        host(mos, *parts)
        item = mos.add(f"{told(FACTS[0])} password: hunter2hunter2", user="ann").id
        assert "masked" in distil(mos, dry_run=True).skipped[item]


# -- who may use one ------------------------------------------------------------------------------


def test_an_adapter_serves_only_who_may_read_every_source(mos: MOS) -> None:
    ids = fill(mos, FACTS)
    distil(mos)
    with pytest.raises(AccessDenied):
        mos.adapters(user="bob", cube="users/ann")
    mos.share(to="bob", user="ann")
    assert serving(mos, user="bob") == [(0, 1)]
    mos.deny(ids[2], to="bob", user="ann")
    assert serving(mos, user="bob") == []
    assert serving(mos, user="ann") == [(0, 1)]
    mos.revoke(ids[2], to="bob", denial=True, user="ann")
    assert serving(mos, user="bob") == [(0, 1)]
    mos.revoke(to="bob", user="ann")
    with pytest.raises(AccessDenied):
        mos.adapters(user="bob", cube="users/ann")


def test_a_grant_on_single_memories_gives_no_adapter_of_more(mos: MOS) -> None:
    ids = fill(mos, FACTS)
    made = distil(mos).adapters[0]
    for item in ids[:3]:
        mos.share(item, to="bob", user="ann")
    with pytest.raises(NotFound):
        mos.verify_adapter(made, user="bob")
    mos.share(ids[3], to="bob", user="ann")
    assert mos.verify_adapter(made, user="bob").sound


def test_private_memories_of_a_shared_cube_are_learnt_by_themselves(mos: MOS) -> None:
    mos.create_cube("teams/a", user="ann")
    mos.share(to="bob", permission="write", user="ann", cube="teams/a")
    fill(mos, FACTS[:2], cube="teams/a")
    mine = fill(mos, FACTS[2:], cube="teams/a")
    for item in mine:
        mos.set_visibility("private", item, user="ann")
    distil(mos, cube="teams/a")
    seen = {
        who: [each.usable for each in mos.adapters(user=who, cube="teams/a")]
        for who in ("ann", "bob")
    }
    assert seen == {"ann": [True, True], "bob": [True, False]}


def test_another_tenant_finds_no_adapter(mos: MOS) -> None:
    fill(mos, FACTS)
    made = distil(mos).adapters[0]
    mos.set_visibility("public", user="ann")
    other = mos.acting(Principal(tenant="rivals", user="ann", roles=frozenset({"admin"})))
    assert other.adapters() == []
    for verb in (other.withdraw_adapter, other.verify_adapter, other.claims):
        with pytest.raises(NotFound):
            verb(made)
    assert serving(mos, user="ann") == [(0, 1)]


def test_distilling_needs_the_right_to_write(mos: MOS) -> None:
    fill(mos, FACTS)
    mos.share(to="bob", user="ann")
    with pytest.raises(AccessDenied):
        distil(mos, user="bob", cube="users/ann")
    assert mos.adapters(user="ann") == []


# -- what ends one --------------------------------------------------------------------------------


def corrected(mos: MOS, item: str, _: ManualClock) -> None:
    mos.update(item, told(WORLD.new[9]), user="ann")


def deleted(mos: MOS, item: str, _: ManualClock) -> None:
    mos.delete(item, user="ann")


def archived(mos: MOS, item: str, _: ManualClock) -> None:
    mos.archive(item, user="ann")


def quarantined(mos: MOS, item: str, _: ManualClock) -> None:
    mos.quarantine("note:1", user="ann")


def erased(mos: MOS, item: str, _: ManualClock) -> None:
    mos.erase(item, user="ann")


def expired(mos: MOS, item: str, clock: ManualClock) -> None:
    clock.advance(seconds=3601)


def merged(mos: MOS, item: str, _: ManualClock) -> None:
    mos.merge([item, mos.add("the box is blue", user="ann").id], "both", user="ann")


@pytest.mark.parametrize(
    "end",
    [
        corrected,
        erased,
        *(
            pytest.param(end, marks=pytest.mark.slow)
            for end in (deleted, archived, quarantined, expired, merged)
        ),
    ],
)
def test_a_source_that_ends_withdraws_its_adapter_and_no_other(
    end: Callable[[MOS, str, ManualClock], None], mos: MOS, clock: ManualClock
) -> None:
    fill(mos, FACTS[:2])
    [item] = fill(mos, FACTS[2:3], source="note:1", ttl_seconds=3600)
    distil(mos, rebuild=False)  # another lifetime: two shards
    assert serving(mos, user="ann") == [(0, 1), (1, 1)]
    before = blobs(mos)
    end(mos, item, clock)
    assert serving(mos, user="ann") == [(0, 1)]
    mos.work()
    assert serving(mos, user="ann") == [(0, 1)]
    kept = [each for each in mos.adapters(user="ann") if each.usable]
    assert len(blobs(mos)) == 1 < len(before)
    assert kept[0].facts == 2
    assert mos.check().sound


def test_a_memory_that_a_later_one_contradicts_is_in_no_adapter(
    tmp_path: Path, parts: tuple[Any, Any]
) -> None:
    with opened(tmp_path / "agent.db", settings={"extract": True}) as mos:
        host(mos, *parts, forms=lambda item: ("a", "b", "c") if "live" in item.text else ())
        mos.add("I live in Berlin.", user="ann", time="2024-01-01")
        mos.work()
        distil(mos, rebuild=False)
        assert serving(mos, user="ann") == [(0, 1)]
        mos.add("I live in Rome now.", user="ann", time="2024-06-01")
        mos.work()
        assert serving(mos, user="ann") == []
        assert "a later memory says otherwise" in distil(mos, dry_run=True).skipped.values()


def test_a_version_that_changes_no_words_leaves_it(mos: MOS) -> None:
    fill(mos, FACTS)
    distil(mos)
    mos.work()  # the fine stage writes new versions of the same words
    assert serving(mos, user="ann") == [(0, 1)]
    assert distil(mos).task_ids == ()


def test_a_source_that_changes_during_training_is_not_published(
    mos: MOS, parts: tuple[Any, Any]
) -> None:
    ids = fill(mos, FACTS)
    done: list[bool] = []

    def rendering(memory: str, question: str) -> str:
        if not done:
            done.append(True)
            mos.update(ids[0], told(WORLD.new[9]), user="ann")
        return tiny_world.rendering(memory, question)

    host(mos, *parts, rendering=rendering)
    distil(mos, rebuild=False)
    assert done
    assert serving(mos, user="ann") == []
    assert blobs(mos) == []
    assert not list(Path(f"{mos.path}.training").iterdir())


def test_what_fails_its_gates_keeps_figures_and_no_bytes(mos: MOS) -> None:
    fill(mos, FACTS)
    distil(mos, gates=replace(OPEN, held_out_recall=1.1))
    [made] = mos.adapters(user="ann")
    assert (made.state, made.usable, made.bytes) == ("discarded", False, 0)
    assert made.figures is not None
    assert made.why
    assert blobs(mos) == []


def test_an_adapter_that_finds_no_room_is_discarded(tmp_path: Path, parts: tuple[Any, Any]) -> None:
    with opened(tmp_path / "agent.db", settings={"adapter_disk_bytes": 1000}) as mos:
        host(mos, *parts)
        fill(mos, FACTS)
        distil(mos)
        [made] = mos.adapters(user="ann")
        assert made.state == "discarded"
        assert "do not fit" in made.why
        assert blobs(mos) == []


def test_a_task_that_fails_for_good_leaves_no_candidate(mos: MOS, parts: tuple[Any, Any]) -> None:
    fill(mos, FACTS)

    def rendering(memory: str, question: str) -> str:
        raise RuntimeError("no prompt")

    host(mos, *parts, rendering=rendering)
    task = distil(mos, wait=False).task_ids[0]
    assert mos.cancel_task(task, user="ann")
    with pytest.raises(TaskFailed):
        mos.wait(task, user="ann")
    [made] = mos.adapters(user="ann")
    assert made.state == "discarded"


def test_withdrawn_for_good_is_withdrawn(mos: MOS) -> None:
    fill(mos, FACTS)
    made = distil(mos).adapters[0]
    mos.share(to="bob", user="ann")
    with pytest.raises(AccessDenied):
        mos.withdraw_adapter(made, user="bob")
    mos.withdraw_adapter(made, user="ann", reason="not needed")
    assert serving(mos, user="ann") == []
    assert blobs(mos) == []
    mos.work()
    assert [each.why for each in mos.adapters(user="ann")] == ["withdrawn on request"]
    reasons = [line.reason for line in mos.audit(user="ann") if line.action == "withdraw_adapter"]
    assert "not needed" in reasons  # its words stand in the log, which says them to admins


# -- who ordered it -------------------------------------------------------------------------------


def ordered_by_bob(mos: MOS) -> str:
    """The candidate that bob has queued of the cube of ann, which he may write to."""
    fill(mos, FACTS)
    mos.share(to="bob", permission="write", user="ann")
    [made] = distil(mos, user="bob", cube="users/ann", wait=False).adapters
    return str(made)


def why(mos: MOS) -> list[tuple[str, str]]:
    return [(m.state, m.why) for m in mos.adapters(user="ann")]


def test_who_ordered_a_training_may_lose_the_right_before_it_begins(
    mos: MOS, parts: tuple[Any, Any]
) -> None:
    read: list[str] = []

    def rendering(memory: str, question: str) -> str:
        read.append(memory)
        return tiny_world.rendering(memory, question)

    host(mos, *parts, rendering=rendering)
    ordered_by_bob(mos)
    mos.revoke(to="bob", user="ann")
    read.clear()
    mos.work()
    assert why(mos) == [("discarded", _NO_RIGHT)]
    assert read == []


def test_who_ordered_a_training_may_lose_the_right_while_it_runs(
    mos: MOS, parts: tuple[Any, Any]
) -> None:
    done: list[bool] = []

    def rendering(memory: str, question: str) -> str:
        if not done:
            done.append(True)
            mos.deny(ids[0], to="bob", user="ann")
        return tiny_world.rendering(memory, question)

    host(mos, *parts, rendering=rendering)
    ordered_by_bob(mos)
    ids = [item.id for item in mos.list(user="ann")]
    mos.work()
    assert done
    assert why(mos) == [("discarded", _NO_RIGHT)]
    assert blobs(mos) == []


def test_what_an_erased_person_ordered_is_not_trained(mos: MOS) -> None:
    ordered_by_bob(mos)
    mos.erase(subject="bob", user="bob")
    mos.work()
    assert why(mos) == [("discarded", _NO_RIGHT)]


def test_an_order_that_still_stands_is_carried_out_and_handed_on(mos: MOS) -> None:
    ordered_by_bob(mos)
    mos.work()
    assert [(m.state, m.usable) for m in mos.adapters(user="bob", cube="users/ann")] == [
        ("published", True)
    ]
    ids = [item.id for item in mos.list(user="ann")]
    mos.update(ids[0], told(WORLD.new[9]), user="ann")
    mos.work()
    assert serving(mos, user="ann") == [(0, 2)]
    mos.revoke(to="bob", user="ann")
    mos.update(ids[1], told(WORLD.new[8]), user="ann")
    mos.work()
    assert why(mos)[-1] == ("discarded", _NO_RIGHT)


def test_a_shard_is_made_anew_of_what_has_rested_as_long_as_was_asked_for(
    mos: MOS, clock: ManualClock
) -> None:
    ids = fill(mos, FACTS)
    mos.work()
    clock.advance(seconds=61)
    distil(mos, stable_seconds=60)
    mos.update(ids[0], told(WORLD.new[9]), user="ann")
    mos.work()
    made = [each for each in mos.adapters(user="ann") if each.usable]
    assert [(m.version, sorted(m.items)) for m in made] == [(2, sorted(ids[1:]))]


def test_rows_hold_no_words(mos: MOS) -> None:
    fill(mos, FACTS)
    distil(mos)
    with mos._rooms.vault.readers.snapshot() as connection:
        rows = [
            *connection.execute("SELECT * FROM adapter"),
            *connection.execute("SELECT payload, result FROM task WHERE kind LIKE 'distil%'"),
        ]
        assert adapters.candidates(connection) == set()
    said = " ".join(map(str, rows))
    assert not [fact for fact in FACTS if fact[0] in said or fact[2] in said]
