"""A real transformers model behind LangChain, over governed memory and its KV-caches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")
transformers = pytest.importorskip("transformers", reason="needs the extra activation")
pytest.importorskip("langchain_core", reason="needs the extra langchain")

from langchain_core.messages import (  # noqa: E402
    AIMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.output_parsers import StrOutputParser  # noqa: E402
from langchain_core.prompts import ChatPromptTemplate  # noqa: E402

from langchain_memos import MemOSChatModel  # noqa: E402
from memos_integrations import MOS, Settings  # noqa: E402
from memos_integrations.cube.errors import AccessDenied, InvalidInput  # noqa: E402

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
torch.set_num_threads(1)
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</{{ m['role'] }}>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"


def a_tokenizer(template: str = TEMPLATE) -> Any:
    """One token for each byte, with a chat template; there is nothing to train."""
    made = transformers.ByT5Tokenizer()
    made.chat_template = template
    return made


def a_model() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=384,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=0,
        eos_token_id=1,
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture
def mos() -> Iterator[MOS]:
    with MOS(None, embedder=None, settings=Settings(worker=False, extract=False)) as opened:
        opened.add(["The heater failed on Monday", "It was replaced on Tuesday"], user="maya")
        opened.add("The choir sings on Friday, and nobody else may know of it", user="sam")
        yield opened


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return a_model(), a_tokenizer()


def chat(mos: MOS, parts: tuple[Any, Any], **more: Any) -> MemOSChatModel:
    greedy = {"do_sample": False}
    return MemOSChatModel(
        mos=mos, model=parts[0], tokenizer=parts[1], max_new_tokens=8, options=greedy, **more
    )


def who(user: str) -> Any:
    return {"configurable": {"user_id": user}}


def read(usage: Any) -> tuple[int, int]:
    details = usage["input_token_details"]
    return details["cache_read"], details["cache_creation"]


def test_second_question_reads_the_memory_from_the_cache(mos: MOS, parts: Any) -> None:
    model = chat(mos, parts)
    first = model.invoke("What failed?", who("maya"))
    second = model.invoke("When was it replaced?", who("maya"))
    assert read(first.usage_metadata) == (0, 128)
    assert read(second.usage_metadata) == (128, 0)
    assert len(second.response_metadata["memory_ids"]) == 2


def test_answer_is_that_of_the_model_alone_on_the_same_prompt(mos: MOS, parts: Any) -> None:
    model, tokenizer = parts
    for _ in range(2):
        answer = chat(mos, parts).invoke("What failed?", who("maya"))
    with mos.activated(model, tokenizer, query="What failed?", user="maya") as given:
        ids = given.inputs["input_ids"]
    assert "The heater failed" in tokenizer.decode(ids[0])
    plain = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False
    )
    assert answer.text == tokenizer.decode(plain[0, ids.shape[1] :], skip_special_tokens=True)


def test_system_text_and_conversation_keep_the_memory_cached(mos: MOS, parts: Any) -> None:
    model = chat(mos, parts)
    system = SystemMessage("Be brief.")
    model.invoke([system, HumanMessage("What failed?")], who("maya"))
    talk = [system, HumanMessage("Hi"), AIMessage("Hello"), HumanMessage("What failed?")]
    assert read(model.invoke(talk, who("maya")).usage_metadata)[1] == 0
    other = [SystemMessage("Be long."), HumanMessage("What failed?")]
    assert read(model.invoke(other, who("maya")).usage_metadata)[0] == 0


def test_nobody_is_answered_from_anothers_memory(mos: MOS, parts: Any) -> None:
    model = chat(mos, parts)
    maya = model.invoke("Who sings?", who("maya"))
    sam = model.invoke("Who sings?", who("sam"))
    assert not set(maya.response_metadata["memory_ids"]) & set(sam.response_metadata["memory_ids"])
    with pytest.raises(AccessDenied):
        chat(mos, parts, cube="users/sam").invoke("Who sings?", who("maya"))
    with pytest.raises(AccessDenied, match="user 'maya'"):
        chat(mos, parts, user="maya").invoke("Who sings?", who("sam"))


def test_stream_says_the_same_and_counts_the_same(mos: MOS, parts: Any) -> None:
    model = chat(mos, parts)
    whole = model.invoke("What failed?", who("maya"))
    chunks = list(model.stream("What failed?", who("maya")))
    assert "".join(chunk.text for chunk in chunks) == whole.text
    usages = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert [read(usage) for usage in usages] == [(128, 0)]


def test_stream_given_up_stops_the_model(mos: MOS, parts: Any) -> None:
    model = chat(mos, parts)
    stream = model.stream("What failed?", who("maya"), max_new_tokens=2_000)
    next(stream)
    stream.close()  # waits for the model, which would take minutes to its end


def test_async_halves_answer_as_the_sync_ones(mos: MOS, parts: Any) -> None:
    model = chat(mos, parts)

    async def both() -> tuple[str, str]:
        asked = await model.ainvoke("What failed?", who("maya"))
        streamed = [chunk.text async for chunk in model.astream("What failed?", who("maya"))]
        return asked.text, "".join(streamed)

    expected = model.invoke("What failed?", who("maya")).text
    assert asyncio.run(both()) == (expected, expected)


def test_in_a_chain_the_config_of_the_chain_says_who_asks(mos: MOS, parts: Any) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])
    chain = prompt | chat(mos, parts) | StrOutputParser()
    assert isinstance(chain.invoke({"question": "What failed?"}, who("maya")), str)
    reads = [
        line for line in mos.audit(user="maya", cube="users/maya") if "activate" in line.action
    ]
    assert {line.actor for line in reads} == {"user:maya"}


def test_template_without_system_turns_gets_the_memory_with_the_question(
    mos: MOS, parts: Any
) -> None:
    model = chat(mos, (parts[0], a_tokenizer(NO_SYSTEM + TEMPLATE)))
    model.invoke("What failed?", who("maya"))
    assert read(model.invoke("When?", who("maya")).usage_metadata)[0] > 0


def test_what_a_local_model_cannot_take_is_said(mos: MOS, parts: Any) -> None:
    with pytest.raises(InvalidInput, match="ChatMessage"):
        chat(mos, parts).invoke([ChatMessage("hm", role="oracle")], who("maya"))
    bare = transformers.ByT5Tokenizer()
    with pytest.raises(InvalidInput, match="chat template"):
        chat(mos, (parts[0], bare)).invoke("What failed?", who("maya"))
