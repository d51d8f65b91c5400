"""What ``python -m bench.llama_conformance`` collects: the suites on their classes and on ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from llama_index.core.graph_stores.simple_labelled import SimplePropertyGraphStore
from llama_index.core.graph_stores.types import PropertyGraphStore
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.memory.types import BaseMemory
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.storage.chat_store.base import BaseChatStore
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.storage.kvstore.types import BaseKVStore
from llama_index.core.vector_stores import SimpleVectorStore
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

MODE = VectorStoreQueryMode


@pytest.fixture(scope="module")
def everybodys() -> Iterator[MOS]:
    with MOS(None, embedder=None, settings=Settings(worker=False, synchronous="normal")) as mos:
        yield mos


class OnMOS:
    mos: MOS
    user: str

    @pytest.fixture(autouse=True)
    def opened(self, everybodys: MOS) -> None:
        self.mos, self.user = everybodys, str(uuid4())


class TestSimpleVectorStore(VectorStoreTests):
    def make(self) -> BasePydanticVectorStore:
        return SimpleVectorStore()


class TestMemOSVectorStore(OnMOS, VectorStoreTests):
    modes = (MODE.DEFAULT, MODE.MMR, MODE.HYBRID, MODE.TEXT_SEARCH, MODE.SPARSE)

    def make(self) -> BasePydanticVectorStore:
        return MemOSVectorStore(self.mos, user=self.user)


class TestSimpleVectorStoreFilters(VectorFilterTests):
    def make(self) -> BasePydanticVectorStore:
        return SimpleVectorStore()


class TestMemOSVectorStoreFilters(OnMOS, VectorFilterTests):
    def make(self) -> BasePydanticVectorStore:
        return MemOSVectorStore(self.mos, user=self.user)


class TestSimpleKVStore(KVStoreTests):
    def make(self) -> BaseKVStore:
        return SimpleKVStore()


class TestMemOSKVStore(OnMOS, KVStoreTests):
    def make(self) -> BaseKVStore:
        return MemOSKVStore(self.mos, user=self.user)


class TestSimpleChatStore(ChatStoreTests):
    def make(self) -> BaseChatStore:
        return SimpleChatStore()


class TestMemOSChatStore(OnMOS, ChatStoreTests):
    def make(self) -> BaseChatStore:
        return MemOSChatStore(self.mos, user=self.user)


class TestSQLAlchemyChatStore(AsyncChatStoreTests):
    def make(self) -> AsyncDBChatStore:
        return SQLAlchemyChatStore(table_name="messages")


class TestMemOSAsyncChatStore(OnMOS, AsyncChatStoreTests):
    def make(self) -> AsyncDBChatStore:
        return MemOSAsyncChatStore(self.mos, user=self.user)


class TestMemory(MemoryTests):
    @pytest.fixture(autouse=True)
    def kept(self) -> None:
        self.store = SQLAlchemyChatStore(table_name="messages")

    def make(self, session_id: str, *, token_limit: int = 3_000) -> BaseMemory:
        given: dict[str, Any] = {"token_limit": token_limit, "tokenizer_fn": words}
        return Memory.from_defaults(session_id=session_id, chat_store=self.store, **given)


class TestChatMemoryBuffer(MemoryTests):
    @pytest.fixture(autouse=True)
    def kept(self) -> None:
        self.store = SimpleChatStore()

    def make(self, session_id: str, *, token_limit: int = 3_000) -> BaseMemory:
        return ChatMemoryBuffer.from_defaults(
            chat_store=self.store,
            chat_store_key=session_id,
            token_limit=token_limit,
            tokenizer_fn=words,
        )


class TestMemOSMemory(OnMOS, MemoryTests):
    def make(self, session_id: str, *, token_limit: int = 3_000) -> BaseMemory:
        return MemOSMemory(
            self.mos,
            user=self.user,
            session_id=session_id,
            token_limit=token_limit,
            recall_tokens=20,
            tokenizer_fn=words,
        )


class TestSimplePropertyGraphStore(PropertyGraphStoreTests):
    def make(self) -> PropertyGraphStore:
        return SimplePropertyGraphStore()


class TestMemOSPropertyGraphStore(OnMOS, PropertyGraphStoreTests):
    def make(self) -> PropertyGraphStore:
        return MemOSPropertyGraphStore(self.mos, user=self.user)
