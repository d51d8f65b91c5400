"""The queue that is fair between tenants, held to the contract of every queue."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from memos_integrations.infrastructure.queue.fair import FairQueue
from memos_integrations.testing.task_queue import (
    QueueHarness,
    SqliteHarness,
    TaskQueueTests,
    survive_kills,
)

_MORE = files("memos_integrations.infrastructure.vault") / "sql/migrations/0002_organised.sql"


class FairHarness(SqliteHarness):
    """The embedded harness with the columns that fairness needs."""

    def __init__(self, path: Path) -> None:
        fresh = not path.exists()
        super().__init__(path)
        self.queue = FairQueue()
        if fresh:
            self._connection().executescript(_MORE.read_text())


class TestFairQueue(TaskQueueTests):
    def make(self, tmp_path: Path) -> QueueHarness:
        return FairHarness(tmp_path / "vault.db")

    @pytest.mark.slow
    def test_each_effect_happens_once_while_workers_are_killed(self, tmp_path: Path) -> None:
        survive_kills(self, tmp_path, tasks=200, kills=20)
