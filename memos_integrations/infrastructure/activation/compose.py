"""Caches of independently encoded memories, put behind each other in any order.

Needs torch and transformers (extra ``activation``). Keys carry their position as a rotation, and
rotations add up: a chunk encoded at one place is moved to another by turning its keys by the
difference, exact to rounding. What a chunk could not see when it was encoded is what stands
before it now. ``linked`` computes the first tokens of each chunk anew, which is where most of the
attention to a chunk goes (EPIC's LegoLink, Hu et al. 2024), in one ordinary forward pass whose
cache layers write fresh keys and values into their places. ``blend`` chooses the tokens otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from memos_integrations.cube.errors import InvalidInput, MissingExtra
from memos_integrations.infrastructure.activation.codec import Kept, Layer, ensure_supported, keep
from memos_integrations.infrastructure.activation.errors import CacheUnsupported
from memos_integrations.infrastructure.activation.forward import (
    cache_name,
    empty_cache,
    ensure_masks,
    extend,
)
from memos_integrations.infrastructure.activation.identity import Digest

try:
    import torch
    from transformers.cache_utils import DynamicLayer
except ModuleNotFoundError as error:
    raise MissingExtra("activation memory", "activation") from error

_AT_ONCE = 256
LINK_TOKENS = 8
"""Tokens at the beginning of each chunk that are computed anew."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A prompt of several chunks and a question, and the cache of all but its last token."""

    cache: Any
    tokens: tuple[int, ...]
    computed_tokens: int
    """Tokens that went through the model; the others were moved into place."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Chunks at the places where a prompt has them, each as it was computed by itself."""

    tokens: tuple[int, ...]
    starts: tuple[int, ...]
    """Where each chunk's own tokens begin."""
    question: tuple[int, ...]
    layers: list[Any]
    """Of a cache, with room for the question but for its last token."""


def ensure_movable(model: Any) -> None:
    """Raises ``CacheUnsupported`` where a chunk cannot be moved: no rotation that adds up, or
    layers that forget, or a kernel without masks."""
    ensure_supported(model.config)
    layers = empty_cache(model).layers
    if any(type(layer) is not DynamicLayer for layer in layers):
        raise CacheUnsupported("sliding windows have let go of what would have to be moved")
    if not hasattr(_rotary(model), "inv_freq"):
        raise CacheUnsupported("its positions are no rotations of the keys, so no chunk can move")
    ensure_masks(model)


def encode(model: Any, tokens: Sequence[int], *, identity: Digest) -> tuple[Kept, float]:
    """A chunk with the beginning it stands behind, and the seconds it took."""
    cache = empty_cache(model)
    seconds = extend(model, cache, tokens)
    return keep(cache, tokens, identity=identity), seconds


def linked(
    model: Any,
    chunks: Sequence[Kept],
    question: Sequence[int],
    *,
    lead: int,
    link_tokens: int = LINK_TOKENS,
) -> Composed:
    """The prompt ``lead + chunks + question`` over caches encoded one by one.

    ``lead`` is how many tokens of each chunk are the common beginning; they stand in the prompt
    once. With ``link_tokens=0`` chunks are only moved. Without a question the cache holds the whole
    prompt, and a token must follow before a model is asked. Raises ``InvalidInput`` without chunks,
    ``CacheUnsupported`` as ``ensure_movable``.
    """
    placed = place(model, chunks, question, lead=lead)
    return compute(model, placed, _beginnings(placed, link_tokens))


def place(model: Any, chunks: Sequence[Kept], question: Sequence[int], *, lead: int) -> Placed:
    """The chunks behind each other, moved and not yet linked. Raises as ``linked``."""
    if not chunks:
        raise InvalidInput("at least one chunk is needed")
    if len({chunk.identity for chunk in chunks}) > 1:
        raise InvalidInput("the chunks were made by different models")
    ensure_movable(model)
    starts, tokens = _laid_out(chunks, lead)
    layers = _moved(model, chunks, starts, lead, room=max(0, len(question) - 1))
    return Placed(tuple(tokens), tuple(starts), tuple(question), layers)


def compute(model: Any, placed: Placed, slots: Sequence[int]) -> Composed:
    """The tokens of these slots (in order) and of the question, from all that stands before them.

    Every layer of the cache has fresh keys and values in those places afterwards.
    """
    end = len(placed.tokens)
    asked = range(end, end + len(placed.question) - 1)
    whole, every = (*placed.tokens, *placed.question), [*slots, *asked]
    if every:
        _compute(model, placed.layers, whole, every)
    cache = empty_cache(model)
    cache.layers = placed.layers
    return Composed(cache, whole, len(every))


def _laid_out(chunks: Sequence[Kept], lead: int) -> tuple[list[int], list[int]]:
    """Where each chunk's own tokens begin, and all tokens in order."""
    tokens, starts = list(chunks[0].tokens[:lead]), list[int]()
    for chunk in chunks:
        if list(chunk.tokens[:lead]) != tokens[:lead]:
            raise InvalidInput("the chunks do not begin with the same tokens")
        starts.append(len(tokens))
        tokens += chunk.tokens[lead:]
    return starts, tokens


def _beginnings(placed: Placed, link_tokens: int) -> list[int]:
    """The first tokens of every chunk but the first, which stands where it was encoded."""
    starts = placed.starts[1:]
    ends = [*starts[1:], len(placed.tokens)]
    return [
        slot
        for start, stop in zip(starts, ends, strict=False)
        for slot in range(start, min(start + link_tokens, stop))
    ]


def _moved(
    model: Any, chunks: Sequence[Kept], starts: Sequence[int], lead: int, *, room: int
) -> list[Any]:
    """One layer of each depth over all chunks, with room for the question behind them."""
    frequencies = _rotary(model).inv_freq.float()
    deltas = [start - lead for start in starts]
    return [
        _placed(*_joined([chunk.layers[n] for chunk in chunks], deltas, lead, frequencies), room)
        for n in range(len(chunks[0].layers))
    ]


def _joined(
    layers: Sequence[Layer], deltas: Sequence[int], lead: int, frequencies: Any
) -> tuple[Any, Any]:
    keys, values = [layers[0].keys], [layers[0].values]
    for layer, delta in zip(layers[1:], deltas[1:], strict=True):
        keys.append(_turned(layer.keys[:, :, lead:], delta, frequencies))
        values.append(layer.values[:, :, lead:])
    return torch.cat(keys, dim=2), torch.cat(values, dim=2)


def _turned(keys: Any, delta: int, frequencies: Any) -> Any:
    """Keys ``[1, heads, tokens, size]`` moved by ``delta`` positions.

    Only the first ``2 x frequencies`` numbers of a head are turned (all, in most models); number
    ``i`` turns with number ``i + frequencies``.
    """
    size = frequencies.shape[0]
    angle = delta * frequencies
    cos, sin = angle.cos(), angle.sin()
    one, other = keys[..., :size].float(), keys[..., size : 2 * size].float()
    turned = (one * cos - other * sin, other * cos + one * sin)
    return torch.cat([*(part.to(keys.dtype) for part in turned), keys[..., 2 * size :]], dim=-1)


def _compute(model: Any, layers: Sequence[Any], tokens: Sequence[int], slots: list[int]) -> None:
    """Run the tokens of these slots through the model, each seeing all that stands before it.

    ``slots`` ascend, so a few at a time see what was computed for those before them, and need not
    look beyond the last of themselves.
    """
    for start in range(0, len(slots), _AT_ONCE):
        _compute_some(model, layers, tokens, slots[start : start + _AT_ONCE])


def _compute_some(
    model: Any, layers: Sequence[Any], tokens: Sequence[int], slots: list[int]
) -> None:
    places, end = torch.tensor(slots, device=model.device), slots[-1] + 1
    for layer in layers:
        layer.update = partial(_write, layer, places, end)
    columns = torch.arange(end, device=model.device)
    hidden = columns[None, :] > places[:, None]
    mask = torch.zeros(hidden.shape, dtype=model.dtype, device=model.device)
    mask = mask.masked_fill(hidden, torch.finfo(model.dtype).min)[None, None]
    cache = empty_cache(model)
    cache.layers = list(layers)
    with torch.no_grad():
        model(
            input_ids=torch.tensor([[tokens[slot] for slot in slots]], device=model.device),
            attention_mask=mask,
            position_ids=places[None],
            use_cache=True,
            logits_to_keep=1,
            **{cache_name(model): cache},
        )
    for layer in layers:
        del layer.update


def _placed(keys: Any, values: Any, room: int) -> Any:
    """A layer of these, with room behind them."""
    layer: Any = DynamicLayer()
    layer.lazy_initialization(keys, values)
    layer.keys, layer.values = _with_room(keys, room), _with_room(values, room)
    return layer


def _with_room(tensor: Any, room: int) -> Any:
    return torch.cat([tensor, tensor.new_zeros((*tensor.shape[:2], room, tensor.shape[3]))], dim=2)


def _write(
    layer: Any, places: Any, end: int, keys: Any, values: Any, *_: Any, **__: Any
) -> tuple[Any, Any]:
    """What stands for a layer's ``update`` while its places are filled."""
    layer.keys.index_copy_(2, places, keys)
    layer.values.index_copy_(2, places, values)
    return layer.keys[:, :, :end], layer.values[:, :, :end]


def _rotary(model: Any) -> Any:
    return getattr(model.base_model, "rotary_emb", None)
