"""How well the scheduler's tiers do against plain caches: ``python -m bench scheduler [--quick]``.

One seeded world of three tenants that read at rates of 1 : 2 : 5, change their minds and sweep
through everything now and then; every arm sees the same reads and has the same bytes. LRU and LFU
are one cache for all tenants and take a memory in on every miss; the scheduler places its tiers
only every so many reads and keeps each tenant to a fair share, which costs hits. A second table
plays the forms of whole cubes by a price list.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from bench.measure import table
from memos_integrations.operation.scheduler.budget import Allowance, Budget
from memos_integrations.operation.scheduler.placement import PlacementRules
from memos_integrations.operation.scheduler.policy import Policy
from memos_integrations.operation.scheduler.tiers import TierRules
from memos_integrations.testing import form_simulation as forms
from memos_integrations.testing.scheduler_simulation import (
    Outcome,
    World,
    least_frequent,
    least_recent,
    run,
)

_POLICY = Policy(half_life_seconds=600, recency_seconds=300)
_STEADY = TierRules(residence_seconds=200, cold_after_seconds=1e9)
_NERVOUS = replace(_STEADY, residence_seconds=0, margin=0, leave_hot=_STEADY.enter_hot)
_ROOM = 18_000.0
_HEADS = ("world", "arm", "hit rate", "moves", "most moves of one", "unfairness", "over budget")


_FORMS = PlacementRules(residence_seconds=200, long_stable_seconds=0)
_FORM_WORLD = forms.World(steps=2000, place_every=10)
_FORM_ROOM = 15e6
_FORM_HEADS = ("arm", "seconds", "of them builds", "promotions", "most of one in 1000 steps")


@dataclass(frozen=True, slots=True)
class _FormArm:
    """One way to choose forms."""

    name: str
    play: Callable[[forms.World], forms.Outcome]


@dataclass(frozen=True, slots=True)
class _Arm:
    name: str
    play: Callable[[World], Outcome | float]


def main(*, quick: bool) -> None:
    """Print one table: the arms in four worlds."""
    seeds = range(1) if quick else range(5)
    base = World(steps=3000 if quick else 6000)
    worlds = {
        "drift and sweeps": base,
        "drift": replace(base, scan_every=0),
        "sweeps": replace(base, drift_every=10**9, scan_every=500),
        "calm": replace(base, drift_every=10**9, scan_every=0),
    }
    rows = [
        _row(name, arm, [arm.play(replace(world, seed=seed)) for seed in seeds])
        for name, world in worlds.items()
        for arm in _arms()
    ]
    print(f"\nTiers in a seeded world, means over {len(seeds)} seeds, {_ROOM:.0f} bytes\n")
    print("\n".join(table(_HEADS, rows)))
    print(f"\nForms of cubes in a seeded world, by a price list, means over {len(seeds)} seeds\n")
    print("\n".join(table(_FORM_HEADS, [_form_row(arm, seeds) for arm in _form_arms()])))


def _arms() -> Sequence[_Arm]:
    budget = Budget(Allowance(bytes=_ROOM))
    return (
        _Arm("scheduler", lambda w: run(w, policy=_POLICY, rules=_STEADY, budget=budget)),
        _Arm("without hysteresis", lambda w: run(w, policy=_POLICY, rules=_NERVOUS, budget=budget)),
        _Arm("LRU", lambda w: least_recent(w, max_bytes=_ROOM)),
        _Arm("LFU", lambda w: least_frequent(w, max_bytes=_ROOM)),
    )


def _form_arms() -> Sequence[_FormArm]:
    wide, narrow = (Budget(Allowance(bytes=room, seconds=30.0)) for room in (1e9, _FORM_ROOM))
    nervous = replace(_FORMS, payback=1.0, leave_share=1.0, margin=0.0, residence_seconds=0)
    return (
        _FormArm("always text", lambda w: forms.always(w, "plaintext")),
        _FormArm("always KV, room for all", lambda w: forms.always(w, "activation")),
        _FormArm("always adapters", lambda w: forms.always(w, "parametric")),
        _FormArm("loop, room for all", lambda w: forms.run(w, rules=_FORMS, budget=wide)),
        _FormArm("loop, a third of the bytes", lambda w: forms.run(w, rules=_FORMS, budget=narrow)),
        _FormArm("the same, no hysteresis", lambda w: forms.run(w, rules=nervous, budget=narrow)),
    )


def _form_row(arm: _FormArm, seeds: Iterable[int]) -> tuple[str, ...]:
    played = [arm.play(replace(_FORM_WORLD, seed=seed)) for seed in seeds]
    return (
        arm.name,
        f"{statistics.mean(each.seconds for each in played):.0f}",
        f"{statistics.mean(each.built_seconds for each in played):.0f}",
        f"{statistics.mean(sum(map(len, each.promotions().values())) for each in played):.0f}",
        str(max(each.most_promotions(1000) for each in played)),
    )


def _row(world: str, arm: _Arm, played: Sequence[Outcome | float]) -> tuple[str, ...]:
    outcomes = [each for each in played if isinstance(each, Outcome)]
    rates = [each.hit_rate if isinstance(each, Outcome) else each for each in played]
    rate = f"{statistics.mean(rates):.3f}"
    if not outcomes:
        return world, arm.name, rate, "", "", "", ""
    return (
        world,
        arm.name,
        rate,
        f"{statistics.mean(sum(map(len, o.moves.values())) for o in outcomes):.0f}",
        str(max(o.most_moves(2000) for o in outcomes)),
        f"{statistics.mean(map(_unfairness, outcomes)):.2f}",
        str(sum(o.over_budget for o in outcomes)),
    )


def _unfairness(outcome: Outcome) -> float:
    """How far the tenant that is worst off is from an equal part of what is used."""
    used = outcome.mean_bytes(after=60)
    return max(abs(each * len(used) / sum(used.values()) - 1) for each in used.values())
