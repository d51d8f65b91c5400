"""The memory keeps its promises in each of the ways it can be set up."""

from __future__ import annotations

from pathlib import Path

from memos_integrations.interface.mos import MOS
from memos_integrations.interface.settings import Settings
from memos_integrations.testing.fakes import FakeEmbedder
from memos_integrations.testing.vault import VaultTests


class TestDefaultSettings(VaultTests):
    def make(self, tmp_path: Path) -> MOS:
        return MOS(tmp_path / "agent.db", embedder=None)


class TestNormalSynchronous(VaultTests):
    def make(self, tmp_path: Path) -> MOS:
        settings = Settings(synchronous="normal")
        return MOS(tmp_path / "agent.db", embedder=None, settings=settings)


class TestWithoutWorker(VaultTests):
    def make(self, tmp_path: Path) -> MOS:
        return MOS(tmp_path / "agent.db", embedder=None, settings=Settings(worker=False))


class TestWithVectors(VaultTests):
    def make(self, tmp_path: Path) -> MOS:
        return MOS(tmp_path / "agent.db", embedder=FakeEmbedder())
