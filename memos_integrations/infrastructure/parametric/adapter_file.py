"""Adapters to files and back: tensors and manifest in one safetensors file, checked before use.

Called by what trains adapters and by the bank. Needs torch, safetensors and peft (extra
``parametric``). A digest over manifest and tensors shows every changed bit; what a forger could
compute as well is checked against the model at hand: base, layers, shapes, kinds of numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from memos_integrations.cube.errors import HostileArchive, InvalidInput, MissingExtra
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.durable_file import make_directory
from memos_integrations.infrastructure.parametric.errors import AdapterRefused
from memos_integrations.infrastructure.parametric.lora import Shapes, lora_config, tensor_shapes
from memos_integrations.infrastructure.parametric.manifest import decode_manifest, encode_manifest
from memos_integrations.infrastructure.parametric.recipe import Manifest
from memos_integrations.infrastructure.safetensors_file import SafetensorsInfo, check_safetensors
from memos_integrations.infrastructure.strict_json import decode_object

try:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors
    from safetensors.torch import save
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error

FORMAT = "memos-adapter/1"
_KEYS = {"format", "manifest", "digest"}
_MAX_HEADER_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Adapter:
    """A checked adapter: its manifest, and its tensors by peft's names, float32 each."""

    manifest: Manifest
    tensors: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Told:
    manifest: Manifest
    raw: bytes
    digest: str


def dump(tensors: Mapping[str, Any], manifest: Manifest) -> bytes:
    """One file's bytes; the same tensors and manifest give the same bytes.

    Raises ``AdapterRefused`` for tensors that are not finite float32 of the recipe's rank.
    """
    kept = {name: t.detach().cpu().contiguous() for name, t in sorted(tensors.items())}
    _ensure_numbers(kept, manifest.recipe.rank)
    told = encode_manifest(manifest)
    metadata = {"format": FORMAT, "manifest": told.decode(), "digest": _digest(kept, told)}
    return bytes(save(kept, metadata={"memos": json.dumps(metadata, sort_keys=True)}))


def read_manifest(path: Path) -> Manifest:
    """What a file says of itself; its numbers are not read. Raises ``AdapterRefused``."""
    return _told(_checked(path)).manifest


def load(path: Path, *, base: Digest, shapes: Shapes) -> Adapter:
    """The adapter in a file, for the model of this digest with linear layers of these shapes.

    Everything is decided from the header before a number is read. Raises ``AdapterRefused`` for
    an adapter of another base, for tensors that are missing, foreign or of another shape or type,
    for numbers that are none, and for a file that was changed or cut.
    """
    info = _checked(path)
    told = _told(info)
    if told.manifest.base != base:
        raise AdapterRefused("it was made for another model or tokenizer")
    _ensure_fits(info, tensor_shapes(shapes, told.manifest.recipe))
    tensors = _tensors(path.read_bytes(), told)
    return Adapter(told.manifest, tensors)


def export(source: Path | bytes, folder: Path) -> Manifest:
    """Write ``adapter_model.safetensors`` and ``adapter_config.json``, as ``PeftModel`` and vLLM
    load them, for the owner of the process alone. Raises ``InvalidInput`` for a folder that holds
    either already."""
    names = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    if any(each.exists() for each in names):
        raise InvalidInput(f"{folder} holds an adapter already; name an empty folder")
    data = source if isinstance(source, bytes) else source.read_bytes()
    told = _told(_checked(data))
    tensors = _tensors(data, told)
    manifest = told.manifest
    make_directory(folder)
    _write_private(names[0], bytes(save(dict(tensors), metadata={"format": "pt"})))
    config = lora_config(manifest.recipe, manifest.invocation).to_dict()
    plain = {key: sorted(v) if isinstance(v, set) else v for key, v in config.items()}
    told_to_peft = json.dumps({**plain, "inference_mode": True}, indent=2, sort_keys=True)
    _write_private(names[1], told_to_peft.encode())
    return manifest


def _write_private(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def _checked(source: Path | bytes) -> SafetensorsInfo:
    try:
        return check_safetensors(
            BytesIO(source) if isinstance(source, bytes) else source,
            max_header_bytes=_MAX_HEADER_BYTES,
        )
    except HostileArchive as error:
        raise AdapterRefused(f"it is no adapter file: {error}") from error


def _told(info: SafetensorsInfo) -> _Told:
    try:
        told = decode_object(info.metadata["memos"].encode(), max_depth=1, what="the metadata")
    except (KeyError, HostileArchive) as error:
        raise AdapterRefused("it is no adapter of ours: it has no manifest") from error
    if set(told) != _KEYS or told["format"] != FORMAT:
        raise AdapterRefused("its manifest has another format")
    if set(info.metadata) != {"memos"} or not all(isinstance(v, str) for v in told.values()):
        raise AdapterRefused("its metadata holds what is not ours")
    raw = told["manifest"].encode()
    return _Told(decode_manifest(raw), raw, told["digest"])


def _ensure_fits(info: SafetensorsInfo, wanted: Mapping[str, tuple[int, int]]) -> None:
    shapes = {each.name: each.shape for each in info.tensors}
    if set(shapes) != set(wanted):
        raise AdapterRefused("its tensors are not those that its recipe makes on this model")
    if any(shapes[name] != shape for name, shape in wanted.items()):
        raise AdapterRefused("a tensor has another shape than this model needs")
    if any(each.dtype != "F32" for each in info.tensors):
        raise AdapterRefused("its tensors are not 32-bit floats")


def _tensors(data: bytes, told: _Told) -> dict[str, Any]:
    try:
        tensors = dict(sorted(load_tensors(data).items()))
    except SafetensorError as error:
        raise AdapterRefused(f"its tensors cannot be read: {error}") from error
    if any(each.dtype != torch.float32 for each in tensors.values()):
        raise AdapterRefused("its tensors are not 32-bit floats")
    if _digest(tensors, told.raw) != told.digest:
        raise AdapterRefused("its bytes are not those that were written")
    _ensure_numbers(tensors, told.manifest.recipe.rank)
    return tensors


def _ensure_numbers(tensors: Mapping[str, Any], rank: int) -> None:
    if not tensors:
        raise AdapterRefused("it has no tensors")
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or tensor.dim() != 2 or rank not in tensor.shape:
            raise AdapterRefused(f"tensor {name[:80]!r} is no part of an adapter of rank {rank}")
        if not torch.isfinite(tensor).all():
            raise AdapterRefused("it holds numbers that are not finite")


def _digest(tensors: Mapping[str, Any], manifest: bytes) -> str:
    digest = hashlib.sha256(manifest)
    for name, tensor in tensors.items():
        digest.update(f"\x00{name}\x00{tensor.dtype}{tuple(tensor.shape)}\x00".encode())
        digest.update(tensor.numpy())
    return digest.hexdigest()
