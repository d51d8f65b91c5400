"""Many questions over one memory: its cache found or computed once, for all rows of a batch.

Called by the facade, calls what fills caches. Needs torch (extra ``activation``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.activation.batches import batch_inputs, ensure_batched
from memos_integrations.infrastructure.vault.artifacts import Source
from memos_integrations.operation.transform.composition import Kind, composed
from memos_integrations.operation.transform.keeper import Keeper
from memos_integrations.operation.transform.prefill import At, Prefilled, prefill
from memos_integrations.operation.transform.prompt import Parts, Prompt, stable_of_all


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts that begin alike, and the cache of that beginning in one row."""

    prefix: tuple[int, ...]
    questions: tuple[tuple[int, ...], ...]
    """What follows in each row: at least one token."""
    shared: Prefilled


def batched(
    keeper: Keeper, here: At, prompts: Sequence[Prompt], sources: tuple[Source, ...]
) -> Batch:
    """The prompts behind the cache of what all of them begin with."""
    ensure_batched(here.model)
    shortest = min((prompt.tokens for prompt in prompts), key=len)
    shared = prefill(keeper, here, Prompt(shortest, stable_of_all(prompts)), sources)
    end = shared.cached_tokens + shared.computed_tokens
    return Batch(shortest[:end], tuple(prompt.tokens[end:] for prompt in prompts), shared)


def batched_parts(
    keeper: Keeper,
    here: At,
    prompts: Sequence[Parts],
    sources: Mapping[str, tuple[Source, ...]],
    *,
    kind: Kind,
) -> Batch:
    """The prompts behind parts that were found or computed one by one and joined once.

    Raises ``InvalidInput`` where the prompts do not begin alike: with system turns of their own.
    """
    ensure_batched(here.model)
    first = prompts[0]
    if any((each.lead, each.chunks) != (first.lead, first.chunks) for each in prompts):
        raise InvalidInput("the queries of a batch must stand behind one and the same beginning")
    shared = composed(keeper, here, Parts(first.lead, first.chunks, ()), sources, kind=kind)
    return Batch(shared.tokens, tuple(each.tail for each in prompts), shared)


def inputs_of(here: At, batch: Batch, *, pad: int, beams: int = 1) -> dict[str, Any]:
    """What ``model.generate`` takes: the prompts, padded, and the cache of their beginning."""
    cache = batch.shared.cache
    return batch_inputs(here.model, cache, batch.prefix, batch.questions, pad=pad, beams=beams)
