"""LangChain's own suites on the key-value stores, the caches and the tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="langchain-tests is not installed")

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import (
    AsyncCacheTestSuite,
    BaseStoreAsyncTests,
    BaseStoreSyncTests,
    SyncCacheTestSuite,
    ToolsIntegrationTests,
)
from langchain_tests.unit_tests import ToolsUnitTests

from langchain_memos import MemOSByteStore, MemOSCache, MemOSStrStore, memory_tools
from memos_integrations import MOS, Settings


@pytest.fixture
def mos(tmp_path: Any) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        yield opened


class TestByteStore(BaseStoreSyncTests[bytes]):
    @pytest.fixture
    def kv_store(self, mos: MOS) -> MemOSByteStore:
        return MemOSByteStore(mos, namespace="docs", user="alice")

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"foo", b"bar", b"\x00\xff"


class TestAsyncByteStore(BaseStoreAsyncTests[bytes]):
    @pytest.fixture
    async def kv_store(self, mos: MOS) -> MemOSByteStore:
        return MemOSByteStore(mos, namespace="docs", user="alice")

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"foo", b"bar", b"\x00\xff"


class TestStrStore(BaseStoreSyncTests[str]):
    @pytest.fixture
    def kv_store(self, mos: MOS) -> MemOSStrStore:
        return MemOSStrStore(mos, namespace="docs", user="alice")

    @pytest.fixture
    def three_values(self) -> tuple[str, str, str]:
        return "foo", "", "\U0001f389\n"


class TestAsyncStrStore(BaseStoreAsyncTests[str]):
    @pytest.fixture
    async def kv_store(self, mos: MOS) -> MemOSStrStore:
        return MemOSStrStore(mos, namespace="docs", user="alice")

    @pytest.fixture
    def three_values(self) -> tuple[str, str, str]:
        return "foo", "", "\U0001f389\n"


def by_meaning(mos: MOS) -> MemOSCache:
    model = DeterministicFakeEmbedding(size=8)
    return MemOSCache(mos, user="alice", embedding=model, threshold=0.95)


class TestCache(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, mos: MOS) -> MemOSCache:
        return MemOSCache(mos, user="alice")


class TestAsyncCache(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, mos: MOS) -> MemOSCache:
        return MemOSCache(mos, user="alice")


class TestCacheByMeaning(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, mos: MOS) -> MemOSCache:
        return by_meaning(mos)


class TestAsyncCacheByMeaning(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, mos: MOS) -> MemOSCache:
        return by_meaning(mos)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "remember": {"text": "I play chess."},
    "recall": {"query": "What do I play?", "limit": 3},
    "update_memory": {"memory_id": "", "text": "I play go."},
    "forget": {"memory_id": ""},
}


class _Tools:
    """One tool over a memory that holds what its arguments name."""

    @pytest.fixture(autouse=True, params=sorted(ARGUMENTS))
    def chosen(self, request: pytest.FixtureRequest, mos: MOS) -> None:
        kept = mos.add("I play chess on Mondays.", user="alice")
        (self.one,) = memory_tools(mos, user="alice", only=[request.param])
        self.arguments = dict(ARGUMENTS[request.param])
        if "memory_id" in self.arguments:
            self.arguments["memory_id"] = kept.id

    @property
    def tool_constructor(self) -> BaseTool:
        return self.one

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return self.arguments


class TestToolsAlone(_Tools, ToolsUnitTests):
    pass


class TestToolsAtWork(_Tools, ToolsIntegrationTests):
    pass
