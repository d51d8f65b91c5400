"""A local model of LlamaIndex that answers from adapters, text or alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")
pytest.importorskip("llama_index.core", reason="needs the extra llama-index")

from llama_index.core.base.llms.types import ChatMessage, MessageRole  # noqa: E402

from llama_index_memos import MemOSLLM  # noqa: E402
from memos_integrations import MOS  # noqa: E402
from tests.integration.hosted_parts import learn, untaught  # noqa: E402
from tests.integration.taught_parts import (  # noqa: E402
    FACTS,
    OFF_TOPIC,
    QUESTIONS,
    WORLD,
    memory,
    said_by_hand,
    told_to,
)

torch.set_num_threads(1)
LEARNT, _, TOLD = QUESTIONS


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return untaught()


@pytest.fixture
def mos(parts: tuple[Any, Any]) -> Iterator[MOS]:
    with told_to(parts) as opened:
        yield opened


@pytest.fixture
def adapter(mos: MOS) -> str:
    return learn(mos, memory(mos, 0), memory(mos, 1))


@pytest.fixture
def llm(mos: MOS, parts: tuple[Any, Any]) -> MemOSLLM:
    greedy = {"do_sample": False}
    return MemOSLLM(mos, *parts, user="maya", parametric="tiny", max_new_tokens=6, options=greedy)


def said(question: str) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=question)]


def completes(llm: MemOSLLM, question: str) -> Any:
    return llm.complete(question)


def a_completes(llm: MemOSLLM, question: str) -> Any:
    return asyncio.run(llm.acomplete(question))


def streams(llm: MemOSLLM, question: str) -> Any:
    return list(llm.stream_complete(question))[-1]


def chats(llm: MemOSLLM, question: str) -> Any:
    return llm.chat(said(question))


def a_chats(llm: MemOSLLM, question: str) -> Any:
    return asyncio.run(llm.achat(said(question)))


def stream_chats(llm: MemOSLLM, question: str) -> Any:
    return list(llm.stream_chat(said(question)))[-1]


def a_stream_chats(llm: MemOSLLM, question: str) -> Any:
    async def read() -> Any:
        return [each async for each in await llm.astream_chat(said(question))][-1]

    return asyncio.run(read())


WAYS = [completes, a_completes, streams, chats, a_chats, stream_chats, a_stream_chats]
ways = pytest.mark.parametrize("ask", WAYS)


def words_of(response: Any) -> str:
    return str(response.message.content) if hasattr(response, "message") else str(response.text)


@ways
def test_each_call_is_answered_in_the_form_the_search_decides_and_says_which(
    mos: MOS, llm: MemOSLLM, parts: tuple[Any, Any], adapter: str, ask: Any
) -> None:
    learnt, told, else_ = (ask(llm, q) for q in (LEARNT, TOLD, OFF_TOPIC))
    assert learnt.additional_kwargs["memory_form"] == "adapter"
    assert learnt.additional_kwargs["memory_adapter"] == adapter
    assert learnt.additional_kwargs["memory_learnt"] == [memory(mos, 0)]
    assert learnt.additional_kwargs["memory_ids"] == []
    assert told.additional_kwargs["memory_form"] == "text"
    assert told.additional_kwargs["memory_ids"] == [memory(mos, 2)]
    assert else_.additional_kwargs["memory_form"] == "base"
    assert told.additional_kwargs["prompt_tokens"] > learnt.additional_kwargs["prompt_tokens"]
    for response, question in ((learnt, LEARNT), (told, TOLD), (else_, OFF_TOPIC)):
        assert words_of(response) == said_by_hand(mos, parts[1], question)


def test_last_question_of_a_conversation_decides(llm: MemOSLLM, adapter: str) -> None:
    yes = ChatMessage(role=MessageRole.ASSISTANT, content="yes")
    answer = llm.chat([*said(TOLD), yes, *said(LEARNT)])
    assert answer.additional_kwargs["memory_adapter"] == adapter
    answer = llm.chat([*said(LEARNT), yes, *said(OFF_TOPIC)])
    assert answer.additional_kwargs["memory_form"] == "base"


def test_corrected_memory_answers_as_text_at_once(mos: MOS, llm: MemOSLLM, adapter: str) -> None:
    assert llm.complete(LEARNT).additional_kwargs["memory_form"] == "adapter"
    first = memory(mos, 0)
    mos.update(first, WORLD.statement((*FACTS[0][:2], "raphebaso")), user="maya")
    told = llm.complete(LEARNT).additional_kwargs
    assert (told["memory_form"], told["memory_ids"]) == ("text", [first])


def test_streams_beside_each_other_each_tell_their_own_answer(llm: MemOSLLM, adapter: str) -> None:
    questions = [LEARNT, TOLD, OFF_TOPIC] * 2

    async def read(question: str) -> str:
        chunks = [each async for each in await llm.astream_chat(said(question))]
        return words_of(chunks[-1])

    async def all_of_them() -> list[str]:
        return list(await asyncio.gather(*(read(each) for each in questions)))

    assert asyncio.run(all_of_them()) == [words_of(llm.complete(each)) for each in questions]
