"""Threads that go back: replayed they recall what was known then, forked they write to a branch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import InvalidUpdateError
from langgraph.graph import START, StateGraph

from langgraph_memos import (
    Mark,
    MemoryState,
    MemoryVersion,
    MemOSSaver,
    RecallNode,
    RememberNode,
    TickingSaver,
    first_mark,
    memory_graph,
    merge_fork,
    standing,
)
from memos_integrations import MOS, Settings, errors

Run = Callable[[Any, Any, Any], Any]


def invoke(graph: Any, given: Any, config: Any) -> Any:
    return graph.invoke(given, config)


def ainvoke(graph: Any, given: Any, config: Any) -> Any:
    return asyncio.run(graph.ainvoke(given, config))


both = pytest.mark.parametrize("run", [invoke, ainvoke])


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        yield opened


@pytest.fixture(params=["InMemorySaver", "MemOSSaver", "TickingSaver"])
def saver(request: Any, mos: MOS) -> Any:
    made = {
        "InMemorySaver": InMemorySaver,
        "MemOSSaver": lambda: MemOSSaver(mos),
        "TickingSaver": lambda: TickingSaver(MemOSSaver(mos), mos, least_seconds=0),
    }
    return made[request.param]()


def who(user: str = "alice", thread: str = "t1") -> Any:
    return {"configurable": {"user_id": user, "thread_id": thread}}


def said(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def texts(mos: MOS, **where: Any) -> list[str]:
    return sorted(item.text for item in mos.list(**where))


def before(graph: Any, node: str, *, turn: int, config: Any = None) -> Any:
    """The config of the checkpoint before ``node`` in that turn of the thread (0 is the first)."""
    history = [s for s in graph.get_state_history(config or who()) if s.next == (node,)]
    return asked_by("alice", list(reversed(history))[turn].config)


def asked_by(user: str, config: Any) -> Any:
    """LangGraph's own configs name the checkpoint, not who asks."""
    return {"configurable": {**config["configurable"], "user_id": user}}


def branches(mos: MOS, user: str = "alice") -> list[str]:
    return [cube.path for cube in mos.cubes(user=user) if "/branches/" in cube.path]


@both
def test_replay_recalls_what_was_known_then(mos: MOS, saver: Any, run: Run) -> None:
    graph = memory_graph(mos).compile(checkpointer=saver)
    run(graph, said("I'm allergic to peanuts."), who())
    run(graph, said("What am I allergic to?"), who())
    mos.add("I'm allergic to shellfish too.", user="alice")  # elsewhere, later
    state = run(graph, None, before(graph, "recall", turn=1))
    assert [m["text"] for m in state["recalled"]] == ["I'm allergic to peanuts."]
    assert state["memory_version"]["known"] is not None


@both
def test_thread_that_goes_on_recalls_what_came_from_elsewhere(
    mos: MOS, saver: Any, run: Run
) -> None:
    graph = memory_graph(mos).compile(checkpointer=saver)
    run(graph, said("I'm allergic to peanuts."), who())
    mos.add("I'm allergic to shellfish too.", user="alice")
    state = run(graph, said("What am I allergic to?"), who())
    assert "I'm allergic to shellfish too." in [m["text"] for m in state["recalled"]]
    assert state["memory_version"]["known"] is None


def test_replay_of_the_first_step_of_a_thread_recalls_what_was_known_then(
    mos: MOS, saver: Any
) -> None:
    mos.add("I'm allergic to peanuts.", user="alice")
    graph = memory_graph(mos).compile(checkpointer=saver)
    graph.invoke(said("What am I allergic to?"), who())
    mos.add("I'm allergic to shellfish too.", user="alice")
    state = graph.invoke(None, before(graph, "recall", turn=0))
    assert [m["text"] for m in state["recalled"]] == ["I'm allergic to peanuts."]


def test_replay_sees_what_was_corrected_since_as_it_was(mos: MOS) -> None:
    added = mos.add("I'm allergic to peanuts.", user="alice")
    graph = memory_graph(mos).compile(checkpointer=InMemorySaver())
    graph.invoke(said("What am I allergic to?"), who())
    mos.update(added.id, "I'm allergic to hazelnuts.", user="alice")
    state = graph.invoke(None, before(graph, "recall", turn=0))
    assert state["answer"]["text"] == "I'm allergic to peanuts."


@both
def test_fork_writes_to_a_branch_and_never_into_the_main_line(
    mos: MOS, saver: Any, run: Run
) -> None:
    graph = memory_graph(mos).compile(checkpointer=saver)
    run(graph, said("I moved to Porto."), who())
    run(graph, said("I work at the harbour."), who())
    main = texts(mos, user="alice")
    point = before(graph, "recall", turn=1)
    (asked,) = graph.get_state(point).values["messages"][-1:]
    forked = graph.update_state(point, {"messages": [HumanMessage("I draw maps.", id=asked.id)]})
    state = run(graph, None, asked_by("alice", forked))
    assert texts(mos, user="alice") == main
    (branch,) = branches(mos)
    assert texts(mos, user="alice", cube=branch) == ["I draw maps.", "I moved to Porto."]
    assert state["memory_version"]["branches"][""] == {"cube": branch, "upto": None}


def test_fork_goes_on_in_its_own_branch_turn_after_turn(mos: MOS, saver: Any) -> None:
    graph = memory_graph(mos).compile(checkpointer=saver)
    graph.invoke(said("I moved to Porto."), who())
    graph.invoke(said("I work at the harbour."), who())
    graph.invoke(None, before(graph, "remember", turn=1))
    graph.invoke(said("I draw maps of the harbour."), who())
    state = graph.invoke(said("Where do I work, what do I draw of the harbour?"), who())
    (branch,) = branches(mos)
    assert "I draw maps of the harbour." in texts(mos, user="alice", cube=branch)
    assert "I draw maps of the harbour." in [m["text"] for m in state["recalled"]]
    assert texts(mos, user="alice") == ["I moved to Porto.", "I work at the harbour."]


def test_fork_of_a_fork_has_a_branch_of_that_branch(mos: MOS, saver: Any) -> None:
    graph = memory_graph(mos).compile(checkpointer=saver)
    graph.invoke(said("I moved to Porto."), who())
    graph.invoke(None, before(graph, "remember", turn=0))  # the first fork
    graph.invoke(said("I draw maps."), who())
    point = before(graph, "remember", turn=2)
    graph.invoke(said("I play chess."), who())
    first, *_ = branches(mos)
    kept = texts(mos, user="alice", cube=first)
    state = graph.invoke(None, point)  # and a fork of it
    second = state["memory_version"]["branches"][""]["cube"]
    assert second != first
    assert texts(mos, user="alice", cube=first) == kept
    assert texts(mos, user="alice", cube=second) == ["I draw maps.", "I moved to Porto."]


@both
def test_nodes_side_by_side_on_a_fork_write_to_one_branch(mos: MOS, run: Run) -> None:
    graph = StateGraph(MemoryState)
    graph.add_node("one", RememberNode(mos, roles=("human",)))
    graph.add_node("two", RememberNode(mos, roles=("ai",)))
    graph.add_node("end", RecallNode(mos))
    for node in ("one", "two"):
        graph.add_edge(START, node)
    graph.add_edge(["one", "two"], "end")
    compiled = graph.compile(checkpointer=InMemorySaver())
    both_said = {"messages": [HumanMessage("I moved to Porto."), AIMessage("To Porto, noted.")]}
    run(compiled, both_said, who())
    main = texts(mos, user="alice")
    history = [s for s in compiled.get_state_history(who()) if s.next == ("one", "two")]
    state = run(compiled, None, asked_by("alice", history[0].config))
    assert len(state["written"]) == 2
    assert texts(mos, user="alice") == main
    (branch,) = branches(mos)
    assert texts(mos, user="alice", cube=branch) == main
    assert {m["id"] for m in state["recalled"]} <= {
        item.id for item in mos.list(user="alice", cube=branch)
    }


def test_branch_can_be_compared_and_merged_back(mos: MOS) -> None:
    graph = memory_graph(mos).compile(checkpointer=InMemorySaver())
    graph.invoke(said("I moved to Porto."), who())
    point = before(graph, "remember", turn=0)
    forked = graph.update_state(point, said("I like fado."), as_node="answer")
    state = graph.invoke(None, asked_by("alice", forked))
    branch = state["memory_version"]["branches"][""]["cube"]
    assert mos.diff(branch, user="alice").added
    mos.merge_branch(branch, user="alice")
    assert "I like fado." in texts(mos, user="alice")


def test_fork_of_a_shared_cube_is_closed_with_the_grant(mos: MOS) -> None:
    mos.create_cube("teams/acme", user="maya")
    mos.share(to="alice", permission="write", user="maya", cube="teams/acme")
    mos.add("The fence is green.", user="maya", cube="teams/acme")
    node = RememberNode(mos, cube="teams/acme")
    built = StateGraph(MemoryState).add_node("remember", node).add_edge(START, "remember")
    graph = built.compile(checkpointer=InMemorySaver())
    graph.invoke(said("I paint on Monday."), who())
    graph.invoke(None, before(graph, "remember", turn=0))
    point = asked_by("alice", next(s.config for s in graph.get_state_history(who()) if s.next))
    graph.invoke(None, point)  # a fork of the fork
    made = branches(mos)
    assert len(made) == 2
    assert branches(mos, "maya") == made
    for branch in made:
        mos.add("I may write here.", user="alice", cube=branch)
        mos.merge_branch(branch, user="alice", on_conflict="theirs")
    mos.revoke(to="alice", user="maya", cube="teams/acme")
    assert branches(mos) == []
    for branch in made:
        with pytest.raises(errors.AccessDenied):
            mos.list(user="alice", cube=branch)
        assert "The fence is green." in texts(mos, user="maya", cube=branch)


def test_fork_that_is_merged_goes_on_in_the_cube_it_left(mos: MOS, saver: Any) -> None:
    graph = memory_graph(mos).compile(checkpointer=saver)
    graph.invoke(said("I moved to Porto."), who())
    point = before(graph, "recall", turn=0)
    (asked,) = graph.get_state(point).values["messages"]
    forked = graph.update_state(
        point, {"messages": [HumanMessage("I moved to Lyon.", id=asked.id)]}
    )
    graph.invoke(None, asked_by("alice", forked))
    graph.invoke(said("I draw maps."), who())
    assert texts(mos, user="alice") == ["I moved to Porto."]
    mark = graph.get_state(who()).values["memory_version"]
    with pytest.raises(errors.UsageError, match="no fork"):
        merge_fork(mos, first_mark(), user="alice")
    graph.update_state(who(), {"memory_version": merge_fork(mos, mark, user="alice")})
    kept = ["I draw maps.", "I moved to Lyon.", "I moved to Porto."]
    assert texts(mos, user="alice") == kept
    mos.add("I like fado.", user="alice")  # elsewhere
    state = graph.invoke(said("Do I like fado?"), who())
    assert "I like fado." in [memory["text"] for memory in state["recalled"]]
    assert texts(mos, user="alice") == sorted([*kept, "I like fado.", "Do I like fado?"])
    assert len(branches(mos)) == 1


def test_update_of_the_latest_checkpoint_stays_on_the_main_line(mos: MOS, saver: Any) -> None:
    graph = memory_graph(mos).compile(checkpointer=saver, interrupt_before=["remember"])
    graph.invoke(said("I moved to Porto."), who())
    (asked,) = [m for m in graph.get_state(who()).values["messages"] if m.type == "human"]
    graph.update_state(who(), {"messages": [HumanMessage("I moved to Lyon.", id=asked.id)]})
    graph.invoke(None, who())
    assert texts(mos, user="alice") == ["I moved to Lyon."]
    assert branches(mos) == []


@both
def test_new_message_after_a_crash_stays_on_the_main_line(mos: MOS, saver: Any, run: Run) -> None:
    remember, crashed = RememberNode(mos), []

    def remember_then_crash(
        state: MemoryState, config: RunnableConfig, runtime: Any
    ) -> dict[str, Any]:
        done = remember(state, config, runtime)
        if not crashed:
            crashed.append(True)
            raise RuntimeError("the process went away")
        return done

    graph = StateGraph(MemoryState)
    graph.add_node("recall", RecallNode(mos))
    graph.add_node("remember", remember_then_crash)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "remember")
    compiled = graph.compile(checkpointer=saver)
    with pytest.raises(RuntimeError, match="went away"):
        run(compiled, said("I moved to Porto."), who())
    state = run(compiled, said("I work at the harbour."), who())  # asked again, not resumed
    assert state["memory_version"]["known"] is None
    mos.wait()  # what was told twice, by a task that died and its successor, is folded
    assert texts(mos, user="alice") == ["I moved to Porto.", "I work at the harbour."]
    assert branches(mos) == []


async def test_checkpointer_for_event_loops_only_tells_forks_apart(mos: MOS) -> None:
    class LoopSaver(BaseCheckpointSaver[str]):
        """Only the asynchronous half, as some servers' checkpointers have."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = InMemorySaver()

        async def aget_tuple(self, config: Any) -> Any:
            return self.inner.get_tuple(config)

        async def alist(self, config: Any, **given: Any) -> Any:
            for each in self.inner.list(config, **given):
                yield each

        async def aput(self, *given: Any) -> Any:
            return self.inner.put(*given)

        async def aput_writes(self, *given: Any) -> None:
            self.inner.put_writes(*given)

        def get_next_version(self, current: Any, channel: None) -> Any:
            return self.inner.get_next_version(current, channel)

    graph = memory_graph(mos).compile(checkpointer=LoopSaver())
    await graph.ainvoke(said("I moved to Porto."), who())
    first = asked_by("alice", (await graph.aget_state(who())).config)
    await graph.ainvoke(said("I work at the harbour."), who())
    await graph.ainvoke(said("I draw maps."), first)
    assert texts(mos, user="alice") == ["I moved to Porto.", "I work at the harbour."]


def test_graph_without_checkpointer_always_stands_on_the_main_line(mos: MOS) -> None:
    graph = memory_graph(mos).compile()
    for text in ("I moved to Porto.", "I work at the harbour."):
        state = graph.invoke(said(text), who())
        assert state["memory_version"]["known"] is None
    assert len(texts(mos, user="alice")) == 2


def test_thread_that_is_deleted_begins_anew_on_the_main_line(mos: MOS) -> None:
    saver = InMemorySaver()
    graph = memory_graph(mos).compile(checkpointer=saver)
    graph.invoke(said("I moved to Porto."), who())
    saver.delete_thread("t1")
    state = graph.invoke(said("I work at the harbour."), who())
    assert state["memory_version"]["known"] is None
    assert len(texts(mos, user="alice")) == 2


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_forks_are_told_apart_under_every_durability(mos: MOS, saver: Any, durability: Any) -> None:
    graph = memory_graph(mos).compile(checkpointer=saver)
    graph.invoke(said("I moved to Porto."), who(), durability=durability)
    first = asked_by("alice", graph.get_state(who()).config)
    graph.invoke(said("I work at the harbour."), who(), durability=durability)
    state = graph.invoke(said("I draw maps."), first, durability=durability)
    assert texts(mos, user="alice") == ["I moved to Porto.", "I work at the harbour."]
    branch = state["memory_version"]["branches"][""]["cube"]
    assert texts(mos, user="alice", cube=branch) == ["I draw maps.", "I moved to Porto."]


def test_memory_in_a_subgraph_that_shares_the_mark_goes_back_with_it(mos: MOS, saver: Any) -> None:
    inner = memory_graph(mos).compile()
    outer = StateGraph(MemoryState)
    outer.add_node("remembering", inner)
    outer.add_edge(START, "remembering")
    graph = outer.compile(checkpointer=saver)
    graph.invoke(said("I moved to Porto."), who())
    graph.invoke(said("I work at the harbour."), who())
    main = texts(mos, user="alice")
    state = graph.invoke(None, before(graph, "remembering", turn=1))
    assert state["memory_version"]["known"] is not None
    assert texts(mos, user="alice") == main


def test_memory_in_a_subgraph_of_its_own_is_not_mistaken_for_a_fork(mos: MOS) -> None:
    inner = memory_graph(mos).compile()

    def ask(state: MemoryState, config: RunnableConfig) -> dict[str, Any]:
        inner.invoke(said(str(state["messages"][-1].text)), config)
        return {}

    outer = StateGraph(MemoryState)
    outer.add_node("recall", RecallNode(mos))
    outer.add_node("ask", ask)
    outer.add_edge(START, "recall")
    outer.add_edge("recall", "ask")
    graph = outer.compile(checkpointer=InMemorySaver())
    for text in ("I moved to Porto.", "I work at the harbour."):
        state = graph.invoke(said(text), who(), durability="sync")
        assert state["memory_version"]["tick"] > 0
    assert len(texts(mos, user="alice")) == 2
    assert branches(mos) == []


def test_mark_is_kept_by_the_channel_and_brought_together_after_parallel_nodes() -> None:
    channel = MemoryVersion()
    one = Mark(**{**first_mark(), "tick": 1, "seq": 5, "found": 3, "at": "a"})  # type: ignore[typeddict-item]
    other = Mark(**{**one, "seq": 7, "found": 4})  # type: ignore[typeddict-item]
    assert channel.update([one, other])
    assert (channel.get()["seq"], channel.get()["found"]) == (7, 3)
    assert MemoryVersion().from_checkpoint(channel.checkpoint()).get() == channel.get()
    assert not channel.update([])
    with pytest.raises(InvalidUpdateError, match="unchanged"):
        channel.update([{"seq": "seven"}])  # type: ignore[list-item]


def test_standing_is_the_same_until_somebody_went_on() -> None:
    mark = first_mark()
    later = Mark(**{**mark, "tick": 1, "found": 9, "seq": 12, "at": "b"})  # type: ignore[typeddict-item]
    elsewhere = Mark(**{**later, "line": "another"})  # type: ignore[typeddict-item]
    assert standing(mark, [], checkpoint="c") == mark
    assert standing(mark, [mark, elsewhere], checkpoint="c") == mark
    gone = standing(mark, [later], checkpoint="c")
    assert (gone["known"], gone["tick"]) == (9, 0)
    assert gone["line"] != ""
    assert standing(mark, [later], checkpoint="c") == gone
    assert standing(mark, [later], checkpoint="d")["line"] != gone["line"]


def test_messages_removed_on_a_fork_stay_remembered_on_the_main_line(mos: MOS) -> None:
    graph = memory_graph(mos).compile(checkpointer=InMemorySaver())
    graph.invoke(said("I moved to Porto."), who())
    point = before(graph, "remember", turn=0)
    gone = [RemoveMessage(m.id) for m in graph.get_state(point).values["messages"]]
    forked = graph.update_state(point, {"messages": gone})
    graph.invoke(None, asked_by("alice", forked))
    assert texts(mos, user="alice") == ["I moved to Porto."]
