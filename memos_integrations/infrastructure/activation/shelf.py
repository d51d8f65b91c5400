"""The caches that lie in memory: found by the blocks of a prompt, bounded in bytes.

Called by what prefills. Knows no tensors: what it holds is handed in and out as it is, with its
size. Safe for many threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from memos_integrations.infrastructure.activation.eviction import (
    Artifact,
    Frequencies,
    Residents,
)
from memos_integrations.infrastructure.activation.identity import Digest

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Place(Generic[K]):
    """A held cache and how many blocks of the prompt it covers."""

    key: Digest
    held: K
    blocks: int


@dataclass(slots=True)
class _Entry(Generic[K]):
    held: K
    blocks: tuple[Digest, ...]
    """The hashes of the blocks it can serve: all of them, or only its end."""
    pinned: bool


@dataclass(slots=True)
class ShelfStats:
    """What the shelf has done since it was opened."""

    hits: int = 0
    misses: int = 0
    saved_seconds: float = 0.0
    held: int = 0
    bytes: int = 0


class Shelf(Generic[K]):
    """Caches by the hash of their last block, at most ``capacity_bytes`` of them."""

    def __init__(self, capacity_bytes: int) -> None:
        self._lock = threading.Lock()
        self._tier = Residents(capacity_bytes, Frequencies())
        self._entries: dict[Digest, _Entry[K]] = {}
        self._serving: dict[Digest, Digest] = {}
        """Block hash -> key of the entry that can serve up to it."""
        self._stats = ShelfStats()

    def find(self, blocks: Sequence[Digest], now: float) -> Place[K] | None:
        """What covers the most of these blocks (in order of the prompt); the use is counted."""
        with self._lock:
            if blocks:
                self._tier.touch(blocks[-1], now)
            for count in range(len(blocks), 0, -1):
                key = self._serving.get(blocks[count - 1])
                if key is not None:
                    if key != blocks[-1]:
                        self._tier.touch(key, now)
                    self._stats.hits += 1
                    return Place(key, self._entries[key].held, count)
            self._stats.misses += 1
            return None

    def touches(self, key: Digest) -> int:
        """Uses of a cache, held or not, since it was last unknown."""
        with self._lock:
            return self._tier.frequencies.touches(key)

    def offer(
        self, artifact: Artifact, held: K, blocks: Sequence[Digest], now: float
    ) -> set[Digest]:
        """Take it in where it is worth its place. The keys that lie here no longer: of what had to
        leave for it, or its own where it was not taken in.

        ``blocks`` are those it can serve, the last of them under the artifact's own key.
        """
        key = Digest(artifact.key)
        with self._lock:
            verdict = self._tier.offer(artifact, now)
            if not verdict.admitted:
                return set() if key in self._entries else {key}
            # What ends inside the new one would lie here twice; what only begins alike stays.
            parts = {block for block in blocks[:-1] if self._is_loose(block)}
            gone = parts | {Digest(each) for each in verdict.evicted}
            for each in gone:
                self._drop(each)
            self._tier.place(artifact)
            entry = _Entry(held, tuple(blocks), artifact.pinned)
            self._entries[key] = entry
            for block in entry.blocks:
                self._serving[block] = key
            return gone

    def saved(self, seconds: float) -> None:
        """Keep account of a prefill that was not needed."""
        with self._lock:
            self._stats.saved_seconds += seconds

    def serves(self, block: Digest) -> bool:
        """Whether something held can be used up to this very block; no use is counted."""
        with self._lock:
            return block in self._serving

    def peek(self, key: Digest) -> K | None:
        """What lies under this key; no use is counted."""
        with self._lock:
            entry = self._entries.get(key)
            return None if entry is None else entry.held

    def pin(self, key: Digest) -> K | None:
        """What lies under this key, which stays from now on; ``None`` where nothing does."""
        return self._repinned(key, pinned=True)

    def unpin(self, key: Digest) -> K | None:
        """What lies under this key, which may leave again; ``None`` where nothing does."""
        return self._repinned(key, pinned=False)

    def let_go(self, keys: Iterable[Digest]) -> int:
        """Let these go, and remember how often they were used: they lie elsewhere."""
        with self._lock:
            there = [key for key in set(keys) if key in self._entries]
            for key in there:
                self._drop(key)
            return len(there)

    def forget(self, keys: Iterable[Digest]) -> int:
        """Let these go and remember nothing of them: their sources changed or were erased."""
        with self._lock:
            there = [key for key in set(keys) if key in self._entries]
            for key in there:
                self._drop(key)
                self._tier.frequencies.drop(key)
            return len(there)

    def keys(self) -> tuple[Digest, ...]:
        with self._lock:
            return tuple(self._entries)

    def held(self) -> dict[Digest, K]:
        """Everything that lies here, by key."""
        with self._lock:
            return {key: entry.held for key, entry in self._entries.items()}

    def stats(self) -> ShelfStats:
        with self._lock:
            now = self._stats
            held, taken = len(self._entries), self._tier.used_bytes
            return ShelfStats(now.hits, now.misses, now.saved_seconds, held, taken)

    def _repinned(self, key: Digest, *, pinned: bool) -> K | None:
        with self._lock:
            artifact = self._tier.remove(key)
            if artifact is None:
                return None
            self._tier.place(replace(artifact, pinned=pinned))
            self._entries[key].pinned = pinned
            return self._entries[key].held

    def _is_loose(self, block: Digest) -> bool:
        entry = self._entries.get(block)
        return entry is not None and not entry.pinned

    def _drop(self, key: Digest) -> None:
        self._tier.remove(key)
        entry = self._entries.pop(key)
        for block in entry.blocks:
            if self._serving.get(block) == key:
                del self._serving[block]
