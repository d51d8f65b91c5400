"""The calls that run a model: prefill behind a cache, and the inputs of a generation.

Needs torch and transformers (extra ``activation``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from inspect import signature
from typing import Any

from memos_integrations.cube.errors import MissingExtra
from memos_integrations.infrastructure.activation.errors import CacheUnsupported

try:
    import torch
    from transformers import DynamicCache
except ModuleNotFoundError as error:
    raise MissingExtra("activation memory", "activation") from error

_MASKING = ("eager", "sdpa")
"""Attention kernels that take a mask of one's own."""


def cache_name(model: Any) -> str:
    """What this model calls its cache: ``cache``, or ``past_key_values`` in older versions."""
    return "cache" if "cache" in signature(model.forward).parameters else "past_key_values"


def empty_cache(model: Any) -> Any:
    """A cache of the model's own layers that has seen nothing."""
    return DynamicCache(config=model.config)


def ensure_masks(model: Any) -> None:
    """Raises ``CacheUnsupported`` where the attention kernel takes no mask of one's own."""
    if model.config._attn_implementation not in _MASKING:
        raise CacheUnsupported(f"attention must be one of {', '.join(_MASKING)}")


def extend(model: Any, cache: Any, tokens: Sequence[int]) -> float:
    """Run ``tokens`` through the model behind what ``cache`` holds; the seconds it took.

    Only the last token's logits are computed: those of a whole prompt cost as much as a layer.
    """
    ids = torch.tensor([list(tokens)], device=model.device)
    began = time.perf_counter()
    with torch.no_grad():
        model(input_ids=ids, use_cache=True, logits_to_keep=1, **{cache_name(model): cache})
    return time.perf_counter() - began


def generation_inputs(
    model: Any, cache: Any, tokens: Sequence[int], *, beams: int = 1
) -> dict[str, Any]:
    """What ``model.generate`` takes: the whole prompt ``[1, tokens]`` and its beginning's cache.

    With ``beams`` (or so many sampled answers) ``generate`` repeats the prompt but not the cache,
    so that is done here.
    """
    ids = torch.tensor([list(tokens)], device=model.device)
    if beams > 1:
        cache.batch_repeat_interleave(beams)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), cache_name(model): cache}
