"""The pure policies: terms, tiers, forms and budgets as tables of cases."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from memos_integrations.cube.usage import MICROS, UsageRecord, cooled, heated
from memos_integrations.operation.scheduler.budget import NOTHING, Allowance, Budget, Ledger
from memos_integrations.operation.scheduler.cube_use import CubeUse, Share
from memos_integrations.operation.scheduler.forms import FormRules, choose_forms
from memos_integrations.operation.scheduler.placement import Host, PlacementRules, Price
from memos_integrations.operation.scheduler.placing import place_cubes
from memos_integrations.operation.scheduler.policy import Policy
from memos_integrations.operation.scheduler.tiers import TierRules, place
from memos_integrations.operation.scheduler.working_set import choose

DAY = 86_400 * MICROS
NOW = 1000 * DAY
POLICY = Policy()
DEFAULTS = TierRules()
PLAIN = UsageRecord(
    item=1,
    id="one",
    cube=1,
    path="users/ann",
    tenant="t",
    bytes=400,
    tokens=100,
    created=NOW - 90 * DAY,
    changed=NOW - 90 * DAY,
)


def used(heat: float, **more: object) -> UsageRecord:
    return replace(PLAIN, heat=heat, heat_at=NOW, count=int(heat), last=NOW, **more)  # type: ignore[arg-type]


def total(record: UsageRecord, policy: Policy = POLICY) -> float:
    return policy.score(record, now=NOW).total


def tiers(*records: UsageRecord, rules: TierRules = DEFAULTS, room: float = 1e9) -> dict[int, str]:
    made = place(records, policy=POLICY, rules=rules, budget=Budget(Allowance(bytes=room)), now=NOW)
    moved = {d.row: d.to_tier for d in made.decisions if d.fate == "move"}
    return {record.item: moved.get(record.item, record.tier) for record in records}


def forms(record: UsageRecord, *, executors: tuple[str, ...] = (), seconds: float = 1e9) -> list:  # type: ignore[type-arg]
    decisions, _ = choose_forms(
        [record],
        policy=POLICY,
        rules=FormRules(),
        budget=Budget(Allowance(seconds=seconds)),
        executors=executors,  # type: ignore[arg-type]
        now=NOW,
    )
    return [(d.form, d.fate) for d in decisions]


def test_heat_halves_each_half_life_and_adds_up() -> None:
    week = 7 * DAY
    assert cooled(8.0, since=0, now=week, half_life_seconds=7 * 86_400) == pytest.approx(4.0)
    assert cooled(8.0, since=week, now=0, half_life_seconds=1) == 8.0
    assert cooled(8.0, since=0, now=10**18, half_life_seconds=1e-3) == 0.0
    heat, at = heated(4.0, since=0, reads=1, at=week, half_life_seconds=7 * 86_400)
    assert (heat, at) == (pytest.approx(3.0), week)


def test_batches_that_come_out_of_order_give_the_same_heat() -> None:
    heat, at = 0.0, 0
    late, late_at = 0.0, 0
    for when in (DAY, 2 * DAY):
        heat, at = heated(heat, since=at, reads=1, at=when, half_life_seconds=86_400)
    for when in (2 * DAY, DAY):
        late, late_at = heated(late, since=late_at, reads=1, at=when, half_life_seconds=86_400)
    assert (late, late_at) == (pytest.approx(heat), at)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (used(5), used(1)),
        (used(1), PLAIN),
        (used(2), replace(used(2), last=NOW - 30 * DAY)),
        (used(2), replace(used(2), heat_at=NOW - 30 * DAY)),
        (replace(PLAIN, closeness=0.8), replace(PLAIN, closeness=0.2)),
        (replace(PLAIN, priority=1.0), PLAIN),
        (PLAIN, replace(PLAIN, priority=-1.0)),
        (replace(PLAIN, tokens=200), replace(PLAIN, tokens=50)),
        (replace(PLAIN, memory_type="preference"), replace(PLAIN, memory_type="document")),
    ],
)
def test_each_term_ranks_as_it_says(better: UsageRecord, worse: UsageRecord) -> None:
    assert total(better) > total(worse)


def test_favoured_labels_and_tags_are_worth_more() -> None:
    policy = Policy(favoured=frozenset({"work"}))
    assert total(replace(PLAIN, tags=("work",)), policy) > total(PLAIN, policy)
    assert total(replace(PLAIN, labels=("work",)), policy) > total(PLAIN, policy)


@pytest.mark.parametrize("heat", [0.0, 1.0, 7.3])
def test_the_total_alone_is_the_sum_of_the_terms(heat: float) -> None:
    policy = Policy(favoured=frozenset({"work"}))
    record = used(heat, tags=("work",), priority=0.3, closeness=0.4, memory_type="preference")
    for each in (record, replace(record, last=NOW - 3 * DAY, heat_at=NOW - 2 * DAY), PLAIN):
        assert policy.total(each, now=NOW) == policy.score(each, now=NOW).total


def test_a_term_of_weight_zero_is_not_there() -> None:
    policy = Policy(weights={"frequency": 1.0, "recency": 0.0})
    assert [term.name for term in policy.score(used(3), now=NOW).terms] == ["frequency"]


def test_the_second_read_lets_a_memory_in_and_the_first_does_not() -> None:
    assert tiers(used(1), rules=TierRules()) == {1: "warm"}
    assert tiers(used(2)) == {1: "hot"}


def test_between_the_thresholds_everything_stays_where_it_is() -> None:
    middling = used(1)  # above the leaving score, below the entering one
    assert tiers(middling) == {1: "warm"}
    assert tiers(replace(middling, tier="hot")) == {1: "hot"}


def test_a_challenger_must_beat_a_resident_by_the_margin() -> None:
    resident = replace(used(6), tier="hot")
    close = replace(used(7), item=2, id="two")
    far = replace(used(40), item=2, id="two")
    assert tiers(resident, close, room=400) == {1: "hot", 2: "warm"}
    assert tiers(resident, far, room=400) == {1: "warm", 2: "hot"}
    assert tiers(resident, close, room=400, rules=TierRules(margin=0)) == {1: "warm", 2: "hot"}


def test_what_has_just_moved_stays_a_while() -> None:
    resident = replace(used(6), tier="hot", moved=NOW - 60 * MICROS)
    assert tiers(resident, replace(used(40), item=2), room=400) == {1: "hot", 2: "warm"}
    left = replace(used(40), moved=NOW - 60 * MICROS)
    assert tiers(left) == {1: "warm"}


def test_a_withdrawn_memory_leaves_the_hot_tier_at_once() -> None:
    assert tiers(replace(used(40), tier="hot", live=False, moved=NOW)) == {1: "warm"}


def test_only_what_is_old_and_unused_turns_cold() -> None:
    assert tiers(PLAIN) == {1: "cold"}
    assert tiers(replace(PLAIN, changed=NOW - DAY)) == {1: "warm"}
    assert tiers(replace(PLAIN, last=NOW - DAY)) == {1: "warm"}
    assert tiers(replace(PLAIN, frozen=True)) == {1: "warm"}
    assert tiers(replace(PLAIN, priority=1.0)) == {1: "warm"}


@pytest.mark.parametrize("trust", ["tool", "web", "import"])
def test_untrusted_memories_are_never_promoted(trust: str) -> None:
    assert forms(used(100, trust=trust), executors=("activation", "parametric")) == []
    held = used(100, trust=trust, form="activation")
    assert forms(held, executors=("activation",)) == [("plaintext", "move")]


def test_frequent_and_stable_becomes_activation_and_long_stable_parametric() -> None:
    both = ("activation", "parametric")
    assert forms(used(5), executors=both) == [("activation", "move")]
    assert forms(used(9), executors=both) == [("parametric", "move")]
    assert forms(used(9, changed=NOW - 5 * DAY), executors=both) == [("activation", "move")]
    assert forms(used(9, changed=NOW), executors=both) == []
    assert forms(used(1), executors=both) == []


def test_an_outdated_memory_goes_back_to_plaintext() -> None:
    gone = used(9, live=False, form="parametric")
    assert forms(gone, executors=("parametric",)) == [("plaintext", "move")]


def test_a_form_is_left_later_than_it_is_entered() -> None:
    assert forms(used(3, form="activation"), executors=("activation",)) == []
    assert forms(used(1, form="activation"), executors=("activation",)) == [("plaintext", "move")]


def test_without_an_executor_the_plan_says_so() -> None:
    assert forms(used(5)) == [("activation", "no executor")]


def test_a_change_of_form_beyond_the_budget_is_held() -> None:
    assert forms(used(5), executors=("activation",), seconds=0.05) == [("activation", "held")]


def test_a_tenant_is_never_given_more_than_its_cap() -> None:
    budget = Budget(Allowance(bytes=1000), Allowance(bytes=300))
    shares = budget.shares({"a": Allowance(0, 900, 0), "b": Allowance(0, 100, 0)})
    assert {name: share.bytes for name, share in shares.items()} == {"a": 300, "b": 100}


@pytest.mark.parametrize("seed", range(20))
def test_what_was_asked_for_fits_in_whatever_order_it_is_taken(seed: int) -> None:
    rng = random.Random(seed)
    costs = [Allowance(0.0, rng.uniform(1e5, 1e7), rng.uniform(0.0, 1.0)) for _ in range(60)]
    demand = NOTHING
    for each in costs:
        demand = demand.plus(each)
    ledger = Ledger(Budget().shares({"t": demand})["t"])
    rng.shuffle(costs)
    assert all(ledger.reserve(each) for each in costs)
    assert ledger.spent.bytes <= demand.bytes
    assert ledger.spent.seconds <= demand.seconds
    assert not ledger.reserve(Allowance(0.0, 1.0, 0.0))


def cube_held_beside(tokens: int) -> tuple[str, ...]:
    """Why a cube's form waits, where another cube of so many tokens has taken the share."""
    uses = [
        CubeUse(1, "users/bob", "t", {1: Share(tokens, 1e6, 0, True)}, 100.0, 0.0, NOW),
        CubeUse(2, "users/ann", "t", {2: Share(100, 1e3, 0, True)}, 10.0, 0.0, NOW),
    ]
    host = Host("tiny", 0.01, {"activation": Price(0.01, bytes_per_token=100.0)})
    budget = Budget(Allowance(bytes=100.0 * tokens + 5_000.0))
    placed, _ = place_cubes(uses, [host], {}, rules=PlacementRules(), budget=budget)
    (ann,) = [each for each in placed if each.path == "users/ann"]
    assert ann.fate == "held"
    return ann.reasons


def memory_held_beside(tokens: int) -> tuple[str, ...]:
    """As ``cube_held_beside``, for the form of one memory."""
    both = [used(90.0, tokens=tokens, path="users/bob"), used(60.0, item=2, path="users/ann")]

    def within(seconds: float) -> Any:
        return choose_forms(
            both,
            policy=POLICY,
            rules=FormRules(),
            budget=Budget(Allowance(seconds=seconds)),
            executors=("activation", "parametric"),
            now=NOW,
        )

    _, spending = within(1e9)
    decided, _ = within(spending["t"].reserved.seconds - 1e-3)
    (ann,) = [each for each in decided if each.row == 2]
    assert ann.fate == "held"
    return tuple(ann.reasons)


@pytest.mark.parametrize("held", [cube_held_beside, memory_held_beside])
def test_why_a_form_waits_tells_nothing_of_what_others_have_taken(held: Any) -> None:
    told = {held(2_000), held(3_000)}
    assert len(told) == 1
    assert "share" in told.pop()[-1]


def test_weights_share_in_proportion() -> None:
    budget = Budget(Allowance(bytes=900), weights={"a": 2.0})
    shares = budget.shares({"a": Allowance(0, 9e9, 0), "b": Allowance(0, 9e9, 0)})
    assert {name: share.bytes for name, share in shares.items()} == {"a": 600, "b": 300}


def test_the_working_set_passes_over_what_does_not_fit() -> None:
    records = [used(9), replace(used(5), item=2), replace(used(3), item=3)]
    sizes = {1: 80, 2: 50, 3: 20}
    chosen = choose(
        records, policy=POLICY, budget_tokens=100, tokens=lambda r: sizes[r.item], now=NOW
    )
    assert [each.record.item for each in chosen] == [1, 3]
