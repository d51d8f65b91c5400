"""What a folder with a model would have its loader fetch or run from elsewhere, refused first.

Called by ``local_model``. Needs no torch: it looks at names and JSON only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

from memos_integrations.cube.errors import UsageError

_BUILT_IN: Final = (None, "eager", "sdpa")
_CHOICES: Final = frozenset(
    f"{mark}{part}_implementation{more}"
    for mark in ("", "_")
    for part in ("attn", "experts")
    for more in ("", "_internal")
)
"""Fields of a config.json by which transformers chooses code: other values name a hub's kernels."""
_QUANTISED: Final = ("quantization_config", "compression_config")
_OF_A_PACKAGE: Final = "bitsandbytes"
"""The one way of quantising whose code is a package's; others bring kernels from a hub."""
_WEIGHTS: Final = ".safetensors"
_TOLD: Final = ("config.json", "generation_config.json", "tokenizer_config.json")


def refuse_what_leads_out(folder: Path) -> None:
    """Raises ``UsageError``, which says what to do, for a folder whose files lead out of it: to an
    adapter's base model, to code beside the weights or of a hub, or to files elsewhere."""
    if (folder / "adapter_config.json").exists():
        raise UsageError(
            f"{folder} holds an adapter, which names a base model elsewhere: merge it into its "
            "base and save that, or host the base"
        )
    _refuse_links(folder)
    for name in _TOLD:
        for field, value in _fields(_read(folder / name)):
            _refuse_field(folder / name, field, value)
    for index in sorted(folder.glob("*.index.json")):
        _refuse_shards(index)


def _refuse_field(config: Path, field: str, value: Any) -> None:
    if field in _CHOICES and value not in _BUILT_IN:
        raise UsageError(
            f"{config} asks for {field} of its own; take the field out, or say eager or sdpa"
        )
    if field in _QUANTISED and value and _quantised_by(value) != _OF_A_PACKAGE:
        raise UsageError(
            f"{config} has a {field}, whose kernels are fetched from a hub; save the model "
            "dequantised, or quantised by bitsandbytes"
        )
    if field == "auto_map" and value:
        raise UsageError(
            f"{config} names code of its own (auto_map), which is never run; take the field out "
            "where transformers knows the architecture"
        )
    if field == "transformers_weights" and value and not _is_own(value, _WEIGHTS, ".index.json"):
        raise UsageError(
            f"{config} names weights elsewhere (transformers_weights); take the field out, and "
            "have safetensors in the folder itself"
        )


def _quantised_by(told: Any) -> object:
    return cast("dict[str, object]", told).get("quant_method") if isinstance(told, dict) else None


def _refuse_shards(index: Path) -> None:
    told = _read(index)
    shards = cast("dict[str, Any]", told).get("weight_map") if isinstance(told, dict) else None
    named = cast("dict[str, object]", shards).values() if isinstance(shards, dict) else [None]
    if not all(_is_own(name, _WEIGHTS) for name in named):
        raise UsageError(
            f"{index} names weights outside of its folder, or none in safetensors; save the model "
            "anew with save_pretrained, which writes both side by side"
        )


def _refuse_links(folder: Path) -> None:
    """What is linked must lie in the folder, or among the blobs of a cache of the hub."""
    home = folder.resolve()
    roots = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    for each in sorted(folder.iterdir()):
        there = each.resolve()
        if each.is_symlink() and not any(there.is_relative_to(root) for root in roots):
            raise UsageError(f"{each} is a link out of its folder; put a copy in its place")


def _is_own(name: object, *endings: str) -> bool:
    """Whether it is the bare name of a file of the folder."""
    bare = isinstance(name, str) and name == Path(name).name and "\\" not in name
    return bare and str(name).endswith(endings)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes()) if file.exists() else None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read ({type(error).__name__})") from error


def _fields(told: Any) -> Iterator[tuple[str, Any]]:
    """All fields of a JSON text, at any depth."""
    if isinstance(told, dict):
        for name, value in cast("dict[str, Any]", told).items():
            yield name, value
            yield from _fields(value)
    elif isinstance(told, list):
        for each in cast("list[object]", told):
            yield from _fields(each)
