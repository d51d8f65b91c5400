"""Back-pressure: who adds faster than the fine stage can follow waits a while, and loses nothing.

Called by the writing verbs before their transaction, so nobody waits with a lock in hand.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from memos_integrations.infrastructure.queue.fair import FairQueue
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.interface.settings import Settings

_PAUSE_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Waited:
    """How a wait for the queue ended."""

    seconds: float
    open_tasks: int
    """At its end, counted up to the bound."""
    relieved: bool

    @property
    def remark(self) -> str | None:
        """What an outcome says about it; ``None`` where there is nothing to say."""
        if self.relieved:
            return None
        return f"stored as it is; {self.open_tasks} or more tasks wait, so it is refined later"


class Pressure:
    """Measures a tenant's open tasks, and waits for them to go below the bound."""

    def __init__(
        self,
        vault: MemVault,
        queue: FairQueue,
        *,
        settings: Settings,
    ) -> None:
        self._vault = vault
        self._queue = queue
        self._bound = settings.max_waiting_tasks
        self._seconds = settings.max_wait_seconds

    def wait(self, tenant: str) -> Waited:
        """Return once the tenant is below the bound, or the longest wait is over.

        The worker may be a thread of this process or another process.
        """
        began = time.monotonic()
        depth = self._depth(tenant)
        while depth >= self._bound and time.monotonic() - began < self._seconds:
            time.sleep(_PAUSE_SECONDS)
            depth = self._depth(tenant)
        return Waited(time.monotonic() - began, depth, depth < self._bound)

    def _depth(self, tenant: str) -> int:
        with self._vault.readers.snapshot() as connection:
            return self._queue.depth(connection, tenant, limit=self._bound)
