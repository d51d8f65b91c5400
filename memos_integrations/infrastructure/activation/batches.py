"""Many questions behind one cache, as one batch.

Needs torch and transformers (extra ``activation``). The rows share the tensors of the cache until
the model writes behind them. Shorter rows are padded between the cache and their question, so that
all end at the same place; the mask hides the padding, and positions count what the mask shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

from memos_integrations.cube.errors import MissingExtra
from memos_integrations.infrastructure.activation.errors import CacheUnsupported
from memos_integrations.infrastructure.activation.forward import (
    cache_name,
    empty_cache,
    ensure_masks,
)

try:
    import torch
    from transformers.cache_utils import DynamicLayer
except ModuleNotFoundError as error:
    raise MissingExtra("activation memory", "activation") from error


def ensure_batched(model: Any) -> None:
    """Raises ``CacheUnsupported`` for a model that would count padding between cache and question:
    as a place in a window, or for want of positions of one's own."""
    if any(type(layer) is not DynamicLayer for layer in empty_cache(model).layers):
        raise CacheUnsupported("a sliding window counts padding, so rows would see less")
    if "position_ids" not in signature(model.forward).parameters:
        raise CacheUnsupported("it takes no positions, so it would count padding")
    ensure_masks(model)


def batch_inputs(
    model: Any,
    cache: Any,
    prefix: Sequence[int],
    questions: Sequence[Sequence[int]],
    *,
    pad: int,
    beams: int = 1,
) -> dict[str, Any]:
    """What ``model.generate`` takes: ``[rows, prefix + longest question]`` and the cache.

    ``cache`` holds ``prefix`` in one row and is changed to serve all of them. Every answer begins
    behind the last column.
    """
    longest = max(len(each) for each in questions)
    rows = [[*prefix, *[pad] * (longest - len(each)), *each] for each in questions]
    ids = torch.tensor(rows, device=model.device)
    mask = torch.ones_like(ids)
    for row, each in enumerate(questions):
        mask[row, len(prefix) : len(prefix) + longest - len(each)] = 0
    _spread(cache, len(questions) * beams)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
        cache_name(model): cache,
    }


def _spread(cache: Any, rows: int) -> None:
    """So many rows over the tensors of one, as views."""
    for layer in cache.layers:
        if layer.is_initialized:
            layer.keys = layer.keys.expand(rows, -1, -1, -1)
            layer.values = layer.values.expand(rows, -1, -1, -1)
