"""The nodes inside real LangGraph graphs: who is asked, what is written, and that it is once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy

from langgraph_memos import AnswerNode, MemoryState, RecallNode, RememberNode, memory_graph
from langgraph_memos.nodes import UNKNOWN
from memos_integrations import MOS, Settings, errors
from memos_integrations.cube.header import Relation

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        yield opened


def who(user: str, thread: str = "t1") -> Any:
    return {"configurable": {"user_id": user, "thread_id": thread}}


def said(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def texts(mos: MOS, user: str) -> list[str]:
    return sorted(item.text for item in mos.list(user=user))


def test_graph_quotes_what_was_said_in_an_earlier_thread(mos: MOS) -> None:
    graph = memory_graph(mos).compile()
    graph.invoke(said("I'm allergic to peanuts."), who("alice", "monday"))
    state = graph.invoke(said("What am I allergic to?"), who("alice", "tuesday"))
    assert state["messages"][-1].text == "I'm allergic to peanuts."
    (memory,) = state["answer"]["rests_on"]
    assert mos.get(memory, user="alice").header.conversation == "monday"


def test_graph_says_that_it_does_not_know(mos: MOS) -> None:
    graph = memory_graph(mos).compile()
    graph.invoke(said("I'm allergic to peanuts."), who("alice"))
    state = graph.invoke(said("Which instrument do I play?"), who("alice"))
    assert state["messages"][-1].text == UNKNOWN
    assert state["answer"]["by"] == "nothing"
    assert state["answer"]["rests_on"] == []


def test_memory_of_one_user_is_never_recalled_for_another(mos: MOS) -> None:
    graph = memory_graph(mos).compile()
    graph.invoke(said("I'm allergic to peanuts."), who("alice"))
    state = graph.invoke(said("What am I allergic to?"), who("bob"))
    assert state["recalled"] == []
    assert state["answer"]["by"] == "nothing"


def test_quotes_and_shrugs_are_not_remembered_as_new_memories(mos: MOS) -> None:
    graph = memory_graph(mos).compile(checkpointer=InMemorySaver())
    for text in ("I'm allergic to peanuts.", "What am I allergic to?", "Who won the match?"):
        graph.invoke(said(text), who("alice"))
    assert texts(mos, "alice") == sorted(
        ["I'm allergic to peanuts.", "What am I allergic to?", "Who won the match?"]
    )


def test_thread_is_remembered_once_however_long_it_grows(mos: MOS) -> None:
    graph = memory_graph(mos).compile(checkpointer=InMemorySaver())
    for n in range(5):
        state = graph.invoke(said(f"Fact number {n} is true."), who("alice"))
        assert [w["status"] for w in state["written"]] == ["stored"]
    assert mos.count(user="alice") == 5


def test_the_same_words_said_again_are_another_memory_until_they_are_folded(mos: MOS) -> None:
    graph = memory_graph(mos).compile(checkpointer=InMemorySaver())
    first = graph.invoke(said("I like window seats."), who("alice"))["written"]
    again = graph.invoke(said("I like window seats."), who("alice"))["written"]
    mos.wait()
    kept, folded = (mos.get(w[0]["id"], user="alice").header for w in (first, again))
    assert folded.merged_into == kept.id


def test_retried_node_writes_once(mos: MOS) -> None:
    remember, attempts = RememberNode(mos), []

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
    # It has no time of its own, so only the key can tell that it is the same message.
    graph.compile().invoke({"messages": [("user", "I moved to Porto.")]}, who("alice"))
    assert len(attempts) == 3
    assert attempts[0] == attempts[1] == attempts[2]
    assert mos.count(user="alice") == 1
    assert [line.action for line in mos.audit(user="alice")].count("add") == 1


def test_resumed_run_writes_once(mos: MOS) -> None:
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
    graph.add_node("remember", remember_then_crash)
    graph.add_edge(START, "remember")
    compiled = graph.compile(checkpointer=InMemorySaver())
    with pytest.raises(RuntimeError, match="went away"):
        compiled.invoke(said("I moved to Porto."), who("alice"))
    state = compiled.invoke(None, who("alice"))
    assert state["written"][0]["status"] == "stored"
    assert mos.count(user="alice") == 1


def test_empty_messages_are_refused_one_by_one(mos: MOS) -> None:
    graph = memory_graph(mos).compile()
    recording = [HumanMessage(""), HumanMessage("Sorry, that was the dog.")]
    state = graph.invoke({"messages": recording, "recorded": True}, who("alice"))
    assert [w["status"] for w in state["written"]] == ["rejected", "stored"]
    alone = graph.invoke({"messages": [HumanMessage("  ")], "recorded": True}, who("alice"))
    assert [w["status"] for w in alone["written"]] == ["rejected"]


def test_recorded_messages_keep_their_own_time_and_speaker(mos: MOS) -> None:
    graph = memory_graph(mos).compile()
    message = HumanMessage(
        "I live in Ghent.", name="Maya", additional_kwargs={"time": "2026-10-03T08:12:00+00:00"}
    )
    state = graph.invoke({"messages": [message], "recorded": True}, who("maya"))
    header = mos.get(state["written"][0]["id"], user="maya").header
    assert (header.speaker, header.time.isoformat()) == ("Maya", "2026-10-03T08:12:00+00:00")
    assert state["answer"] is None


def test_model_answers_from_numbered_memories_and_names_those_it_used(mos: MOS) -> None:
    ids = mos.add(["I live in Porto.", "I like window seats."], user="alice").ids
    graph = memory_graph(mos, model=FakeListChatModel(responses=["In Porto [1]."])).compile()
    state = graph.invoke(said("Where do I live, in Porto?"), who("alice"))
    assert state["messages"][-1].text == "In Porto [1]."
    assert state["answer"]["rests_on"] == ids[:1]


def test_answer_of_a_model_is_kept_as_derived_and_turns_stale_with_its_source(mos: MOS) -> None:
    source = mos.add("I live in Porto.", user="alice").id
    graph = memory_graph(mos, model=FakeListChatModel(responses=["In Porto [1]."])).compile()
    state = graph.invoke(said("Do I live in Porto?"), who("alice"))
    kept = state["written"][-1]["id"]
    links = [(x.relation, x.target) for x in mos.links(kept, user="alice")]
    assert links == [(Relation.DERIVED_FROM, source)]
    mos.update(source, "I live in Lyon.", user="alice")
    assert mos.get(kept, user="alice").header.stale


@pytest.mark.parametrize("model", [None, "In Porto [1]."])
def test_answer_that_is_remembered_a_turn_late_is_remembered_as_what_it_is(
    mos: MOS, model: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = mos.add("I live in Porto.", user="alice").id
    chat = None if model is None else FakeListChatModel(responses=[model])
    graph = memory_graph(mos, model=chat).compile(checkpointer=InMemorySaver())
    real = mos.add

    def fail(*given: Any, **how: Any) -> Any:
        raise ConnectionError("away")

    monkeypatch.setattr(mos, "add", fail)
    with pytest.raises(ConnectionError):
        graph.invoke(said("Do I live in Porto?"), who("alice"))
    monkeypatch.setattr(mos, "add", real)
    graph.invoke({**said("I moved, by the way."), "recorded": True}, who("alice"))
    kept = {item.text: item for item in mos.list(user="alice")}
    told = {"I live in Porto.", "Do I live in Porto?", "I moved, by the way."}
    assert kept.keys() == (told if model is None else told | {model})
    if model is not None:
        links = [(x.relation, x.target) for x in mos.links(kept[model].id, user="alice")]
        assert links == [(Relation.DERIVED_FROM, source)]


def test_answer_whose_source_is_erased_before_it_is_kept_is_not_kept(mos: MOS) -> None:
    source = mos.add("I live in Porto.", user="alice").id
    graph = memory_graph(mos, model=FakeListChatModel(responses=["In Porto [1]."])).compile(
        checkpointer=InMemorySaver(), interrupt_before=["remember"]
    )
    graph.invoke(said("Do I live in Porto?"), who("alice"))
    mos.erase(source, user="alice")
    state = graph.invoke(None, who("alice"))
    assert [w["status"] for w in state["written"]] == ["stored", "rejected"]
    assert texts(mos, "alice") == ["Do I live in Porto?"]


def test_model_that_names_memories_which_do_not_exist_is_not_believed(mos: MOS) -> None:
    mos.add("I live in Porto.", user="alice")
    graph = memory_graph(mos, model=FakeListChatModel(responses=["Yes [0] [7] [999]."])).compile()
    state = graph.invoke(said("Do I live in Porto?"), who("alice"))
    assert state["answer"]["rests_on"] == []


def test_recall_from_the_past_answers_as_it_was(mos: MOS) -> None:
    added = mos.add("I'm allergic to peanuts.", user="alice")
    mos.wait()
    before = mos.get(added.id, user="alice").header.seq
    mos.update(added.id, "I'm allergic to hazelnuts.", user="alice")
    graph = StateGraph(MemoryState)
    graph.add_node("recall", RecallNode(mos.as_of(before)))
    graph.add_node("answer", AnswerNode())
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "answer")
    state = graph.compile().invoke(said("What am I allergic to?"), who("alice"))
    assert state["answer"]["text"] == "I'm allergic to peanuts."


def test_graph_runs_asynchronously_with_the_same_nodes(mos: MOS) -> None:
    graph = memory_graph(mos).compile(checkpointer=InMemorySaver())

    async def both() -> Any:
        await graph.ainvoke(said("I'm allergic to peanuts."), who("alice"))
        return await graph.ainvoke(said("What am I allergic to?"), who("alice"))

    assert asyncio.run(both())["answer"]["text"] == "I'm allergic to peanuts."


def test_nothing_is_answered_after_a_recorded_reply(mos: MOS) -> None:
    graph = memory_graph(mos).compile()
    state = graph.invoke({"messages": [HumanMessage("Hi?"), AIMessage("Hello.")]}, who("alice"))
    assert state["answer"] is None
    assert [m.text for m in state["messages"]] == ["Hi?", "Hello."]


def test_unknown_model_name_says_what_is_wrong() -> None:
    pytest.importorskip("langchain", reason="the langchain extra is not installed")
    with pytest.raises(errors.UsageError, match="no-such-provider"):
        AnswerNode("no-such-provider:model")


def test_without_langgraph_the_import_says_which_extra_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('langgraph', 'langchain_core'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'graphs')!r}]\n"
        "import langgraph_memos\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "MissingExtra" in done.stderr
    assert "memos-integrations[langgraph]" in done.stderr
