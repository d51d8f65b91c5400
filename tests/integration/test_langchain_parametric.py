"""Agents of LangChain whose model answers from adapters: a local one, and one served over HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")
pytest.importorskip("langchain", reason="needs the extra langchain")

from langchain.agents import create_agent  # noqa: E402
from langchain_core.language_models.chat_models import BaseChatModel  # noqa: E402
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage  # noqa: E402
from langchain_core.outputs import ChatGeneration, ChatResult  # noqa: E402
from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402

from langchain_memos import MemOSChatModel, MemOSParametricMiddleware  # noqa: E402
from memos_integrations import MOS, AsyncMOS, Settings  # noqa: E402
from memos_integrations.cube.errors import NotFound, UsageError  # noqa: E402
from memos_integrations.infrastructure.backends.llm.served_adapters import (  # noqa: E402
    ServedAdapters,
)
from tests.integration.adapter_server import BASE, AdapterServer  # noqa: E402
from tests.integration.hosted_parts import learn, untaught  # noqa: E402
from tests.integration.taught_parts import (  # noqa: E402
    FACTS,
    OFF_TOPIC,
    QUESTIONS,
    WORDS,
    WORLD,
    memory,
    said_by_hand,
    told_to,
)

torch.set_num_threads(1)
LEARNT, ALSO_LEARNT, TOLD = QUESTIONS


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return untaught()


@pytest.fixture
def mos(parts: tuple[Any, Any]) -> Iterator[MOS]:
    with told_to(parts) as opened:
        yield opened


@pytest.fixture
def adapter(mos: MOS) -> str:
    """The id of one that holds the first two facts."""
    return learn(mos, memory(mos, 0), memory(mos, 1))


def who(user: str = "maya", **more: Any) -> Any:
    return {"configurable": {"user_id": user, **more}}


# -- a local model --------------------------------------------------------------------------------


def local(mos: MOS, parts: tuple[Any, Any], **more: Any) -> MemOSChatModel:
    greedy = {"do_sample": False}
    return MemOSChatModel(
        mos=mos,
        model=parts[0],
        tokenizer=parts[1],
        parametric="tiny",
        max_new_tokens=6,
        options=greedy,
        **more,
    )


def asks(chat: MemOSChatModel, question: str, user: str = "maya") -> AIMessage:
    return chat.invoke(question, who(user))


def a_asks(chat: MemOSChatModel, question: str, user: str = "maya") -> AIMessage:
    return asyncio.run(chat.ainvoke(question, who(user)))


def streams(chat: MemOSChatModel, question: str, user: str = "maya") -> Any:
    chunks = list(chat.stream(question, who(user)))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def a_streams(chat: MemOSChatModel, question: str, user: str = "maya") -> Any:
    async def read() -> Any:
        whole: Any = None
        async for chunk in chat.astream(question, who(user)):
            whole = chunk if whole is None else whole + chunk
        return whole

    return asyncio.run(read())


ways = pytest.mark.parametrize("ask", [asks, a_asks, streams, a_streams])


def base_says(parts: tuple[Any, Any], question: str) -> str:
    """What the model answers that knows of no memory."""
    prompt = parts[1].apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with torch.no_grad():
        alone = parts[0].generate(**prompt, max_new_tokens=6, do_sample=False)
    return str(parts[1].decode(alone[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))


@ways
def test_each_call_is_answered_in_the_form_the_search_decides_and_says_which(
    mos: MOS, parts: tuple[Any, Any], adapter: str, ask: Any
) -> None:
    chat = local(mos, parts)
    learnt, told, else_ = (ask(chat, q) for q in (LEARNT, TOLD, OFF_TOPIC))
    assert learnt.response_metadata["memory_form"] == "adapter"
    assert learnt.response_metadata["memory_adapter"] == adapter
    assert learnt.response_metadata["memory_ids"] == []
    assert learnt.response_metadata["memory_learnt"] == [memory(mos, 0)]
    assert told.response_metadata["memory_form"] == "text"
    assert told.response_metadata["memory_adapter"] is None
    assert told.response_metadata["memory_ids"] == [memory(mos, 2)]
    assert else_.response_metadata["memory_form"] == "base"
    assert "no memory" in else_.response_metadata["memory_why"]
    for answer, question in ((learnt, LEARNT), (told, TOLD), (else_, OFF_TOPIC)):
        assert answer.text == said_by_hand(mos, parts[1], question)
    assert learnt.usage_metadata["input_tokens"] < told.usage_metadata["input_tokens"]
    assert learnt.text != base_says(parts, LEARNT)
    assert else_.text == base_says(parts, OFF_TOPIC)


def test_adapter_answers_only_who_may_read_all_that_it_was_made_of(
    mos: MOS, parts: tuple[Any, Any], adapter: str
) -> None:
    chat = local(mos, parts, cube="users/maya")
    mos.share(memory(mos, 0), to="ben", user="maya")
    metadata = asks(chat, LEARNT, "ben").response_metadata
    assert (metadata["memory_form"], metadata["memory_ids"]) == ("text", [memory(mos, 0)])
    mos.share(memory(mos, 1), to="ben", user="maya")
    assert asks(chat, LEARNT, "ben").response_metadata["memory_adapter"] == adapter
    mos.revoke(memory(mos, 1), to="ben", user="maya")
    assert asks(chat, LEARNT, "ben").response_metadata["memory_adapter"] is None


@pytest.mark.parametrize("ends", ["corrected", "erased"])
def test_adapter_is_stale_from_the_instant_a_memory_changes(
    mos: MOS, parts: tuple[Any, Any], adapter: str, ends: str
) -> None:
    chat, first = local(mos, parts), memory(mos, 0)
    assert asks(chat, LEARNT).response_metadata["memory_form"] == "adapter"
    if ends == "corrected":
        other = WORLD.statement((*FACTS[0][:2], "raphebaso"))
        mos.update(first, other, user="maya")
        metadata = asks(chat, LEARNT).response_metadata
        assert (metadata["memory_form"], metadata["memory_ids"]) == ("text", [first])
    else:
        mos.erase(first, user="maya")
        assert asks(chat, LEARNT).response_metadata["memory_form"] == "base"
    assert asks(chat, ALSO_LEARNT).response_metadata["memory_form"] == "text"


def test_last_question_of_a_conversation_decides(
    mos: MOS, parts: tuple[Any, Any], adapter: str
) -> None:
    chat = local(mos, parts)
    talk = [HumanMessage(TOLD), AIMessage("yes"), HumanMessage(LEARNT)]
    answer = chat.invoke(talk, who())
    assert answer.response_metadata["memory_adapter"] == adapter
    alone = asks(chat, LEARNT)
    assert answer.usage_metadata is not None
    assert alone.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] > alone.usage_metadata["input_tokens"]
    talk = [HumanMessage(LEARNT), AIMessage("yes"), HumanMessage(OFF_TOPIC)]
    assert chat.invoke(talk, who()).response_metadata["memory_form"] == "base"


def test_stream_that_is_given_up_gives_the_model_back(
    mos: MOS, parts: tuple[Any, Any], adapter: str
) -> None:
    chat = local(mos, parts)
    stream = chat.stream(LEARNT, who())
    next(stream)
    stream.close()
    with ThreadPoolExecutor(1) as other:
        assert other.submit(asks, chat, TOLD).result(timeout=30).text


def test_streams_beside_each_other_each_tell_their_own_answer(
    mos: MOS, parts: tuple[Any, Any], adapter: str
) -> None:
    chat, questions = local(mos, parts), [LEARNT, TOLD, OFF_TOPIC, ALSO_LEARNT] * 2

    async def read(question: str) -> str:
        return "".join([str(chunk.text) async for chunk in chat.astream(question, who())])

    async def all_of_them() -> list[str]:
        return list(await asyncio.gather(*(read(each) for each in questions)))

    assert asyncio.run(all_of_them()) == [asks(chat, each).text for each in questions]


def test_many_threads_ask_one_model_and_each_gets_its_own_answer(
    mos: MOS, parts: tuple[Any, Any], adapter: str
) -> None:
    chat, questions = local(mos, parts), [LEARNT, TOLD, OFF_TOPIC, ALSO_LEARNT] * 3
    alone = [asks(chat, each) for each in questions[:4]]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda q: asks(chat, q), questions))
    for n, answer in enumerate(together):
        assert answer.text == alone[n % 4].text
        assert answer.response_metadata == alone[n % 4].response_metadata


def test_many_tasks_of_one_loop_hold_the_model_in_turn(
    parts: tuple[Any, Any],
) -> None:
    settings = Settings(worker=False, extract=False)

    async def asks_all() -> list[str]:
        async with AsyncMOS(None, embedder=None, settings=settings, max_threads=2) as mos:
            await mos.host_model("tiny", *parts, invocation="question :")
            await mos.add(WORDS, user="maya")

            async def ask(question: str) -> str:
                async with mos.adapted(model="tiny", query=question, user="maya") as given:
                    (item,) = given.rows[0].items
                    return (await mos.get(item.id, user="maya")).text

            with pytest.raises(NotFound, match="large"):
                async with mos.adapted(model="large", query=TOLD, user="maya"):
                    pass
            given_up = asyncio.create_task(ask(TOLD))
            await asyncio.sleep(0)
            given_up.cancel()
            return list(await asyncio.gather(*(ask(q) for q in (LEARNT, ALSO_LEARNT, TOLD) * 3)))

    assert asyncio.run(asyncio.wait_for(asks_all(), 60)) == WORDS * 3


def test_agent_answers_from_weights_in_a_graph(
    mos: MOS, parts: tuple[Any, Any], adapter: str
) -> None:
    agent = create_agent(local(mos, parts), [], checkpointer=InMemorySaver())
    done = agent.invoke({"messages": [HumanMessage(LEARNT)]}, who(thread_id="t"))
    assert done["messages"][-1].response_metadata["memory_adapter"] == adapter


@pytest.mark.parametrize(("keeps", "form"), [(True, "base"), (False, "text")])
def test_what_a_thread_has_written_itself_is_left_out_where_its_turns_are_in_the_prompt(
    mos: MOS, parts: tuple[Any, Any], keeps: bool, form: str
) -> None:
    name = FACTS[0][0]
    mos.add(f"{name} owns a boat", user="maya", session="t1")
    chat = local(mos, parts, keep_turns=keeps)
    asked = f"is the boat of {name} old"
    mos.archive(memory(mos, 0), user="maya")
    assert chat.invoke(asked, who(thread_id="t1")).response_metadata["memory_form"] == form
    assert chat.invoke(asked, who(thread_id="t2")).response_metadata["memory_form"] == "text"


def test_model_that_is_not_hosted_is_told_how_to_be(mos: MOS, parts: tuple[Any, Any]) -> None:
    chat = MemOSChatModel(mos=mos, model=parts[0], tokenizer=parts[1], parametric="large")
    with pytest.raises(NotFound, match="host_model"):
        chat.invoke(LEARNT, who())


# -- a model served elsewhere ---------------------------------------------------------------------


class OverHTTP(BaseChatModel):
    """A chat model that posts what it is bound to, as clients of OpenAI's protocol do."""

    url: str
    name: str = BASE

    @property
    def _llm_type(self) -> str:
        return "over-http"

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        extra = kwargs.pop("extra_body", {})
        roles = {"human": "user", "ai": "assistant", "system": "system"}
        told = [{"role": roles[m.type], "content": m.content} for m in messages]
        body = {"model": self.name, "messages": told, **kwargs, **extra}
        request = urllib.request.Request(
            f"{self.url}/chat/completions", json.dumps(body).encode(), method="POST"
        )
        with urllib.request.urlopen(request) as reply:
            done = json.load(reply)
        message = AIMessage(done["choices"][0]["message"]["content"])
        return ChatResult(generations=[ChatGeneration(message=message)])


@pytest.fixture
def server(adapter: str) -> Iterator[AdapterServer]:
    with AdapterServer(adapter) as running:
        yield running


def agent_of(mos: MOS, server: AdapterServer, **made: Any) -> Any:
    served = made.pop("served", None) or ServedAdapters(server.url, fresh_seconds=0)
    memory = MemOSParametricMiddleware(mos, model="tiny", served=served, **{"remember": (), **made})
    return create_agent(OverHTTP(url=server.url), [], middleware=[memory])


def runs(agent: Any, question: str, user: str = "maya") -> AIMessage:
    return agent.invoke({"messages": [HumanMessage(question)]}, who(user))["messages"][-1]  # type: ignore[no-any-return]


def a_runs(agent: Any, question: str, user: str = "maya") -> AIMessage:
    given = {"messages": [HumanMessage(question)]}
    return asyncio.run(agent.ainvoke(given, who(user)))["messages"][-1]  # type: ignore[no-any-return]


both = pytest.mark.parametrize("run", [runs, a_runs])


@both
def test_call_names_the_adapter_that_knows_and_leaves_its_memories_out(
    mos: MOS, server: AdapterServer, adapter: str, run: Any
) -> None:
    agent = agent_of(mos, server)
    learnt, told, else_ = (run(agent, q) for q in (LEARNT, TOLD, OFF_TOPIC))
    assert [call["model"] for call in server.calls] == [adapter, BASE, BASE]
    assert server.calls[0]["messages"] == [{"role": "user", "content": LEARNT}]
    assert WORDS[2] in server.calls[1]["messages"][-1]["content"]
    assert learnt.text == f"{adapter}: {LEARNT}"
    assert learnt.response_metadata["memory_adapter"] == adapter
    assert learnt.response_metadata["memory_learnt"] == [memory(mos, 0)]
    assert learnt.response_metadata["memory_ids"] == []
    assert told.response_metadata["memory_form"] == "text"
    assert memory(mos, 2) in told.response_metadata["memory_ids"]
    assert else_.response_metadata["memory_adapter"] is None


def test_what_the_adapter_does_not_hold_stands_beside_it(
    mos: MOS, server: AdapterServer, adapter: str
) -> None:
    name = FACTS[0][0]
    more = mos.add(f"{name} owns a boat", user="maya").id
    answer = runs(agent_of(mos, server), f"{LEARNT} and does {name} owns a boat")
    assert answer.response_metadata["memory_adapter"] == adapter
    assert answer.response_metadata["memory_ids"] == [more]
    (call,) = server.calls
    assert call["model"] == adapter
    assert "a boat" in call["messages"][-1]["content"]
    assert WORDS[0] not in call["messages"][-1]["content"]


def test_adapter_that_the_server_has_not_is_not_asked_for(
    mos: MOS, server: AdapterServer, adapter: str
) -> None:
    agent = agent_of(mos, server)
    server.names.remove(adapter)
    answer = runs(agent, LEARNT)
    assert answer.response_metadata["memory_form"] == "text"
    assert WORDS[0] in server.calls[0]["messages"][-1]["content"]
    server.names.append(adapter)
    assert runs(agent, LEARNT).response_metadata["memory_form"] == "adapter"


def test_server_is_told_as_it_wants_to_be(mos: MOS, server: AdapterServer, adapter: str) -> None:
    agent = agent_of(
        mos,
        server,
        served=lambda: [adapter],
        setting=lambda name: {"extra_body": {"lora_path": name}},
    )
    runs(agent, LEARNT)
    (call,) = server.calls
    assert (call["model"], call["lora_path"]) == (BASE, adapter)
    assert server.lists() == 0


def test_adapter_that_a_server_keeps_is_asked_for_by_nobody_once_it_is_stale(
    mos: MOS, server: AdapterServer, adapter: str
) -> None:
    agent = agent_of(mos, server)
    runs(agent, LEARNT)
    mos.erase(memory(mos, 0), user="maya")
    answer = runs(agent, LEARNT)
    assert [call["model"] for call in server.calls] == [adapter, BASE]
    assert WORDS[0] not in json.dumps(server.calls)
    assert answer.response_metadata["memory_adapter"] is None


def test_strangers_get_neither_weights_nor_words(
    mos: MOS, server: AdapterServer, adapter: str
) -> None:
    answer = runs(agent_of(mos, server), LEARNT, "ben")
    assert (server.calls[0]["model"], answer.response_metadata["memory_form"]) == (BASE, "base")
    assert server.calls[0]["messages"] == [{"role": "user", "content": LEARNT}]


def test_rest_of_a_turn_gets_the_words_where_the_adapter_is_gone_meanwhile(
    mos: MOS, server: AdapterServer, adapter: str
) -> None:
    from langchain_core.messages import ToolCall
    from langchain_core.tools import tool

    @tool
    def look() -> str:
        """Look around."""
        server.names.remove(adapter)
        return "nothing"

    calls: list[ToolCall] = [ToolCall(name="look", args={}, id="1")]

    class Looking(OverHTTP):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self.bind(**kwargs)

        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
            said = [m for m in messages if m.type != "tool" and not getattr(m, "tool_calls", None)]
            done = super()._generate(said, *args, **kwargs)
            if calls:
                done.generations[0].message = AIMessage("", tool_calls=[calls.pop()])
            return done

    memory = MemOSParametricMiddleware(
        mos, model="tiny", served=ServedAdapters(server.url, fresh_seconds=0), remember=()
    )
    agent = create_agent(Looking(url=server.url), [look], middleware=[memory])
    runs(agent, LEARNT)
    first, second = server.calls
    assert (first["model"], second["model"]) == (adapter, BASE)
    assert WORDS[0] not in json.dumps(first)
    assert WORDS[0] in json.dumps(second)


def test_trace_tells_which_adapter_answers_and_why(
    mos: MOS, server: AdapterServer, adapter: str
) -> None:
    given = {"messages": [HumanMessage(LEARNT)]}
    events = list(agent_of(mos, server).stream(given, who(), stream_mode="custom"))
    (told,) = [each for each in events if each["memory"] == "injected"]
    assert (told["memory_adapter"], told["memory_learnt"]) == (adapter, [memory(mos, 0)])
    assert (told["ids"], told["tokens"]) == ([], 0)
    assert WORDS[0] not in json.dumps(events)


def test_middleware_still_remembers(mos: MOS, server: AdapterServer, adapter: str) -> None:
    runs(agent_of(mos, server, remember=("human",)), LEARNT)
    assert LEARNT in [item.text for item in mos.list(user="maya")]


def test_what_says_which_adapters_are_served_is_checked(mos: MOS) -> None:
    with pytest.raises(UsageError, match="ServedAdapters"):
        MemOSParametricMiddleware(mos, model="tiny", served=["a"])  # type: ignore[arg-type]


def test_no_thread_is_left_behind() -> None:
    assert not [t for t in threading.enumerate() if t.name.startswith("memos-stream")]
