"""KV-caches to safetensors and back, bitwise, for the layers that were tried and no others.

Called by the store; needs torch and transformers (extra ``activation``). A cache is written layer
by layer with the class of each, and read into a fresh ``DynamicCache`` of the same configuration.
What has no codec of its own is refused by name: a layer filled by hand that the library does not
take as filled is wiped by its next update, silently, and answers as if nothing had been read.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memos_integrations.cube.errors import InvalidInput, MissingExtra, NotFound
from memos_integrations.infrastructure.activation import manifest
from memos_integrations.infrastructure.activation.errors import CacheRefused, CacheUnsupported
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.blobs import read_into_memory
from memos_integrations.infrastructure.safetensors_file import (
    MAX_HEADER_BYTES,
    SafetensorsInfo,
    TensorInfo,
    check_head,
    read_head,
)

try:
    import torch
    from safetensors.torch import save
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
except ModuleNotFoundError as error:
    raise MissingExtra("activation memory", "activation") from error

ROPE_TYPES = frozenset({"default", "linear", "llama3", "yarn"})
"""Rotary embeddings whose numbers do not depend on the length of the whole prompt."""

_LAYERS: dict[str, type[Any]] = {
    "DynamicLayer": DynamicLayer,
    "DynamicSlidingWindowLayer": DynamicSlidingWindowLayer,
}
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_FILE_DTYPES: dict[str, Any] = {
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I32": torch.int32,
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's tensors, ``[1, heads, tokens kept, head size]`` each, and what it has seen."""

    kind: str
    keys: Any
    values: Any
    seen_tokens: int
    """Tokens that went through it; a sliding window keeps fewer."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A cache at rest: shared by everyone who uses it, changed by nobody."""

    identity: Digest
    tokens: tuple[int, ...]
    layers: tuple[Layer, ...]

    @property
    def bytes(self) -> int:
        return sum(t.nbytes for layer in self.layers for t in (layer.keys, layer.values))

    @property
    def device(self) -> str:
        """Where its tensors lie, such as ``cpu`` or ``cuda:0``."""
        return str(self.layers[0].keys.device)

    @property
    def whole(self) -> bool:
        """Whether every layer still holds every token, so that a part of it can be used."""
        return all(layer.kind == "DynamicLayer" for layer in self.layers)


def ensure_supported(config: Any) -> None:
    """Raises ``CacheUnsupported`` for a model of which no cache may be kept, and says why."""
    text = config.get_text_config()
    for rope in _rope_settings(text):
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind not in ROPE_TYPES:
            raise CacheUnsupported(f"rotary embeddings of type {str(kind)[:40]!r} have no codec")
        if "mrope_section" in rope:
            raise CacheUnsupported("rotary embeddings in sections (M-RoPE) have no codec")
    for layer in DynamicCache(config=config).layers:
        _ensure_kind(layer)


def keep(cache: DynamicCache, tokens: Sequence[int], *, identity: Digest) -> Kept:
    """The cache as it stands, after exactly ``tokens``, in memory of its own.

    Raises ``CacheUnsupported`` for layers without a codec, and ``CacheRefused`` where it does not
    hold these tokens or holds numbers that are none.
    """
    layers = tuple(_kept_layer(layer, len(tokens)) for layer in cache.layers)
    if not layers:
        raise CacheRefused("the cache has no layers")
    return Kept(identity, tuple(tokens), layers)


def use(kept: Kept, config: Any, *, upto: int | None = None) -> DynamicCache:
    """A fresh cache over the kept tensors, for one generation; nothing is copied.

    It grows by making tensors of its own, so ``kept`` stays as it is. ``upto`` takes the first
    tokens only; a model with sliding windows cannot, as the window has moved on.
    """
    cache = DynamicCache(config=config)
    if len(cache.layers) != len(kept.layers):
        raise CacheRefused(f"{len(kept.layers)} layers are kept; the model has {len(cache.layers)}")
    length = len(kept.tokens) if upto is None else upto
    if not 0 < length <= len(kept.tokens):
        raise InvalidInput(f"upto must lie from 1 to {len(kept.tokens)}")
    if length < len(kept.tokens) and not kept.whole:
        raise CacheRefused("a sliding window has moved past the part that was asked for")
    for fresh, stored in zip(cache.layers, kept.layers, strict=True):
        _fill(fresh, stored, length)
    if cache.get_seq_length() != length:
        raise CacheUnsupported("this version of transformers counts the restored tokens otherwise")
    return cache


def moved(kept: Kept, device: str) -> Kept:
    """The same cache with its tensors on ``device``; shared where they lie there already."""
    layers = tuple(
        replace(layer, keys=layer.keys.to(device), values=layer.values.to(device))
        for layer in kept.layers
    )
    return replace(kept, layers=layers)


def dump(kept: Kept) -> bytes:
    """The cache as the bytes of one safetensors file."""
    tensors = {"tokens": torch.tensor(kept.tokens, dtype=torch.int32)}
    for n, layer in enumerate(kept.layers):
        tensors[f"{n}.keys"], tensors[f"{n}.values"] = layer.keys, layer.values
    layers = [(layer.kind, layer.seen_tokens) for layer in kept.layers]
    return bytes(save(tensors, metadata=manifest.written(kept.identity, layers)))


def load(path: Path, *, identity: Digest, device: str = "cpu") -> Kept:
    """As ``parse``, for a file. Raises ``NotFound`` where there is none."""
    try:
        data = read_into_memory(path)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    return parse(data, identity=identity, device=device)


def parse(data: memoryview, *, identity: Digest, device: str = "cpu") -> Kept:
    """The cache in the bytes of a file, checked against what it should be before it is used.

    Its tensors lie in ``data``, which is theirs from now on: who erases the file later changes no
    number of them. Raises ``CacheRefused`` for another identity, missing or foreign tensors, other
    shapes than its own manifest tells, and numbers that are none; ``HostileArchive`` for what is
    no safetensors file.
    """
    info = _header(data)
    told = manifest.manifest(info.metadata)
    if told.get("identity") != identity:
        raise CacheRefused("it was made under another model, tokenizer or library")
    tensors = {each.name: _tensor(data, each, info.data_start) for each in info.tensors}
    if device != "cpu":
        tensors = {name: each.to(device) for name, each in tensors.items()}
    return _kept_tensors(tensors, told, identity)


def _header(data: memoryview) -> SafetensorsInfo:
    length = int.from_bytes(data[:8], "little")
    head = bytes(data[: 8 + min(length, MAX_HEADER_BYTES)])
    total = len(data)
    whole = read_head(io.BytesIO(head), total_bytes=total, max_header_bytes=MAX_HEADER_BYTES)
    return check_head(whole, total_bytes=total)


def _tensor(data: memoryview, info: TensorInfo, start: int) -> Any:
    """A view of the bytes, without a copy."""
    dtype = _FILE_DTYPES.get(info.dtype)
    if dtype is None:
        raise CacheUnsupported(f"tensors of {info.dtype} have no codec")
    if info.begin == info.end:
        return torch.empty(info.shape, dtype=dtype)
    count = (info.end - info.begin) // dtype.itemsize
    view = torch.frombuffer(data, dtype=dtype, count=count, offset=start + info.begin)
    return view.reshape(info.shape)


def _rope_settings(config: Any) -> list[dict[str, Any]]:
    """The rotary settings, one or one for each kind of layer."""
    given = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if not isinstance(given, dict):
        return [dict(given)]
    nested = [each for each in given.values() if isinstance(each, dict)]
    return nested or [given]


def _ensure_kind(layer: Any) -> str:
    name = type(layer).__name__
    if _LAYERS.get(name) is not type(layer):
        raise CacheUnsupported(f"cache layers of class {name} have no codec")
    return name


def _kept_layer(layer: Any, length: int) -> Layer:
    kind = _ensure_kind(layer)
    if not layer.is_initialized or layer.get_seq_length() != length:
        raise CacheRefused(f"a layer has not seen exactly the {length} tokens that are to be kept")
    keys, values = (t.detach().contiguous().clone() for t in (layer.keys, layer.values))
    kept = Layer(kind, keys, values, length)
    _ensure_sound(kept)
    return kept


def _ensure_sound(layer: Layer) -> None:
    for tensor in (layer.keys, layer.values):
        if tensor.dtype not in _DTYPES:
            raise CacheUnsupported(f"tensors of {tensor.dtype} have no codec")
        if tensor.dim() != 4 or tensor.shape[0] != 1 or tensor.shape[2] > layer.seen_tokens:
            raise CacheRefused(f"a tensor of shape {tuple(tensor.shape)} is no cache of one prompt")
        if not _all_finite(tensor):
            raise CacheRefused("it holds numbers that are not finite")
    if layer.keys.shape[:3] != layer.values.shape[:3] or layer.keys.dtype != layer.values.dtype:
        raise CacheRefused("keys and values of a layer do not fit each other")
    if layer.kind == "DynamicLayer" and layer.keys.shape[2] != layer.seen_tokens:
        raise CacheRefused("a layer that keeps everything lacks tokens")


def _all_finite(tensor: Any) -> bool:
    """By its extremes, one of which is NaN where any number is: a twentieth of looking at each."""
    return not tensor.numel() or all(torch.isfinite(each) for each in torch.aminmax(tensor))


def _fill(fresh: Any, stored: Layer, length: int) -> None:
    if _ensure_kind(fresh) != stored.kind:
        raise CacheRefused(f"a {stored.kind} is kept; the model has a {type(fresh).__name__} there")
    if stored.kind == "DynamicSlidingWindowLayer":
        if stored.keys.shape[2] != min(length, fresh.sliding_window - 1):
            raise CacheRefused("it was kept under a window of another size")
        fresh.cumulative_length = length
    fresh.lazy_initialization(stored.keys, stored.values)
    fresh.keys, fresh.values = stored.keys, stored.values
    if stored.kind == "DynamicLayer":
        fresh.keys, fresh.values = stored.keys[:, :, :length], stored.values[:, :, :length]


def _kept_tensors(tensors: Mapping[str, Any], told: Mapping[str, Any], identity: Digest) -> Kept:
    kinds = manifest.layers_of(told)
    if set(tensors) != manifest.names_of(kinds):
        raise CacheRefused("its tensors are not the ones its manifest names")
    tokens = tensors["tokens"]
    if tokens.dtype != torch.int32 or tokens.dim() != 1 or not len(tokens):
        raise CacheRefused("its tokens are no list of ids")
    layers = tuple(_told_layer(tensors, n, kind, len(tokens)) for n, kind in enumerate(kinds))
    return Kept(identity, tuple(tokens.tolist()), layers)


def _told_layer(tensors: Mapping[str, Any], n: int, kind: Any, length: int) -> Layer:
    match kind:
        case [str() as name, int() as seen] if name in _LAYERS and seen == length:
            pass
        case _:
            raise CacheRefused("its manifest tells of a layer that cannot be")
    layer = Layer(name, tensors[f"{n}.keys"], tensors[f"{n}.values"], seen)
    _ensure_sound(layer)
    return layer
