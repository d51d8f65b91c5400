"""A seeded world for the scheduler's policies: tenants that read, sweep and change their minds.

Used by the property tests and by ``python -m bench scheduler``. One step is one read and one
second; every so many steps the tiers are placed anew, as the real scheduler does it. Nothing
here knows the policy's inside: it feeds usage records and counts what comes of the decisions.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from memos_integrations.cube.usage import MICROS, UsageRecord, heated
from memos_integrations.operation.scheduler.budget import Budget
from memos_integrations.operation.scheduler.decision import Decision
from memos_integrations.operation.scheduler.policy import Policy
from memos_integrations.operation.scheduler.tiers import TierRules, place


@dataclass(frozen=True, slots=True)
class World:
    """What happens: who reads how often, when tastes change, when somebody sweeps."""

    seed: int = 0
    tenants: Sequence[str] = ("ada", "ben", "cyd")
    rates: Sequence[float] = (1.0, 2.0, 5.0)
    items_each: int = 120
    steps: int = 6000
    drift_every: int = 2000
    drift_share: float = 0.3
    """Of the ranks of popularity that change hands at a drift."""
    scan_every: int = 1500
    """One tenant then reads all of its memories once, as an export or a check does. 0: never."""
    skew: float = 1.1
    place_every: int = 25


@dataclass(frozen=True, slots=True)
class Read:
    step: int
    tenant: str
    item: int
    scan: bool


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    hits: int = 0
    reads: int = 0
    hot_bytes: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    moves: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """Item -> the steps at which it changed its tier."""
    over_budget: int = 0
    decisions: list[tuple[int, Decision]] = field(default_factory=list[tuple[int, Decision]])

    @property
    def hit_rate(self) -> float:
        """Of the reads that were no sweeps."""
        return self.hits / max(1, self.reads)

    def mean_bytes(self, *, after: int = 0) -> dict[str, float]:
        """A tenant's hot bytes, on average over the placings from the ``after``-th on."""
        return {t: sum(b[after:]) / max(1, len(b[after:])) for t, b in self.hot_bytes.items()}

    def most_moves(self, span: int) -> int:
        """The most changes of tier of any one item within ``span`` steps."""
        return max((_densest(steps, span) for steps in self.moves.values()), default=0)


def sizes(world: World) -> dict[int, int]:
    """Item -> bytes."""
    dice = random.Random(f"{world.seed} sizes")
    total = world.items_each * len(world.tenants)
    return {item: dice.randint(80, 400) for item in range(total)}


def owner(world: World, item: int) -> str:
    return world.tenants[item // world.items_each]


def reads(world: World) -> list[Read]:
    """The reads of a run, in order; the same for every policy."""
    dice = random.Random(f"{world.seed} reads")
    ranks = {t: _shuffled(dice, n, world.items_each) for n, t in enumerate(world.tenants)}
    weights = list(accumulate(1 / (k + 1) ** world.skew for k in range(world.items_each)))
    made: list[Read] = []
    scans = 0
    for step in range(world.steps):
        if step and step % world.drift_every == 0:
            for order in ranks.values():
                _drift(dice, order, world.drift_share)
        if world.scan_every and step and step % world.scan_every == 0:
            tenant = world.tenants[scans % len(world.tenants)]
            scans += 1
            made += [Read(step, tenant, item, scan=True) for item in sorted(ranks[tenant])]
        (tenant,) = dice.choices(world.tenants, world.rates)
        rank = bisect(weights, dice.random() * weights[-1])
        made.append(Read(step, tenant, ranks[tenant][rank], scan=False))
    return made


def run(world: World, *, policy: Policy, rules: TierRules, budget: Budget) -> Outcome:
    """The run under a policy, with the tiers placed every ``place_every`` steps."""
    size = sizes(world)
    records = {item: _record(world, item, n) for item, n in size.items()}
    outcome = Outcome(hot_bytes={tenant: [] for tenant in world.tenants})
    placed = -1
    for read in reads(world):
        if read.step // world.place_every != placed:
            placed = read.step // world.place_every
            _place(records, read.step, outcome, policy, rules, budget)
        before = records[read.item]
        if not read.scan:
            outcome.reads += 1
            outcome.hits += before.tier == "hot"
        records[read.item] = _read(before, read.step * MICROS, policy)
    return outcome


def least_recent(world: World, *, max_bytes: float) -> float:
    """The hit rate of one LRU cache of so many bytes on the same reads."""
    size = sizes(world)
    kept: OrderedDict[int, int] = OrderedDict()
    hits = total = used = 0
    for read in reads(world):
        if not read.scan:
            total += 1
            hits += read.item in kept
        used += size[read.item] - kept.get(read.item, 0)
        kept[read.item] = size[read.item]
        kept.move_to_end(read.item)
        while used > max_bytes:
            used -= kept.popitem(last=False)[1]
    return hits / total


def least_frequent(world: World, *, max_bytes: float) -> float:
    """As ``least_recent``, for one that evicts what was read least often, never forgetting."""
    size = sizes(world)
    kept: dict[int, int] = {}
    counts: dict[int, int] = {}
    hits = total = 0
    for read in reads(world):
        if not read.scan:
            total += 1
            hits += read.item in kept
        counts[read.item] = counts.get(read.item, 0) + 1
        kept[read.item] = size[read.item]
        while sum(kept.values()) > max_bytes:
            del kept[min(kept, key=lambda item: (counts[item], item != read.item, item))]
    return hits / total


def _place(
    records: dict[int, UsageRecord],
    step: int,
    outcome: Outcome,
    policy: Policy,
    rules: TierRules,
    budget: Budget,
) -> None:
    now = step * MICROS
    made = place(records.values(), policy=policy, rules=rules, budget=budget, now=now)
    hot = _hot(records)
    for each in made.decisions:
        outcome.decisions.append((step, each))
        if each.fate == "move":
            before = records[each.row]
            records[each.row] = replace(before, tier=each.to_tier, moved=now)
            outcome.moves.setdefault(each.row, []).append(step)
            hot += before.bytes * ((each.to_tier == "hot") - (before.tier == "hot"))
            outcome.over_budget += hot > budget.total.bytes
    for tenant, series in outcome.hot_bytes.items():
        series.append(_hot(records, tenant))


def _hot(records: dict[int, UsageRecord], tenant: str | None = None) -> float:
    hot = (r for r in records.values() if r.tier == "hot")
    return float(sum(r.bytes for r in hot if tenant is None or r.tenant == tenant))


def _record(world: World, item: int, size: int) -> UsageRecord:
    tenant = owner(world, item)
    return UsageRecord(
        item=item,
        id=f"item-{item}",
        cube=1,
        path=tenant,
        tenant=tenant,
        bytes=size,
        tokens=size // 5,
        created=0,
        changed=0,
    )


def _read(record: UsageRecord, at: int, policy: Policy) -> UsageRecord:
    heat, since = heated(
        record.heat,
        since=record.heat_at,
        reads=1,
        at=at,
        half_life_seconds=policy.half_life_seconds,
    )
    return replace(record, heat=heat, heat_at=since, count=record.count + 1, last=at)


def _shuffled(dice: random.Random, tenant: int, count: int) -> list[int]:
    items = list(range(tenant * count, (tenant + 1) * count))
    dice.shuffle(items)
    return items


def _drift(dice: random.Random, order: list[int], share: float) -> None:
    """Let some of the popular change places with anybody."""
    for _ in range(int(len(order) * share / 2)):
        a, b = dice.randrange(len(order) // 4), dice.randrange(len(order))
        order[a], order[b] = order[b], order[a]


def _densest(steps: Sequence[int], span: int) -> int:
    return max(sum(start <= s < start + span for s in steps) for start in steps)
