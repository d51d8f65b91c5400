"""From text to KV-cache: the longest stored prefix of a prompt, the rest computed and offered back.

Called by the facade; calls the shelf (memory), the blobs and the artifact rows (disk). Needs torch
(extra ``activation``). Text stays the truth: what is served was made of exactly these tokens under
exactly this model, and whatever is wrong with a stored cache makes it a miss, never an answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.errors import HostileArchive, NotFound
from memos_integrations.infrastructure.activation import codec
from memos_integrations.infrastructure.activation.codec import Kept
from memos_integrations.infrastructure.activation.errors import CacheRefused
from memos_integrations.infrastructure.activation.eviction import Artifact
from memos_integrations.infrastructure.activation.forward import (
    empty_cache,
    extend,
    generation_inputs,
)
from memos_integrations.infrastructure.activation.identity import (
    BLOCK_TOKENS,
    Digest,
    block_hashes,
)
from memos_integrations.infrastructure.activation.model_identity import identify
from memos_integrations.infrastructure.activation.shelf import Shelf
from memos_integrations.infrastructure.vault import artifacts
from memos_integrations.infrastructure.vault.artifacts import ArtifactRow, NewArtifact, Source
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.transform.prompt import Prompt

_log = logging.getLogger(__name__)
_TO_DISK_AT = 2
"""Touches after which a cache is also written to disk."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the shelf holds: a cache, what it was made of and what making it took."""

    kept: Kept
    sources: tuple[Source, ...]
    build_seconds: float
    on_disk: bool


@dataclass(frozen=True, slots=True)
class Prefilled:
    """A cache for one generation, and how it came about."""

    cache: Any
    cached_tokens: int
    computed_tokens: int
    why: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt at one model, for one tenant."""

    prompt: Prompt
    model: Any
    identity: Digest
    tenant: str
    salt: str
    sources: tuple[Source, ...]

    @property
    def blocks(self) -> list[Digest]:
        """Hashes of the blocks that may be stored: the stable part, never the last token."""
        usable = min(self.prompt.stable, len(self.prompt.tokens) - 1)
        return block_hashes(self.prompt.tokens[:usable], identity=self.identity, salt=self.salt)


class Prefill:
    """Serves and keeps KV-caches of prompts that begin with memory. Safe for many threads."""

    def __init__(self, vault: MemVault, shelf: Shelf[Stored], *, disk_bytes: int) -> None:
        self._vault = vault
        self._shelf = shelf
        self._disk_bytes = disk_bytes
        self._building = _SingleFlight()
        self._looked_at = -1

    def run(self, asked: Asked) -> Prefilled:
        """The cache of the prompt's stable part, found or computed."""
        codec.ensure_supported(asked.model.config)
        self._forget_stale()
        blocks = asked.blocks
        if not blocks:
            why = f"the part that does not change is shorter than {BLOCK_TOKENS} tokens"
            return Prefilled(empty_cache(asked.model), 0, 0, why)
        with self._building.of(blocks[-1]):
            return self._found(asked, blocks) or self._computed(asked, blocks)

    def _found(self, asked: Asked, blocks: Sequence[Digest]) -> Prefilled | None:
        place = self._shelf.find(blocks, time.monotonic())
        stored, covered = (place.held, place.blocks) if place else self._from_disk(asked, blocks)
        if stored is None or not _same_tokens(stored.kept, asked, covered):
            return None
        length = covered * BLOCK_TOKENS
        cache = codec.use(stored.kept, asked.model.config, upto=length)
        self._shelf.saved(stored.build_seconds * length / len(stored.kept.tokens))
        if covered == len(blocks):
            self._to_disk(asked, blocks, stored)
            return Prefilled(cache, length, 0, "the whole stable part was stored")
        return self._extended(asked, blocks, cache, stored, length)

    def _extended(
        self,
        asked: Asked,
        blocks: Sequence[Digest],
        cache: Any,
        stored: Stored,
        length: int,
    ) -> Prefilled:
        """The rest computed behind what was found, and the whole offered back."""
        seconds = extend(
            asked.model, cache, asked.prompt.tokens[length : len(blocks) * BLOCK_TOKENS]
        )
        share = stored.build_seconds * length / len(stored.kept.tokens)
        self._offer(asked, blocks, cache, seconds + share)
        rest = len(blocks) * BLOCK_TOKENS - length
        return Prefilled(cache, length, rest, f"{length} tokens were stored, {rest} are new")

    def _computed(self, asked: Asked, blocks: Sequence[Digest]) -> Prefilled:
        cache = empty_cache(asked.model)
        length = len(blocks) * BLOCK_TOKENS
        seconds = extend(asked.model, cache, asked.prompt.tokens[:length])
        self._offer(asked, blocks, cache, seconds)
        return Prefilled(cache, 0, length, "nothing of it was stored")

    def _offer(self, asked: Asked, blocks: Sequence[Digest], cache: Any, seconds: float) -> None:
        tokens = asked.prompt.tokens[: len(blocks) * BLOCK_TOKENS]
        kept = codec.keep(cache, tokens, identity=asked.identity)
        stored = Stored(kept, asked.sources, seconds, on_disk=False)
        self._shelve(blocks, stored)

    def _shelve(self, blocks: Sequence[Digest], stored: Stored) -> None:
        artifact = Artifact(blocks[-1], stored.kept.bytes, stored.build_seconds)
        self._shelf.offer(artifact, stored, _serving(blocks, stored.kept), time.monotonic())

    # -- on disk ------------------------------------------------------------------------------

    def _from_disk(
        self, asked: Asked, blocks: Sequence[Digest]
    ) -> tuple[Stored, int] | tuple[None, int]:
        with self._vault.readers.snapshot() as connection:
            row = artifacts.find(connection, blocks, identity=asked.identity, tenant=asked.tenant)
        if row is None:
            return None, 0
        try:
            stored = self._loaded(row, asked)
        except (CacheRefused, HostileArchive, NotFound) as refusal:
            _log.warning("a stored cache is not served: %s", type(refusal).__name__)
            self._discard([row.key])
            return None, 0
        self._shelve(_own_blocks(stored.kept, asked), stored)
        return stored, row.blocks

    def _loaded(self, row: ArtifactRow, asked: Asked) -> Stored:
        """Its hash is checked once, here, and not for every use."""
        if not self._vault.blobs.verify(row.sha256):
            raise CacheRefused("its bytes changed on disk")
        path = self._vault.blobs.path(row.sha256)
        kept = codec.load(path, identity=asked.identity, device=str(asked.model.device))
        if len(kept.tokens) != row.tokens:
            raise CacheRefused("it holds another number of tokens than its row")
        with self._vault.readers.snapshot() as connection:
            sources = artifacts.sources_of(connection, row.key)
        return Stored(kept, sources, row.build_seconds, on_disk=True)

    def _to_disk(self, asked: Asked, blocks: Sequence[Digest], stored: Stored) -> None:
        """Written at the second touch: what is asked once is not worth the writing."""
        if stored.on_disk or self._shelf.touches(blocks[-1]) < _TO_DISK_AT:
            return
        if stored.kept.bytes > self._disk_bytes - self._bytes_on_disk():
            return
        ref = self._vault.blobs.put(codec.dump(stored.kept))
        new = _new_artifact(asked, blocks, stored, ref.sha256)
        self._vault.maintain(lambda tx: artifacts.add(tx, new, tenant=asked.tenant))
        self._shelve(blocks, Stored(stored.kept, stored.sources, stored.build_seconds, True))

    def _bytes_on_disk(self) -> int:
        with self._vault.readers.snapshot() as connection:
            return artifacts.bytes_held(connection)

    # -- what no longer stands ----------------------------------------------------------------

    def _forget_stale(self) -> None:
        """What was made of a memory that has changed since goes, here and on disk."""
        held = self._shelf.held()
        with self._vault.readers.snapshot() as connection:
            head = artifacts.head(connection)
            if head == self._looked_at:
                return
            sources = {each for stored in held.values() for each in stored.sources}
            gone = artifacts.stale(connection, sources, now=self._vault.now())
        self._shelf.forget(
            key for key, s in held.items() if any(each.item in gone for each in s.sources)
        )
        self._discard(None)
        self._looked_at = head

    def _discard(self, keys: Sequence[Digest] | None) -> None:
        with self._vault.readers.snapshot() as connection:
            if keys is None and not artifacts.any_withdrawn(connection):
                return
        for sha256 in self._vault.maintain(lambda tx: artifacts.take_out(tx, keys)):
            self._vault.blobs.erase(sha256)


class _SingleFlight:
    """One thread at a time for each key; the others wait and then find what it made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[Digest, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, key: Digest) -> Generator[None]:
        with self._lock:
            lock, waiting = self._keys.get(key, (threading.Lock(), 0))
            self._keys[key] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, waiting = self._keys.pop(key)
                if waiting > 1:
                    self._keys[key] = lock, waiting - 1


def asked_of(
    model: Any,
    tokenizer: Any,
    prompt: Prompt,
    *,
    tenant: str,
    salt: str,
    sources: tuple[Source, ...],
) -> Asked:
    """The question as it is put: to this model, as it is at this moment."""
    return Asked(prompt, model, identify(model, tokenizer).digest(), tenant, salt, sources)


def inputs_of(asked: Asked, done: Prefilled, *, beams: int = 1) -> dict[str, Any]:
    """What ``model.generate`` takes: the whole prompt, and the cache of its beginning."""
    return generation_inputs(asked.model, done.cache, asked.prompt.tokens, beams=beams)


def _same_tokens(kept: Kept, asked: Asked, blocks: int) -> bool:
    """The ids themselves are compared: a hash says where to look, not what is there."""
    length = blocks * BLOCK_TOKENS
    return kept.identity == asked.identity and kept.tokens[:length] == asked.prompt.tokens[:length]


def _serving(blocks: Sequence[Digest], kept: Kept) -> Sequence[Digest]:
    """A cache with sliding windows serves its very end only."""
    return blocks if kept.whole else blocks[-1:]


def _own_blocks(kept: Kept, asked: Asked) -> list[Digest]:
    return block_hashes(kept.tokens, identity=asked.identity, salt=asked.salt)


def _new_artifact(
    asked: Asked, blocks: Sequence[Digest], stored: Stored, sha256: str
) -> NewArtifact:
    serving = _serving(blocks, stored.kept)
    first = len(blocks) - len(serving) + 1
    return NewArtifact(
        key=blocks[-1],
        identity=asked.identity,
        tokens=len(stored.kept.tokens),
        bytes=stored.kept.bytes,
        build_seconds=stored.build_seconds,
        sha256=sha256,
        blocks=tuple((block, place) for place, block in enumerate(serving, first)),
        sources=stored.sources,
    )
