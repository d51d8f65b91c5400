"""Which tokens of chunks that were encoded one by one are most unlike themselves in context.

Needs torch and transformers (extra ``activation``). CacheBlend (Yao et al. 2024): most of a chunk's
keys hardly depend on what stands before it; those that do are few and much the same in every
layer. So one layer is run over the whole prompt, the keys that the next one would get are compared
with the moved ones, and the tokens with the largest differences are computed anew in every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from memos_integrations.cube.errors import InvalidInput, MissingExtra
from memos_integrations.infrastructure.activation.codec import Kept
from memos_integrations.infrastructure.activation.compose import Composed, Placed, compute, place
from memos_integrations.infrastructure.activation.forward import cache_name, empty_cache

try:
    import torch
except ModuleNotFoundError as error:
    raise MissingExtra("activation memory", "activation") from error

BLEND_SHARE = 0.15
"""Of the tokens behind the first chunk, so many are computed anew."""
_LOOKED_AT = 1
"""The first layer whose keys depend on other tokens: those of layer 0 know only their own."""


def blended(
    model: Any,
    chunks: Sequence[Kept],
    question: Sequence[int],
    *,
    lead: int,
    share: float = BLEND_SHARE,
) -> Composed:
    """The prompt ``lead + chunks + question``, its most deviating tokens computed in context.

    ``share``, from 0 to 1, is of the tokens behind the first chunk. It costs one layer over the
    whole prompt and ``share`` of a prefill. Raises as ``compose.linked``.
    """
    if not 0.0 <= share <= 1.0:
        raise InvalidInput("share must lie from 0 to 1")
    placed = place(model, chunks, question, lead=lead)
    return compute(model, placed, _most_deviating(model, placed, share))


def _most_deviating(model: Any, placed: Placed, share: float) -> list[int]:
    """The slots of these tokens, in order. The first chunk stands where it was encoded."""
    first = placed.starts[1] if len(placed.starts) > 1 else len(placed.tokens)
    count = ceil(share * (len(placed.tokens) - first))
    if not count or len(placed.layers) <= _LOOKED_AT:
        return []
    fresh = _keys_in_context(model, placed.tokens)
    moved = placed.layers[_LOOKED_AT].keys[:, :, : len(placed.tokens)]
    apart = (fresh[:, :, first:].float() - moved[:, :, first:].float()).square().sum((0, 1, 3))
    return sorted((apart.topk(count).indices + first).tolist())


def _keys_in_context(model: Any, tokens: Sequence[int]) -> Any:
    """Keys ``[1, heads, tokens, size]`` of the layer looked at; the model is run no further."""
    cache = empty_cache(model)
    cache.layers[_LOOKED_AT].update = _stop
    ids = torch.tensor([list(tokens)], device=model.device)
    with torch.no_grad():
        try:
            model(input_ids=ids, use_cache=True, logits_to_keep=1, **{cache_name(model): cache})
        except _FarEnoughError as reached:
            return reached.keys
    raise InvalidInput("the model does not fill its cache layer by layer")


class _FarEnoughError(Exception):
    """The keys that a layer was about to be given."""

    def __init__(self, keys: Any) -> None:
        super().__init__()
        self.keys = keys


def _stop(keys: Any, *_: Any, **__: Any) -> Any:
    """What stands for a layer's ``update`` where the model is to stop."""
    raise _FarEnoughError(keys)
