"""Where a program's KV-caches are kept, made when first asked for: nothing here needs torch."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from memos_integrations.infrastructure.activation.shelf import Shelf
from memos_integrations.infrastructure.vault.vault import MemVault

if TYPE_CHECKING:
    from memos_integrations.operation.transform.keeper import Keeper


class Caches:
    """One shelf for a program, and what fills it."""

    def __init__(self, vault: MemVault, *, memory_bytes: int, disk_bytes: int) -> None:
        self._vault = vault
        self._disk_bytes = disk_bytes
        self._lock = threading.Lock()
        self._keeper: Keeper | None = None
        self.shelf: Shelf[Any] = Shelf(memory_bytes)

    def keeper(self) -> Keeper:
        """What keeps and finds caches. Raises ``MissingExtra`` without torch and transformers."""
        from memos_integrations.operation.transform.keeper import Keeper  # noqa: PLC0415

        with self._lock:
            if self._keeper is None:
                self._keeper = Keeper(self._vault, self.shelf, disk_bytes=self._disk_bytes)
            return self._keeper

    def forget(self) -> None:
        """Hold nothing any more: something was erased."""
        self.shelf.forget(self.shelf.keys())
