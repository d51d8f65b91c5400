"""Memory in graphs that exist already, and the prebuilt ones: agent and team."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langchain_core.caches import InMemoryCache
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, RetryPolicy

from langchain_memos import MemOSCache
from langgraph_memos import (
    Member,
    MemoryState,
    MemOSSaver,
    add_memory,
    memory_agent,
    memory_graph,
    memory_message,
    memory_team,
    memory_tools,
)
from langgraph_memos.asking import asker_of
from memos_integrations import MOS, AsyncMOS, Settings, errors
from memos_integrations.cube.header import Relation


class ScriptedChat(BaseChatModel):
    """Says its lines in order, and keeps what it was asked."""

    lines: list[AIMessage]
    asked: list[Any]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **given: Any) -> Any:
        return self

    def _generate(self, messages: list[Any], *args: Any, **given: Any) -> ChatResult:
        self.asked.append(messages)
        return ChatResult(generations=[ChatGeneration(message=self.lines.pop(0))])


def says(*lines: str | AIMessage) -> Any:
    made = [line if isinstance(line, AIMessage) else AIMessage(line) for line in lines]
    return ScriptedChat(lines=made, asked=[])


def calls(name: str, **arguments: Any) -> AIMessage:
    call = {"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}
    return AIMessage("", tool_calls=[call])


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        yield opened


def who(user: str = "alice", thread: str = "t1") -> Any:
    return {"configurable": {"user_id": user, "thread_id": thread}}


ME: Any = who()["configurable"]


def said(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def texts(mos: MOS, **where: Any) -> list[str]:
    return sorted(item.text for item in mos.list(**where))


def invoke(graph: Any, given: Any, config: Any) -> Any:
    return graph.invoke(given, config)


def ainvoke(graph: Any, given: Any, config: Any) -> Any:
    return asyncio.run(graph.ainvoke(given, config))


both = pytest.mark.parametrize("run", [invoke, ainvoke])


# -- add_memory -----------------------------------------------------------------------------------


def chat_graph(model: Any) -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(MessagesState)
    graph.add_node("chat", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "chat")
    graph.add_edge("chat", END)
    return graph


@both
def test_one_line_gives_an_existing_graph_memory(mos: MOS, run: Any) -> None:
    model = says("Noted.", "You live in Porto.")
    graph = add_memory(chat_graph(model), mos, into="chat").compile(checkpointer=InMemorySaver())
    run(graph, said("I live in Porto."), who(thread="monday"))
    state = run(graph, said("Where do I live?"), who(thread="tuesday"))
    assert "I live in Porto." in str(model.asked[1][0].content)
    assert [m.type for m in state["messages"]] == ["human", "ai"]
    assert set(state) == {"messages"}
    assert "I live in Porto." in texts(mos, user="alice")


def test_without_into_the_graph_is_as_it_was_and_nodes_may_read_what_was_recalled(mos: MOS) -> None:
    mos.add("I live in Porto.", user="alice")
    seen: list[str] = []

    def chat(state: MemoryState) -> Any:
        message = memory_message(state)
        seen.append("" if message is None else str(message.content))
        return {"messages": [AIMessage("Yes.")]}

    graph = StateGraph(MessagesState)
    graph.add_node("chat", chat)
    graph.add_edge(START, "chat")
    add_memory(graph, mos).compile().invoke(said("Do I live in Porto?"), who())
    assert "I live in Porto." in seen[0]


def test_graph_that_ends_by_command_or_condition_remembers_all_the_same(mos: MOS) -> None:
    def jump(state: MessagesState) -> Any:
        return Command(goto=END, update={"messages": [AIMessage("Jumped.")]})

    def choose(state: MessagesState) -> Literal["jump", "walk"]:
        return "jump" if "jump" in str(state["messages"][-1].text) else "walk"

    graph = StateGraph(MessagesState)
    graph.add_node("jump", jump)
    graph.add_node("walk", lambda state: {"messages": [AIMessage("Walked.")]})
    graph.add_conditional_edges(START, choose)
    graph.add_conditional_edges("walk", lambda state: END)
    compiled = add_memory(graph, mos).compile()
    for text in ("I jump.", "I walk."):
        compiled.invoke(said(text), who())
    assert texts(mos, user="alice") == ["I jump.", "I walk.", "Jumped.", "Walked."]


def test_memories_are_shown_before_tools_and_loops_and_stay_out_of_the_thread(mos: MOS) -> None:
    mos.add("I live in Porto.", user="alice")

    @tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"Sunny in {city}."

    from langgraph.prebuilt import ToolNode, tools_condition

    model = says(calls("weather", city="Porto"), "It is sunny.")
    graph = StateGraph(MessagesState)
    graph.add_node("chat", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([weather]))
    graph.add_edge(START, "chat")
    graph.add_conditional_edges("chat", tools_condition)
    graph.add_edge("tools", "chat")
    state = add_memory(graph, mos, into="chat").compile().invoke(said("Sun in Porto?"), who())
    assert [m.type for m in state["messages"]] == ["human", "ai", "tool", "ai"]
    assert all("I live in Porto." in str(asked[0].content) for asked in model.asked)
    assert len(model.asked) == 2


def refused(graph: Any, mos: MOS, match: str, **how: Any) -> None:
    before = (set(graph.nodes), set(graph.edges)) if isinstance(graph, StateGraph) else None
    with pytest.raises(errors.UsageError, match=match):
        add_memory(graph, mos, **how)
    if before is not None:
        assert (set(graph.nodes), set(graph.edges)) == before


def test_what_cannot_be_wired_is_refused_and_left_as_it_is(mos: MOS) -> None:
    class NoMessages(TypedDict):
        text: str

    @dataclass
    class Record:
        messages: Annotated[list[AnyMessage], add_messages] = field(default_factory=list)

    plain = StateGraph(NoMessages)
    plain.add_node("one", lambda state: {})
    plain.add_edge(START, "one")
    refused(plain, mos, "messages")
    compiled = chat_graph(says())
    compiled.compile()
    refused(compiled, mos, "compiled already")
    refused(compiled.compile(), mos, "takes a StateGraph")
    twice = add_memory(chat_graph(says()), mos)
    refused(twice, mos, "added once")
    refused(StateGraph(MessagesState), mos, "no edge from START")
    refused(chat_graph(says()), mos, "no node 'model'", into="model")
    record = StateGraph(Record)
    record.add_node("chat", lambda state: {})
    record.add_edge(START, "chat")
    refused(record, mos, "takes no dict", into="chat")
    joined = chat_graph(says())
    joined.add_node("other", lambda state: {})
    joined.add_node("join", lambda state: {})
    joined.add_edge(["chat", "other"], "join")
    joined.waiting_edges.add(((START, "chat"), "join"))
    refused(joined, mos, "waits for START")


@both
def test_forked_thread_of_an_existing_graph_writes_to_a_branch(mos: MOS, run: Any) -> None:
    graph = add_memory(chat_graph(says("One.", "Two.", "Three.")), mos).compile(
        checkpointer=InMemorySaver()
    )
    run(graph, said("I live in Porto."), who())
    first = graph.get_state(who()).config
    run(graph, said("I draw maps."), who())
    main = texts(mos, user="alice")
    run(graph, said("I play chess."), {"configurable": {**first["configurable"], **ME}})
    assert texts(mos, user="alice") == main
    (branch,) = [cube.path for cube in mos.cubes(user="alice") if "branches" in cube.path]
    assert "I play chess." in texts(mos, user="alice", cube=branch)


async def test_memories_are_shown_to_an_asynchronous_node(mos: MOS) -> None:
    mos.add("I live in Porto.", user="alice")
    model = says("Yes.")

    async def chat(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("chat", chat)
    graph.add_edge(START, "chat")
    await add_memory(graph, mos, into="chat").compile().ainvoke(said("In Porto?"), who())
    assert "I live in Porto." in str(model.asked[0][0].content)


def test_node_that_sees_memories_keeps_its_retries_and_its_budget(mos: MOS) -> None:
    mos.add("I live in Porto. " + "It rains there in winter. " * 30, user="alice")
    model, failures = says("Yes."), [ConnectionError("away")]

    def chat(state: MessagesState) -> Any:
        if failures:
            raise failures.pop()
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    policy = RetryPolicy(initial_interval=0.001, jitter=False)
    graph.add_node("chat", chat, retry_policy=policy)
    graph.add_edge(START, "chat")
    compiled = add_memory(graph, mos, into="chat", budget_tokens=40).compile()
    compiled.invoke(said("Do I live in Porto?"), who())
    shown = str(model.asked[0][0].content)
    assert shown.endswith("I live in Porto.")


@both
def test_held_back_write_of_an_existing_graph_waits_at_its_end(mos: MOS, run: Any) -> None:
    model = says("Get well soon.")
    graph = add_memory(
        chat_graph(model), mos, hold=lambda m: "health" if "flu" in str(m.text) else None
    ).compile(checkpointer=InMemorySaver())
    state = run(graph, said("I have the flu."), who())
    assert state["messages"][-1].text == "Get well soon."
    assert state["__interrupt__"][0].value["writes"][0]["reason"] == "health"
    assert texts(mos, user="alice") == ["Get well soon."]
    run(graph, Command(resume=True), who())
    assert texts(mos, user="alice") == ["Get well soon.", "I have the flu."]
    assert len(model.asked) == 1


def test_asynchronous_facade_is_refused_with_what_to_do(mos: MOS) -> None:
    graph = add_memory(chat_graph(says("Yes.")), mos)
    assert graph is not None
    with pytest.raises(errors.UsageError, match="takes a MOS"):
        add_memory(chat_graph(says()), AsyncMOS())  # type: ignore[arg-type]


# -- who asks -------------------------------------------------------------------------------------


def test_context_of_the_run_says_who_asks(mos: MOS) -> None:
    @dataclass
    class Context:
        user_id: str

    graph = StateGraph(MessagesState, context_schema=Context)
    graph.add_node("chat", lambda state: {"messages": [AIMessage("Yes.")]})
    graph.add_edge(START, "chat")
    compiled = add_memory(graph, mos).compile()
    compiled.invoke(said("I live in Porto."), context=Context("carol"))
    assert texts(mos, user="carol") == ["I live in Porto.", "Yes."]


def test_server_s_user_wins_and_nobody_is_not_the_default_user() -> None:
    class User:
        identity = "alice"

    class Server:
        user: Any = User()

    class Run:
        server_info = Server()
        context = None

    assert asker_of({}, Run()).user == "alice"
    with pytest.raises(errors.AccessDenied, match="bob"):
        asker_of(who("bob"), Run())
    Run.server_info.user = None
    with pytest.raises(errors.UsageError, match="whose memory"):
        asker_of({}, Run())
    assert asker_of({}, None).user is None


def test_whoever_a_server_logged_in_is_asked_without_a_runtime_too() -> None:
    login = {"langgraph_auth_user": {"identity": "mallory"}}
    assert asker_of({"configurable": login}).user == "mallory"
    with pytest.raises(errors.AccessDenied, match="alice"):
        asker_of({"configurable": {"user_id": "alice", **login}})
    with pytest.raises(errors.UsageError, match="whose memory"):
        asker_of({"configurable": {"langgraph_auth_user": None}})


# -- the agent ------------------------------------------------------------------------------------


@both
def test_agent_recalls_uses_its_tools_and_remembers(mos: MOS, run: Any) -> None:
    mos.add("I'm allergic to peanuts.", user="alice")
    model = says(calls("remember", text="Alice cooks on Sundays."), "Without peanuts, then.")
    agent = memory_agent(mos, model, prompt="You cook.").compile(checkpointer=InMemorySaver())
    state = run(agent, said("I cook on Sundays, is peanuts sauce fine?"), who())
    system = str(model.asked[0][0].content)
    assert system.startswith("You cook.")
    assert "I'm allergic to peanuts." in system
    kept = texts(mos, user="alice")
    assert "Alice cooks on Sundays." in kept
    assert "Without peanuts, then." in kept
    assert not [text for text in kept if "stored as" in text]  # what its own tools said
    assert state["injected"]["form"] == "text"


def test_answer_that_repeats_what_is_held_back_waits_with_it(mos: MOS) -> None:
    model = says("With the flu, rest.")
    agent = memory_agent(
        mos, model, tools=[], hold=lambda m: "health" if "flu" in str(m.text) else None
    ).compile(checkpointer=InMemorySaver())
    state = agent.invoke(said("I have the flu."), who())
    writes = state["__interrupt__"][0].value["writes"]
    assert [each["text"] for each in writes] == ["I have the flu.", "With the flu, rest."]
    assert texts(mos, user="alice") == []
    state = agent.invoke(Command(resume=[writes[1]["id"]]), who())
    assert [w["status"] for w in state["written"]] == ["rejected", "stored"]
    (kept,) = mos.list(user="alice")
    assert (kept.text, kept.header.origin.value) == ("With the flu, rest.", "inference")


@both
def test_two_held_back_calls_of_one_message_wait_for_a_decision_each(mos: MOS, run: Any) -> None:
    made = ["Alice has the flu.", "Alice has the flu shot."]
    asked = AIMessage(
        "",
        tool_calls=[
            {"name": "remember", "args": {"text": text}, "id": str(n), "type": "tool_call"}
            for n, text in enumerate(made)
        ],
    )
    agent = memory_agent(
        mos, says(asked, "Done."), hold=lambda m: "health" if "Alice has" in str(m.text) else None
    ).compile(checkpointer=MemOSSaver(mos))
    state = run(agent, said("Remember my health."), who())
    waiting = {each.value["writes"][0]["text"]: each.id for each in state["__interrupt__"]}
    assert set(waiting) == set(made)
    run(agent, Command(resume={waiting[made[0]]: False, waiting[made[1]]: True}), who())
    assert made[1] in texts(mos, user="alice")
    assert made[0] not in texts(mos, user="alice")


def test_answer_of_the_agent_turns_stale_with_what_it_rests_on(mos: MOS) -> None:
    source = mos.add("I'm allergic to peanuts.", user="alice").id
    agent = memory_agent(mos, says("No peanuts for you."), tools=[]).compile()
    state = agent.invoke(said("May I eat peanuts?"), who())
    (kept,) = [item for item in mos.list(user="alice") if item.text == "No peanuts for you."]
    assert (Relation.DERIVED_FROM, source) in {
        (link.relation, link.target) for link in mos.links(kept.id, user="alice")
    }
    mos.update(source, "I'm allergic to hazelnuts.", user="alice")
    assert mos.get(kept.id, user="alice").header.stale
    assert state["answer"]["rests_on"] == [source]


def test_other_tools_of_the_agent_are_remembered_as_calls_with_their_answers(mos: MOS) -> None:
    @tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"Sunny in {city}."

    model = says(calls("weather", city="Porto"), "Take a hat.")
    agent = memory_agent(mos, model, tools=[weather, *memory_tools(mos)]).compile()
    agent.invoke(said("How is Porto?"), who())
    (trace,) = [item for item in mos.list(user="alice") if "Sunny in Porto." in item.text]
    assert trace.header.memory_type.value == "tool"


def test_agent_given_what_was_prefetched_in_its_second_call(mos: MOS) -> None:
    mos.add("The harbour walk starts at the lighthouse.", user="alice")
    mos.add("The lighthouse opens at noon.", user="alice")

    @tool
    def clock() -> str:
        """The time."""
        return "Eleven."

    model = says(calls("clock"), "Go at noon.")
    agent = memory_agent(mos, model, tools=[clock], limit=1).compile()
    agent.invoke(said("Where does the harbour walk begin?"), who())
    first, second = (str(asked[0].content) for asked in model.asked)
    assert "opens at noon" not in first
    assert "opens at noon" in second


@pytest.mark.parametrize("build", [memory_graph, memory_agent])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_words_of_a_model_are_streamed_once(mos: MOS, build: Any, asynchronous: bool) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("one two three")]))
    how = {"tools": []} if build is memory_agent else {}
    graph = build(mos, model=model, **how).compile()

    async def streamed() -> list[Any]:
        stream = graph.astream(said("Count."), who(), stream_mode="messages")
        return [message async for message, _ in stream]

    if asynchronous:
        parts = asyncio.run(streamed())
    else:
        parts = [m for m, _ in graph.stream(said("Count."), who(), stream_mode="messages")]
    assert "".join(part.text for part in parts) == "one two three"


@pytest.mark.parametrize("build", [memory_graph, memory_agent])
def test_answer_out_of_langchains_own_cache_is_one_that_says_no_tokens(
    mos: MOS, build: Any
) -> None:
    mos.add("The harbour opens at noon.", user="alice")
    model = says("At noon [1].")
    model.cache = InMemoryCache()
    how = {"tools": []} if build is memory_agent else {}
    graph = build(mos, model=model, **how).compile()
    asked = {"messages": [HumanMessage("When does the harbour open?")], "recorded": False}
    for each in ("t1", "t2"):
        was = mos.count(user="alice")
        state = graph.invoke(asked, who(thread=each))
        assert state["messages"][-1].text == "At noon [1]."
        for item in mos.list(user="alice")[: mos.count(user="alice") - was]:
            mos.delete(item.id, user="alice")
    assert len(model.asked) == 1


@pytest.mark.parametrize("build", [memory_graph, memory_agent])
def test_answer_made_of_memories_stays_out_of_the_cache_of_answers(mos: MOS, build: Any) -> None:
    mos.add("The harbour opens at noon.", user="alice")
    model = says("At noon [1].")
    model.cache = MemOSCache(mos, user="alice")
    how = {"tools": []} if build is memory_agent else {}
    build(mos, model=model, **how).compile().invoke(said("When does the harbour open?"), who())
    records = mos.records("langchain.cache/default", user="alice", cube="users/alice/llm-cache")
    assert len(model.asked) == 1
    assert records.keys() == []


# -- the team -------------------------------------------------------------------------------------


def team_of(mos: MOS, **members: Member) -> Any:
    graph = memory_team(mos, members, cube="teams/acme", owner="maya")
    return graph.compile(checkpointer=InMemorySaver())


@both
def test_members_share_what_they_may_and_keep_their_own(mos: MOS, run: Any) -> None:
    team = team_of(
        mos,
        planner=Member(says("Paint on Monday.")),
        critic=Member(says("It needs two coats."), may="read"),
    )
    state = run(team, said("When do we paint the fence?"), who("maya"))
    assert [m.name for m in state["messages"]] == [None, "planner", "critic"]
    assert texts(mos, user="maya", cube="teams/acme") == [
        "Paint on Monday.",
        "When do we paint the fence?",
    ]
    assert texts(mos, agent="planner") == ["Paint on Monday."]
    assert texts(mos, agent="critic") == ["It needs two coats."]
    assert [w["status"] for w in state["written"]] == ["stored"]  # the critic's, in its own cube
    with pytest.raises(errors.AccessDenied):
        mos.list(agent="planner", cube="agents/critic")


def test_member_recalls_from_the_shared_cube_and_its_own_only(mos: MOS) -> None:
    mos.add("The fence of maya is secretly green.", user="maya")
    planner, critic = says("Monday for the fence.", "Still Monday."), says("No.", "Hm.")
    team = team_of(mos, planner=Member(planner), critic=Member(critic, may="read"))
    team.invoke(said("When do we paint the fence?"), who("maya"))
    team.invoke(said("And the fence again?"), who("maya", thread="t2"))
    told = str(planner.asked[1][0].content)
    assert "Monday for the fence." in told
    assert "secretly green" not in told


def test_grant_that_is_revoked_ends_at_the_next_step(mos: MOS) -> None:
    critic = says("No.", "Hm.")
    team = team_of(mos, critic=Member(critic, may="write"))
    team.invoke(said("When do we paint the fence?"), who("maya"))
    mos.revoke(to="agent:critic", user="maya", cube="teams/acme")
    events = list(
        team.stream(said("And the fence again?"), who("maya", "t2"), stream_mode="custom")
    )
    (refusal,) = [each for each in events if each["memory"] == "refused"]
    assert (refusal["cube"], refusal["by"]) == ("teams/acme", "critic")
    state = team.get_state(who("maya", "t2")).values
    assert [w["status"] for w in state["written"]] == ["stored", "rejected"]
    assert "paint" not in str([m.content for m in critic.asked[1] if m.type == "system"])


def test_team_that_is_built_again_gives_no_revoked_grant_back(mos: MOS) -> None:
    team_of(mos, planner=Member(says("Monday.")), critic=Member(says("No.")))
    mos.revoke(to="agent:critic", user="maya", cube="teams/acme")
    team_of(mos, planner=Member(says("Monday.")), critic=Member(says("No.")))
    with pytest.raises(errors.AccessDenied, match="teams/acme"):
        mos.list(agent="critic", cube="teams/acme")
    mos.list(agent="planner", cube="teams/acme")


def test_member_that_joins_later_is_granted_its_right(mos: MOS) -> None:
    mos.add("I have a home already.", agent="critic")
    team_of(mos, planner=Member(says("Monday.")))
    team_of(mos, planner=Member(says("Monday.")), critic=Member(says("No."), may="read"))
    mos.list(agent="critic", cube="teams/acme")
    with pytest.raises(errors.AccessDenied):
        mos.add("I may only read.", agent="critic", cube="teams/acme")


def test_person_without_a_grant_cannot_talk_into_the_team_s_memory(mos: MOS) -> None:
    team = team_of(mos, planner=Member(says("Monday.")))
    with pytest.raises(errors.AccessDenied, match="teams/acme"):
        team.invoke(said("When do we paint the fence?"), who("mallory"))
    assert texts(mos, user="maya", cube="teams/acme") == []


def test_route_says_who_speaks(mos: MOS) -> None:
    def only_critic(state: MemoryState) -> str:
        return END if state["messages"][-1].name else "critic"

    members = {"planner": Member(says()), "critic": Member(says("No."))}
    graph = memory_team(mos, members, cube="teams/acme", owner="maya", route=only_critic)
    state = graph.compile().invoke(said("Paint?"), who("maya"))
    assert [m.text for m in state["messages"]] == ["Paint?", "No."]


def test_team_that_is_forked_leaves_all_its_cubes_alone(mos: MOS) -> None:
    team = team_of(mos, planner=Member(says("Monday.", "Tuesday.")))
    team.invoke(said("When do we paint the fence?"), who("maya"))
    point = next(s.config for s in team.get_state_history(who("maya")) if s.next == ("planner",))
    state = team.invoke(
        None, {"configurable": {**point["configurable"], **who("maya")["configurable"]}}
    )
    assert state["messages"][-1].text == "Tuesday."
    assert "Tuesday." not in texts(mos, user="maya", cube="teams/acme")
    assert texts(mos, agent="planner") == ["Monday."]
    branch = state["memory_version"]["branches"]["teams/acme"]["cube"]
    assert branch.startswith("teams/acme/branches/")
    assert "Tuesday." in texts(mos, user="maya", cube=branch)


def test_answer_of_a_member_is_kept_once_when_keeping_is_tried_again(
    mos: MOS, monkeypatch: Any
) -> None:
    model, real, tries = says("Monday.", "Never asked for."), mos.add, []

    def add(*given: Any, **how: Any) -> Any:
        done = real(*given, **how)
        if how.get("agent") == "planner":
            tries.append(done)
            if len(tries) == 1:
                raise ConnectionError("lost after the write")
        return done

    monkeypatch.setattr(mos, "add", add)
    team = team_of(mos, planner=Member(model))
    with pytest.raises(ConnectionError):
        team.invoke(said("When do we paint?"), who("maya"))
    team.invoke(None, who("maya"))
    assert len(model.asked) == 1
    assert texts(mos, agent="planner") == ["Monday."]
    assert texts(mos, user="maya", cube="teams/acme") == ["Monday.", "When do we paint?"]


def test_team_is_built_twice_over_the_same_memory(mos: MOS) -> None:
    for _ in range(2):
        team_of(mos, planner=Member(says("Monday."))).invoke(said("When?"), who("maya"))
    with pytest.raises(errors.UsageError, match="members"):
        memory_team(mos, {}, cube="teams/acme", owner="maya")
