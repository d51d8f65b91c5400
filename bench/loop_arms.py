"""The arms of ``bench.loop``: one memory each, asked the same questions in their own way.

Every arm reads its memories governed and writes the same prompts; what differs is what the model
has to compute. ``answering`` are the processor seconds inside the model's forward passes,
``building`` those of work done ahead (caches, trainings, the scheduler itself).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch

from bench.loop_world import Event, Trace, World, fact_in, forms_of, rendering
from cookbook import tiny_world
from memos_integrations import MOS, Settings
from memos_integrations.cube.item import MemoryItem
from memos_integrations.cube.usage import Form
from memos_integrations.infrastructure.activation.forward import cache_name
from memos_integrations.interface.memory_part import written_for
from memos_integrations.operation.scheduler.offers import FormOffer, choose_form
from memos_integrations.testing.fakes import ManualClock

NAME = "tinyfacts"
STEP_SECONDS = 60.0
"""Between two questions, on the clock of the memories."""
SETTINGS = Settings(
    worker=False,
    extract=False,
    audit_reads=False,
    half_life_seconds=12 * 3600.0,
    learn_after_seconds=12 * 3600.0,
    form_residence_seconds=2 * 3600.0,
    form_seconds=600.0,
)


class Metered:
    """The small model with a count of the processor seconds inside its forward passes."""

    def __init__(self) -> None:
        self.model, self.tokenizer = tiny_world.load()
        self.seconds = 0.0
        self.passes = 0
        forward = self.model.forward

        def metered(*given: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return forward(*given, **named)
            finally:
                self.seconds += time.process_time() - began
                self.passes += 1

        metered.__signature__ = signature(forward)  # type: ignore[attr-defined]
        self.model.forward = metered

    def word(self, logits: Any) -> str:
        """The likeliest next word."""
        return str(self.tokenizer.convert_ids_to_tokens(int(logits[0, -1].argmax())))

    def read(self, text: str) -> str:
        """What it says after ``text``, read from its beginning."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            return self.word(self.model(input_ids=torch.tensor([ids]), logits_to_keep=1).logits)

    def go_on(self, inputs: dict[str, Any]) -> str:
        """What it says behind a filled cache."""
        name = cache_name(self.model)
        done = inputs[name].get_seq_length()
        with torch.no_grad():
            given = {"input_ids": inputs["input_ids"][:, done:], name: inputs[name]}
            return self.word(self.model(**given, logits_to_keep=1).logits)


@dataclass(slots=True)
class Spent:
    """Processor seconds of an arm, and what came of them."""

    answering: float = 0.0
    building: float = 0.0
    all: float = 0.0
    asked: int = 0
    right: int = 0

    @property
    def model(self) -> float:
        return self.answering + self.building

    @property
    def accuracy(self) -> float:
        return self.right / max(1, self.asked)


class Arm:
    """A memory of its own and a way to give it to the model. This one: as text, each time."""

    name = "always text"

    def __init__(self, world: World, trace: Trace) -> None:
        self.metered, self.world, self.trace = Metered(), world, trace
        self.clock = ManualClock()
        self.mos = MOS(None, embedder=None, clock=self.clock, settings=SETTINGS)
        self.spent = Spent()
        self.items: list[dict[str, str]] = []
        for memories in trace.memories:
            user = self.user(len(self.items))
            self.items.append({r: self.mos.add(t, user=user).id for r, t in memories.items()})
        self.mos.work()

    def close(self) -> None:
        self.mos.close()

    def user(self, cube: int) -> str:
        return self.trace.people[cube].lower()

    def happen(self, event: Event, *, found: bool) -> None:
        """Answer it, or take a correction in. ``found``: whether a search finds memory for it."""
        with self._counted():
            self.clock.advance(seconds=STEP_SECONDS)
            if event.kind == "correct":
                self.correct(event)
                return
            before = self.metered.seconds
            said = self.answer(event) if found else self.metered.read(rendering("", event.question))
            self.spent.answering += self.metered.seconds - before
        self.spent.asked += 1
        self.spent.right += said == event.answer

    def answer(self, event: Event) -> str:
        """With the whole profile before the question, read anew."""
        items = self.mos.list(user=self.user(event.cube))
        ordered = sorted(items, key=lambda item: (item.header.time, item.id))
        text = written_for(ordered, self.metered.tokenizer)
        return self.metered.read(rendering(text, event.question))

    def correct(self, event: Event) -> None:
        item = self.items[event.cube][event.relation]
        self.mos.update(item, event.text, user=self.user(event.cube))

    def tend(self) -> None:
        """Work that nobody waits for."""

    @contextmanager
    def _counted(self) -> Generator[None]:
        began = time.process_time()
        try:
            yield
        finally:
            self.spent.all += time.process_time() - began

    @contextmanager
    def _building(self) -> Generator[None]:
        began = time.process_time()
        with self._counted():
            yield
        self.spent.building += time.process_time() - began


class Cached(Arm):
    """As KV-caches, computed by whoever asks first."""

    name = "always KV"

    def answer(self, event: Event) -> str:
        model, tokenizer = self.metered.model, self.metered.tokenizer
        with self.mos.activated(
            model,
            tokenizer,
            query=event.question,
            user=self.user(event.cube),
            rendering=rendering,
        ) as given:
            return self.metered.go_on(given.inputs)


class Hosting(Arm):
    """An arm whose memory hosts the model, for the background."""

    def __init__(self, world: World, trace: Trace) -> None:
        super().__init__(world, trace)
        known = [world.asked(name, rel, 0) for name, rel, _ in world.known]
        self.mos.host_model(
            NAME,
            self.metered.model,
            self.metered.tokenizer,
            rendering=rendering,
            invocation="question :",
            replay=known[:300],
            canaries=known[300:400],
            forms=self.forms,
            line=lambda item: fact_in(item.text),
        )

    def forms(self, item: MemoryItem) -> tuple[str, ...]:
        """Ways to ask for the fact of a memory."""
        for person, ids in zip(self.trace.people, self.items, strict=True):
            for relation, known in ids.items():
                if known == item.id:
                    return tuple(forms_of(self.world, person, relation))
        return ()

    def adapted(self, event: Event) -> str:
        user = self.user(event.cube)
        with self.mos.adapted(model=NAME, query=event.question, user=user, k=4) as given:
            with torch.no_grad():
                logits = given.model(**given.inputs, logits_to_keep=1).logits
            return self.metered.word(logits)


class Adapted(Hosting):
    """As adapters, of up to fifty facts of all people, learnt before anybody asks. What was
    corrected since is told as text, without the talk around it, until ``tend`` has it learnt."""

    name = "always adapter"
    patience = 5
    """Blocks between two looks at what is to be learnt again: a training is dear."""

    def __init__(self, world: World, trace: Trace) -> None:
        super().__init__(world, trace)
        self._waited = 0
        with self._building():
            self.mos.distil(model=NAME, user="team")
            self.mos.work()

    def user(self, cube: int) -> str:
        return "team"

    def answer(self, event: Event) -> str:
        return self.adapted(event)

    def tend(self) -> None:
        self._waited += 1
        if self._waited % self.patience == 0:
            with self._building():
                self.mos.work()

    @property
    def learnt(self) -> str:
        """What became of its trainings."""
        rows = self.mos.adapters(user="team")
        states = [each.state for each in rows]
        told = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        figures = next((each.figures for each in rows if each.figures is not None), None)
        return f"{told}; the first: {figures}"


class Looped(Hosting):
    """In the form that the scheduler has decided on, and text until then."""

    name = "the loop"

    def __init__(self, world: World, trace: Trace) -> None:
        super().__init__(world, trace)
        self.form: dict[str, Form] = {}
        self.moves: list[tuple[int, str, str]] = []
        self.taken: dict[Form, int] = {}
        self.cost: dict[Form, float] = {"plaintext": 0.02, "activation": 0.005, "parametric": 0.01}

    def answer(self, event: Event) -> str:
        """The cheapest form that there is, by what each has taken so far."""
        form = self.form.get(self.user(event.cube), "plaintext")
        offers = [FormOffer("plaintext", self.cost["plaintext"], 350)]
        if form != "plaintext":
            tokens = 350 if form == "activation" else 0
            offers.append(FormOffer(form, self.cost[form], tokens))
        choice = choose_form(offers).offer
        taken: Form = "plaintext" if choice is None else choice.form
        began = self.metered.seconds
        said = self._in_form(taken, event)
        self.cost[taken] += 0.05 * (self.metered.seconds - began - self.cost[taken])
        self.taken[taken] = self.taken.get(taken, 0) + 1
        return said

    def _in_form(self, form: Form, event: Event) -> str:
        if form == "activation":
            return Cached.answer(self, event)  # type: ignore[arg-type]  # it asks no more of it
        return self.adapted(event) if form == "parametric" else super().answer(event)

    def tend(self) -> None:
        """A tick of the scheduler, and the work it queues."""
        with self._building():
            admin = replace(self.mos.principal, user="bench", roles=frozenset({"admin"}))
            plan = self.mos.acting(admin).rebalance(user="bench")
            if plan.form_moves:
                self.mos.work()
            for each in plan.form_moves:
                form = each.from_form if each.step == "demote" else each.form
                self.moves.append((self.spent.asked, each.step, form))
            for each in plan.placements:
                if each.fate == "move" or each.step == "stay":
                    self.form[each.path.removeprefix("users/")] = each.form
