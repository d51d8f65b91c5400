"""Our LlamaIndex stores and memory, run against the published suites."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from llama_index.core.graph_stores.types import PropertyGraphStore
from llama_index.core.memory import Memory
from llama_index.core.memory.types import BaseMemory
from llama_index.core.storage.chat_store.base import BaseChatStore
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore
from llama_index.core.storage.kvstore.types import BaseKVStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQueryMode

from llama_index_memos import (
    MemOSAsyncChatStore,
    MemOSChatStore,
    MemOSKVStore,
    MemOSMemory,
    MemOSPropertyGraphStore,
    MemOSVectorStore,
)
from memos_integrations import MOS, Settings
from memos_integrations.testing.llama_index import (
    AsyncChatStoreTests,
    ChatStoreTests,
    KVStoreTests,
    MemoryTests,
    PropertyGraphStoreTests,
    VectorFilterTests,
    VectorStoreTests,
)
from memos_integrations.testing.llama_index.memory import words
from memos_integrations.testing.llama_index.vector_store import asking, node

MODE = VectorStoreQueryMode


@pytest.fixture(scope="module")
def everybodys() -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(None, embedder=None, settings=settings) as mos:
        yield mos
        assert mos.check().findings == ()


class OnMOS:
    """One memory for all tests, in which each is a user of its own."""

    mos: MOS
    user: str

    @pytest.fixture(autouse=True)
    def opened(self, everybodys: MOS) -> None:
        self.mos, self.user = everybodys, str(uuid4())


class TestVectorStore(OnMOS, VectorStoreTests):
    modes = (MODE.DEFAULT, MODE.MMR, MODE.HYBRID, MODE.TEXT_SEARCH, MODE.SPARSE)

    def make(self) -> BasePydanticVectorStore:
        return MemOSVectorStore(self.mos, user=self.user)

    def test_varied_results_hold_what_is_masked_for_the_reader_last(self) -> None:
        masked = node("masked", [1.0, 0.1], text="mail maya@example.org")
        self.make().add([masked, node("a", [1.0, 0.2]), node("far", [0.8, -0.6])])
        cube = f"users/{self.user}/nodes"
        self.mos.share(to="reader", user=self.user, cube=cube)
        found = MemOSVectorStore(self.mos, user="reader", cube=cube).query(
            asking(top=3, mode=MODE.MMR)
        )
        assert [found.ids[-1], len(found.ids)] == ["masked", 3]


class TestVectorFilters(OnMOS, VectorFilterTests):
    def make(self) -> BasePydanticVectorStore:
        return MemOSVectorStore(self.mos, user=self.user)


class TestKVStore(OnMOS, KVStoreTests):
    def make(self) -> BaseKVStore:
        return MemOSKVStore(self.mos, user=self.user)


class TestChatStore(OnMOS, ChatStoreTests):
    def make(self) -> BaseChatStore:
        return MemOSChatStore(self.mos, user=self.user)


class TestAsyncChatStore(OnMOS, AsyncChatStoreTests):
    def make(self) -> AsyncDBChatStore:
        return MemOSAsyncChatStore(self.mos, user=self.user)


class TestMemory(OnMOS, MemoryTests):
    def make(self, session_id: str, *, token_limit: int = 3_000) -> BaseMemory:
        return MemOSMemory(
            self.mos,
            user=self.user,
            session_id=session_id,
            token_limit=token_limit,
            recall_tokens=20,
            tokenizer_fn=words,
        )


class TestTheirMemoryOnOurChatStore(OnMOS, MemoryTests):
    def make(self, session_id: str, *, token_limit: int = 3_000) -> BaseMemory:
        given: dict[str, Any] = {"token_limit": token_limit, "tokenizer_fn": words}
        store = MemOSAsyncChatStore(self.mos, user=self.user)
        return Memory.from_defaults(session_id=session_id, chat_store=store, **given)


class TestPropertyGraphStore(OnMOS, PropertyGraphStoreTests):
    def make(self) -> PropertyGraphStore:
        return MemOSPropertyGraphStore(self.mos, user=self.user)
