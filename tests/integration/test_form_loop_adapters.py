"""The loop's way into adapters and back, with real trainings that are short and learn little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")

from cookbook import tiny_world  # noqa: E402
from memos_integrations import MOS  # noqa: E402
from memos_integrations.infrastructure.parametric.recipe import Gates  # noqa: E402
from memos_integrations.infrastructure.vault.usage_records import usage_records  # noqa: E402
from memos_integrations.operation.scheduler.placement import Placement  # noqa: E402
from memos_integrations.operation.transform.teaching import Order  # noqa: E402
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
DAY = 86_400.0


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return tiny_world.load()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def mos(tmp_path: Path, parts: tuple[Any, Any], clock: ManualClock) -> Iterator[MOS]:
    """A memory whose scheduler offers adapters alone, at nearly any price."""
    with opened(tmp_path / "agent.db", clock=clock) as made:
        host(made, *parts)
        scheduler = made._rooms.scheduler
        placing = replace(scheduler.rules.placing, payback=1e-6)
        scheduler.rules = replace(scheduler.rules, placing=placing)
        scheduler._forms._executors.pop("activation")  # type: ignore[union-attr]
        order(made, OPEN)
        yield made


def order(mos: MOS, gates: Gates) -> None:
    stage = mos._rooms.adapters._trainers["tiny"]._handlers["learn:tiny"]
    stage._order = Order(QUICK, gates, 600.0)  # type: ignore[attr-defined]


def needed(mos: MOS, clock: ManualClock) -> list[str]:
    """Memories that have stood for long and are read often."""
    ids = fill(mos, FACTS)
    mos.work()
    clock.advance(seconds=40 * DAY)
    for _ in range(4):
        mos.list(user="ann")
    return ids


def only(mos: MOS) -> Placement:
    (placement,) = mos.plan(user="ann").placements
    return placement


def forms(mos: MOS) -> set[str]:
    with mos._rooms.vault.readers.snapshot() as connection:
        return {each.form for each in usage_records(connection, now=mos._rooms.vault.now())}


def states(mos: MOS) -> list[str]:
    return [each.state for each in mos.adapters(user="ann")]


def test_what_has_stood_long_and_is_needed_often_is_learnt(mos: MOS, clock: ManualClock) -> None:
    needed(mos, clock)
    planned = only(mos)
    assert (planned.step, planned.form, len(planned.items)) == ("promote", "parametric", 4)
    assert states(mos) == []  # a plan trains nothing
    mos.rebalance(user="ann")
    assert "a task for it is queued" in only(mos).reasons[-1]
    mos.work()
    assert states(mos) == ["published"]
    assert forms(mos) == {"parametric"}
    stays = only(mos)
    assert (stays.step, stays.from_form) == ("stay", "parametric")
    assert mos.stats(user="ann")["form"] == {"parametric": 4}
    assert stays.weighed[0].source == "measured over 1 adapters"


def test_young_memories_are_not_learnt(mos: MOS, clock: ManualClock) -> None:
    fill(mos, FACTS)
    mos.work()
    clock.advance(seconds=20 * DAY)
    for _ in range(9):
        mos.list(user="ann")
    assert only(mos).reasons == ("parametric: no memory of it has stood long enough",)


def test_a_correction_leaves_the_form_at_once_and_the_rest_is_learnt_again(
    mos: MOS, clock: ManualClock
) -> None:
    first = needed(mos, clock)[0]
    mos.rebalance(user="ann")
    mos.work()
    name, relation, _ = FACTS[0]
    mos.update(first, told((name, relation, WORLD.new[9][2])), user="ann")
    assert forms(mos) == {"plaintext"}
    mos.work()
    assert states(mos)[-1] == "published"


def test_an_adapter_that_nobody_needs_any_more_is_withdrawn(mos: MOS, clock: ManualClock) -> None:
    needed(mos, clock)
    mos.rebalance(user="ann")
    mos.work()
    clock.advance(seconds=90 * DAY)
    assert only(mos).step == "demote"
    mos.rebalance(user="ann")
    mos.work()
    assert states(mos) == ["withdrawn"]
    assert forms(mos) == {"plaintext"}
    assert only(mos).step == "stay"


def test_an_adapter_made_by_hand_is_left_alone(mos: MOS, clock: ManualClock) -> None:
    fill(mos, FACTS)
    mos.distil(model="tiny", user="ann", recipe=QUICK, gates=OPEN, wait=True)
    clock.advance(seconds=90 * DAY)
    assert only(mos).step == "stay"
    mos.rebalance(user="ann")
    mos.work()
    assert states(mos) == ["published"]


def test_gates_that_are_not_passed_are_not_tried_again_at_once(
    mos: MOS, clock: ManualClock
) -> None:
    needed(mos, clock)
    order(mos, Gates())
    mos.rebalance(user="ann")
    mos.work()
    assert states(mos) == ["discarded"]
    held = only(mos)
    assert (held.step, held.fate) == ("refresh", "held")
    assert "1 builds that came to nothing" in held.reasons[-1]
    mos.rebalance(user="ann")
    mos.work()
    assert states(mos) == ["discarded"]
