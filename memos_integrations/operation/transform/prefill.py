"""From text to KV-cache: the longest stored prefix of a prompt, the rest computed and kept.

Called by the facade, calls the keeper. Needs torch (extra ``activation``). Text stays the truth:
what is served was made of exactly these tokens under exactly this model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from memos_integrations.infrastructure.activation import codec
from memos_integrations.infrastructure.activation.forward import (
    empty_cache,
    extend,
    generation_inputs,
)
from memos_integrations.infrastructure.activation.identity import (
    BLOCK_TOKENS,
    Digest,
    block_hashes,
    tagged_digest,
)
from memos_integrations.infrastructure.activation.model_identity import identify, without_adapters
from memos_integrations.infrastructure.activation.selftest import ensure_restores
from memos_integrations.infrastructure.vault.artifacts import Source
from memos_integrations.operation.transform.cube_reading import Memories
from memos_integrations.operation.transform.keeper import Hit, Keeper, Stored, Wanted
from memos_integrations.operation.transform.prompt import Prompt


@dataclass(frozen=True, slots=True)
class At:
    """A model as it is at this moment, for one tenant."""

    model: Any
    identity: Digest
    tenant: str
    secret: str
    """Of the tenant: what makes its keys unlike those of others."""
    cubes: tuple[str, ...] = ()
    reader: Digest | None = None
    """Who asks: user and agent."""
    apart: frozenset[str] = frozenset()
    """The cubes of which the prompt holds what not every reader of them is shown."""

    @property
    def salt(self) -> str:
        """Part of every key. Who guesses at words of a cube that is not asked for, or at words of
        it that are not for every reader, finds nothing computed, so the time of an answer tells
        nothing."""
        shared = self.apart.isdisjoint(self.cubes)
        cubes = "\n".join(sorted(self.cubes))
        reader = None if shared else self.reader
        return tagged_digest({"secret": self.secret, "cubes": cubes, "reader": reader})

    def over(self, memories: Memories) -> At:
        """The same for a prompt of these memories."""
        who = memories.reader
        reader = tagged_digest({"user": who.user, "agent": who.agent})
        return replace(self, cubes=memories.cubes, reader=reader, apart=memories.apart)

    def within(self, cubes: Iterable[str]) -> At:
        """The same for those of the memories that lie in these cubes."""
        return replace(self, cubes=tuple(cubes))

    def wanted(self, blocks: tuple[Digest, ...]) -> Wanted:
        architecture = type(self.model).__name__
        return Wanted(blocks, self.identity, self.tenant, self.model.device, architecture)


@dataclass(frozen=True, slots=True)
class Prefilled:
    """A prompt with the cache of its beginning, and how that came about."""

    tokens: tuple[int, ...]
    cache: Any
    cached_tokens: int
    computed_tokens: int
    why: str
    build_seconds: float = 0.0
    """What computing the part that is in the cache took, whenever that was."""


def at(model: Any, tokenizer: Any, *, tenant: str, secret: str) -> At:
    """The model at hand. Raises ``InvalidInput`` for what is none, and ``CacheUnsupported``."""
    identity = identify(model, tokenizer)
    # peft's model would use an activated adapter wherever the memory holds its invocation.
    base = without_adapters(model)
    codec.ensure_supported(base.config)
    ensure_restores(base, identity)
    return At(base, identity.digest(), tenant, secret)


def inputs_of(here: At, done: Prefilled, *, beams: int = 1) -> dict[str, Any]:
    """What ``model.generate`` takes: the whole prompt, and the cache of its beginning."""
    return generation_inputs(here.model, done.cache, done.tokens, beams=beams)


def blocks_of(here: At, prompt: Prompt) -> tuple[Digest, ...]:
    """The keys of the blocks of a prompt that can be kept, the whole of its stable part last."""
    usable = min(prompt.stable, len(prompt.tokens) - 1)
    return tuple(block_hashes(prompt.tokens[:usable], identity=here.identity, salt=here.salt))


def prefill(keeper: Keeper, here: At, prompt: Prompt, sources: tuple[Source, ...]) -> Prefilled:
    """The prompt with its stable part found or computed: in whole blocks, never the last token."""
    keeper.forget_stale()
    blocks = blocks_of(here, prompt)
    if not blocks:
        why = f"the part that does not change is shorter than {BLOCK_TOKENS} tokens"
        return Prefilled(prompt.tokens, empty_cache(here.model), 0, 0, why)
    with keeper.building(blocks[-1]):
        hit = keeper.find(here.wanted(blocks))
        if hit is not None and _same_tokens(hit, prompt, here):
            return _served(keeper, here, prompt, blocks, sources, hit)
        return _computed(keeper, here, prompt, blocks, sources)


def _computed(
    keeper: Keeper,
    here: At,
    prompt: Prompt,
    blocks: tuple[Digest, ...],
    sources: tuple[Source, ...],
) -> Prefilled:
    cache, end = empty_cache(here.model), len(blocks) * BLOCK_TOKENS
    seconds = extend(here.model, cache, prompt.tokens[:end])
    kept = codec.keep(cache, prompt.tokens[:end], identity=here.identity)
    keeper.keep(Stored(kept, blocks, sources, seconds))
    why = keeper.why_not(blocks[-1]) or "nothing of it was stored"
    return Prefilled(prompt.tokens, cache, 0, end, why, seconds)


def _served(
    keeper: Keeper,
    here: At,
    prompt: Prompt,
    blocks: tuple[Digest, ...],
    sources: tuple[Source, ...],
    hit: Hit,
) -> Prefilled:
    """The stored part, and the rest computed behind it and kept with it."""
    start, end = hit.blocks * BLOCK_TOKENS, len(blocks) * BLOCK_TOKENS
    cache = codec.use(hit.stored.kept, here.model.config, upto=start)
    saved = hit.stored.build_seconds * start / len(hit.stored.kept.tokens)
    keeper.used(hit, saved, here.tenant)
    if start == end:
        return Prefilled(prompt.tokens, cache, end, 0, "the whole stable part was stored", saved)
    seconds = extend(here.model, cache, prompt.tokens[start:end])
    kept = codec.keep(cache, prompt.tokens[:end], identity=here.identity)
    keeper.keep(Stored(kept, blocks, sources, saved + seconds))
    why = f"{start} tokens were stored, {end - start} are new"
    return Prefilled(prompt.tokens, cache, start, end - start, why, saved + seconds)


def _same_tokens(hit: Hit, prompt: Prompt, here: At) -> bool:
    """The ids themselves are compared: a hash says where to look, not what is there."""
    kept, length = hit.stored.kept, hit.blocks * BLOCK_TOKENS
    return kept.identity == here.identity and kept.tokens[:length] == prompt.tokens[:length]
