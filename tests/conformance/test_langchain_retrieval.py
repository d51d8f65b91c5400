"""LangChain's own suites on the retriever and on the vector store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="langchain-tests is not installed")

from langchain_tests.integration_tests import (
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)

from langchain_memos import MemOSRetriever, MemOSVectorStore
from memos_integrations import MOS, Settings


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Any) -> Iterator[MemOSVectorStore]:
        settings = Settings(worker=False, synchronous="normal")
        with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as mos:
            yield MemOSVectorStore(self.get_embeddings(), mos=mos, user="alice")


class TestVectorStoreWithAMemoryOfItsOwn(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[MemOSVectorStore]:
        with MemOSVectorStore(self.get_embeddings()) as store:
            yield store


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def opened(self, tmp_path: Any) -> Iterator[None]:
        settings = Settings(worker=False, synchronous="normal")
        with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as mos:
            mos.add([f"I play chess, round {n} was long." for n in range(5)], user="alice")
            self.mos = mos
            yield

    @property
    def retriever_constructor(self) -> type[MemOSRetriever]:
        return MemOSRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"memory": self.mos, "user": "alice"}

    @property
    def retriever_query_example(self) -> str:
        return "Which chess round was long?"
