"""Seventy-five killed workers over six hundred tasks: each effect exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest

from memos_integrations.testing.task_queue import QueueHarness, SqliteHarness, survive_kills


class TestSqliteWorkers:
    def make(self, tmp_path: Path) -> QueueHarness:
        return SqliteHarness(tmp_path / "vault.db")

    @pytest.mark.slow
    def test_each_effect_happens_once_while_many_workers_are_killed(self, tmp_path: Path) -> None:
        survive_kills(self, tmp_path, tasks=600, kills=75)
