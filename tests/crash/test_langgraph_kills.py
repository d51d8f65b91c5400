"""Processes that die in the middle of a LangGraph run: what they had begun is done once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langchain_core.messages import HumanMessage

from langgraph_memos import MemOSSaver, memory_graph
from memos_integrations import MOS, Settings

ROOT = Path(__file__).parents[2]
WHO: Any = {"configurable": {"user_id": "alice", "thread_id": "t1"}}

HEAD = """
import os, signal, sys
from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph
from langgraph_memos import ConsolidateNode, MemOSSaver, MemoryState, RememberNode, memory_graph
from memos_integrations import MOS, Settings

mos = MOS(sys.argv[1], embedder=None, settings=Settings(worker=False))
who = {"configurable": {"user_id": "alice", "thread_id": "t1"}}

def die(*args, **given):
    os.kill(os.getpid(), signal.SIGKILL)
"""

ONE_NODE = """
def compiled(node, **how):
    graph = StateGraph(MemoryState)
    graph.add_node("node", node, **how)
    graph.add_edge(START, "node")
    return graph.compile(checkpointer=MemOSSaver(mos))
"""

CONSOLIDATE = """
mos.wait = die  # between the enqueue and the work
graph = compiled(ConsolidateNode(mos), defer=True)
graph.invoke({"messages": [HumanMessage("Good night.")]}, who, durability="sync")
"""

CONSOLIDATE_AGAIN = """
graph = compiled(ConsolidateNode(mos), defer=True)
print(graph.invoke(None, who)["consolidation"]["task"])
"""

REMEMBER = """
add = mos.add
mos.add = lambda *args, **given: die(add(*args, **given))  # after the commit
graph = compiled(RememberNode(mos))
graph.invoke({"messages": [HumanMessage("I moved to Porto.")]}, who, durability="sync")
"""

REMEMBER_AGAIN = """
graph = compiled(RememberNode(mos))
print(graph.invoke(None, who)["written"][0]["status"])
"""

TALK = """
graph = memory_graph(mos).compile(checkpointer=MemOSSaver(mos))
print("resumed" if graph.get_state(who).tasks else "ready", flush=True)
while True:
    state = graph.get_state(who)
    said = [m for m in state.values.get("messages", []) if m.type == "human"]
    if state.tasks:  # `next` leaves out what had ended when the process died
        graph.invoke(None, who, durability="sync")
    elif len(said) < int(sys.argv[2]):
        told = {"messages": [HumanMessage(f"Number {len(said)} is remembered once.")]}
        graph.invoke(told, who, durability="sync")
    else:
        break
"""


def start(path: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    paths = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'graphs')!r}]\n"
    return subprocess.Popen(
        [sys.executable, "-c", paths + HEAD + code, str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(path: Path, code: str, *arguments: str) -> tuple[int, str]:
    child = start(path, code, *arguments)
    out, error = child.communicate(timeout=120)
    assert child.returncode in (0, -signal.SIGKILL), error
    return child.returncode, out.strip()


def opened(path: Path) -> MOS:
    return MOS(path, embedder=None, settings=Settings(worker=False))


@pytest.mark.slow
def test_consolidation_killed_between_enqueue_and_work_is_resumed_as_the_same_task(
    tmp_path: Path,
) -> None:
    path = tmp_path / "memory.db"
    with opened(path) as mos:
        for n in range(4):
            mos.add(f"Walk {n} in the harbour of Porto was long and sunny.", user="alice")
        mos.work()
    code, _ = run(path, ONE_NODE + CONSOLIDATE)
    assert code == -signal.SIGKILL
    with opened(path) as mos:
        queued = [line for line in mos.audit(user="alice") if line.action == "consolidate"]
        assert len(queued) == 1
    _, task = run(path, ONE_NODE + CONSOLIDATE_AGAIN)
    with opened(path) as mos:
        assert mos.task_status(task, user="alice").state == "completed"
        actions = [line.action for line in mos.audit(user="alice")]
        assert actions.count("consolidate") == 1
        summaries = [i for i in mos.list(user="alice") if "summary" in i.header.tags]
        assert len(summaries) == 1


def test_consolidation_whose_process_died_is_done_by_whoever_opens_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "memory.db"
    with opened(path) as mos:
        for n in range(4):
            mos.add(f"Walk {n} in the harbour of Porto was long and sunny.", user="alice")
        mos.work()
    run(path, ONE_NODE + CONSOLIDATE)
    with opened(path) as mos:
        mos.work()
        assert [i for i in mos.list(user="alice") if "summary" in i.header.tags]


@pytest.mark.slow
def test_memory_written_by_a_killed_node_is_written_once_when_it_is_resumed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "memory.db"
    code, _ = run(path, ONE_NODE + REMEMBER)
    assert code == -signal.SIGKILL
    _, status = run(path, ONE_NODE + REMEMBER_AGAIN)
    assert status == "stored"
    with opened(path) as mos:
        assert mos.count(user="alice") == 1
        assert [line.action for line in mos.audit(user="alice")].count("add") == 1


def test_message_of_a_dead_process_is_written_once_though_the_thread_goes_on_without_it(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "memory.db") as mos:
        graph = memory_graph(mos).compile()
        first = HumanMessage("I moved to Porto.", id="m1")
        # The first process died behind the write and before the checkpoint that tells of it, so
        # the second begins another task with the same message and a new one.
        graph.invoke({"messages": [first]}, WHO)
        graph.invoke({"messages": [first, HumanMessage("I like it.", id="m2")]}, WHO)
        assert sorted(i.text for i in mos.list(user="alice")) == ["I like it.", "I moved to Porto."]


@pytest.mark.slow
def test_conversation_under_random_kills_remembers_each_turn_once(tmp_path: Path) -> None:
    path, turns, kills = tmp_path / "memory.db", 60, 12
    dice, found = random.Random(11), []
    for _ in range(kills):
        child = start(path, TALK, str(turns))
        assert child.stdout is not None
        found.append(child.stdout.readline().strip())
        time.sleep(dice.random() * 0.25)  # a turn takes some hundredths of a second
        child.kill()
        child.communicate()
    assert "resumed" in found, "no kill hit a turn in the middle"
    code, _ = run(path, TALK, str(turns))
    assert code == 0
    with opened(path) as mos:
        kept = sorted(item.text for item in mos.list(user="alice", limit=1000))
        assert kept == sorted(f"Number {n} is remembered once." for n in range(turns))
        mos.work()
        assert mos.check().sound
        graph = memory_graph(mos).compile(checkpointer=MemOSSaver(mos))
        assert graph.get_state(WHO).values["memory_version"]["known"] is None
        state = graph.invoke({"messages": [HumanMessage("What is number 7?")]}, WHO)
        assert state["recalled"]
