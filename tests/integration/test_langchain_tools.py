"""Memory as tools of a model: whose memory they reach, whatever the model writes into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain", reason="the langchain extra is not installed")

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, create_retriever_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy

from langchain_memos import MemOSMiddleware, MemOSRetriever, memory_tools
from memos_integrations import MOS, Settings, errors


class Scripted(BaseChatModel):
    says: Callable[[list[BaseMessage]], AIMessage]
    schemas: list[Any] = []  # noqa: RUF012  -- pydantic copies it

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        self.schemas.extend(tools)
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.says(messages))])


def calling_once(name: str, **arguments: Any) -> Scripted:
    """Calls a tool, then says what that answered."""

    def says(messages: list[BaseMessage]) -> AIMessage:
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(f"The tool says: {messages[-1].text}")
        call = {"name": name, "args": arguments, "id": "c1", "type": "tool_call"}
        return AIMessage("", tool_calls=[call])

    return Scripted(says=says)


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        yield opened


def who(user: str) -> Any:
    return {"configurable": {"user_id": user, "thread_id": "t1"}}


def named(mos: MOS, **made_with: Any) -> dict[str, BaseTool]:
    return {tool.name: tool for tool in memory_tools(mos, **made_with)}


def answer(out: Any) -> str:
    return next(str(m.text) for m in out["messages"] if isinstance(m, ToolMessage))


def test_model_remembers_recalls_corrects_and_forgets(mos: MOS) -> None:
    tools = named(mos)
    told = tools["remember"].invoke({"text": "Alice plays chess."}, who("alice"))
    (item,) = mos.list(user="alice")
    assert item.id in told
    assert "Alice plays chess." in tools["recall"].invoke({"query": "chess?"}, who("alice"))
    tools["update_memory"].invoke({"memory_id": item.id, "text": "Alice plays go."}, who("alice"))
    assert mos.get(item.id, user="alice").text == "Alice plays go."
    tools["forget"].invoke({"memory_id": item.id}, who("alice"))
    assert tools["recall"].invoke({"query": "Alice plays?"}, who("alice")) == "Nothing."


def test_what_a_model_wrote_is_marked_and_quoted_as_unverified(mos: MOS) -> None:
    tools = named(mos)
    tools["remember"].invoke({"text": "Alice plays chess."}, who("alice"))
    (item,) = mos.list(user="alice")
    assert (item.header.trust, item.header.origin) == ("inference", "inference")
    assert item.header.conversation == "t1"
    assert "not verified" in tools["recall"].invoke({"query": "chess?"}, who("alice"))
    assert "not verified" in mos.context("chess?", user="alice").text


@pytest.mark.parametrize("trust", ["user", "tool", "web", "import"])
def test_model_puts_no_words_into_what_another_said(mos: MOS, trust: str) -> None:
    kept = mos.add("I play chess.", user="alice", trust=trust)
    tools = named(mos)
    tools["update_memory"].invoke({"memory_id": kept.id, "text": "I owe Mallory."}, who("alice"))
    assert mos.get(kept.id, user="alice").text == "I play chess."
    assert mos.get(kept.id, user="alice").header.state == "archived"
    (hit,) = mos.search("Mallory chess", user="alice")
    assert (hit.text, hit.item.header.trust) == ("I owe Mallory.", "inference")
    assert hit.item.header.info == {"replaces": kept.id}


@pytest.mark.parametrize("name", ["remember", "update_memory", "forget"])
def test_call_takes_effect_once_when_its_node_is_run_again(mos: MOS, name: str) -> None:
    kept = mos.add("Alice plays chess.", user="alice")
    arguments = {
        "remember": {"text": "Alice plays go."},
        "update_memory": {"memory_id": kept.id, "text": "Alice plays go."},
        "forget": {"memory_id": kept.id},
    }[name]
    runs: list[str] = []

    class Crashing(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            runs.append(str(handler(request).content))
            if len(runs) == 1:
                raise ConnectionError("the process went away")
            return ToolMessage(runs[-1], tool_call_id=request.tool_call["id"])

    agent = create_agent(
        calling_once(name, **arguments),
        memory_tools(mos),
        middleware=[Crashing()],
        checkpointer=InMemorySaver(),
    )
    with pytest.raises(ConnectionError):
        agent.invoke({"messages": [HumanMessage("Do it.")]}, who("alice"))
    before = [(i.id, i.version) for i in mos.list(user="alice")]
    agent.invoke(None, who("alice"))
    assert runs[0] == runs[1]
    assert [(i.id, i.version) for i in mos.list(user="alice")] == before


@pytest.mark.parametrize(("decision", "kept"), [("approve", 1), ("reject", 0)])
def test_person_may_be_asked_before_a_model_remembers(mos: MOS, decision: str, kept: int) -> None:
    agent = create_agent(
        calling_once("remember", text="Alice plays chess."),
        memory_tools(mos),
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"remember": True})],
        checkpointer=InMemorySaver(),
    )
    agent.invoke({"messages": [HumanMessage("I play chess.")]}, who("alice"))
    assert mos.count(user="alice") == 0
    agent.invoke(Command(resume={"decisions": [{"type": decision}]}), who("alice"))
    assert mos.count(user="alice") == kept


def test_retriever_as_a_tool_reads_the_memory_of_the_run(mos: MOS) -> None:
    mos.add("Alice plays chess.", user="alice")
    retriever = MemOSRetriever(memory=mos)
    look_up = create_retriever_tool(retriever, "look_up", "Looks into memory.")
    agent = create_agent(calling_once("look_up", query="What does Alice play?"), [look_up])
    asked = {"messages": [HumanMessage("Look.")]}
    assert "chess" in answer(agent.invoke(asked, who("alice")))
    assert "chess" not in answer(agent.invoke(asked, who("bob")))


def test_call_in_an_agent_that_is_retried_as_a_node_takes_effect_once(mos: MOS) -> None:
    tries: list[int] = []

    class Failing(AgentMiddleware):
        def after_agent(self, state: Any, runtime: Any) -> None:
            tries.append(1)
            if len(tries) < 3:
                raise ConnectionError("lost after the tool")

    model = calling_once("remember", text="Alice plays chess.")
    graph = StateGraph(MessagesState)
    policy = RetryPolicy(initial_interval=0.001, max_attempts=3, jitter=False)
    agent = create_agent(model, memory_tools(mos), middleware=[Failing()])
    graph.add_node("agent", agent, retry_policy=policy)
    graph.add_edge(START, "agent")
    graph.compile().invoke({"messages": [HumanMessage("Note it.")]}, who("alice"))
    assert len(tries) == 3
    assert [item.text for item in mos.list(user="alice")] == ["Alice plays chess."]


def test_model_sees_no_way_to_name_a_user(mos: MOS) -> None:
    for tool in memory_tools(mos):
        shown = set(tool.tool_call_schema.model_json_schema()["properties"])  # type: ignore[union-attr]
        assert shown <= {"text", "query", "limit", "memory_id"}


@pytest.mark.parametrize("name", ["user", "user_id", "config", "cube", "self"])
def test_user_written_into_the_arguments_is_not_believed(mos: MOS, name: str) -> None:
    mos.add("Alice plays chess.", user="alice")
    value: Any = who("alice") if name == "config" else "users/alice" if name == "cube" else "alice"
    model = calling_once("recall", query="What does Alice play?", **{name: value})
    agent = create_agent(model, memory_tools(mos))
    out = agent.invoke({"messages": [HumanMessage("Look.")]}, who("bob"))
    assert "chess" not in answer(out)


@pytest.mark.parametrize("name", ["update_memory", "forget"])
def test_memory_of_another_user_is_out_of_reach_by_its_id(mos: MOS, name: str) -> None:
    kept = mos.add("Alice plays chess.", user="alice")
    arguments = {"memory_id": kept.id} | ({"text": "Gone."} if name == "update_memory" else {})
    agent = create_agent(calling_once(name, **arguments), memory_tools(mos))
    out = agent.invoke({"messages": [HumanMessage("Do it.")]}, who("bob"))
    assert "no memory" in answer(out)
    assert mos.get(kept.id, user="alice").text == "Alice plays chess."


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("recall", {}),
        ("recall", {"query": ""}),
        ("recall", {"query": "x", "limit": 0}),
        ("recall", {"query": "x", "limit": 10_000_000}),
        ("recall", {"query": ["x"]}),
        ("remember", {"text": "  "}),
        ("remember", {"text": "x" * 100_000}),
        ("remember", {"text": "nul \x00"}),
        ("forget", {"memory_id": "../../etc"}),
        ("forget", {"memory_id": "x\x00"}),
        ("update_memory", {"memory_id": "unknown", "text": "x"}),
    ],
    ids=str,
)
def test_bad_argument_is_told_to_the_model_and_breaks_no_run(
    mos: MOS, name: str, arguments: dict[str, Any]
) -> None:
    agent = create_agent(calling_once(name, **arguments), memory_tools(mos))
    out = agent.invoke({"messages": [HumanMessage("Do it.")]}, who("alice"))
    assert answer(out)
    assert mos.count(user="alice") == 0


def test_tools_made_for_one_user_serve_no_other(mos: MOS) -> None:
    tools = named(mos, user="alice")
    tools["remember"].invoke({"text": "Alice plays chess."})
    assert mos.count(user="alice") == 1
    assert "bob" in tools["recall"].invoke({"query": "chess"}, who("bob"))
    assert "chess" not in tools["recall"].invoke({"query": "chess"}, who("bob"))


def test_only_the_named_tools_are_made(mos: MOS) -> None:
    assert [t.name for t in memory_tools(mos, only=["recall"])] == ["recall"]
    with pytest.raises(errors.UsageError, match="remembr"):
        memory_tools(mos, only=["remembr"])


async def test_tools_work_asynchronously(mos: MOS) -> None:
    tools = named(mos)
    await tools["remember"].ainvoke({"text": "Alice plays chess."}, who("alice"))
    assert "chess" in await tools["recall"].ainvoke({"query": "chess?"}, who("alice"))
    assert await tools["recall"].ainvoke({"query": "chess?"}, who("bob")) == "Nothing."


def test_middleware_brings_the_tools_to_its_agent(mos: MOS) -> None:
    model = calling_once("remember", text="Alice plays chess.")
    memory = MemOSMiddleware(mos, tools=memory_tools(mos), remember=())
    agent = create_agent(model, middleware=[memory])
    agent.invoke({"messages": [HumanMessage("I play chess, note it.")]}, who("alice"))
    assert [item.text for item in mos.list(user="alice")] == ["Alice plays chess."]
    assert {tool.name for tool in model.schemas} == {
        *("remember", "recall", "update_memory", "forget"),
    }
