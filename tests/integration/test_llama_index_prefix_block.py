"""The same beginning for every prompt of a served model, through LlamaIndex's own memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("llama_index.core", reason="the llama-index extra is not installed")

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemoryBlock, Memory

from llama_index_memos import (
    MemOSAsyncChatStore,
    MemOSMemoryBlock,
    MemOSPrefixBlock,
    served_options,
)
from memos_integrations import MOS, Principal, Settings
from memos_integrations.cube.errors import AccessDenied, UsageError


@pytest.fixture
def mos() -> Iterator[MOS]:
    with MOS(None, embedder=None, settings=Settings(worker=False, extract=False)) as opened:
        opened.add([f"Shelf {n} holds parcels." for n in range(9)], user="ann")
        yield opened


def memory_of(mos: MOS, *blocks: BaseMemoryBlock[str]) -> Memory:
    return Memory.from_defaults(
        session_id="s",
        memory_blocks=list(blocks),
        token_limit=150,  # what is recalled is cut shorter then, and the beginning never
        tokenizer_fn=str.split,
        chat_store=MemOSAsyncChatStore(mos, user="ann"),
    )


def system_of(memory: Memory, asked: str) -> str:
    memory.put(ChatMessage(role="user", content=asked))
    return str(memory.get()[0].content)


def test_prompts_begin_alike_while_memories_come_and_the_recalled_stand_behind(mos: MOS) -> None:
    mos.add("The penguin is called Petrel.", user="ann", trust="web")
    memory = memory_of(
        mos,
        MemOSPrefixBlock(mos, user="ann"),
        MemOSMemoryBlock(mos, user="ann", tokenizer_fn=str.split),
    )
    first = system_of(memory, "What is the penguin called?")
    mos.add("Shelf 9 holds parcels.", user="ann")
    second = system_of(memory, "And who is the penguin?")
    end = "Shelf 8 holds parcels."
    assert first[: first.index(end)] == second[: second.index(end)]
    assert first.index(end) < first.index("Petrel")
    assert second.index("Shelf 9 holds") > second.index(end)
    assert first[: first.index(end)].count("Shelf") == 8


def test_a_block_is_governed_and_empty_where_nothing_is(mos: MOS) -> None:
    assert system_of(memory_of(mos, MemOSPrefixBlock(mos, user="sam")), "Hi") == "Hi"
    closed = MemOSPrefixBlock(mos, user="sam", cube="users/ann")
    with pytest.raises(AccessDenied):
        system_of(memory_of(mos, closed), "Hi")


def test_options_tell_askers_and_tenants_apart(mos: MOS) -> None:
    elsewhere = mos.acting(Principal(tenant="other"))
    asked = [
        served_options(of, "vllm", user=user, shared_by=by)["extra_body"]["cache_salt"]
        for of in (mos, elsewhere)
        for by in ("asker", "tenant")
        for user in ("ann", "sam")
    ]
    assert len(set(asked)) == 6
    assert asked[2] == asked[3]
    assert served_options(mos, "anthropic", user="ann") == {}
    assert set(served_options(mos, "openai", user="ann")) == {"prompt_cache_key"}
    with pytest.raises(UsageError, match="provider"):
        served_options(mos, "gpt", user="ann")  # type: ignore[arg-type]
