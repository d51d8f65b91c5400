"""The tier above memory: copies of caches on the device of a model, within its bytes.

Called by the keeper. Memory holds every cache; what is used on a device is copied there, and stays
there as far as it is worth its bytes. So a copy can be dropped at any time, and is found only by
way of what memory holds: what was withdrawn is served from nowhere. Devices and copies are named
and made by what is handed in; each device has a budget of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from memos_integrations.infrastructure.activation.codec import Kept
from memos_integrations.infrastructure.activation.eviction import Artifact
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.activation.shelf import Shelf
from memos_integrations.operation.transform.stored import Stored


class OnDevices:
    """Copies by device, at most ``capacity_bytes`` on each; with 0 none outlives its use."""

    def __init__(
        self,
        capacity_bytes: int,
        *,
        copied: Callable[[Kept, str], Kept],
        host: str,
    ) -> None:
        self._capacity_bytes = capacity_bytes
        self._copied = copied
        self._host = host
        self._lock = threading.Lock()
        self._shelves: dict[str, Shelf[Kept]] = {}

    def on_host(self, stored: Stored, device: str) -> Stored:
        """What memory is to hold of a cache that was made on ``device``, whose original stays
        there as far as it is worth it."""
        if device == self._host:
            return stored
        began = time.perf_counter()
        kept = self._copied(stored.kept, self._host)
        self._offer(stored.key, stored.kept, device, time.perf_counter() - began)
        return replace(stored, kept=kept)

    def on_device(self, stored: Stored, device: str) -> Stored:
        """A cache as it is used on ``device``: a copy that is there already, or one made now."""
        if device == self._host:
            return stored
        place = self._shelf(device).find((stored.key,), time.monotonic())
        if place is not None:
            return replace(stored, kept=place.held)
        began = time.perf_counter()
        kept = self._copied(stored.kept, device)
        self._offer(stored.key, kept, device, time.perf_counter() - began)
        return replace(stored, kept=kept)

    def forget(self, keys: Iterable[Digest]) -> None:
        """Drop the copies of these."""
        going = set(keys)
        with self._lock:
            shelves = list(self._shelves.values())
        for shelf in shelves:
            shelf.forget(going)

    def holds(self, key: Digest) -> bool:
        """Whether any device holds a copy of this one."""
        return key in self.keys()

    def keys(self) -> set[Digest]:
        """The caches of which any device holds a copy."""
        with self._lock:
            shelves = list(self._shelves.values())
        return set[Digest]().union(*(shelf.keys() for shelf in shelves))

    def bytes_on(self, device: str) -> int:
        """What the copies on a device take."""
        return self._shelf(device).stats().bytes

    def _offer(self, key: Digest, kept: Kept, device: str, seconds: float) -> None:
        artifact = Artifact(key, kept.bytes, seconds)
        self._shelf(device).offer(artifact, kept, (key,), time.monotonic())

    def _shelf(self, device: str) -> Shelf[Kept]:
        with self._lock:
            return self._shelves.setdefault(device, Shelf(self._capacity_bytes))
