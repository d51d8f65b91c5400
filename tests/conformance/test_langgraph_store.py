"""The published store suite on MemOSStore: everything passes, nothing is left out."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from langgraph.store.base import BaseStore, IndexConfig, Op, Result, TTLConfig
from langgraph.store.base.batch import AsyncBatchedBaseStore

from langgraph_memos import IndexEmbedder, MemOSStore
from memos_integrations import MOS, Settings
from memos_integrations.testing.fakes import ManualClock
from memos_integrations.testing.langgraph import BaseStoreTests

QUIET = Settings(worker=False)


class TestMemOSStore(BaseStoreTests):
    """As it stands where ``InMemoryStore`` stood, with a clock that tests need not wait for."""

    clock: ManualClock

    @pytest.fixture(autouse=True)
    def _clock(self) -> None:
        self.clock = ManualClock()

    def make_store(
        self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None
    ) -> BaseStore:
        model = None if index is None else IndexEmbedder(index)
        mos = MOS(None, embedder=model, clock=self.clock, settings=QUIET)
        fields: IndexConfig | None = None if index is None else {"fields": index.get("fields")}
        return MemOSStore(mos, index=fields, ttl=ttl)

    def close_store(self, store: BaseStore) -> None:
        assert isinstance(store, MemOSStore)
        store.mos.work()
        assert store.mos.check().findings == ()
        store.close()
        store.mos.close()

    def pass_minutes(self, minutes: float) -> None:
        self.clock.advance(seconds=minutes * 60)


@pytest.mark.slow
class TestMemOSStoreAsItComes(BaseStoreTests):
    """With nothing but what ``InMemoryStore`` takes, a worker in the background, and real time."""

    def make_store(
        self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None
    ) -> BaseStore:
        return MemOSStore(index=index, ttl=ttl, embedder=None)


@pytest.mark.slow
class TestMemOSStoreInATeamsCube(TestMemOSStore):
    """In a cube that is nobody's home, asked by its owner."""

    def make_store(
        self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None
    ) -> BaseStore:
        store = super().make_store(index=index, ttl=ttl)
        assert isinstance(store, MemOSStore)
        return MemOSStore(store.mos, index=store.index_config, ttl=ttl, cube="teams/acme/notes")


class Batched(AsyncBatchedBaseStore):
    """LangGraph's own batching of what is awaited at once, over ours."""

    def __init__(self, inner: MemOSStore) -> None:
        super().__init__()
        self.inner = inner
        self.supports_ttl = inner.supports_ttl
        self.ttl_config = inner.ttl_config

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return self.inner.batch(ops)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await self.inner.abatch(ops)


@pytest.mark.slow
class TestMemOSStoreBehindLangGraphsBatching(TestMemOSStore):
    """What many tasks await at once comes as one batch; made and closed by awaiting."""

    halves = ("async",)

    async def make_store(  # type: ignore[override]
        self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None
    ) -> BaseStore:
        inner = super().make_store(index=index, ttl=ttl)
        assert isinstance(inner, MemOSStore)
        return Batched(inner)

    async def close_store(self, store: BaseStore) -> None:  # type: ignore[override]
        assert isinstance(store, Batched)
        super().close_store(store.inner)
