"""The world of ``bench.loop``: people with profiles, who asks what when, what is corrected.

The names, facts and wordings are those of the cookbook's invented world; which of them holds of
whom is drawn from a seed. A cube is one person's profile: four memories, each with one fact of
another kind (home, job, pet, food) among seventy words of talk that the model's tokenizer does not
know. Its model reads such a context as well as a short one (.95); five facts of any kinds it
reads at .61, so larger cubes would say nothing about forms.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, TypeAlias

from cookbook import tiny_world

Kind: TypeAlias = Literal["ask", "scan", "elsewhere", "correct"]

_TALK = (
    "we spoke about this over tea while rain kept falling outside and somebody left the radio "
    "playing an old tune nobody could name so most of it went by before anyone noticed that the "
    "evening had gone then there was talk of trains and tickets and whether spring comes late"
).split()
_TALK_WORDS = 70


@dataclass(frozen=True, slots=True)
class World:
    """Names and ways of saying things, as the cookbook's invented world has them."""

    names: tuple[str, ...]
    """Of people about whom the model knows nothing."""
    values: Mapping[str, Sequence[str]]
    known: Sequence[tuple[str, str, str]]
    """What the model knows by itself."""

    @classmethod
    def invented(cls) -> World:
        made = tiny_world.the_world()
        return cls(tuple(made.names[150:]), made.values, made.known)

    @property
    def relations(self) -> list[str]:
        return list(tiny_world.RELATIONS)

    def value(self, dice: random.Random, relation: str) -> str:
        return str(dice.choice(self.values[relation]))

    def stated(self, person: str, relation: str, value: str, wording: int) -> str:
        return f"{tiny_world.statement((person, relation, value), wording)} ."

    def asked(self, person: str, relation: str, wording: int) -> str:
        """The question alone, as a person would put it."""
        return tiny_world.question((person, relation, ""), wording)


def rendering(memory: str, question: str) -> str:
    """The prompts that the model was trained on."""
    return (
        f"<s> {memory} question : {question} ? answer :"
        if memory
        else (f"<s> question : {question} ? answer :")
    )


@dataclass(frozen=True, slots=True)
class Event:
    """A question to a cube, or a correction of one of its facts."""

    kind: Kind
    cube: int
    question: str = ""
    answer: str = ""
    relation: str = ""
    text: str = ""
    """The new words of a memory that is corrected."""


@dataclass(frozen=True, slots=True)
class Trace:
    """People, their memories at the beginning, and what happens then."""

    people: tuple[str, ...]
    memories: tuple[Mapping[str, str], ...]
    """For each person, by relation."""
    events: tuple[Event, ...]

    @property
    def questions(self) -> int:
        return sum(each.kind != "correct" for each in self.events)


def trace(
    world: World,
    *,
    seed: int,
    people: int,
    questions: int,
    drift_every: int = 1000,
    scan_every: int = 2500,
    correct_every: int = 50,
    elsewhere: float = 0.06,
    skew: float = 1.05,
) -> Trace:
    """A seeded run: interests that rise and fall, sweeps, corrections, questions about others."""
    dice = random.Random(seed)
    names = tuple(dice.sample(world.names, people))
    facts = [{r: world.value(dice, r) for r in world.relations} for _ in names]
    memories = tuple(
        {r: memory(world, dice, name, r, each[r]) for r in world.relations}
        for name, each in zip(names, facts, strict=True)
    )
    weights = list(accumulate(1 / (rank + 1) ** skew for rank in range(people)))
    order = list(range(people))
    dice.shuffle(order)
    known = world.known
    events: list[Event] = []
    asked = 0

    def ask(kind: Kind, cube: int) -> Event:
        relation = dice.choice(world.relations)
        question = world.asked(names[cube], relation, dice.randrange(2))
        return Event(kind, cube, question, facts[cube][relation], relation)

    while asked < questions:
        if asked and asked % drift_every == 0:
            _drift(dice, order)
        if asked and asked % scan_every == 0:
            events += [ask("scan", cube) for cube in range(people)]
            asked += people
        cube = order[bisect(weights, dice.random() * weights[-1])]
        if dice.random() < elsewhere:
            name, relation, value = dice.choice(known)
            question = world.asked(name, relation, dice.randrange(2))
            events.append(Event("elsewhere", cube, question, value, relation))
        else:
            events.append(ask("ask", cube))
        asked += 1
        if asked % correct_every == 0:
            changed = dice.choice(order[: people // 2]) if dice.random() < 0.5 else cube
            relation = dice.choice(world.relations)
            facts[changed][relation] = world.value(dice, relation)
            said = memory(world, dice, names[changed], relation, facts[changed][relation])
            events.append(Event("correct", changed, relation=relation, text=said))
    return Trace(names, memories, tuple(events))


def memory(world: World, dice: random.Random, person: str, relation: str, value: str) -> str:
    """A fact with what was talked around it, as a turn of a conversation has it."""
    start = dice.randrange(len(_TALK))
    talk = [_TALK[(start + n) % len(_TALK)] for n in range(_TALK_WORDS)]
    stated = world.stated(person, relation, value, dice.randrange(3))
    return f"{stated} {' '.join(talk)} ."


def fact_in(text: str) -> str:
    """The first sentence of a memory: its fact."""
    return text.partition(" .")[0] + " ."


def _drift(dice: random.Random, order: list[int]) -> None:
    """Let a fifth of the popular change places with anybody."""
    for _ in range(max(1, len(order) // 5)):
        a, b = dice.randrange(max(1, len(order) // 4)), dice.randrange(len(order))
        order[a], order[b] = order[b], order[a]


def forms_of(world: World, person: str, relation: str) -> Sequence[str]:
    """Ways to ask for a fact of a person, the last one to be held out: the first question, what
    begins two of its statements, the second question."""
    return (
        world.asked(person, relation, 0),
        f"the {relation} of {person} is",
        f"{person} has {relation}",
        world.asked(person, relation, 1),
    )
