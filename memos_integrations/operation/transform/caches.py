"""Where a program's KV-caches are kept, made when first asked for: nothing here needs torch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.activation.shelf import Shelf
from memos_integrations.infrastructure.vault import cache_records
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.transform.cache_files import CacheFiles, CacheReport
from memos_integrations.operation.transform.cache_use import UseLog
from memos_integrations.operation.transform.records import (
    CacheRecord,
    CacheStats,
    records,
    stats_of,
)

if TYPE_CHECKING:
    from memos_integrations.operation.transform.keeper import Keeper


class Caches:
    """One shelf for a program, and what fills it."""

    def __init__(
        self,
        vault: MemVault,
        *,
        memory_bytes: int,
        disk_bytes: int,
        wait_seconds: float,
        device_bytes: int = 0,
    ) -> None:
        self._vault = vault
        self._disk_bytes = disk_bytes
        self._wait_seconds = wait_seconds
        self._device_bytes = device_bytes
        self._lock = threading.Lock()
        self._keeper: Keeper | None = None
        self._folder = Path(f"{vault.path}.kv")
        self._files = CacheFiles(vault, self._folder)
        self._files.recover()
        self._uses = UseLog(vault)
        self.shelf: Shelf[Any] = Shelf(memory_bytes)

    def keeper(self) -> Keeper:
        """What keeps and finds caches. Raises ``MissingExtra`` without torch and transformers."""
        with self._lock:
            if self._keeper is None:
                self._keeper = self._made()
            return self._keeper

    def records(
        self, reading: Reading, *, within: Iterable[int] | None = None
    ) -> list[CacheRecord]:
        """The caches of which the asker holds the asked right on every source."""
        return records(
            reading.connection,
            reading.asking,
            held=self.shelf.held(),
            uses=self._uses.unwritten(),
            copied=() if self._keeper is None else self._keeper.copied(),
            within=within,
        )

    def stats(self, reading: Reading, *, within: Iterable[int] | None = None) -> CacheStats:
        """The sum of ``records``; for an admin who names no cubes, of all lookups ever."""
        there = self.records(reading, within=within)
        waiting = self._uses.waiting(reading.asking.principal.tenant)
        return stats_of(reading.connection, reading.asking, there, waiting)

    def pin(self, key: Digest) -> bool:
        """As ``Keeper.pin``; without torch, of what lies on disk."""
        if self._keeper is not None:
            return self._keeper.pin(key)
        return self._vault.maintain(lambda tx: cache_records.pin(tx, key))

    def unpin(self, key: Digest) -> bool:
        """As ``Keeper.unpin``; without torch, of what lies on disk."""
        if self._keeper is not None:
            return self._keeper.unpin(key)
        return self._vault.maintain(lambda tx: cache_records.unpin(tx, key))

    def demote(self, key: Digest) -> bool:
        """As ``Keeper.demote``: whether it lay in the memory of this process."""
        return self._keeper is not None and self._keeper.demote(key)

    def evict(self, keys: Sequence[Digest]) -> None:
        """Let these go, here and on disk; another process may still hold them in memory."""
        self.shelf.let_go(keys)
        self._let_go_of_copies(keys)
        self._uses.forget(keys)
        self._files.discard(keys)

    def verify(
        self, *, repair: bool, progress: Callable[[float], None] | None = None
    ) -> CacheReport:
        """As ``CacheFiles.verify``."""
        return self._files.verify(repair=repair, progress=progress)

    def flush(self) -> None:
        """Write the counts that wait."""
        self._uses.flush()

    def forget(self) -> None:
        """Hold nothing any more, nor any file that nothing names: something was erased."""
        keys = self.shelf.keys()
        self.shelf.forget(keys)
        self._let_go_of_copies()
        self._uses.forget(self._uses.unwritten())
        if self._folder.is_dir():  # else no cache was ever written here
            self._files.sweep()

    def close(self) -> None:
        """Write what is counted, as far as that is possible."""
        self._uses.stop()

    def _let_go_of_copies(self, keys: Sequence[Digest] | None = None) -> None:
        if self._keeper is not None:
            self._keeper.let_go_of_copies(keys)

    def _made(self) -> Keeper:
        from memos_integrations.infrastructure.activation import codec  # noqa: PLC0415
        from memos_integrations.infrastructure.activation.flights import Flights  # noqa: PLC0415
        from memos_integrations.operation.transform.disk_tier import DiskTier  # noqa: PLC0415
        from memos_integrations.operation.transform.keeper import Keeper  # noqa: PLC0415
        from memos_integrations.operation.transform.on_devices import OnDevices  # noqa: PLC0415
        from memos_integrations.operation.transform.stored import Stored  # noqa: PLC0415

        flights: Flights[Stored] = Flights(self._folder, wait_seconds=self._wait_seconds)
        flights.sweep()
        disk = DiskTier(self._vault, self._files, capacity_bytes=self._disk_bytes)
        devices = OnDevices(self._device_bytes, copied=codec.moved, host="cpu")
        return Keeper(self._vault, self.shelf, disk, self._files, self._uses, flights, devices)
