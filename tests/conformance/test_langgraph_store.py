"""The published store suite on MemOSStore: everything passes, nothing is left out."""

from __future__ import annotations

import pytest
from langgraph.store.base import BaseStore, IndexConfig, TTLConfig

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
