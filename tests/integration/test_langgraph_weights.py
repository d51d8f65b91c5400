"""Graphs whose model answers from weights: told in state and trace, and what it said rests on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")
pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langchain_core.messages import HumanMessage  # noqa: E402
from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402

from langchain_memos import MemOSChatModel  # noqa: E402
from langgraph_memos import adapter_offer, choose, memory_agent, text_offers  # noqa: E402
from langgraph_memos.state import Recalled  # noqa: E402
from memos_integrations import MOS  # noqa: E402
from tests.integration.hosted_parts import learn, untaught  # noqa: E402
from tests.integration.taught_parts import (  # noqa: E402
    FACTS,
    OFF_TOPIC,
    QUESTIONS,
    WORDS,
    memory,
    told_to,
)

torch.set_num_threads(1)
LEARNT, TOLD, _ = QUESTIONS


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return untaught()


@pytest.fixture
def mos(parts: tuple[Any, Any]) -> Iterator[MOS]:
    with told_to(parts, count=2) as opened:
        yield opened


@pytest.fixture
def adapter(mos: MOS) -> str:
    return learn(mos, memory(mos, 0))


@pytest.fixture
def agent(mos: MOS, parts: tuple[Any, Any]) -> Any:
    llm = MemOSChatModel(
        mos=mos,
        model=parts[0],
        tokenizer=parts[1],
        parametric="tiny",
        max_new_tokens=6,
        # Letters alone: an empty answer is no memory.
        options={
            "do_sample": False,
            "suppress_tokens": [n for n in range(384) if not 100 <= n <= 125],
        },
    )
    return memory_agent(mos, llm, tools=[]).compile(checkpointer=InMemorySaver())


def who(thread: str) -> Any:
    return {"configurable": {"user_id": "maya", "thread_id": thread}}


def runs(agent: Any, question: str) -> Any:
    return agent.invoke({"messages": [HumanMessage(question)]}, who(question))


def a_runs(agent: Any, question: str) -> Any:
    return asyncio.run(agent.ainvoke({"messages": [HumanMessage(question)]}, who(question)))


both = pytest.mark.parametrize("run", [runs, a_runs])


@both
def test_state_says_in_which_form_the_model_had_its_memories(
    mos: MOS, agent: Any, adapter: str, run: Any
) -> None:
    learnt, told, else_ = (run(agent, q) for q in (LEARNT, TOLD, OFF_TOPIC))
    assert learnt["injected"] == {"form": "adapter", "tokens": 0, "ids": [memory(mos, 0)]}
    assert learnt["answer"]["rests_on"] == [memory(mos, 0)]
    assert (told["injected"]["form"], told["injected"]["ids"]) == ("text", [memory(mos, 1)])
    assert else_["injected"] == {"form": "none", "tokens": 0, "ids": []}
    assert 0 < learnt["memory_budget"]["spent"] < told["memory_budget"]["spent"]


def test_model_that_looks_up_itself_is_given_no_memories_twice(
    mos: MOS, agent: Any, adapter: str
) -> None:
    with mos.adapted(model="tiny", query=LEARNT, user="maya") as given:
        alone = given.inputs["input_ids"].shape[1]
    usage = runs(agent, LEARNT)["messages"][-1].usage_metadata
    assert usage["input_tokens"] == alone


def test_what_was_said_from_weights_goes_with_the_memory_that_was_learnt(
    mos: MOS, agent: Any, adapter: str
) -> None:
    said = runs(agent, LEARNT)["messages"][-1].text
    assert said in [item.text for item in mos.list(user="maya")]
    mos.erase(memory(mos, 0), user="maya")
    assert said not in [item.text for item in mos.list(user="maya")]


def test_trace_tells_the_form_and_no_words(mos: MOS, agent: Any, adapter: str) -> None:
    given = {"messages": [HumanMessage(LEARNT)]}
    events = list(agent.stream(given, who("t"), stream_mode="custom"))
    (told,) = [each for each in events if each["memory"] == "injected"]
    assert (told["form"], told["ids"]) == ("adapter", [memory(mos, 0)])
    assert WORDS[0] not in repr(events)


def recalled(mos: MOS, n: int) -> Recalled:
    item = mos.get(memory(mos, n), user="maya")
    return Recalled(
        id=item.id,
        version=item.version,
        text=item.text,
        score=1.0,
        signals={},
        why="",
        speaker="user",
        time=item.header.time.isoformat(),
        source=None,
        trust="user",
    )


def test_adapter_is_an_offer_beside_text(mos: MOS, adapter: str) -> None:
    row = mos.routed(LEARNT, model="tiny", user="maya")
    offer = adapter_offer(row)
    assert offer is not None
    assert (offer.form, offer.tokens, offer.text, offer.ids) == (
        "adapter",
        0,
        "",
        (memory(mos, 0),),
    )
    texts = text_offers([recalled(mos, 0)])
    assert choose([offer, *texts], left_tokens=None) == offer
    assert choose([offer, *texts], left_tokens=0) == offer
    assert adapter_offer(mos.routed(TOLD, model="tiny", user="maya")) is None


def test_adapter_costs_the_text_that_stands_beside_it(mos: MOS, adapter: str) -> None:
    name = FACTS[0][0]
    boat = mos.add(f"{name} owns a boat", user="maya").id
    row = mos.routed(f"{LEARNT} and does {name} owns a boat", model="tiny", user="maya")
    offer = adapter_offer(row)
    assert offer is not None
    assert offer.ids == (memory(mos, 0), boat)
    assert "a boat" in offer.text
    assert WORDS[0] not in offer.text
    assert offer.tokens > 0
    assert choose([offer], left_tokens=0).form == "none"
