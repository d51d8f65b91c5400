"""A conversation that goes on where its last turn ended: its turns are computed once, like memory.

Called by the facade, calls ``prefill`` and the keeper. Needs torch (extra ``activation``). The
memory part stands in a cache of its own, which serves every conversation over it. What was said
behind it is found under hashes that continue those of the memory with the name of the conversation,
so nobody learns from the time of an answer what another one said. It stays in memory: the next
turn supersedes it, and words of a conversation belong into no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from memos_integrations.infrastructure.activation import codec
from memos_integrations.infrastructure.activation.errors import CacheRefused
from memos_integrations.infrastructure.activation.forward import extend
from memos_integrations.infrastructure.activation.identity import (
    BLOCK_TOKENS,
    Digest,
    block_hashes,
    tagged_digest,
)
from memos_integrations.infrastructure.vault.artifacts import Source
from memos_integrations.operation.transform.keeper import Hit, Keeper, Stored
from memos_integrations.operation.transform.prefill import At, Prefilled, prefill
from memos_integrations.operation.transform.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns of one conversation of one asker, behind one memory."""

    keeper: Keeper
    here: At
    sources: tuple[Source, ...]
    name: Digest
    """Of whoever asks and of the conversation: another asker's has another."""
    since: int
    """Place of the log before the memories were read: what an erase behind it meets is not kept."""

    def prefill(self, prompt: Prompt, said: int) -> Prefilled:
        """The prompt with its first ``said`` tokens found or computed, in whole blocks."""
        end = _whole(min(said, len(prompt.tokens) - 1))
        start = _whole(min(prompt.stable, len(prompt.tokens) - 1))
        blocks = self._blocks(prompt.tokens[:end], start)
        if not blocks:
            return prefill(self.keeper, self.here, prompt, self.sources)
        self.keeper.forget_stale()
        hit = self.keeper.find(self.here.wanted(blocks))
        if hit is not None and _same(hit, prompt.tokens, start, self.here):
            return self._extended(self._served(prompt, hit, start), end, blocks)
        done = prefill(self.keeper, self.here, prompt, self.sources)
        return self._extended(done, end, blocks)

    def keep(self, done: Prefilled, stable: int, answer: Sequence[int]) -> int:
        """Keep what the model computed for the prompt and its answer; the tokens that are kept.

        ``stable`` is where the memory part of the prompt ends. A cache with sliding windows is not
        kept: they have moved on from the last whole block.
        """
        tokens = (*done.tokens, *map(int, answer))
        end = _whole(min(done.cache.get_seq_length(), len(tokens)))
        blocks = self._blocks(tokens[:end], _whole(min(stable, len(done.tokens) - 1)))
        if not blocks or any(done.cache.is_sliding):
            return 0
        done.cache.crop(end - done.cache.get_seq_length())
        try:
            kept = self._keep(done, tokens[:end], blocks)
        except CacheRefused:  # more than one answer, or numbers that are none
            return 0
        return end if kept else 0

    def _served(self, prompt: Prompt, hit: Hit, start: int) -> Prefilled:
        there = start + hit.blocks * BLOCK_TOKENS
        kept = hit.stored.kept
        cache = codec.use(kept, self.here.model.config, upto=there)
        saved = hit.stored.build_seconds * there / len(kept.tokens)
        self.keeper.used(hit, saved, self.here.tenant)
        why = "the conversation so far was stored"
        return Prefilled(prompt.tokens, cache, there, 0, why, saved)

    def _extended(self, done: Prefilled, end: int, blocks: tuple[Digest, ...]) -> Prefilled:
        """Behind what is there, the rest of what was said, kept with it."""
        there = done.cache.get_seq_length()
        if there >= end:
            return done
        seconds = extend(self.here.model, done.cache, done.tokens[there:end])
        computed = done.computed_tokens + end - there
        why = f"{done.cached_tokens} tokens were stored, {computed} are new"
        grown = replace(
            done, computed_tokens=computed, why=why, build_seconds=done.build_seconds + seconds
        )
        self._keep(grown, done.tokens[:end], blocks)
        return grown

    def _keep(self, done: Prefilled, tokens: tuple[int, ...], blocks: tuple[Digest, ...]) -> bool:
        kept = codec.keep(done.cache, tokens, identity=self.here.identity)
        return self.keeper.keep(
            Stored(
                kept,
                blocks,
                self.sources,
                done.build_seconds,
                passing=True,
                since=self.since,
                tenant=self.here.tenant,
                architecture=type(self.here.model).__name__,
            )
        )

    def _blocks(self, tokens: tuple[int, ...], start: int) -> tuple[Digest, ...]:
        """Hashes of the blocks behind the memory, which ends at ``start``."""
        here = self.here
        before = block_hashes(tokens[:start], identity=here.identity, salt=here.salt)
        salt = tagged_digest(
            {"before": before[-1] if before else here.salt, "conversation": self.name}
        )
        return tuple(block_hashes(tokens[start:], identity=here.identity, salt=salt))


def _whole(tokens: int) -> int:
    """The tokens of the whole blocks in so many."""
    return tokens // BLOCK_TOKENS * BLOCK_TOKENS


def _same(hit: Hit, tokens: tuple[int, ...], start: int, here: At) -> bool:
    """The ids themselves are compared: a hash says where to look, not what is there."""
    kept, length = hit.stored.kept, start + hit.blocks * BLOCK_TOKENS
    return kept.identity == here.identity and kept.tokens[:length] == tokens[:length]
