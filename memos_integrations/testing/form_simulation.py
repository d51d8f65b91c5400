"""A seeded world for the forms of cubes: who asks which, what is corrected, what it all costs.

Used by the property tests and by ``python -m bench scheduler``. One step is one question over one
cube and one second; every so many steps the scheduler's policy places the cubes anew, and what it
moves is there some steps later, as a task would have it. No model is run: the seconds are those
of a price list.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal, TypeAlias

from memos_integrations.cube.usage import MICROS, Form, UsageRecord, heated
from memos_integrations.operation.scheduler.budget import Budget
from memos_integrations.operation.scheduler.cube_use import CubeUse, cube_uses
from memos_integrations.operation.scheduler.decision import Spending
from memos_integrations.operation.scheduler.placement import (
    Asks,
    Held,
    Host,
    Key,
    Placement,
    PlacementRules,
    Price,
    Standing,
)
from memos_integrations.operation.scheduler.placing import place_cubes

HOST = Host(
    "model",
    text_seconds_per_token=1e-3,
    prices={
        "activation": Price(build_seconds_per_token=1e-3, bytes_per_token=4096.0, use_seconds=5e-3),
        "parametric": Price(
            build_seconds_per_memory=0.2,
            bytes_per_part=500_000.0,
            part_memories=50,
            use_seconds=1e-3,
        ),
    },
)
Happening: TypeAlias = Literal["ask", "scan", "correct"]


@dataclass(frozen=True, slots=True)
class World:
    """What happens: who asks how often, when interests change, what is corrected."""

    seed: int = 0
    tenants: Sequence[str] = ("ada", "ben", "cyd")
    rates: Sequence[float] = (1.0, 2.0, 5.0)
    cubes_each: int = 12
    memories: tuple[int, int] = (10, 40)
    steps: int = 3000
    drift_every: int = 1000
    scan_every: int = 700
    """One tenant then asks each of its cubes once. 0: never."""
    correct_every: int = 150
    skew: float = 1.1
    place_every: int = 20
    build_steps: int = 5
    half_life_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Event:
    step: int
    kind: Happening
    cube: int
    memory: int = 0


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    seconds: float = 0.0
    """For questions and for builds."""
    built_seconds: float = 0.0
    asked: dict[Form, int] = field(default_factory=dict[Form, int])
    placements: list[tuple[int, Placement]] = field(default_factory=list[tuple[int, Placement]])
    spendings: list[dict[str, Spending]] = field(default_factory=list[dict[str, Spending]])
    bytes: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """A tenant's bytes after each placing."""

    def promotions(self) -> dict[tuple[int, Form], list[int]]:
        """Steps at which each cube entered each form."""
        found: dict[tuple[int, Form], list[int]] = {}
        for step, each in self.placements:
            if each.fate == "move" and each.step == "promote":
                found.setdefault((each.cube, each.form), []).append(step)
        return found

    def most_promotions(self, span: int) -> int:
        """The most times that one cube entered one form within ``span`` steps."""
        return max(
            (
                sum(start <= s < start + span for s in steps)
                for steps in self.promotions().values()
                for start in steps
            ),
            default=0,
        )


def events(world: World) -> list[Event]:
    """What happens in a run, in order; the same for every arm."""
    dice = random.Random(f"{world.seed} events")
    sizes = _sizes(world)
    ranks = [_shuffled(dice, n, world.cubes_each) for n in range(len(world.tenants))]
    weights = list(accumulate(1 / (k + 1) ** world.skew for k in range(world.cubes_each)))
    made: list[Event] = []
    for step in range(world.steps):
        if step and step % world.drift_every == 0:
            for order in ranks:
                _drift(dice, order)
        if world.scan_every and step and step % world.scan_every == 0:
            swept = ranks[(step // world.scan_every) % len(ranks)]
            made += [Event(step, "scan", cube) for cube in sorted(swept)]
        if world.correct_every and step and step % world.correct_every == 0:
            cube = dice.randrange(len(sizes))
            made.append(Event(step, "correct", cube, dice.randrange(sizes[cube])))
        (tenant,) = dice.choices(range(len(ranks)), world.rates)
        rank = bisect(weights, dice.random() * weights[-1])
        made.append(Event(step, "ask", ranks[tenant][rank]))
    return made


class Simulation:
    """The state of a run: usage records, what is held, what was decided."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.records = {each.item: each for each in _records(world)}
        self.members: dict[int, list[int]] = {}
        for each in self.records.values():
            self.members.setdefault(each.cube, []).append(each.item)
        self.asks: dict[int, Asks] = {}
        self.held: dict[tuple[int, Form], Held] = {}
        self.decided: dict[int, set[Form]] = {}
        self.moved: dict[int, int] = {}
        self.building: dict[int, tuple[int, Placement]] = {}

    def tokens(self, items: Sequence[int] | frozenset[int]) -> int:
        return sum(self.records[item].tokens for item in items)

    def ask(self, cube: int, at: int) -> Form:
        """Ask the cube; the form that answers: the deepest that holds all of it."""
        life = self.world.half_life_seconds
        for item in self.members[cube]:
            old = self.records[item]
            heat, since = heated(
                old.heat, since=old.heat_at, reads=1, at=at, half_life_seconds=life
            )
            self.records[item] = replace(old, heat=heat, heat_at=since, count=old.count + 1)
        known = self.asks.get(cube, Asks(0.0, at))
        self.asks[cube] = Asks(
            *heated(known.heat, since=known.at, reads=1, at=at, half_life_seconds=life)
        )
        whole = frozenset(self.members[cube])
        there = {form for (c, form), held in self.held.items() if c == cube and held.items == whole}
        if "parametric" in there:
            return "parametric"
        return "activation" if "activation" in there else "plaintext"

    def correct(self, cube: int, memory: int, at: int) -> None:
        """A memory changes: the cache behind it goes, and the part of the adapter that holds it."""
        item = self.members[cube][memory]
        self.records[item] = replace(self.records[item], changed=at)
        for form in ("activation", "parametric"):
            self.withdraw(cube, form, item)

    def withdraw(self, cube: int, form: Form, item: int) -> None:
        held = self.held.get((cube, form))
        if held is None:
            return
        members = self.members[cube]
        place = members.index(item)
        lost = set(members[place:]) if form == "activation" else {item}
        left = held.items - lost
        if left:
            self.held[cube, form] = Held(form, left, self.bytes_of(form, left), -(10**15))
        else:
            del self.held[cube, form]

    def bytes_of(self, form: Form, items: frozenset[int]) -> float:
        return HOST.prices[form].bytes(tokens=self.tokens(items), memories=len(items))

    def uses(self, now: int) -> Sequence[CubeUse]:
        return cube_uses(
            self.records.values(),
            asks=self.asks,
            half_life_seconds=self.world.half_life_seconds,
            now=now,
        )

    def standings(self) -> Mapping[Key, Standing]:
        return {
            (cube, HOST.name): Standing(
                held={f: h for (c, f), h in self.held.items() if c == cube},
                decided=frozenset(self.decided.get(cube, ())),
                moved=self.moved.get(cube),
                waiting=self.building[cube][1].form if cube in self.building else None,
            )
            for cube in self.members
        }

    def build(self, cube: int, form: Form, items: frozenset[int]) -> float:
        """Make the form; the seconds it takes."""
        there = self.held.get((cube, form))
        missing = items - (there.items if there is not None else frozenset())
        self.held[cube, form] = Held(form, items, self.bytes_of(form, items), -(10**15))
        return HOST.prices[form].build_seconds(tokens=self.tokens(missing), memories=len(missing))


def run(world: World, *, rules: PlacementRules, budget: Budget) -> Outcome:
    """The run under the scheduler's policy."""
    sim, outcome = Simulation(world), Outcome(bytes={tenant: [] for tenant in world.tenants})
    placed = -1
    for event in events(world):
        now = event.step * MICROS
        _finish(sim, event.step, outcome)
        if event.step // world.place_every != placed:
            placed = event.step // world.place_every
            made, spending = place_cubes(
                sim.uses(now), [HOST], sim.standings(), rules=rules, budget=budget
            )
            _carry_out(sim, made, event.step, outcome)
            outcome.spendings.append(spending)
            for tenant, series in outcome.bytes.items():
                series.append(_bytes(sim, tenant))
        _happen(sim, event, now, outcome)
    return outcome


def always(world: World, form: Form) -> Outcome:
    """The run with every cube in one form, built when it is asked for and not there."""
    sim, outcome = Simulation(world), Outcome()
    for event in events(world):
        if form != "plaintext" and event.kind != "correct":
            spent = sim.build(event.cube, form, frozenset(sim.members[event.cube]))
            outcome.seconds += spent
            outcome.built_seconds += spent
        _happen(sim, event, event.step * MICROS, outcome)
    return outcome


def _happen(sim: Simulation, event: Event, now: int, outcome: Outcome) -> None:
    if event.kind == "correct":
        sim.correct(event.cube, event.memory, now)
        return
    form = sim.ask(event.cube, now)
    outcome.asked[form] = outcome.asked.get(form, 0) + 1
    if form == "plaintext":
        outcome.seconds += sim.tokens(sim.members[event.cube]) * HOST.text_seconds_per_token
    else:
        outcome.seconds += HOST.prices[form].use_seconds


def _carry_out(sim: Simulation, made: Sequence[Placement], step: int, outcome: Outcome) -> None:
    for each in made:
        outcome.placements.append((step, each))
        if each.fate != "move":
            continue
        decided = sim.decided.setdefault(each.cube, set())
        if each.step == "demote":
            decided.discard(each.from_form)
            sim.held.pop((each.cube, each.from_form), None)
        else:
            decided.add(each.form)
            sim.building[each.cube] = (step + sim.world.build_steps, each)
        if each.step != "refresh":
            sim.moved[each.cube] = step * MICROS


def _finish(sim: Simulation, step: int, outcome: Outcome) -> None:
    """What was being built is there, if its time has come."""
    for cube, (when, each) in list(sim.building.items()):
        if when <= step:
            del sim.building[cube]
            spent = sim.build(cube, each.form, each.items)
            outcome.seconds += spent
            outcome.built_seconds += spent


def _bytes(sim: Simulation, tenant: str) -> float:
    return sum(
        held.bytes
        for (cube, _), held in sim.held.items()
        if sim.records[sim.members[cube][0]].tenant == tenant
    )


def _sizes(world: World) -> list[int]:
    dice = random.Random(f"{world.seed} sizes")
    return [dice.randint(*world.memories) for _ in range(world.cubes_each * len(world.tenants))]


def _records(world: World) -> list[UsageRecord]:
    made: list[UsageRecord] = []
    for cube, count in enumerate(_sizes(world)):
        tenant = world.tenants[cube // world.cubes_each]
        for _ in range(count):
            number = len(made)
            made.append(
                UsageRecord(
                    item=number,
                    id=f"item-{number}",
                    cube=cube,
                    path=f"{tenant}/{cube}",
                    tenant=tenant,
                    bytes=60,
                    tokens=15,
                    created=-(10**12),
                    changed=-(10**12),
                )
            )
    return made


def _shuffled(dice: random.Random, tenant: int, count: int) -> list[int]:
    cubes = list(range(tenant * count, (tenant + 1) * count))
    dice.shuffle(cubes)
    return cubes


def _drift(dice: random.Random, order: list[int]) -> None:
    """Let some of the popular change places with anybody."""
    for _ in range(max(1, len(order) // 5)):
        a, b = dice.randrange(max(1, len(order) // 4)), dice.randrange(len(order))
        order[a], order[b] = order[b], order[a]
