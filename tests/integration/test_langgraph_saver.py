"""MemOSSaver under real compiled graphs: resume, time travel, owners, erase, size, bad bytes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import operator
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")
pytest.importorskip("langchain", reason="the langchain extra is not installed")

import ormsgpack
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langchain_core.tools import tool
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from langgraph_memos import MemOSSaver, StrictSerializer, UnreadableBytes
from langgraph_memos.saver import SPACE
from langgraph_memos.thread_records import ThreadKeys
from memos_integrations import MOS, Settings
from memos_integrations.cube.errors import AccessDenied, BackendUnavailable, Conflict, InvalidInput
from memos_integrations.infrastructure.vault.scrub import holds, vault_files

QUIET = Settings(worker=False, synchronous="normal")
Graph = CompiledStateGraph[Any, Any, Any, Any]


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    steps: Annotated[int, operator.add]


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    with MOS(tmp_path / "memory.db", embedder=None, settings=QUIET) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Calls a method of a graph, or its async twin in a loop of its own."""

    def call(graph: Graph, verb: str, *args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            found = getattr(graph, verb)(*args, **kwargs)
            return list(found) if verb == "get_state_history" else found
        return asyncio.run(awaited(graph, "a" + verb, *args, **kwargs))

    return call


async def awaited(graph: Graph, verb: str, *args: Any, **kwargs: Any) -> Any:
    found = getattr(graph, verb)(*args, **kwargs)
    return [each async for each in found] if hasattr(found, "__aiter__") else await found


def who(user: str, thread: str = "t1") -> Any:
    return {"configurable": {"user_id": user, "thread_id": thread}}


def said(text: str) -> Any:
    return {"messages": [HumanMessage(text)], "steps": 0}


def echo(state: Chat) -> Any:
    return {"messages": [AIMessage(f"heard {state['messages'][-1].text}")], "steps": 1}


def echoing(saver: Any) -> Graph:
    return StateGraph(Chat).add_node("echo", echo).add_edge(START, "echo").compile(saver)


def asking(saver: Any) -> Graph:
    def ask(state: Chat) -> Any:
        answer = interrupt({"question": state["messages"][-1].text})
        return {"messages": [AIMessage(f"told {answer}")], "steps": 1}

    return StateGraph(Chat).add_node("ask", ask).add_edge(START, "ask").compile(saver)


def texts(state: Any) -> list[str]:
    return [message.text for message in state["messages"]]


# -- what a checkpointer is for --------------------------------------------------------------


def test_a_thread_goes_on_where_it_was_after_the_file_is_opened_again(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    for turn in range(3):
        with MOS(tmp_path / "memory.db", embedder=None, settings=QUIET) as mos:
            state = run(echoing(MemOSSaver(mos)), "invoke", said(str(turn)), who("alice"))
            assert len(state["messages"]) == 2 * (turn + 1)
            assert state["steps"] == turn + 1
            assert mos.check().sound


def test_an_interrupt_is_resumed_once(tmp_path: Path, run: Callable[..., Any]) -> None:
    with MOS(tmp_path / "memory.db", embedder=None, settings=QUIET) as mos:
        state = run(asking(MemOSSaver(mos)), "invoke", said("may I?"), who("alice"))
        assert state["__interrupt__"][0].value == {"question": "may I?"}
    with MOS(tmp_path / "memory.db", embedder=None, settings=QUIET) as mos:
        graph = asking(MemOSSaver(mos))
        waiting = run(graph, "get_state", who("alice"))
        assert waiting.next == ("ask",)
        assert waiting.tasks[0].interrupts[0].value == {"question": "may I?"}
        state = run(graph, "invoke", Command(resume="yes"), who("alice"))
        assert texts(state) == ["may I?", "told yes"]
        assert run(graph, "get_state", who("alice")).next == ()


def test_a_task_that_finished_beside_one_that_failed_is_not_run_again(
    mos: MOS, run: Callable[..., Any]
) -> None:
    ran: list[str] = []

    def fine(_: Chat) -> Any:
        ran.append("fine")
        return {"steps": 1}

    def fails_once(_: Chat) -> Any:
        ran.append("fails")
        if ran.count("fails") == 1:
            time.sleep(0.2)  # until the other one is done
            raise RuntimeError("once")
        return {"steps": 10}

    builder = StateGraph(Chat).add_node("fine", fine).add_node("fails", fails_once)
    graph = builder.add_edge(START, "fine").add_edge(START, "fails").compile(MemOSSaver(mos))
    with pytest.raises(RuntimeError, match="once"):
        run(graph, "invoke", said("go"), who("alice"))
    state = run(graph, "invoke", None, who("alice"))
    assert state["steps"] == 11
    assert ran.count("fine") == 1


def test_history_replay_and_update_travel_in_time(mos: MOS, run: Callable[..., Any]) -> None:
    graph = echoing(MemOSSaver(mos))
    for word in ("one", "two", "three"):
        run(graph, "invoke", said(word), who("alice"))
    history = run(graph, "get_state_history", who("alice"))
    assert [s.metadata["step"] for s in history] == sorted(
        (s.metadata["step"] for s in history), reverse=True
    )
    then = next(s for s in history if len(s.values.get("messages", [])) == 4 and not s.next)
    assert then.config["configurable"]["user_id"] == "alice"
    assert texts(run(graph, "get_state", then.config).values)[-1] == "heard two"

    forked = run(graph, "update_state", then.config, said("instead"), as_node="__start__")
    state = run(graph, "invoke", None, forked)
    assert texts(state)[-2:] == ["instead", "heard instead"]
    assert "three" not in texts(state)
    assert texts(run(graph, "get_state", history[0].config).values)[-2:] == ["three", "heard three"]
    assert texts(run(graph, "get_state", who("alice")).values)[-1] == "heard instead"


def test_history_is_what_the_saver_in_memory_tells(mos: MOS, run: Callable[..., Any]) -> None:
    told = []
    for saver in (MemOSSaver(mos), InMemorySaver()):
        graph = asking(saver)
        run(graph, "invoke", said("a"), who("alice"))
        run(graph, "invoke", Command(resume="b"), who("alice"))
        run(graph, "update_state", who("alice"), said("c"))
        history = run(graph, "get_state_history", who("alice"))
        told.append(
            [
                (s.next, texts(s.values) if s.values else [], s.metadata["source"], len(s.tasks))
                for s in history
            ]
        )
    assert told[0] == told[1]


def test_subgraphs_keep_their_own_checkpoints(mos: MOS, run: Callable[..., Any]) -> None:
    inner = asking(True)
    graph = StateGraph(Chat).add_node("inner", inner).add_edge(START, "inner")
    outer = graph.compile(MemOSSaver(mos))
    run(outer, "invoke", said("deep?"), who("alice"))
    waiting = run(outer, "get_state", who("alice"), subgraphs=True)
    assert waiting.tasks[0].state.next == ("ask",)
    unopened = run(outer, "get_state", who("alice")).tasks[0].state
    assert run(outer, "get_state", unopened).next == ("ask",)
    state = run(outer, "invoke", Command(resume="deep"), who("alice"))
    assert texts(state)[-1] == "told deep"


@tool
def send(to: str) -> str:
    """Send a letter."""
    return f"sent to {to}"


class Scripted(FakeMessagesListChatModel):
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def test_an_agent_waits_for_approval_over_a_restart(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    call = {"name": "send", "args": {"to": "bob"}, "id": "c1"}
    model = Scripted(responses=[AIMessage("", tool_calls=[call]), AIMessage("done")])
    hold = HumanInTheLoopMiddleware(interrupt_on={"send": True})
    approve = {"decisions": [{"type": "approve"}]}
    for given in (said("write to bob"), Command(resume=approve)):
        with MOS(tmp_path / "memory.db", embedder=None, settings=QUIET) as mos:
            agent = create_agent(model, [send], middleware=[hold], checkpointer=MemOSSaver(mos))
            state = run(agent, "invoke", given, who("alice"))
    assert texts(state) == ["write to bob", "", "sent to bob", "done"]


def test_threads_side_by_side_do_not_mix(mos: MOS) -> None:
    graph = echoing(MemOSSaver(mos))

    def chat(n: int) -> list[str]:
        for turn in range(5):
            state = graph.invoke(said(f"{n}:{turn}"), who(f"user{n % 3}", f"thread{n}"))
        return texts(state)

    with ThreadPoolExecutor(8) as pool:
        for n, found in enumerate(pool.map(chat, range(12))):
            assert found == [w for t in range(5) for w in (f"{n}:{t}", f"heard {n}:{t}")]
    assert mos.check().sound


async def test_threads_side_by_side_on_one_loop_do_not_mix(mos: MOS) -> None:
    graph = echoing(MemOSSaver(mos))
    states = await asyncio.gather(
        *(graph.ainvoke(said(str(n)), who("alice", f"t{n}")) for n in range(12))
    )
    assert [texts(s) for s in states] == [[str(n), f"heard {n}"] for n in range(12)]


# -- whose threads ---------------------------------------------------------------------------


def test_the_thread_of_one_user_is_not_there_for_another(mos: MOS, run: Callable[..., Any]) -> None:
    saver = MemOSSaver(mos)
    graph = echoing(saver)
    run(graph, "invoke", said("alice's secret"), who("alice", "shared name"))
    assert run(graph, "get_state", who("bob", "shared name")).values == {}
    assert run(graph, "get_state_history", who("bob", "shared name")) == []
    assert list(saver.asking(user="bob").list(None)) == []
    saver.asking(user="bob").delete_thread("shared name")
    saver.asking(user="bob").prune(["shared name"], strategy="delete")
    run(graph, "invoke", said("bob's"), who("bob", "shared name"))
    assert texts(run(graph, "get_state", who("alice", "shared name")).values)[0] == "alice's secret"
    theirs = MemOSSaver(mos, cube="users/alice")
    with pytest.raises(AccessDenied):
        run(echoing(theirs), "get_state", who("bob", "shared name"))
    with pytest.raises(AccessDenied):
        run(echoing(theirs), "invoke", said("x"), who("bob", "shared name"))


@dataclasses.dataclass
class Who:
    user_id: str


class LoggedIn:
    """A user as LangGraph's server knows it."""

    identity = "mallory"


@pytest.mark.parametrize("login", [LoggedIn(), {"identity": "mallory"}], ids=["object", "dict"])
def test_whoever_is_logged_in_sees_and_changes_no_thread_of_another(
    mos: MOS, run: Callable[..., Any], login: Any
) -> None:
    graph = echoing(MemOSSaver(mos))
    run(graph, "invoke", said("my code is 4711"), who("alice"))
    theirs: Any = who("alice")
    theirs["configurable"]["langgraph_auth_user"] = login
    for verb, *args in (
        ("get_state", theirs),
        ("get_state_history", theirs),
        ("update_state", theirs, said("no")),
        ("invoke", said("no"), theirs),
    ):
        with pytest.raises(AccessDenied, match="mallory"):
            run(graph, verb, *args)
    own: Any = {"configurable": {"thread_id": "t1", "langgraph_auth_user": login}}
    assert run(graph, "get_state", own).values == {}
    run(graph, "invoke", said("mine"), own)
    assert texts(run(graph, "get_state", own).values) == ["mine", "heard mine"]
    assert len(texts(run(graph, "get_state", who("alice")).values)) == 2


def test_a_thread_belongs_to_the_user_that_the_context_of_its_run_names(
    mos: MOS, run: Callable[..., Any]
) -> None:
    builder = StateGraph(Chat, context_schema=Who).add_node("echo", echo).add_edge(START, "echo")
    graph = builder.compile(MemOSSaver(mos))
    config: Any = {"configurable": {"thread_id": "t1"}}
    run(graph, "invoke", said("mine"), config, context=Who("alice"))
    run(graph, "invoke", said("mine too"), config, context=Who("alice"))
    assert len(run(graph, "get_state", who("alice")).values["messages"]) == 4
    assert run(graph, "get_state", config).values == {}


def test_a_team_shares_threads_in_a_cube_of_its_own(mos: MOS) -> None:
    mos.create_cube("team/support", user="alice")
    mos.share(to="bob", permission="write", user="alice", cube="team/support")
    graph = echoing(MemOSSaver(mos, cube="team/support"))
    graph.invoke(said("from alice"), who("alice"))
    state = graph.invoke(said("from bob"), who("bob"))
    assert texts(state) == ["from alice", "heard from alice", "from bob", "heard from bob"]
    mos.revoke(to="bob", user="alice", cube="team/support")
    with pytest.raises(AccessDenied):
        graph.invoke(said("again"), who("bob"))


def test_erasing_a_user_erases_their_threads_from_the_file(mos: MOS) -> None:
    secret = "the-secret-" + os.urandom(8).hex()
    graph = echoing(MemOSSaver(mos))
    graph.invoke(said(secret), who("alice"))
    graph.invoke(said("kept"), who("bob"))
    receipt = mos.erase(subject="alice", user="alice")
    assert receipt.counts["records"] > 0
    assert receipt.scan.found == 0
    assert not any(holds(file, secret.encode()) for file in vault_files(mos.path))
    assert graph.get_state(who("alice")).values == {}
    assert texts(graph.get_state(who("bob")).values)[0] == "kept"
    assert mos.check().sound


def test_erasing_a_conversation_erases_its_thread_with_its_memories(mos: MOS) -> None:
    secret = "the-secret-" + os.urandom(8).hex()
    graph = echoing(MemOSSaver(mos))
    graph.invoke(said(secret), who("alice", "one"))
    graph.invoke(said("kept"), who("alice", "two"))
    mos.add(f"Alice said {secret}", user="alice", session="one")
    receipt = mos.erase(source="session:one", user="alice")
    assert receipt.counts["records"] > 0
    assert len(receipt.erased) >= 1
    assert not any(holds(file, secret.encode()) for file in vault_files(mos.path))
    assert graph.get_state(who("alice", "one")).values == {}
    assert texts(graph.get_state(who("alice", "two")).values)[0] == "kept"


def test_threads_travel_with_their_cube(mos: MOS, tmp_path: Path) -> None:
    graph = echoing(MemOSSaver(mos))
    graph.invoke(said("hello"), who("alice"))
    mos.dump(tmp_path / "alice.memcube", user="alice")
    with MOS(tmp_path / "new.db", embedder=None, settings=QUIET) as new:
        new.load(tmp_path / "alice.memcube", user="alice", cube="users/alice", trusted=True)
        state = echoing(MemOSSaver(new)).invoke(said("again"), who("alice"))
    assert texts(state) == ["hello", "heard hello", "again", "heard again"]


# -- listing, thinning, copying --------------------------------------------------------------


def test_listing_is_by_checkpoint_over_threads_with_filter_before_and_limit(mos: MOS) -> None:
    saver = MemOSSaver(mos, user="alice")
    graph = echoing(saver)
    for n in range(30):
        graph.invoke(said(str(n)), who("alice", f"t{n % 3}"))
    everything = list(saver.list(None))
    ids = [t.config["configurable"]["checkpoint_id"] for t in everything]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 90
    inputs = list(saver.list(None, filter={"source": "input"}, limit=4))
    assert [t.metadata["source"] for t in inputs] == ["input"] * 4
    assert list(saver.list(None, before=everything[5].config, limit=2)) == everything[6:8]
    assert list(saver.list(who("alice", "t1"), limit=0)) == []
    hostile = {"source' OR '1'='1": "input", "step": "0 OR 1=1"}
    assert list(saver.list(None, filter=hostile)) == []


def test_a_pruned_thread_goes_on_and_is_small(mos: MOS, run: Callable[..., Any]) -> None:
    saver = MemOSSaver(mos, user="alice")
    graph = echoing(saver)
    for n in range(20):
        run(graph, "invoke", said(str(n)), who("alice"))
    records = mos.records(SPACE, user="alice")
    before = len(records.keys())
    saver.prune(["t1"])
    assert len(records.keys()) < before / 5
    state = run(graph, "invoke", said("after"), who("alice"))
    assert len(state["messages"]) == 42
    assert len(run(graph, "get_state_history", who("alice"))) == 4
    assert mos.check().sound


def joined(left: list[str] | None, writes: list[Any]) -> list[str]:
    return [*(left or []), *(word for write in writes for word in write)]


class Deltas(TypedDict):
    words: Annotated[list[str], DeltaChannel(joined, snapshot_frequency=4)]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_pruning_keeps_what_a_delta_channel_is_rebuilt_from(
    mos: MOS, run: Callable[..., Any]
) -> None:
    saver = MemOSSaver(mos, user="alice")
    builder = StateGraph(Deltas).add_node("add", lambda s: {"words": [str(len(s["words"]))]})
    graph = builder.add_edge(START, "add").compile(saver)
    for turn in range(9):
        expected = run(graph, "invoke", {"words": [f"in{turn}"]}, who("alice"))["words"]
        saver.prune(["t1"])
        assert run(graph, "get_state", who("alice")).values["words"] == expected
    assert len(expected) == 18
    assert len(list(saver.list(who("alice")))) < 12


def test_a_run_is_deleted_and_what_others_stand_on_stays(mos: MOS) -> None:
    saver = MemOSSaver(mos, user="alice")
    graph = echoing(saver)
    graph.invoke(said("first"), {**who("alice"), "metadata": {"run_id": "r1"}})
    graph.invoke(said("second"), {**who("alice"), "metadata": {"run_id": "r2"}})
    saver.delete_for_runs(["r1"])
    assert {t.metadata["run_id"] for t in saver.list(None)} == {"r2"}
    assert texts(graph.get_state(who("alice")).values)[0] == "first"
    assert mos.check().sound


def test_a_copied_thread_has_a_life_of_its_own(mos: MOS, run: Callable[..., Any]) -> None:
    saver = MemOSSaver(mos, user="alice")
    graph = echoing(saver)
    for n in range(12):
        run(graph, "invoke", said(str(n)), who("alice"))
    saver.copy_thread("t1", "t2")
    saver.delete_thread("t1")
    assert run(graph, "get_state", who("alice")).values == {}
    state = run(graph, "invoke", said("on"), who("alice", "t2"))
    assert len(state["messages"]) == 26
    with pytest.raises(Conflict, match="t2 exists"):
        saver.copy_thread("t2", "t2")


def test_a_thread_named_by_a_config_of_the_saver_knows_whose_it_is(mos: MOS) -> None:
    saver = MemOSSaver(mos)
    graph = echoing(saver)
    for user in ("alice", "bob"):
        graph.invoke(said(f"{user}'s"), who(user))
    mine = graph.get_state(who("alice")).config["configurable"]["thread_id"]
    saver.copy_thread(mine, "copy")
    assert texts(graph.get_state(who("alice", "copy")).values)[0] == "alice's"
    saver.prune([mine])
    assert len(list(saver.list(who("alice")))) == 1
    saver.delete_thread(mine)
    assert graph.get_state(who("alice")).values == {}
    assert len(list(saver.list(who("bob")))) == 3
    saver.delete_thread("t1")  # of the memory's default user, who has none
    assert len(list(saver.list(who("bob")))) == 3


def test_idle_threads_retire_and_the_others_stay(mos: MOS) -> None:
    saver = MemOSSaver(mos, user="alice")
    graph = echoing(saver)
    graph.invoke(said("old"), who("alice", "old"))
    time.sleep(0.01)
    between = datetime.now(UTC)
    graph.invoke(said("new"), who("alice", "new"))
    assert saver.retire(before=between) == ["old"]
    assert [t.config["configurable"]["thread_id"] for t in saver.list(None)][:1] == ["new"]
    assert saver.retire(before=between) == []


def test_pruning_beside_a_running_thread_loses_nothing(mos: MOS) -> None:
    saver = MemOSSaver(mos, user="alice")
    graph = echoing(saver)
    stop = False

    def pruning() -> int:
        done = 0
        while not stop:
            try:
                saver.prune(["t1"])
                done += 1
            except BackendUnavailable:
                continue
        return done

    with ThreadPoolExecutor(1) as pool:
        pruned = pool.submit(pruning)
        for turn in range(40):
            state = graph.invoke(said(str(turn)), who("alice"))
            assert len(state["messages"]) == 2 * (turn + 1)
        stop = True
        assert pruned.result() > 0
    assert len(graph.get_state(who("alice")).values["messages"]) == 80


# -- size ------------------------------------------------------------------------------------


def stored_bytes(mos: MOS) -> int:
    with mos._rooms.vault.readers.snapshot() as connection:
        (found,) = connection.execute("SELECT sum(length(value)) FROM record_value").fetchone()
    return int(found)


def test_a_long_thread_is_stored_in_proportion_to_its_messages(mos: MOS) -> None:
    graph = echoing(MemOSSaver(mos))
    sizes: list[int] = []
    for turn in range(120):
        graph.invoke(said(f"{turn:04} " + "w" * 2000), who("alice"), durability="sync")
        if turn + 1 in (60, 120):
            sizes.append(stored_bytes(mos))
    messages = 240 * 2000
    # Twice as long takes about twice as much; the whole list in each version would take four
    # times as much, and 240 versions of it 58 MB.
    assert sizes[1] < 2.6 * sizes[0]
    assert sizes[1] < 16 * messages
    state = graph.get_state(who("alice")).values
    assert [text[:4] for text in texts(state)[::2]] == [f"{turn:04}" for turn in range(120)]


def test_removed_and_changed_messages_come_back_as_they_are(
    mos: MOS, run: Callable[..., Any]
) -> None:
    graph = echoing(MemOSSaver(mos))
    for turn in range(15):
        run(graph, "invoke", said(str(turn)), who("alice"))
    first = run(graph, "get_state", who("alice")).values["messages"]
    gone = {"messages": [RemoveMessage(id=first[3].id)], "steps": 0}
    run(graph, "update_state", who("alice"), gone)
    changed = {"messages": [HumanMessage("changed", id=first[10].id)], "steps": 0}
    run(graph, "update_state", who("alice"), changed)
    expected = ["changed" if n == 10 else m.text for n, m in enumerate(first) if n != 3]
    assert texts(run(graph, "get_state", who("alice")).values) == expected
    cleared = {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES)], "steps": 0}
    run(graph, "update_state", who("alice"), cleared)
    assert run(graph, "get_state", who("alice")).values["messages"] == []


# -- what comes back -------------------------------------------------------------------------


@dataclasses.dataclass
class Order:
    number: int


class Shop(TypedDict):
    order: Any


def shop(saver: Any) -> Graph:
    builder = StateGraph(Shop).add_node("buy", lambda _: {"order": Order(7)})
    return builder.add_edge(START, "buy").compile(saver)


def test_a_type_that_would_not_come_back_is_refused_when_it_is_saved(
    mos: MOS, run: Callable[..., Any]
) -> None:
    with pytest.raises(InvalidInput, match=r"Order would not come back.*allow="):
        run(shop(MemOSSaver(mos)), "invoke", {"order": None}, who("alice"))
    graph = shop(MemOSSaver(mos, allow=[Order]))
    run(graph, "invoke", {"order": None}, who("alice", "t2"))
    assert run(graph, "get_state", who("alice", "t2")).values["order"] == Order(7)


def test_langgraphs_own_allowlist_is_heard(mos: MOS) -> None:
    saver = MemOSSaver(mos).with_allowlist([(Order.__module__, Order.__name__)])
    graph = shop(saver)
    graph.invoke({"order": None}, who("alice"))
    assert graph.get_state(who("alice")).values["order"] == Order(7)


def ext(code: int, *parts: Any) -> bytes:
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts)))


def nested(levels: int) -> bytes:
    raw = ormsgpack.packb("x")
    for _ in range(levels):
        raw = ormsgpack.packb(ormsgpack.Ext(7, raw))
    return raw


HOSTILE = {
    "a call": ("msgpack", ext(0, "os", "system", "touch OWNED")),
    "a call by position": ("msgpack", ext(1, "subprocess", "run", (["touch", "OWNED"],))),
    "a method": ("msgpack", ext(3, "builtins", "str", "x", "format")),
    "a model": ("msgpack", ext(5, "langchain_core.prompts.prompt", "PromptTemplate", {}, "x")),
    "one in another": (
        "msgpack",
        ext(0, "uuid", "UUID", ormsgpack.Ext(0, ext(0, "os", "system", "x"))),
    ),
    "pickle": ("pickle", b"cos\nsystem\n(S'touch OWNED'\ntR."),
    "json with a constructor": (
        "json",
        json.dumps(
            {"lc": 1, "type": "constructor", "id": ["langchain", "x"], "kwargs": {}}
        ).encode(),
    ),
    "half a value": ("msgpack", b"\x92\x01"),
    "an unknown extension": ("msgpack", ormsgpack.packb(ormsgpack.Ext(99, b"\x01"))),
    "ten thousand levels": ("msgpack", nested(10_000)),
    "lists without end": ("msgpack", b"\x91" * 100_000),
    "no kind": ("", b""),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_bytes_are_an_error_and_run_nothing(
    mos: MOS, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saver = MemOSSaver(mos, user="alice")
    graph = echoing(saver)
    graph.invoke(said("hello"), who("alice"))
    records = mos.records(SPACE, user="alice", session="t1")
    kind, data = HOSTILE[what]
    raw = kind.encode() + b"\x00" + data
    keys = ThreadKeys("t1")
    blobs = records.keys(f"{keys.everything}b/")
    assert blobs
    (last, *_) = records.keys(keys.checkpoints(), reverse=True)
    for where in (*((key, b"=" + raw) for key in blobs), (last, raw)):
        kept = records.get([where[0]])
        records.put(dict([where]))
        with pytest.raises(UnreadableBytes):
            list(saver.list(who("alice")))
        records.put(kept)
    assert texts(graph.get_state(who("alice")).values) == ["hello", "heard hello"]
    assert not (tmp_path / "OWNED").exists()


@pytest.mark.parametrize("raw", [b"", b"x", b"=", b"/", b"msgpack\x00\x80", b"/msgpack\x00\x80"])
def test_damaged_records_are_an_error(mos: MOS, raw: bytes) -> None:
    graph = echoing(MemOSSaver(mos, user="alice"))
    for turn in range(12):
        graph.invoke(said(str(turn)), who("alice"))
    records = mos.records(SPACE, user="alice", session="t1")
    for part in ("/b/", "/c/", "/p/"):
        key = next(k for k in records.keys(reverse=True) if part in k)
        kept = records.get([key])
        records.put({key: raw})
        with pytest.raises(UnreadableBytes):
            list(graph.get_state_history(who("alice")))
        records.put(kept)
    assert len(list(graph.get_state_history(who("alice")))) == 36


def test_a_serde_that_falls_back_to_pickle_is_refused(mos: MOS) -> None:
    with pytest.raises(InvalidInput, match="pickle"):
        MemOSSaver(mos, serde=JsonPlusSerializer(pickle_fallback=True))


class Rot13:
    """A cipher that hides nothing, to see that one is used."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "rot", bytes(255 - b for b in plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "rot"
        return bytes(255 - b for b in ciphertext)


def test_threads_can_lie_encrypted(mos: MOS) -> None:
    saver = MemOSSaver(mos, serde=EncryptedSerializer(Rot13(), StrictSerializer()))
    graph = echoing(saver)
    for turn in range(20):
        state = graph.invoke(said(f"a quite visible sentence {turn}"), who("alice"))
    assert texts(graph.get_state(who("alice")).values) == texts(state)
    assert not any(holds(file, b"quite visible") for file in vault_files(mos.path))


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({}, InvalidInput),
        ({"configurable": {}}, InvalidInput),
        ({"configurable": {"thread_id": ""}}, InvalidInput),
        ({"configurable": {"thread_id": "a\x00b"}}, InvalidInput),
    ],
)
def test_a_config_that_names_no_thread_is_told_so(
    mos: MOS, config: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        MemOSSaver(mos).get_tuple(config)


def test_other_bad_arguments_are_told(mos: MOS) -> None:
    saver = MemOSSaver(mos, user="alice")
    for attempt in (
        lambda: saver.prune(["t"], strategy="some"),
        lambda: saver.prune("t"),
        lambda: saver.list(None, limit=-1),
        lambda: saver.list(None, filter=[1]),  # type: ignore[arg-type]
        lambda: saver.list(None, before={"configurable": {}}),
        lambda: saver.put_writes(who("alice"), [("a", 1)], "task"),
        lambda: saver.retire(before="yesterday"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInput):
            attempt()


# -- crashes ---------------------------------------------------------------------------------

CHILD = """
import operator, sys
from typing import Annotated, TypedDict
from langgraph.graph import START, StateGraph
from langgraph_memos import MemOSSaver
from memos_integrations import MOS, Settings
class State(TypedDict):
    done: Annotated[list[int], operator.add]
mos = MOS(sys.argv[1], embedder=None, settings=Settings(worker=False, synchronous="normal"))
builder = StateGraph(State)
builder.add_node("a", lambda s: {"done": [len(s["done"])]})
builder.add_node("b", lambda s: {"done": [len(s["done"])]})
builder.add_edge(START, "a").add_edge("a", "b")
graph = builder.compile(MemOSSaver(mos))
config = {"configurable": {"user_id": "alice", "thread_id": "t1"}}
given = None if graph.get_state(config).next else {"done": []}
while True:
    state = graph.invoke(given, config, durability="sync")
    given = {"done": []}
    print(len(state["done"]), flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_a_thread_that_goes_on(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "graphs")])
    path, dice, told = tmp_path / "memory.db", random.Random(4), 0
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(dice.randrange(2, 6))]
        time.sleep(dice.uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines()
        child.wait()
        child.stdout.close()
        told = int([line for line in lines if line.strip()][-1])
        with MOS(path, embedder=None, settings=QUIET) as mos:
            found = MemOSSaver(mos).get_tuple(who("alice"))
            assert found is not None
            done = found.checkpoint["channel_values"]["done"]
            assert done == list(range(len(done)))
            assert len(done) >= told
            assert mos.check().sound
