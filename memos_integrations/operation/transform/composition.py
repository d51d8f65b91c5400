"""Several memories behind each other, each from a cache of its own, whatever their order.

Called by the facade, calls the keeper. Needs torch (extra ``activation``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from memos_integrations.infrastructure.activation import blend, compose
from memos_integrations.infrastructure.activation.codec import Kept
from memos_integrations.infrastructure.activation.identity import (
    Digest,
    packed_tokens,
    tagged_digest,
)
from memos_integrations.infrastructure.vault.artifacts import Source
from memos_integrations.operation.transform.keeper import Keeper, Stored
from memos_integrations.operation.transform.prefill import At, Prefilled
from memos_integrations.operation.transform.prompt import Parts

Kind: TypeAlias = Literal["linked", "blend"]

_JOINED: dict[Kind, Callable[..., compose.Composed]] = {
    "linked": compose.linked,
    "blend": blend.blended,
}
_HOW: dict[Kind, str] = {
    "linked": "are linked to each other anew",
    "blend": "the tokens that deviate most are computed anew",
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """The tokens of one part of the memory, and what they were made of."""

    tokens: tuple[int, ...]
    sources: tuple[Source, ...]


def composed(
    keeper: Keeper, here: At, parts: Parts, sources: Mapping[str, tuple[Source, ...]], *, kind: Kind
) -> Prefilled:
    """The prompt of these parts, each found or computed by itself, then joined as ``kind`` says.

    ``sources`` are what each part was made of, by its cube, in the order of the parts.
    """
    compose.ensure_movable(here.model)
    keeper.forget_stale()
    made = [
        _chunk(keeper, here.within([cube]), parts.lead, Chunk(tokens, of))
        for tokens, (cube, of) in zip(parts.chunks, sources.items(), strict=True)
    ]
    chunks = [kept for kept, _ in made]
    done = _JOINED[kind](here.model, chunks, parts.tail, lead=len(parts.lead))
    computed = sum(len(kept.tokens) for kept, new in made if new)
    moved = max(0, len(done.tokens) - len(parts.tail) - done.computed_tokens - computed)
    known = sum(1 for _, new in made if not new)
    why = f"{known} of {len(made)} parts were stored, and {_HOW[kind]}"
    return Prefilled(done.tokens, done.cache, moved, computed + done.computed_tokens, why)


def _chunk(keeper: Keeper, here: At, lead: tuple[int, ...], chunk: Chunk) -> tuple[Kept, bool]:
    """The part's cache behind the common beginning, and whether it had to be computed."""
    tokens = (*lead, *chunk.tokens)
    key = _key(tokens, here)
    with keeper.building(key):
        hit = keeper.find(here.wanted((key,)))
        if hit is not None and hit.stored.kept.tokens == tokens:
            keeper.used(hit, hit.stored.build_seconds, here.tenant)
            return hit.stored.kept, False
        kept, seconds = compose.encode(here.model, tokens, identity=here.identity)
        keeper.keep(Stored(kept, (key,), chunk.sources, seconds))
        return kept, True


def _key(tokens: tuple[int, ...], here: At) -> Digest:
    """Of the very tokens: a part is used whole or not at all."""
    return tagged_digest(
        {"chunk": here.identity, "salt": here.salt, "tokens": packed_tokens(tokens)}
    )
