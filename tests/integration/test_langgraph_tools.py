"""An agent's own memory tools, in a real ``ToolNode``: whose memory, what a model may not do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command

from langgraph_memos import MemoryState, RememberNode, memory_tools
from memos_integrations import MOS, Settings
from memos_integrations.cube.header import Origin

UNKNOWN = "There is no such memory of yours."


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        yield opened


def who(user: str | None = "alice", thread: str = "t1") -> Any:
    return {"configurable": {"user_id": user, "thread_id": thread}}


def graph_of(mos: MOS, state: Any = MessagesState, **how: Any) -> Any:
    graph = StateGraph(state)
    graph.add_node("tools", ToolNode(memory_tools(mos, **how)))
    graph.add_edge(START, "tools")
    return graph.compile(checkpointer=InMemorySaver())


def calling(name: str, **arguments: Any) -> Any:
    call = {"name": name, "args": arguments, "id": str(uuid4()), "type": "tool_call"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


def answer(graph: Any, given: Any, config: Any) -> str:
    return str(graph.invoke(given, config)["messages"][-1].text)


def aanswer(graph: Any, given: Any, config: Any) -> str:
    return str(asyncio.run(graph.ainvoke(given, config))["messages"][-1].text)


both = pytest.mark.parametrize("ask", [answer, aanswer])


@both
@pytest.mark.parametrize("trust", ["user", "tool", "web", "import"])
def test_words_of_a_model_never_stand_in_a_memory_of_another(
    mos: MOS, ask: Any, trust: str
) -> None:
    graph = graph_of(mos)
    said = mos.add("I live in Porto.", user="alice", trust=trust).id
    corrected = calling("update_memory", memory_id=said, text="Alice lives in Lyon.")
    answered = ask(graph, corrected, who())
    assert mos.get(said, user="alice").text == "I live in Porto."
    assert mos.get(said, user="alice").header.state.value == "archived"
    (made,) = [item for item in mos.list(user="alice") if item.id != said]
    assert (made.text, made.header.trust.value) == ("Alice lives in Lyon.", "inference")
    assert answered == f"replaced {said} by {made.id}"


@both
def test_agent_remembers_recalls_corrects_and_forgets(mos: MOS, ask: Any) -> None:
    graph = graph_of(mos)
    stored = ask(graph, calling("remember", text="Alice lives in Porto."), who())
    assert stored.startswith("stored as ")
    (found,) = json.loads(ask(graph, calling("recall", query="Porto"), who()))
    assert found["text"] == "Alice lives in Porto."
    assert found["trust"] == "inference"
    corrected = calling("update_memory", memory_id=found["id"], text="Alice lives in Lyon.")
    assert ask(graph, corrected, who()) == f"updated {found['id']} to version 2"
    assert mos.get(found["id"], user="alice").text == "Alice lives in Lyon."
    assert ask(graph, calling("forget", memory_id=found["id"]), who()) == f"forgot {found['id']}"
    assert mos.count(user="alice") == 0
    assert ask(graph, calling("recall", query="Lyon"), who()) == "Nothing is remembered of that."


def test_what_an_agent_remembers_is_marked_as_its_own_inference(mos: MOS) -> None:
    graph = graph_of(mos)
    answer(graph, calling("remember", text="Alice lives in Porto."), who(thread="monday"))
    (item,) = mos.list(user="alice")
    assert item.header.origin is Origin.INFERENCE
    assert item.header.conversation == "monday"


def test_tools_take_no_user_from_the_model(mos: MOS) -> None:
    for tool in memory_tools(mos):
        shown = set(tool.tool_call_schema.model_json_schema()["properties"])  # type: ignore[union-attr]
        assert shown <= {"text", "query", "limit", "memory_id"}
    mos.add("Bob's code is 1234.", user="bob")
    graph = graph_of(mos)
    hostile = calling(
        "recall", query="code", user="bob", runtime={"config": who("bob")}, user_id="bob"
    )
    assert answer(graph, hostile, who("alice")) == "Nothing is remembered of that."


@both
@pytest.mark.parametrize("name", ["update_memory", "forget"])
def test_memory_of_somebody_else_is_refused_in_the_same_words_as_one_that_is_not_there(
    mos: MOS, ask: Any, name: str
) -> None:
    theirs = mos.add("Bob's code is 1234.", user="bob").id
    graph = graph_of(mos)
    more = {"text": "Bob's code is 0000."} if name == "update_memory" else {}
    answers = {
        ask(graph, calling(name, memory_id=memory, **more), who("alice"))
        for memory in (theirs, str(uuid4()), "", "' OR 1=1 --", "users/bob")
    }
    assert answers == {UNKNOWN}
    assert mos.get(theirs, user="bob").text == "Bob's code is 1234."


def test_memory_that_was_only_shared_for_reading_can_be_recalled_but_not_changed(mos: MOS) -> None:
    theirs = mos.add("The report is due on Friday.", user="bob").id
    mos.share(theirs, to="alice", user="bob")
    graph = graph_of(mos, read=["users/bob"])
    assert theirs in answer(graph, calling("recall", query="report"), who("alice"))
    said = answer(graph, calling("forget", memory_id=theirs), who("alice"))
    assert said == "You may not do that with this memory."
    assert mos.count(user="bob") == 1


def test_cube_that_the_run_may_not_read_is_refused_as_words(mos: MOS) -> None:
    mos.add("Bob's code is 1234.", user="bob")
    graph = graph_of(mos, read=["users/bob"])
    said = answer(graph, calling("recall", query="code"), who("alice"))
    assert said == "You may not do that with this memory."


@pytest.mark.parametrize("text", ["", "   ", "x" * 20_001, "bad \ud800 text", "nul \x00"])
def test_bad_text_is_refused_as_words_and_stores_nothing(mos: MOS, text: str) -> None:
    said = answer(graph_of(mos), calling("remember", text=text), who())
    assert "Nothing was remembered" in said or "refused" in said
    assert mos.count(user="alice") == 0


@pytest.mark.parametrize("limit", [-5, 0, 10**9])
def test_limit_of_the_model_is_kept_within_bounds(mos: MOS, limit: int) -> None:
    mos.add([f"Fact {n} about peanuts." for n in range(30)], user="alice")
    found = json.loads(
        answer(graph_of(mos), calling("recall", query="peanuts", limit=limit), who())
    )
    assert 1 <= len(found) <= 20


def test_wrong_arguments_come_back_to_the_model_as_an_error(mos: MOS) -> None:
    given = calling("remember", text={"nested": ["not", "text"]})
    message = graph_of(mos).invoke(given, who())["messages"][-1]
    assert message.status == "error"
    assert mos.count(user="alice") == 0


def test_remembering_twice_in_one_step_writes_each_once_and_retried_none_twice(mos: MOS) -> None:
    calls = [
        {"name": "remember", "args": {"text": text}, "id": str(n), "type": "tool_call"}
        for n, text in enumerate(["Alice lives in Porto.", "Alice plays chess."])
    ]
    node, attempts = ToolNode(memory_tools(mos)), []

    def tools_then_fail(state: MessagesState, config: Any) -> Any:
        done = node.invoke(state, config)
        attempts.append([each.update["messages"][0].text for each in done])
        if len(attempts) == 1:
            raise RuntimeError("the process went away")
        return done

    tools_then_fail.__annotations__ = {}
    graph = StateGraph(MessagesState)
    graph.add_node("tools", tools_then_fail)
    graph.add_edge(START, "tools")
    compiled = graph.compile(checkpointer=InMemorySaver())
    with pytest.raises(RuntimeError, match="went away"):
        compiled.invoke({"messages": [AIMessage("", tool_calls=calls)]}, who())
    compiled.invoke(None, who())
    assert attempts[0] == attempts[1]
    assert mos.count(user="alice") == 2


@pytest.mark.parametrize("decision", [True, False])
def test_held_back_memory_waits_for_approval(mos: MOS, decision: bool) -> None:
    graph = graph_of(mos, hold=lambda message: "the agent wants to remember this")
    state = graph.invoke(calling("remember", text="Alice lives in Porto."), who())
    (waiting,) = state["__interrupt__"]
    assert waiting.value["writes"][0]["text"] == "Alice lives in Porto."
    assert mos.count(user="alice") == 0
    said = answer(graph, Command(resume=decision), who())
    assert said.startswith("stored as") if decision else "not approved" in said
    assert mos.count(user="alice") == int(decision)


def test_tools_on_a_fork_write_to_its_branch(mos: MOS) -> None:
    graph = StateGraph(MemoryState)
    graph.add_node("tools", ToolNode(memory_tools(mos)))
    graph.add_node("remember", RememberNode(mos))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", "remember")
    compiled = graph.compile(checkpointer=InMemorySaver())
    given = calling("remember", text="Alice lives in Porto.")
    given["messages"].insert(0, HumanMessage("I live in Porto."))
    compiled.invoke(given, who())
    main = sorted(item.text for item in mos.list(user="alice"))
    assert main == ["Alice lives in Porto.", "I live in Porto."]
    (point,) = [s.config for s in compiled.get_state_history(who()) if s.next == ("tools",)]
    config = {"configurable": {**point["configurable"], **who()["configurable"]}}
    state = compiled.invoke(None, config)
    assert sorted(item.text for item in mos.list(user="alice")) == main
    branch = state["memory_version"]["branches"][""]["cube"]
    assert sorted(item.text for item in mos.list(user="alice", cube=branch)) == main
    assert [c.path for c in mos.cubes(user="alice") if "branches" in c.path] == [branch]


class ScriptedChat(BaseChatModel):
    """Says its lines in order."""

    lines: list[AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **given: Any) -> Any:
        return self

    def _generate(self, messages: list[Any], *args: Any, **given: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.lines.pop(0))])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_tools_work_in_langchain_s_own_agent(mos: MOS, asynchronous: bool) -> None:
    agents = pytest.importorskip("langchain.agents", reason="the langchain extra is missing")
    (call,) = calling("remember", text="Alice lives in Porto.")["messages"]
    model = ScriptedChat(lines=[call, AIMessage("Noted.")])
    agent = agents.create_agent(model, tools=memory_tools(mos))
    given: Any = ({"messages": [HumanMessage("I live in Porto.")]}, who())
    state = asyncio.run(agent.ainvoke(*given)) if asynchronous else agent.invoke(*given)
    assert [m.type for m in state["messages"]] == ["human", "ai", "tool", "ai"]
    assert [item.text for item in mos.list(user="alice")] == ["Alice lives in Porto."]
