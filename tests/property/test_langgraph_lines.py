"""Random walks through a thread's checkpoints: recall finds what was said on the way, no more.

The model is the path itself: whatever line the thread is on, memory at a checkpoint is what was
said on the checkpoint's own path from the beginning.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from langgraph_memos import MemoryState, RecallNode, RememberNode
from memos_integrations import MOS, Settings

WHO: Any = {"user_id": "alice", "thread_id": "t1"}
places = st.lists(st.integers(0, 100), min_size=2, max_size=9)


def remembering(mos: MOS) -> Any:
    graph = StateGraph(MemoryState)
    graph.add_node("recall", RecallNode(mos, limit=100))
    graph.add_node("remember", RememberNode(mos))
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "remember")
    return graph.compile(checkpointer=InMemorySaver())


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(places)
def test_memory_at_a_checkpoint_is_what_was_said_on_its_path(steps: list[int]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        MOS(
            Path(folder) / "memory.db",
            embedder=None,
            extractor=None,
            settings=Settings(worker=False, synchronous="normal"),
        ) as mos,
    ):
        graph = remembering(mos)
        ends: list[tuple[Any, frozenset[str]]] = [({"configurable": WHO}, frozenset())]
        for number, step in enumerate(steps):
            at, path = ends[step % len(ends)]
            text = f"Walk number {number} in the harbour."
            state = graph.invoke({"messages": [HumanMessage(text)]}, at)
            assert {memory["text"] for memory in state["recalled"]} == path, ends
            end = graph.get_state({"configurable": WHO}).config["configurable"]
            if not path and len(ends) == 1:
                ends.clear()  # an empty thread is no checkpoint to go back to
            ends.append(({"configurable": {**end, **WHO}}, path | {text}))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(places)
def test_main_line_keeps_what_was_said_on_it_whatever_is_tried_on_forks(steps: list[int]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        MOS(
            Path(folder) / "memory.db",
            embedder=None,
            extractor=None,
            settings=Settings(worker=False, synchronous="normal"),
        ) as mos,
    ):
        graph = remembering(mos)
        head: Any = {"configurable": WHO}
        ends: list[Any] = []
        main: set[str] = set()
        for number, step in enumerate(steps):
            text = f"Walk number {number} in the harbour."
            on_main = step % 2 == 0 or len(ends) < 2
            at = head if on_main else ends[step % (len(ends) - 1)]
            graph.invoke({"messages": [HumanMessage(text)]}, at)
            end = graph.get_state({"configurable": WHO}).config["configurable"]
            if on_main:
                main.add(text)
                head = {"configurable": {**end, **WHO}}
                ends.append(head)
            assert {item.text for item in mos.list(user="alice")} == main
