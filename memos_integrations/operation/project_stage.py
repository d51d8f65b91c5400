"""The task that feeds an outside vector engine from the log.

Idempotent: the projector keeps its own cursor under its own lease, so a task that is repeated or
overtaken finds nothing left to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from memos_integrations.cube.ports import Task
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import MemVault


class ProjectStage:
    """Handles ``project`` tasks."""

    def __init__(self, vault: MemVault) -> None:
        self._vault = vault

    def prepare(self, task: Task) -> Callable[[Transaction], str | None]:
        """Bring the engine level with the log; nothing is left for the transaction but to end."""
        changed = 0 if task.cube is None else self._vault.project(task.cube)
        return lambda _: json.dumps({"items": changed})
