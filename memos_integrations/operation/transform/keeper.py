"""Where computed caches are kept and found again: memory first, then files, both withdrawn with
their sources.

Called by what fills caches (``prefill``, ``composition``); calls the shelf, the blobs and the rows
of artifacts. Needs torch (extra ``activation``) for files only. Whatever is wrong with a stored
cache makes it a miss, never an answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from memos_integrations.cube.errors import HostileArchive, NotFound
from memos_integrations.infrastructure.activation import codec
from memos_integrations.infrastructure.activation.codec import Kept
from memos_integrations.infrastructure.activation.errors import CacheRefused
from memos_integrations.infrastructure.activation.eviction import Artifact
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.activation.shelf import Shelf
from memos_integrations.infrastructure.vault import artifacts
from memos_integrations.infrastructure.vault.artifacts import ArtifactRow, NewArtifact, Source
from memos_integrations.infrastructure.vault.vault import MemVault

_log = logging.getLogger(__name__)
_TO_DISK_AT = 2
"""Touches after which a cache is also written to disk: what is asked once is not worth it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: by the hashes of its blocks, longest last, for one tenant."""

    blocks: tuple[Digest, ...]
    identity: Digest
    tenant: str
    device: Any

    @property
    def key(self) -> Digest:
        return self.blocks[-1]


@dataclass(frozen=True, slots=True)
class Stored:
    """A cache, what it was made of and what making it took."""

    kept: Kept
    blocks: tuple[Digest, ...]
    """Hashes of the blocks it covers, its own key last."""
    sources: tuple[Source, ...]
    build_seconds: float
    on_disk: bool = False
    passing: bool = False
    """Of a conversation: superseded by its next turn, so it never goes to disk."""

    @property
    def key(self) -> Digest:
        return self.blocks[-1]

    @property
    def serving(self) -> tuple[Digest, ...]:
        """The blocks it can be used up to: with sliding windows, its very end only."""
        return self.blocks if self.kept.whole else self.blocks[-1:]


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored cache and how many of the wanted blocks it covers."""

    stored: Stored
    blocks: int


class Keeper:
    """Caches in memory and on disk. Safe for many threads and several processes."""

    def __init__(self, vault: MemVault, shelf: Shelf[Stored], *, disk_bytes: int) -> None:
        self._vault = vault
        self._shelf = shelf
        self._disk_bytes = disk_bytes
        self._lock = threading.Lock()
        self._building: dict[Digest, tuple[threading.Lock, int]] = {}
        self._looked_at = -1

    @contextmanager
    def building(self, key: Digest) -> Generator[None]:
        """One thread at a time for each key; the others wait, and then find what it made."""
        with self._lock:
            lock, waiting = self._building.get(key, (threading.Lock(), 0))
            self._building[key] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, waiting = self._building.pop(key)
                if waiting > 1:
                    self._building[key] = lock, waiting - 1

    def find(self, wanted: Wanted) -> Hit | None:
        """What covers the most of the wanted blocks. The use is counted."""
        place = self._shelf.find(wanted.blocks, time.monotonic())
        if place is not None:
            return Hit(place.held, place.blocks)
        return self._from_disk(wanted)

    def keep(self, stored: Stored) -> None:
        """Take it in, where it is worth its bytes."""
        artifact = Artifact(stored.key, stored.kept.bytes, stored.build_seconds)
        self._shelf.offer(artifact, stored, stored.serving, time.monotonic())

    def used(self, hit: Hit, seconds: float, tenant: str) -> None:
        """Keep account of a prefill that was not needed; write what is used again to disk."""
        self._shelf.saved(seconds)
        stored = hit.stored
        if (
            not (stored.on_disk or stored.passing)
            and self._shelf.touches(stored.key) >= _TO_DISK_AT
        ):
            self._to_disk(stored, tenant)

    def forget_stale(self) -> None:
        """Let go of what was made of memories that have changed since, here and on disk."""
        held = self._shelf.held()
        with self._vault.readers.snapshot() as connection:
            head = artifacts.head(connection)
            if head == self._looked_at:
                return
            sources = {each for stored in held.values() for each in stored.sources}
            gone = artifacts.stale(connection, sources, now=self._vault.now())
            withdrawn = artifacts.any_withdrawn(connection)
        self._shelf.forget(
            key for key, s in held.items() if any(each.item in gone for each in s.sources)
        )
        if withdrawn:
            self._discard(None)
        self._looked_at = head

    def _from_disk(self, wanted: Wanted) -> Hit | None:
        with self._vault.readers.snapshot() as connection:
            row = artifacts.find(
                connection, wanted.blocks, identity=wanted.identity, tenant=wanted.tenant
            )
            if row is None:
                return None
            sources = artifacts.sources_of(connection, row.key)
            blocks = artifacts.blocks_of(connection, row.key)
        try:
            kept = self._loaded(row, wanted)
        except (CacheRefused, HostileArchive, NotFound) as refusal:
            _log.warning("a stored cache is not served: %s", type(refusal).__name__)
            self._discard([row.key])
            return None
        stored = Stored(kept, blocks, sources, row.build_seconds, on_disk=True)
        self.keep(stored)
        return Hit(stored, row.blocks)

    def _loaded(self, row: ArtifactRow, wanted: Wanted) -> Kept:
        """Its hash is checked once, here, and not for every use."""
        if not self._vault.blobs.verify(row.sha256):
            raise CacheRefused("its bytes changed on disk")
        path = self._vault.blobs.path(row.sha256)
        kept = codec.load(path, identity=wanted.identity, device=str(wanted.device))
        if len(kept.tokens) != row.tokens:
            raise CacheRefused("it holds another number of tokens than its row")
        return kept

    def _to_disk(self, stored: Stored, tenant: str) -> None:
        with self._vault.readers.snapshot() as connection:
            free = self._disk_bytes - artifacts.bytes_held(connection)
        if stored.kept.bytes > free:
            return
        ref = self._vault.blobs.put(codec.dump(stored.kept))
        new = _new_artifact(stored, ref.sha256)
        if self._vault.maintain(lambda tx: artifacts.add(tx, new, tenant=tenant)):
            self.keep(replace(stored, on_disk=True))
            return
        # A source went while the file was written: an erase did not know of this file.
        self._shelf.forget([stored.key])
        with self._vault.readers.snapshot() as connection:
            used = artifacts.blob_used(connection, ref.sha256)
        if not used:
            self._vault.blobs.erase(ref.sha256)

    def _discard(self, keys: Sequence[Digest] | None) -> None:
        for sha256 in self._vault.maintain(lambda tx: artifacts.take_out(tx, keys)):
            self._vault.blobs.erase(sha256)


def _new_artifact(stored: Stored, sha256: str) -> NewArtifact:
    places = {block: place for place, block in enumerate(stored.blocks, 1)}
    return NewArtifact(
        key=stored.key,
        identity=stored.kept.identity,
        tokens=len(stored.kept.tokens),
        bytes=stored.kept.bytes,
        build_seconds=stored.build_seconds,
        sha256=sha256,
        blocks=tuple((block, places[block]) for block in stored.serving),
        sources=stored.sources,
    )
