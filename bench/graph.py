"""What memory costs a turn of a LangGraph agent: ``python -m bench graph [--quick]``.

The same graph (recall, a model that answers at once, remember) with our memory, with LangGraph's
``InMemoryStore`` and with none, called sync and async, by one caller and by sixteen at once; then
how much of a recall disappears behind a model call when both stand in one superstep.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from bench.bare import commits
from bench.measure import table
from memos_integrations import MOS, Settings

_CALLERS = (1, 16)
_LIMIT = 8
_WORDS = (
    "harbour peanut window fence lighthouse violin market winter garden letter bicycle soup "
    "mountain teacher ticket candle river bakery station museum"
).split()
_HEADS = (
    "turn",
    "ms/turn",
    "min-max",
    "ms over none",
    "x none",
    "x durable commit",
    "turns",
    "failed",
)
_HIDDEN_HEADS = ("recall", "ms/turn", "ms over the model", "of the model call", "hidden")


class WordHash:
    """A deterministic embedder, the same for every arm: no model is measured here."""

    fingerprint = "bench-word-hash-64"
    dim = 64

    def embed(self, texts: Sequence[str]) -> Any:
        """Unit vectors of hashed words."""
        made = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                made[row, hashlib.blake2b(word.encode()).digest()[0] % self.dim] += 1
        return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)

    def lists(self, texts: Sequence[str]) -> list[list[float]]:
        """As LangGraph's store wants them."""
        return [[float(x) for x in row] for row in self.embed(texts)]


@dataclass(slots=True)
class _Arm:
    """One graph, and what its turns took, one entry per round, in milliseconds."""

    name: str
    graph: Any
    between: Callable[[], object] = lambda: None
    spent: list[float] = field(default_factory=list[float])
    failed: int = 0
    """Turns that raised; a store that is not thread-safe does, now and then."""

    def turn(self, given: Any, config: Any) -> None:
        """One turn, by a thread."""
        try:
            self.graph.invoke(given, config)
        except RuntimeError:
            self.failed += 1

    async def aturn(self, given: Any, config: Any) -> None:
        """One turn, by a task."""
        try:
            await self.graph.ainvoke(given, config)
        except RuntimeError:
            self.failed += 1

    @property
    def median(self) -> float:
        return statistics.median(self.spent)


def main(*, quick: bool) -> None:
    """Print the cost of a turn in each way of calling, and what prefetching hides."""
    if importlib.util.find_spec("langgraph") is None:
        print("\ngraph: left out, langgraph is not installed")
        return
    with tempfile.TemporaryDirectory(
        prefix="bench-", dir=os.environ.get("BENCH_DIR", ".")
    ) as folder:
        _overhead(Path(folder), memories=200 if quick else 1_000, rounds=5 if quick else 15)
        _hidden(
            Path(folder),
            memories=1_000 if quick else 5_000,
            model_seconds=0.1,
            rounds=5 if quick else 15,
        )


# -- the cost of a turn ---------------------------------------------------------------------------


def _overhead(folder: Path, *, memories: int, rounds: int) -> None:
    with ExitStack() as stack:
        commit = stack.enter_context(commits(folder / "bare.db", synchronous="FULL"))
        arms = list(_arms(stack, folder, memories))
        for asynchronous in (False, True):
            for callers in _CALLERS:
                for arm in arms:
                    arm.spent.clear()
                    arm.failed = 0
                floor: list[float] = []
                for number in range(rounds + 1):  # the first warms up
                    began = time.perf_counter()
                    commit(["one"] * callers)
                    spent = [(time.perf_counter() - began) * 1e3 / callers]
                    spent += [_round(arm, callers, asynchronous=asynchronous) for arm in arms]
                    if number:
                        floor.append(spent[0])
                        for arm, each in zip(arms, spent[1:], strict=True):
                            arm.spent.append(each)
                _print_overhead(arms, floor, callers, asynchronous=asynchronous, memories=memories)


def _round(arm: _Arm, callers: int, *, asynchronous: bool) -> float:
    """Milliseconds of one round of turns, by so many callers at once, divided by the turns."""
    asked = [(_said(), _config()) for _ in range(callers)]
    began = time.perf_counter()
    if asynchronous:
        asyncio.run(_gathered(arm, asked))
    elif callers == 1:
        arm.turn(*asked[0])
    else:
        with ThreadPoolExecutor(callers) as pool:
            list(pool.map(lambda each: arm.turn(*each), asked))
    spent = (time.perf_counter() - began) * 1e3 / callers
    arm.between()
    return spent


async def _gathered(arm: _Arm, asked: Sequence[tuple[Any, Any]]) -> None:
    await asyncio.gather(*(arm.aturn(given, config) for given, config in asked))


def _print_overhead(
    arms: Sequence[_Arm],
    floor: Sequence[float],
    callers: int,
    *,
    asynchronous: bool,
    memories: int,
) -> None:
    none, commit = arms[0], statistics.median(floor)
    how = "ainvoke" if asynchronous else "invoke"
    print(f"\nA turn by {how}, {callers} at once, {memories:,} memories known, per turn\n")
    rows = [
        ["one durable commit", f"{commit:.2f}", *_range(floor), "", "", "1.0", str(len(floor)), ""]
    ]
    for arm in arms:
        over = statistics.median(a - b for a, b in zip(arm.spent, none.spent, strict=True))
        times = statistics.median(a / b for a, b in zip(arm.spent, none.spent, strict=True))
        to_floor = statistics.median(
            (a - b) / c for a, b, c in zip(arm.spent, none.spent, floor, strict=True)
        )
        rows.append(
            [
                arm.name,
                f"{arm.median:.2f}",
                *_range(arm.spent),
                f"{over:.2f}",
                f"{times:.2f}",
                f"{to_floor:.1f}",
                f"{len(arm.spent)} x {callers}",
                str(arm.failed),
            ]
        )
    print("\n".join(table(_HEADS, rows)))


def _range(values: Sequence[float]) -> list[str]:
    return [f"{min(values):.2f}-{max(values):.2f}"]


def _arms(stack: ExitStack, folder: Path, memories: int) -> Iterator[_Arm]:
    from langgraph.store.memory import InMemoryStore

    yield _Arm("no memory", _graph(None))
    embedder = WordHash()
    for name, index in (
        ("InMemoryStore, no index", None),
        ("InMemoryStore, vectors", {"dims": embedder.dim, "embed": embedder.lists}),
    ):
        store = InMemoryStore(index=index) if index else InMemoryStore()  # type: ignore[arg-type]
        for n, text in enumerate(_texts(memories)):
            store.put(("alice",), str(n), {"text": text})
        yield _Arm(name, _graph("store", store=store))
    for name, synchronous, vectors in (
        ("ours, NORMAL, words", "normal", None),
        ("ours, FULL, words", "full", None),
        ("ours, FULL, words and vectors", "full", embedder),
    ):
        settings = Settings(worker=False, synchronous=synchronous)  # type: ignore[arg-type]
        path = folder / f"{uuid4()}.db"
        mos = stack.enter_context(MOS(path, embedder=vectors, settings=settings))
        mos.add(_texts(memories), user="alice")
        mos.work()
        yield _Arm(name, _graph("ours", mos=mos), mos.work)


def _graph(memory: str | None, *, mos: MOS | None = None, store: Any = None) -> Any:
    from langchain_core.messages import AIMessage
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, StateGraph

    from langgraph_memos import MemoryState, add_memory

    graph = StateGraph(MemoryState)
    graph.add_node("chat", lambda state: {"messages": [AIMessage("Yes.")]})
    graph.add_edge(START, "chat")
    if mos is not None:
        add_memory(graph, mos, limit=_LIMIT)
    elif memory == "store":
        _add_store(graph)
    return graph.compile(checkpointer=InMemorySaver(), store=store)


def _add_store(graph: Any) -> None:
    """What one writes by hand around LangGraph's store: look up before, put after."""
    from langgraph.graph import START
    from langgraph.runtime import Runtime

    from langgraph_memos import MemoryState

    def recall(state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        assert runtime.store is not None
        asked = str(state["messages"][-1].text)
        runtime.store.search(("alice",), query=asked, limit=_LIMIT)
        return {}

    def remember(state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        assert runtime.store is not None
        for message in state["messages"][-2:]:
            runtime.store.put(("alice",), str(message.id), {"text": str(message.text)})
        return {}

    graph.edges.clear()
    for node in (recall, remember):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "chat")
    graph.add_edge("chat", "remember")


# -- what prefetching hides -----------------------------------------------------------------------


def _hidden(folder: Path, *, memories: int, model_seconds: float, rounds: int) -> None:
    settings = Settings(worker=False)
    with MOS(folder / "hidden.db", embedder=WordHash(), settings=settings) as mos:
        mos.add(_texts(memories), user="alice")
        mos.work()
        arms = [
            _Arm(name, _model_graph(mos, place, model_seconds))
            for name, place in (
                ("none", None),
                ("before the model", "before"),
                ("beside the model", "beside"),
            )
        ]
        for number in range(rounds + 1):
            for arm in arms:
                spent = _round(arm, 1, asynchronous=False)
                if number:
                    arm.spent.append(spent)
    _print_hidden(arms, model_seconds, memories)


def _print_hidden(arms: Sequence[_Arm], model_seconds: float, memories: int) -> None:
    model = model_seconds * 1e3
    none, before, _ = arms
    cost = statistics.median(a - b for a, b in zip(before.spent, none.spent, strict=True))
    rows: list[list[str]] = []
    for arm in arms:
        over = statistics.median(a - b for a, b in zip(arm.spent, none.spent, strict=True))
        hidden = "" if arm is none else f"{max(0.0, 1 - over / cost):.0%}"
        rows.append([arm.name, f"{arm.median:.1f}", f"{over:.1f}", f"{over / model:.1%}", hidden])
    print(f"\nThree look-ups beside a model call of {model:.0f} ms, {memories:,} memories known\n")
    print("\n".join(table(_HIDDEN_HEADS, rows)))


def _model_graph(mos: MOS, place: str | None, model_seconds: float) -> Any:
    from langchain_core.messages import AIMessage
    from langgraph.graph import START, StateGraph

    from langgraph_memos import MemoryState, PrefetchNode

    def model(state: MemoryState) -> dict[str, Any]:
        time.sleep(model_seconds)
        return {"messages": [AIMessage("Yes.")]}

    graph = StateGraph(MemoryState)
    graph.add_node("model", model)
    if place is None:
        graph.add_edge(START, "model")
        return graph.compile()
    words = [" ".join(_WORDS[n : n + 4]) for n in (0, 5, 10)]
    graph.add_node("prefetch", PrefetchNode(mos, predict=lambda state: words, limit=_LIMIT))
    graph.add_edge(START, "prefetch")
    graph.add_edge("prefetch" if place == "before" else START, "model")
    return graph.compile()


# -- what is said ---------------------------------------------------------------------------------


def _texts(count: int) -> list[str]:
    return [
        f"Memory {n}: the {_WORDS[n % 20]} stands by the {_WORDS[n // 20 % 20]} since day {n}."
        for n in range(count)
    ]


def _said() -> dict[str, Any]:
    from langchain_core.messages import HumanMessage

    pair = np.random.default_rng().choice(20, 2, replace=False)
    asked = f"Where does the {_WORDS[pair[0]]} stand, by the {_WORDS[pair[1]]}? {uuid4()}"
    return {"messages": [HumanMessage(asked)]}


def _config() -> dict[str, Any]:
    return {"configurable": {"user_id": "alice", "thread_id": str(uuid4())}}


if __name__ == "__main__":
    import sys

    main(quick="--quick" in sys.argv)
