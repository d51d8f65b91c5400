"""``python -m bench.turns [--quick] [--svg FILE]``: an agent whose turns get cheaper.

Two LangGraph agents lead the same conversation over the same memories with the same local model: a
Qwen2 shape of 138M parameters with random weights in bfloat16, one thread, one token a character.
One reads memory and conversation as text in every turn. The other begins so too; then its memory is
promoted to a KV-cache, then its turns are kept as well. They take turns, and of each turn the
processor seconds up to the first token of the answer are told, recall, templates and look-ups
included. Every sixth turn another session brings a memory, so that caches must grow.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from bench.activation import a_model
from bench.drawing import Line, Marks, Phase, picture
from langchain_memos import MemOSChatModel
from langchain_memos.asker import Asker
from langchain_memos.local_turns import turns_of
from memos_integrations import MOS, Settings
from memos_integrations.infrastructure.activation.forward import empty_cache, generation_inputs
from memos_integrations.interface.activation_verbs import Activated, control_tokens, memory_text
from memos_integrations.operation.transform.prompt import prompt_of

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</{{ m['role'] }}>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
PLACES = "cellar attic harbour orchard library kitchen stable office chapel garage".split()
THINGS = "heater ledger ladder organ compass lantern kettle saddle telescope violin".split()
PEOPLE = "Maya Sam Lena Omar Ines Piet Aiko Noor Ravi Elsa".split()
EVERY = 6
"""Turns after which another session brings a memory."""


@dataclass(frozen=True, slots=True)
class Work:
    """How much is remembered and said."""

    turns: int
    memories: int
    answer_tokens: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What the second agent does from which turn on."""
        third = self.turns // 3
        return (
            Phase(1, "all of it read as text"),
            Phase(third + 1, "memory promoted to KV"),
            Phase(2 * third + 1, "its turns kept too"),
        )


FULL = Work(turns=24, memories=36, answer_tokens=24)
QUICK = Work(turns=9, memories=12, answer_tokens=8)


class FirstToken(transformers.LogitsProcessor):  # type: ignore[misc]
    """Notes when a generation's first token is known, and lets it say letters only.

    A model with random weights says anything; what it says here is read back as it was written.
    """

    def __init__(self) -> None:
        self.at: float | None = None

    def __call__(self, ids: Any, scores: Any) -> Any:
        if self.at is None:
            self.at = time.process_time()
        letters = slice(ord("a") + 3, ord("z") + 4)  # the first ids are marks
        kept = torch.full_like(scores, float("-inf"))
        kept[:, letters] = scores[:, letters]
        return kept


class Reading(MemOSChatModel):
    """The same model without activation memory: its prompt is read from the first token on."""

    @contextmanager
    def _activated(
        self, messages: Sequence[BaseMessage], who: Asker, tools: Sequence[Mapping[str, Any]]
    ) -> Generator[Activated]:
        items = self.mos.list(limit=10_000, **who.keywords())
        items.sort(key=lambda item: (item.header.time, item.id))
        text = memory_text(items, control_tokens(self.tokenizer))
        prompt = prompt_of(self.tokenizer, text, turns_of(messages, tools=tools))
        inputs = generation_inputs(self.model, empty_cache(self.model), prompt.tokens)
        yield Activated(inputs, len(prompt.tokens), 0, 0, tuple(items), "read")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of one agent took."""

    prompt_tokens: int
    cached_tokens: int
    cpu_seconds: float


class Agent:
    """A graph of one node that answers, over a memory of its own."""

    def __init__(self, model: Any, work: Work, phases: Sequence[Phase]) -> None:
        self.mos = MOS(None, embedder=None, settings=Settings(worker=False, extract=False))
        self.mos.add([remembered(n) for n in range(work.memories)], user="maya")
        self._clock, self._phases = FirstToken(), phases
        tokenizer = transformers.ByT5Tokenizer()
        tokenizer.chat_template = TEMPLATE
        given: dict[str, Any] = {"mos": self.mos, "model": model, "tokenizer": tokenizer}
        saying = transformers.LogitsProcessorList([self._clock])
        given["options"] = {"do_sample": False, "logits_processor": saying}
        given["max_new_tokens"] = work.answer_tokens
        self._forms = [
            Reading(**given),
            MemOSChatModel(**given),
            MemOSChatModel(**given, keep_turns=True),
        ]
        self._now = self._forms[0]
        builder = StateGraph(MessagesState)
        builder.add_node("answer", self._answer)
        builder.add_edge(START, "answer")
        self._graph = builder.compile(checkpointer=InMemorySaver())

    def _answer(self, state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [self._now.invoke(state["messages"], config)]}

    def turn(self, number: int) -> Turn:
        """The processor seconds to the first token of one more turn."""
        if number % EVERY == 0:
            self.mos.add(remembered(1_000 + number), user="maya", session="another")
        self._now = self._forms[sum(each.first <= number for each in self._phases) - 1]
        self._clock.at = None
        run: RunnableConfig = {"configurable": {"user_id": "maya", "thread_id": "bench"}}
        began = time.process_time()
        state = self._graph.invoke({"messages": [HumanMessage(asked(number))]}, run)
        assert self._clock.at is not None
        usage = state["messages"][-1].usage_metadata
        cached = usage["input_token_details"]["cache_read"]
        return Turn(usage["input_tokens"], cached, self._clock.at - began)


def remembered(number: int) -> str:
    rng = random.Random(number)
    who, what, where = rng.choice(PEOPLE), rng.choice(THINGS), rng.choice(PLACES)
    return f"{who} keeps {what} number {number} in the {where} since day {rng.randrange(400)}"


def asked(number: int) -> str:
    rng = random.Random(-number)
    return f"Where is the {rng.choice(THINGS)} that {rng.choice(PEOPLE)} asked for on day {number}?"


def show(work: Work, read: Sequence[Turn], ours: Sequence[Turn]) -> None:
    print(f"{'turn':>4}{'tokens':>8}{'read, CPU s':>13}{'promoted':>10}{'cached':>8}{'x':>7}")
    for n, (plain, kept) in enumerate(zip(read, ours, strict=True), 1):
        for phase in work.phases:
            if phase.first == n:
                print(f"     {phase.name}")
        times = plain.cpu_seconds / kept.cpu_seconds
        print(
            f"{n:4}{kept.prompt_tokens:8,}{plain.cpu_seconds:13.2f}{kept.cpu_seconds:10.2f}"
            f"{kept.cached_tokens:8,}{times:7.1f}"
        )
    ends = [*(phase.first for phase in work.phases[1:]), work.turns + 1]
    for phase, end in zip(work.phases, ends, strict=True):
        turns = slice(phase.first, end - 1)  # without the first, which fills the caches
        plain, kept = (median(t.cpu_seconds for t in arm[turns]) for arm in (read, ours))
        print(f"{phase.name}: {plain:.2f} and {kept:.2f} CPU s (median), {plain / kept:.1f} x")


def main(*, quick: bool = False, svg: Path | None = None) -> None:
    """Print each turn of both agents, and draw them where ``svg`` names a file."""
    torch.set_num_threads(1)
    work = QUICK if quick else FULL
    model = a_model()
    agents = Agent(model, work, work.phases[:1]), Agent(model, work, work.phases)
    read, ours = list[Turn](), list[Turn]()
    for number in range(1, work.turns + 1):
        read.append(agents[0].turn(number))
        ours.append(agents[1].turn(number))
    for agent in agents:
        agent.mos.close()
    show(work, read, ours)
    if svg is not None:
        lines = [
            Line("read as text", [each.cpu_seconds for each in read]),
            Line("promoted", [each.cpu_seconds for each in ours]),
        ]
        came = Marks("another session brings a memory", range(EVERY, work.turns + 1, EVERY))
        svg.write_text(picture(lines, work.phases, title=TITLE, marks=came), "utf-8")


TITLE = "CPU seconds to the first token of each turn of a LangGraph agent"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.turns", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer turns over less memory")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the turns into this file")
    given = parser.parse_args()
    main(quick=given.quick, svg=given.svg)
