"""What a file with a KV-cache says of itself, read and checked without torch.

Called by the codec, which reads the tensors too, and by whoever only looks over the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memos_integrations.infrastructure.activation.errors import CacheRefused
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.safetensors_file import check_safetensors

FORMAT = 1
_KEY = "memos"
_TOKENS = "tokens"
_IDS = "I32"


@dataclass(frozen=True, slots=True)
class Told:
    """What the header of a file tells of the cache in it."""

    identity: str
    tokens: int
    bytes: int
    """Of keys and values."""


def written(identity: Digest, layers: Sequence[tuple[str, int]]) -> dict[str, str]:
    """The metadata of a file: of each layer its class and the tokens it has seen."""
    told = {"format": FORMAT, "identity": identity, "layers": [list(each) for each in layers]}
    return {_KEY: json.dumps(told)}


def manifest(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """The manifest of a file. Raises ``CacheRefused`` where there is none of ours."""
    try:
        told = json.loads((metadata or {})[_KEY])
    except (KeyError, ValueError, RecursionError) as error:
        raise CacheRefused("it is no cache of ours: it has no manifest") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise CacheRefused("its manifest has another format")
    return told


def layers_of(told: Mapping[str, Any]) -> list[Any]:
    """What the manifest says of each layer, as it stands there."""
    layers = told.get("layers")
    if not isinstance(layers, list) or not layers:
        raise CacheRefused("its manifest names no layers")
    return layers


def names_of(layers: Sequence[Any]) -> set[str]:
    """The tensors that a file with so many layers holds."""
    parts = {f"{n}.{part}" for n in range(len(layers)) for part in ("keys", "values")}
    return {_TOKENS} | parts


def told_by(path: Path) -> Told:
    """What a file says of itself, from its header alone.

    Raises ``HostileArchive`` for what is no safetensors file, ``CacheRefused`` for one that is no
    cache of ours, and ``NotFound``.
    """
    info = check_safetensors(path)
    told = manifest(info.metadata)
    tensors = {each.name: each for each in info.tensors}
    if set(tensors) != names_of(layers_of(told)):
        raise CacheRefused("its tensors are not the ones its manifest names")
    tokens = tensors.pop(_TOKENS)
    if tokens.dtype != _IDS or len(tokens.shape) != 1:
        raise CacheRefused("its tokens are no list of ids")
    size = sum(each.end - each.begin for each in tensors.values())
    return Told(str(told.get("identity")), tokens.shape[0], size)
