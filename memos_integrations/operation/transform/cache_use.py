"""How the caches serve, counted as they do and written down in batches.

Called by the keeper. A hit never waits for a write: counts go to the rows about a second after the
first, and what a crash can cost is that second. What lies in memory only is counted here alone.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress

from memos_integrations.cube.errors import BackendUnavailable, StorageFull, UsageError
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.vault import cache_records
from memos_integrations.infrastructure.vault.cache_records import Uses
from memos_integrations.infrastructure.vault.vault import MemVault

_log = logging.getLogger(__name__)
_FLUSH_SECONDS = 1.0
_MOST_UNWRITTEN = 10_000
"""Caches without a row whose counts are remembered; beyond that the oldest are let go."""


class UseLog:
    """Counts by cache and by tenant. Safe for many threads."""

    def __init__(self, vault: MemVault) -> None:
        self._vault = vault
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._caches: dict[Digest, Uses] = {}
        """What no row has counted yet."""
        self._tenants: dict[str, Uses] = {}
        self._due: set[Digest] = set()
        """Caches that have a row."""
        self._timer: threading.Timer | None = None
        self._stopped = False

    def hit(self, key: Digest, tenant: str, seconds: float, *, on_disk: bool) -> None:
        """A cache served, which saved so many seconds of prefill."""
        uses = Uses(1, 0, seconds, self._vault.now())
        with self._lock:
            self._caches.setdefault(key, Uses()).add(uses)
            self._tenants.setdefault(tenant, Uses()).add(uses)
            if on_disk:
                self._due.add(key)
            while len(self._caches) > _MOST_UNWRITTEN:
                self._caches.pop(next(iter(self._caches)))
            self._schedule()

    def miss(self, tenant: str) -> None:
        """Nothing served a lookup."""
        with self._lock:
            self._tenants.setdefault(tenant, Uses()).misses += 1
            self._schedule()

    def written(self, key: Digest) -> None:
        """A cache has a row from now on, which takes over what was counted."""
        with self._lock:
            if key in self._caches:
                self._due.add(key)
                self._schedule()

    def unwritten(self) -> dict[Digest, Uses]:
        """What was counted of each cache and stands in no row."""
        with self._lock:
            return {key: _copy(uses) for key, uses in self._caches.items()}

    def waiting(self, tenant: str) -> Uses:
        """What was counted of a tenant and stands in no row."""
        with self._lock:
            return _copy(self._tenants.get(tenant, Uses()))

    def forget(self, keys: Iterable[Digest]) -> None:
        """Remember nothing of these: what was erased leaves no trace."""
        with self._lock:
            for key in keys:
                self._caches.pop(key, None)
                self._due.discard(key)

    def flush(self) -> None:
        """Write what has a row to be written to, now. After a failure it waits on."""
        with self._writing:  # one after the other, so that nobody returns before it is written
            with self._lock:
                self._timer = None  # what comes in from here on starts the next one
                caches = {k: self._caches.pop(k) for k in self._due if k in self._caches}
                tenants, self._tenants, self._due = self._tenants, {}, set()
            if not caches and not tenants:
                return
            try:
                found = self._vault.maintain(lambda tx: cache_records.add_uses(tx, caches, tenants))
            except BaseException:
                self._put_back(caches, tenants, set(caches))
                raise
            lost = {key: uses for key, uses in caches.items() if key not in found}
            self._put_back(lost, {}, set())

    def stop(self) -> None:
        """Write what waits, as far as that is possible, and count on without writing."""
        with self._lock:
            self._stopped = True
            if self._timer is not None:
                self._timer.cancel()
        with suppress(UsageError, BackendUnavailable, StorageFull):
            self.flush()

    def _put_back(
        self, caches: Mapping[Digest, Uses], tenants: Mapping[str, Uses], due: set[Digest]
    ) -> None:
        with self._lock:
            for key, uses in caches.items():
                self._caches.setdefault(key, Uses()).add(uses)
            for tenant, uses in tenants.items():
                self._tenants.setdefault(tenant, Uses()).add(uses)
            self._due |= due

    def _schedule(self) -> None:
        if self._stopped or (self._timer is not None and self._timer.is_alive()):
            return
        self._timer = threading.Timer(_FLUSH_SECONDS, _flush, (weakref.ref(self),))
        self._timer.daemon = True
        self._timer.name = "memos-cache-use"
        self._timer.start()


def _copy(uses: Uses) -> Uses:
    return Uses(uses.hits, uses.misses, uses.saved_seconds, uses.used)


def _flush(ref: weakref.ref[UseLog]) -> None:
    log = ref()
    if log is None:
        return
    try:
        log.flush()
    except (UsageError, BackendUnavailable, StorageFull):
        # Closed meanwhile, locked by another process, or no space: the next flush takes them.
        _log.info("counts of caches wait for the next flush")
