"""The scheduler takes part in the run: ticks, prefetch, budgets, approval, drain, and the trace."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphDrained
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import RunControl
from langgraph.types import Command, RetryPolicy

from langgraph_memos import (
    AnswerNode,
    ConsolidateNode,
    MemoryDrain,
    MemoryState,
    Offer,
    PrefetchNode,
    RecallNode,
    RememberNode,
    ScheduleNode,
    TickingSaver,
    budget_left,
    choose,
    consolidation_graph,
    injection,
    memory_agent,
    memory_graph,
    text_offers,
)
from memos_integrations import MOS, Settings, errors
from memos_integrations.cube.errors import InvalidInput

ROOT = Path(__file__).parents[2]


class ScriptedChat(BaseChatModel):
    """Says its lines in order; ``hook`` runs inside each call, ``asked`` keeps the prompts."""

    lines: list[AIMessage]
    hook: Callable[[], None] | None = None
    asked: list[Any]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **given: Any) -> Any:
        return self

    def _generate(self, messages: list[Any], *args: Any, **given: Any) -> ChatResult:
        self.asked.append(messages)
        if self.hook is not None:
            self.hook()
        return ChatResult(generations=[ChatGeneration(message=self.lines.pop(0))])


def says(*texts: str, tokens: int | None = None, hook: Callable[[], None] | None = None) -> Any:
    usage: Any = None
    if tokens is not None:
        usage = {"input_tokens": tokens - 1, "output_tokens": 1, "total_tokens": tokens}
    lines = [AIMessage(text, usage_metadata=usage) for text in texts]
    return ScriptedChat(lines=lines, hook=hook, asked=[])


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        yield opened


def who(user: str = "alice", thread: str = "t1", **more: Any) -> Any:
    return {"configurable": {"user_id": user, "thread_id": thread, **more}}


def said(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def told(graph: Any, given: Any, config: Any, **how: Any) -> list[dict[str, Any]]:
    """The memory trace of a run."""
    return list(graph.stream(given, config, stream_mode="custom", **how))


def atold(graph: Any, given: Any, config: Any, **how: Any) -> list[dict[str, Any]]:
    async def run() -> list[dict[str, Any]]:
        stream = graph.astream(given, config, stream_mode="custom", **how)
        return [each async for each in stream]

    return asyncio.run(run())


both = pytest.mark.parametrize("trace_of", [told, atold])


def of(kind: str, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in events if each["memory"] == kind]


# -- ticks at superstep boundaries ----------------------------------------------------------------


def warm(mos: MOS) -> None:
    for n in range(3):
        mos.add(f"Fact {n} about peanuts.", user="alice")
    for _ in range(6):
        mos.search("peanuts", user="alice")
    mos.flush()


@both
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_promotions_happen_at_superstep_boundaries_and_are_told(
    mos: MOS, trace_of: Any, durability: Any
) -> None:
    warm(mos)
    saver = TickingSaver(InMemorySaver(), mos, least_seconds=0)
    graph = memory_graph(mos).compile(checkpointer=saver)
    events = trace_of(graph, said("Which facts?"), who(), durability=durability)
    promoted = of("promoted", events)
    assert promoted
    assert {move["to"] for each in promoted for move in each["moves"]} == {"hot"}
    if durability == "exit":  # the only boundary that is saved is the end
        assert [each["step"] for each in promoted] == [3]
        assert events[-1]["memory"] == "promoted"
    else:
        assert promoted[0]["step"] < 3


def test_without_the_ticking_saver_nothing_is_promoted(mos: MOS) -> None:
    warm(mos)
    graph = memory_graph(mos).compile(checkpointer=InMemorySaver())
    assert of("promoted", told(graph, said("Which facts?"), who())) == []


def test_ticks_of_one_thread_keep_their_distance(mos: MOS, monkeypatch: Any) -> None:
    ticks: list[str] = []
    real = mos.rebalance
    monkeypatch.setattr(mos, "rebalance", lambda **given: (ticks.append("tick"), real(**given))[1])
    saver = TickingSaver(InMemorySaver(), mos, least_seconds=3600)
    graph = memory_graph(mos).compile(checkpointer=saver)
    for thread in ("one", "two"):
        for _ in range(2):
            graph.invoke(said("Hello."), who(thread=thread))
    assert ticks == ["tick", "tick"]


def test_tick_that_fails_loses_no_checkpoint_and_is_told(
    mos: MOS, monkeypatch: Any, caplog: Any
) -> None:
    def fail(**given: Any) -> None:
        raise errors.BackendUnavailable("the engine is away")

    monkeypatch.setattr(mos, "rebalance", fail)
    graph = memory_graph(mos).compile(
        checkpointer=TickingSaver(InMemorySaver(), mos, least_seconds=0)
    )
    with caplog.at_level(logging.WARNING):
        events = told(graph, said("I moved to Porto."), who())
    assert of("refused", events)[0]["error"] == "BackendUnavailable"
    assert "BackendUnavailable" in caplog.text
    assert "Porto" not in caplog.text
    assert graph.get_state(who()).values["written"][0]["status"] == "stored"


def test_ticking_saver_is_the_checkpointer_it_wraps(mos: MOS) -> None:
    inner = InMemorySaver()
    graph = memory_graph(mos).compile(checkpointer=TickingSaver(inner, mos))
    graph.invoke(said("I moved to Porto."), who())
    plain = memory_graph(mos).compile(checkpointer=inner)
    assert plain.get_state(who()).values == graph.get_state(who()).values
    assert len(list(plain.get_state_history(who()))) == 5
    graph.checkpointer.delete_thread("t1")  # type: ignore[union-attr]
    assert not plain.get_state(who()).values


def test_schedule_node_tells_what_it_moved(mos: MOS) -> None:
    warm(mos)
    graph = StateGraph(MemoryState)
    graph.add_node("schedule", ScheduleNode(mos))
    graph.add_edge(START, "schedule")
    compiled = graph.compile()
    (event,) = of("promoted", told(compiled, said("Go on."), who()))
    assert len(event["moves"]) == 3
    state = compiled.invoke(said("Go on."), who())
    assert state["scheduled"]["moves"] == []


# -- prefetch beside the model --------------------------------------------------------------------


@both
def test_prefetch_runs_while_the_model_answers(mos: MOS, trace_of: Any) -> None:
    mos.add("Peanuts make me ill.", user="alice")
    mos.add("The pharmacy sells pens against what makes me ill.", user="alice")
    order: list[str] = []
    began, ended = threading.Event(), threading.Event()
    prefetch = PrefetchNode(mos)

    def prefetching(state: MemoryState, config: RunnableConfig, runtime: Any) -> dict[str, Any]:
        assert began.wait(10), "the model was not running yet"
        order.append("prefetch begins")
        done = prefetch(state, config, runtime)
        order.append("prefetch ends")
        ended.set()
        return done

    def thinking() -> None:
        order.append("model begins")
        began.set()
        assert ended.wait(10), "prefetch did not run beside the model"
        order.append("model ends")

    graph = StateGraph(MemoryState)
    graph.add_node("recall", RecallNode(mos, limit=1))
    graph.add_node("answer", AnswerNode(says("Peanuts [1].", hook=thinking)))
    graph.add_node("prefetch", prefetching)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "answer")
    graph.add_edge("recall", "prefetch")
    (event,) = of("prefetched", trace_of(graph.compile(), said("Do peanuts agree?"), who()))
    assert order == ["model begins", "prefetch begins", "prefetch ends", "model ends"]
    assert len(event["ids"]) == 2


def test_prebuilt_agent_prefetches_beside_the_first_call_of_its_model(
    mos: MOS, monkeypatch: Any
) -> None:
    mos.add("Peanuts make me ill.", user="alice")
    thinking, prefetched = threading.Event(), threading.Event()
    real, searches = mos.search, []

    def search(query: str, **given: Any) -> Any:
        searches.append(query)
        if len(searches) > 1:  # the first is the recall before the model
            assert thinking.wait(10), "prefetch ran before the model"
            prefetched.set()
        return real(query, **given)

    def think() -> None:
        thinking.set()
        assert prefetched.wait(10), "prefetch did not run beside the model"

    monkeypatch.setattr(mos, "search", search)
    agent = memory_agent(mos, says("No.", hook=think), tools=[]).compile()
    agent.invoke(said("Do peanuts agree with me?"), who())
    assert searches == ["Do peanuts agree with me?", "Peanuts make me ill."]


def test_what_was_prefetched_is_recalled_without_searching_again(
    mos: MOS, monkeypatch: Any
) -> None:
    mos.add("Peanuts make me ill.", user="alice")
    graph = StateGraph(MemoryState)
    graph.add_node("prefetch", PrefetchNode(mos, predict=lambda state: ["What makes me ill?"]))
    graph.add_node("recall", RecallNode(mos))
    graph.add_edge(START, "prefetch")
    graph.add_edge("prefetch", "recall")
    compiled = graph.compile()
    searched: list[str] = []
    real = mos.search
    monkeypatch.setattr(mos, "search", lambda q, **k: (searched.append(q), real(q, **k))[1])
    (event,) = of("recalled", told(compiled, said("What makes me ill?"), who()))
    assert event["prefetched"]
    assert searched == ["What makes me ill?"]
    (event,) = of("recalled", told(compiled, said("Something else?"), who()))
    assert not event["prefetched"]


def test_prefetched_memories_are_not_used_once_memory_moved_on(mos: MOS) -> None:
    mos.add("Peanuts make me ill.", user="alice")
    prefetch, recall = PrefetchNode(mos), RecallNode(mos)
    state: Any = said("What makes me ill?")
    state |= prefetch(state, who())
    mos.add("Shellfish makes me ill.", user="alice")
    found = recall(state, who())["recalled"]
    assert len(found) == 2


# -- budgets --------------------------------------------------------------------------------------


def recalled(*texts: str) -> Any:
    each = {"version": 1, "score": 1.0, "signals": {}, "why": "", "speaker": "user"}
    each |= {"time": "2026-10-03T08:12:00+00:00", "source": None, "trust": "user"}
    return [{**each, "id": str(n), "text": text} for n, text in enumerate(texts, 1)]


def test_less_budget_means_shorter_memories_and_then_none() -> None:
    long = recalled("Peanuts make me ill. " + "They are in many sauces, too. " * 20)
    full, short = text_offers(long)
    assert full.tokens > short.tokens > 0
    forms = [
        injection(long, left_tokens=left).form
        for left in (None, full.tokens, full.tokens - 1, short.tokens, short.tokens - 1, 0)
    ]
    assert forms == ["text", "text", "short", "short", "none", "none"]
    assert "[1] user, 2026-10-03: Peanuts make me ill." in short.text


def test_other_forms_than_text_are_chosen_when_they_are_worth_more() -> None:
    cached = Offer("kv", tokens=0, worth=3.0)
    assert injection(recalled("Peanuts."), left_tokens=0, others=[cached]).form == "kv"
    assert choose([cached, Offer("adapter", 0, 4.0)], left_tokens=0).form == "adapter"
    dear = Offer("text", tokens=9, worth=2.0)
    assert choose([dear, Offer("text", tokens=3, worth=2.0)], left_tokens=None).tokens == 3
    with pytest.raises(InvalidInput):
        choose([], left_tokens=-1)


def test_budget_is_debited_from_usage_and_changes_the_form_memories_are_given_in(mos: MOS) -> None:
    mos.add("Peanuts make me ill. " + "They are in many sauces, too. " * 20, user="alice")
    model = says("One [1].", "Two [1].", "Three.", tokens=400)
    graph = StateGraph(MemoryState)
    graph.add_node("recall", RecallNode(mos))
    graph.add_node("answer", AnswerNode(model, budget_tokens=800))
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "answer")
    compiled = graph.compile(checkpointer=InMemorySaver())
    forms, left = [], []
    for _ in range(3):
        state = compiled.invoke(said("Do peanuts make me ill?"), who())
        forms.append(state["injected"]["form"])
        left.append(budget_left(state, limit_tokens=800))
    assert left == [400, 0, 0]
    assert forms == ["text", "text", "none"]
    assert "Peanuts" not in str(model.asked[-1][0].content)


def test_budget_is_private_state_that_routers_read(mos: MOS) -> None:
    graph = StateGraph(MemoryState, output_schema=MessagesState)
    graph.add_node("recall", RecallNode(mos))
    graph.add_node("answer", AnswerNode(says("Yes.", "No.", tokens=70), budget_tokens=100))
    graph.add_node("wrap_up", lambda state: {"messages": [AIMessage("That is all.")]})
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "answer")

    def enough(state: MemoryState) -> str:
        return "wrap_up" if budget_left(state, limit_tokens=100) == 0 else END

    graph.add_conditional_edges("answer", enough, ["wrap_up", END])
    compiled = graph.compile(checkpointer=InMemorySaver())
    first = compiled.invoke(said("Am I well?"), who())
    second = compiled.invoke(said("Am I ill?"), who())
    assert set(first) == {"messages"}
    assert first["messages"][-1].text == "Yes."
    assert second["messages"][-1].text == "That is all."


def test_debits_of_nodes_side_by_side_add_up(mos: MOS) -> None:
    graph = StateGraph(MemoryState)
    for n in range(3):
        graph.add_node(f"node{n}", lambda state: {"memory_budget": {"debit": 7}})
        graph.add_edge(START, f"node{n}")
    given = {**said("Go."), "memory_budget": {"limit": 100, "spent": 10}}
    state = graph.compile().invoke(given)
    assert state["memory_budget"] == {"limit": 100, "spent": 31}
    assert budget_left(state) == 69


# -- governed writes ------------------------------------------------------------------------------


def secretive(message: AnyMessage) -> str | None:
    return "a diagnosis" if "diagnosis" in str(message.text) else None


def remembering(mos: MOS, **how: Any) -> Any:
    graph = StateGraph(MemoryState)
    graph.add_node("remember", RememberNode(mos, **how))
    graph.add_edge(START, "remember")
    return graph.compile(checkpointer=InMemorySaver())


def invoke(graph: Any, given: Any, config: Any) -> Any:
    return graph.invoke(given, config)


def ainvoke(graph: Any, given: Any, config: Any) -> Any:
    return asyncio.run(graph.ainvoke(given, config))


ways = pytest.mark.parametrize("run", [invoke, ainvoke])


@ways
@pytest.mark.parametrize(("decision", "kept"), [(True, True), (False, False), (["d"], True)])
def test_held_back_write_waits_for_approval_and_commits_once(
    mos: MOS, run: Any, decision: Any, kept: bool
) -> None:
    graph = remembering(mos, hold=secretive)
    both_said = [HumanMessage("The diagnosis is flu.", id="d"), HumanMessage("I like tea.")]
    state = run(graph, {"messages": both_said}, who())
    (waiting,) = state["__interrupt__"]
    assert waiting.value["writes"][0]["reason"] == "a diagnosis"
    assert [i.text for i in mos.list(user="alice")] == ["I like tea."]
    state = run(graph, Command(resume=decision), who())
    assert [w["status"] for w in state["written"]] == ["stored" if kept else "rejected", "stored"]
    assert mos.count(user="alice") == 1 + kept
    lines = [line.action for line in mos.audit(user="alice")]
    assert lines.count("add") == 1 + kept
    run(graph, said("I like jam."), who())  # what was refused is not offered again
    assert mos.count(user="alice") == 2 + kept


def test_decision_that_is_none_is_asked_for_again(mos: MOS) -> None:
    graph = remembering(mos, hold=secretive)
    graph.invoke({"messages": [HumanMessage("The diagnosis is flu.", id="d")]}, who())
    state = graph.invoke(Command(resume=["somebody-else"]), who())
    (waiting,) = state["__interrupt__"]
    assert "True, False or a list" in waiting.value["error"]
    assert mos.count(user="alice") == 0
    state = graph.invoke(Command(resume={"approve": True}), who())
    assert state["written"][0]["status"] == "stored"


def test_held_back_write_that_is_retried_after_approval_commits_once(mos: MOS) -> None:
    remember, attempts = RememberNode(mos, hold=secretive), []

    def remember_then_fail(
        state: MemoryState, config: RunnableConfig, runtime: Any
    ) -> dict[str, Any]:
        done = remember(state, config, runtime)
        attempts.append(done["written"])
        if len(attempts) < 3:
            raise ConnectionError("lost after the write")
        return done

    graph = StateGraph(MemoryState)
    policy = RetryPolicy(initial_interval=0.001, max_attempts=3, jitter=False)
    graph.add_node("remember", remember_then_fail, retry_policy=policy)
    graph.add_edge(START, "remember")
    compiled = graph.compile(checkpointer=InMemorySaver())
    compiled.invoke(said("The diagnosis is flu."), who())
    compiled.invoke(Command(resume=True), who())
    assert len(attempts) == 3
    assert attempts[0] == attempts[2]
    assert mos.count(user="alice") == 1


# -- drain ----------------------------------------------------------------------------------------


def open_tasks(mos: MOS) -> int:
    with mos._rooms.vault.readers.snapshot() as connection:
        sql = "SELECT count(*) FROM task WHERE state IN ('waiting', 'running')"
        return int(connection.execute(sql).fetchone()[0])


def draining(mos: MOS, control: RunControl, *, saver: Any) -> Any:
    """A graph whose second node asks for the drain, as a signal handler would."""
    graph = StateGraph(MemoryState)
    graph.add_node("first", RememberNode(mos))
    graph.add_node("second", lambda state: control.request_drain("SIGTERM"))
    graph.add_node("third", lambda state: {"messages": [HumanMessage("I like tea.")]})
    graph.add_node("fourth", RememberNode(mos))
    for one, other in ((START, "first"), ("first", "second"), ("second", "third")):
        graph.add_edge(one, other)
    graph.add_edge("third", "fourth")
    return graph.compile(checkpointer=saver)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("by", ["control", "saver"])
def test_drain_flushes_memory_and_the_run_goes_on_later(
    mos: MOS, asynchronous: bool, by: str
) -> None:
    saver: Any = InMemorySaver() if by == "control" else TickingSaver(InMemorySaver(), mos)

    def run(control: RunControl) -> Any:
        given: Any = (said("I moved to Porto."), who())
        graph = draining(mos, control, saver=saver)
        if asynchronous:
            return asyncio.run(graph.ainvoke(*given, control=control))
        return graph.invoke(*given, control=control)

    def drained() -> None:
        if by == "saver":
            run(RunControl())
        else:
            with MemoryDrain(mos) as control:
                run(control)

    with pytest.raises(GraphDrained, match="SIGTERM"):
        drained()
    assert open_tasks(mos) == 0
    graph = draining(mos, RunControl(), saver=saver)
    assert graph.get_state(who()).next == ("third",)
    graph.invoke(None, who())
    assert sorted(i.text for i in mos.list(user="alice")) == ["I like tea.", "I moved to Porto."]


async def test_drain_flushes_in_an_event_loop_without_blocking_it(mos: MOS) -> None:
    mos.add("Something that waits for its fine stage.", user="alice")
    async with MemoryDrain(mos) as control:
        control.request_drain()
        assert open_tasks(mos) > 0
    assert open_tasks(mos) == 0
    async with MemoryDrain(mos):
        mos.add("Nobody asked for a drain.", user="alice")
    assert open_tasks(mos) > 0


def test_drain_requested_by_a_signal_takes_no_lock_of_the_memory(mos: MOS) -> None:
    control = MemoryDrain(mos)
    previous = signal.signal(signal.SIGTERM, lambda *_: control.request_drain("SIGTERM"))
    try:
        with mos._rooms.vault.reading(mos._scope(user="alice").principal, action="test"):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert control.drain_reason == "SIGTERM"


def test_plain_control_without_the_saver_leaves_the_work_waiting(mos: MOS) -> None:
    control = RunControl()
    graph = draining(mos, control, saver=InMemorySaver())
    with pytest.raises(GraphDrained):
        graph.invoke(said("I moved to Porto."), who(), control=control)
    assert open_tasks(mos) > 0


def test_memory_pressure_asks_the_run_to_drain(tmp_path: Path) -> None:
    settings = Settings(
        worker=False, synchronous="normal", max_waiting_tasks=1, max_wait_seconds=0.01
    )
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as mos:
        mos.add("Something that waits for its fine stage.", user="alice")
        control = RunControl()
        graph = draining(mos, RunControl(), saver=InMemorySaver())
        with pytest.raises(GraphDrained, match="memory pressure"):
            graph.invoke(said("I moved to Porto."), who(), control=control)
        assert graph.get_state(who()).next == ("second",)
        assert mos.count(user="alice") == 2


# -- consolidation --------------------------------------------------------------------------------


def walks(mos: MOS, *, more: int = 0) -> None:
    for n in range(4 + more):
        mos.add(f"Walk {n} in the harbour of Porto was long and sunny.", user="alice")
    mos.wait()


@ways
def test_consolidation_runs_deferred_after_the_rest_of_the_graph(mos: MOS, run: Any) -> None:
    walks(mos)
    order: list[str] = []
    consolidate = ConsolidateNode(mos)

    def consolidating(state: MemoryState, config: RunnableConfig, runtime: Any) -> dict[str, Any]:
        order.append("consolidate")
        return consolidate(state, config, runtime)

    def step(name: str) -> Any:
        return lambda state: order.append(name)

    graph = StateGraph(MemoryState)
    graph.add_node("consolidate", consolidating, defer=True)
    for name in ("one", "two", "three"):
        graph.add_node(name, step(name))
    graph.add_edge(START, "consolidate")
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    graph.add_edge("two", "three")
    state = run(graph.compile(), said("Good night."), who())
    assert order == ["one", "two", "three", "consolidate"]
    assert state["consolidation"]["state"] == "completed"
    assert mos.task_status(state["consolidation"]["task"], user="alice").state == "completed"


def test_consolidation_graph_sums_up_and_schedules(mos: MOS) -> None:
    walks(mos)
    graph = consolidation_graph(mos).compile()
    state = graph.invoke({"reason": "nightly"}, who())
    made = json.loads(state["consolidation"]["result"])
    assert made
    assert "considered" in state["scheduled"]
    assert graph.invoke({"reason": "nightly"}, who("nobody"))["consolidation"] is None


@pytest.mark.parametrize("asker", [{"agent_id": "bot"}, {"user_id": "alice", "agent_id": "bot"}])
def test_consolidation_is_of_the_whole_home_of_whoever_asks(mos: MOS, asker: Any) -> None:
    home = {"user": asker["user_id"]} if "user_id" in asker else {"agent": "bot"}
    for n in range(4):
        mos.add(f"Walk {n} in the harbour of Porto was long and sunny.", **home)
    mos.wait()
    graph = consolidation_graph(mos).compile()
    state = graph.invoke({"reason": "nightly"}, {"configurable": asker})
    assert state["consolidation"]["state"] == "completed"
    assert [item for item in mos.list(**home) if "summary" in item.header.tags]


def test_resumed_consolidation_waits_for_the_task_it_queued(mos: MOS) -> None:
    walks(mos)
    consolidate, tasks = ConsolidateNode(mos), []

    def consolidate_then_crash(
        state: MemoryState, config: RunnableConfig, runtime: Any
    ) -> dict[str, Any]:
        done = consolidate(state, config, runtime)
        tasks.append(done["consolidation"]["task"])
        if len(tasks) == 1:
            raise RuntimeError("the process went away")
        return done

    graph = StateGraph(MemoryState)
    graph.add_node("consolidate", consolidate_then_crash, defer=True)
    graph.add_edge(START, "consolidate")
    compiled = graph.compile(checkpointer=InMemorySaver())
    with pytest.raises(RuntimeError, match="went away"):
        compiled.invoke(said("Good night."), who())
    compiled.invoke(None, who())
    assert tasks[0] == tasks[1]
    assert [line.action for line in mos.audit(user="alice")].count("consolidate") == 1


# -- the trace ------------------------------------------------------------------------------------


@both
def test_trace_tells_ids_and_figures_and_no_words(mos: MOS, trace_of: Any) -> None:
    known = mos.add("Peanuts make me ill.", user="alice").id
    graph = memory_graph(mos).compile(checkpointer=InMemorySaver())
    events = trace_of(graph, said("Do peanuts make me ill?"), who())
    (found,), (written,) = of("recalled", events), of("written", events)
    assert found["ids"] == [known]
    assert found["scores"][0] > 0
    assert found["signals"][0]["words"] > 0
    assert written["statuses"] == ["stored"]
    assert written["seq"] > found["seq"]
    assert "eanuts" not in json.dumps(events)


def test_trace_holds_words_where_the_run_asks_and_is_silent_where_it_wants(mos: MOS) -> None:
    mos.add("Peanuts make me ill.", user="alice")
    graph = memory_graph(mos).compile()
    events = told(graph, said("Do peanuts make me ill?"), who(memory_trace="content"))
    (found,) = of("recalled", events)
    assert found["content"][0]["text"] == "Peanuts make me ill."
    assert found["content"][0]["why"]
    assert told(graph, said("Do peanuts make me ill?"), who(memory_trace="off")) == []
    with pytest.raises(errors.UsageError, match="memory_trace"):
        told(graph, said("Do peanuts make me ill?"), who(memory_trace="all"))


def test_fork_is_told(mos: MOS) -> None:
    graph = memory_graph(mos).compile(checkpointer=InMemorySaver())
    graph.invoke(said("I moved to Porto."), who())
    (point,) = [s.config for s in graph.get_state_history(who()) if s.next == ("remember",)]
    config = {"configurable": {**point["configurable"], **who()["configurable"]}}
    (event,) = of("forked", told(graph, None, config))
    assert event["branch"].startswith("users/alice/branches/")
