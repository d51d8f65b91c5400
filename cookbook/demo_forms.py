"""One agent, one memory, three forms: text that is read, a KV-cache that was, weights that know.

Called by the demo. The model is the small one of ``tiny_world``; needs the extra ``parametric``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import tiny_world
import torch
import transformers
from demo_report import Report, plain
from langgraph.graph import END, START, StateGraph
from tiny_world import Fact, question, statement

from memos_integrations import MOS, Settings
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.parametric.recipe import Gates

USER = "ada"
CONVERSATIONS, PEOPLE = 6, 24
TALK = (
    "We spoke about this over tea while rain kept falling outside, and somebody left the radio "
    "playing an old tune nobody could name, so most of it went by before anyone noticed that the "
    "evening had gone. Then there was talk of trains and tickets, and whether spring comes late."
)
GATES = Gates(recall_below_teacher=0.1, held_out_recall=0.8, distracted_recall=0.5)
"""Looser than the default ones where recall is concerned: so small a model reads a text among
others at about .6 itself. What it may forget and how far it may drift is as everywhere."""
VERBS = {forms[0].split()[1]: relation for relation, forms in tiny_world.RELATIONS.items()}


class Asked(TypedDict, total=False):
    """The state of the agent's graph."""

    question: str
    session: str
    answer: str
    read: int
    """Tokens that were computed for it."""
    why: str


@dataclass(slots=True)
class Life:
    """What the steps share."""

    mos: MOS
    report: Report
    model: Any
    tokenizer: Any
    facts: list[Fact]
    learnt: bool = False

    def session(self, fact: Fact) -> str:
        return f"talk-{self.facts.index(fact) % CONVERSATIONS + 1}"

    def answer(self, state: Asked) -> Asked:
        """The node of the agent: from weights once there are any, else from the conversation."""
        if self.learnt:
            with self.mos.adapted(model="tiny", query=state["question"], user=USER) as given:
                words = self._said(given.model, given.inputs)
                return {"answer": words, "read": _size(given.inputs), "why": given.rows[0].why}
        scope: dict[str, Any] = {"user": USER, "session": state["session"]}
        asked = self.mos.activated(self.model, self.tokenizer, query=state["question"], **scope)
        with asked as cached:
            read = cached.prompt_tokens - cached.cached_tokens
            if cached.computed_tokens:
                read = cached.prompt_tokens
            words = self._said(self.model, cached.inputs)
            return {"answer": words, "read": read, "why": cached.why}

    def _said(self, model: Any, inputs: dict[str, Any]) -> str:
        length = _size(inputs)
        with torch.no_grad():
            made = model.generate(**inputs, max_new_tokens=2, do_sample=False)
        return str(self.tokenizer.decode(made[0, length:], skip_special_tokens=True)).strip(" .")


def three_forms(report: Report) -> None:
    """Tell it, and leave nothing behind."""
    report.section(
        "Three forms",
        "A second agent, whose model runs here: 0.8M parameters, grown up in an invented world. "
        "What it is told about new people is text at first, then a KV-cache, then weights.",
    )
    with _life(report) as life:
        _tell(life)
        for step in (_as_text_and_cache, _scheduled, _learn, _corrected, _erased):
            step(life)


@contextmanager
def _life(report: Report) -> Iterator[Life]:
    transformers.utils.logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, tokenizer = tiny_world.load()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="memos-demo-") as folder,
            MOS(
                Path(folder) / "ada.db",
                embedder=None,
                settings=Settings(worker=False, extract=False),
            ) as mos,
        ):
            yield Life(mos, report, model, tokenizer, _people())
    finally:
        torch.set_num_threads(threads)


def _people() -> list[Fact]:
    """New people, so that each conversation tells four facts of four kinds."""
    kinds: dict[str, list[Fact]] = {relation: [] for relation in tiny_world.RELATIONS}
    for fact in tiny_world.the_world().new:
        kinds[fact[1]].append(fact)
    return [fact for each in kinds.values() for fact in each[:CONVERSATIONS]]


def _tell(life: Life) -> None:
    world = tiny_world.the_world()
    old = [fact for n, fact in enumerate(world.known) if n % 6]
    life.mos.host_model(
        "tiny",
        life.model,
        life.tokenizer,
        invocation="question :",
        forms=_forms,
        line=lambda item: f"{_fact_in(item.text)} .",
        replay=[question(fact, form) for fact in old for form in (0, 1)],
        canaries=[question(fact, n % 2) for n, fact in enumerate(world.known[::6])],
    )
    for fact in life.facts:
        life.mos.add(f"{statement(fact)} . {TALK}", user=USER, session=life.session(fact))
    life.mos.work()
    told = f"{PEOPLE} memories in {CONVERSATIONS} conversations, such as"
    life.report.say("told", f"{told} “{plain(life.mos.list(user=USER)[0].text, 60)}”")


def _as_text_and_cache(life: Life) -> None:
    """Every conversation is read once, in the first question; then its cache is there."""
    kinds = len(tiny_world.RELATIONS)
    first = [life.facts[n + CONVERSATIONS * (n % kinds)] for n in range(CONVERSATIONS)]
    _ask(life, "as text", first)
    _ask(life, "as a cache", [fact for fact in life.facts if fact not in first])


def _scheduled(life: Life) -> None:
    plan = life.mos.plan(user=USER)
    for placement in plan.placements[:1]:
        why = "; ".join(placement.reasons)
        life.report.say("scheduler", f"{placement.step} to {placement.form}: {plain(why, 200)}")


def _learn(life: Life) -> None:
    report = life.report
    report.say("distil", "the base teaches an adapter what it reads; under a minute …")
    began = time.process_time()
    life.mos.distil(model="tiny", user=USER, gates=GATES, rebuild=False)
    life.mos.work()
    (made,) = life.mos.adapters(user=USER)
    seconds = time.process_time() - began
    told = f"{made.state}: {made.facts} facts, {made.bytes / 2**20:.1f} MiB, {seconds:.0f} CPU s"
    report.say("adapter", told)
    for gate in made.verdict:
        report.say("", gate, style="dim")
    life.learnt = made.usable
    if made.usable:
        _ask(life, "as weights", life.facts)
    other = tiny_world.the_world().known[0]
    told = _run(life, other)
    report.say("elsewhere", f"“{question(other, 1)}”: {told['answer']} ({told['why']})")


def _corrected(life: Life) -> None:
    old = life.facts[0]
    others = tiny_world.the_world().values[old[1]]
    new = (old[0], old[1], next(each for each in others if each != old[2]))
    item = next(i for i in life.mos.list(user=USER) if old[0] in i.text)
    life.mos.update(item.id, f"{statement(new)} . {TALK}", user=USER)
    told = _run(life, new)
    life.report.say("corrected", f"{statement(old)} -> {statement(new)}")
    life.report.say("answer", f"{told['answer']} ({told['why']})", style="green")


def _erased(life: Life) -> None:
    fact = life.facts[1]
    item = next(i for i in life.mos.list(user=USER) if fact[0] in i.text)
    before = len(life.mos.caches(user=USER))
    receipt = life.mos.erase(item.id, user=USER)
    told = f"{fact[0]}, with {before - len(life.mos.caches(user=USER))} cache made of it; its words"
    life.report.say("erased", f"{told} are found in {receipt.scan.found} places of the raw files")
    life.mos.repair_caches()  # what was withdrawn goes at once, and not at the next use
    sound = life.mos.verify_caches().sound and life.mos.check().sound
    life.report.say("check", "sound" if sound else "NOT SOUND")


def _ask(life: Life, form: str, facts: Sequence[Fact]) -> None:
    began = time.process_time()
    told = [_run(life, fact) for fact in facts]
    spent = (time.process_time() - began) / len(facts)
    right = sum(said["answer"] == fact[2] for said, fact in zip(told, facts, strict=True))
    read = sum(said["read"] for said in told) / len(facts)
    life.report.say(
        form,
        f"{right} of {len(facts)} right, {read:.0f} tokens computed a question, "
        f"{spent * 1000:.0f} ms of the processor",
    )


def _run(life: Life, fact: Fact) -> Asked:
    graph = StateGraph(Asked)
    graph.add_node("answer_it", life.answer)
    graph.add_edge(START, "answer_it")
    graph.add_edge("answer_it", END)
    session = life.session(fact) if fact in life.facts else "talk-1"
    state: Any = graph.compile().invoke({"question": question(fact, 1), "session": session})
    done: Asked = state
    return done


def _forms(item: MemoryItem) -> Sequence[str]:
    """Ways to ask for what a memory says; the last one is never trained on."""
    name, verb = item.text.split()[:2]
    relation = VERBS[verb]
    fact = (name, relation, "")
    clozes = (each.format(e=name) for each in tiny_world.CLOZES[relation])
    return (question(fact, 0), *clozes, question(fact, 1))


def _fact_in(text: str) -> str:
    return text.partition(" .")[0]


def _size(inputs: dict[str, Any]) -> int:
    return int(inputs["input_ids"].shape[1])
