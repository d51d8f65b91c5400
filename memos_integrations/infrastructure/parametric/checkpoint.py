"""A training as it stands between two rounds, in one safetensors file; nothing in it is code.

Called by the training. Needs torch and safetensors (extra ``parametric``). It holds for exactly
one base, recipe and set of examples; under any other it is as good as none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from memos_integrations.cube.errors import HostileArchive, MissingExtra, NotFound
from memos_integrations.infrastructure.checkpoints import overwrite
from memos_integrations.infrastructure.durable_file import (
    directory_lock,
    full_disk_is_typed,
    sync_directory,
)
from memos_integrations.infrastructure.safetensors_file import check_safetensors
from memos_integrations.infrastructure.strict_json import decode_object

try:
    from safetensors import SafetensorError
    from safetensors.torch import load, save
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error


@dataclass(frozen=True, slots=True)
class Place:
    """How far a training is."""

    training: str
    """Digest of everything that it depends on."""
    rounds: int
    """Whole rounds over the lessons that are done."""
    ends_after: int
    """Rounds after which it ends: all of them, or fewer once it has learnt enough."""
    seconds: float
    """Processor seconds that it took so far."""


def write(path: Path, place: Place, tensors: Mapping[str, Any]) -> None:
    """Put it in place of the last one, whole or not at all; the last one's bytes are overwritten.
    A kill leaves nothing but named files in the folder. Raises ``OSError`` where the folder is
    gone, and ``StorageFull``."""
    told = json.dumps(asdict(place), sort_keys=True)
    data = bytes(
        save({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, {"memos": told})
    )
    new, old = (path.with_name(path.name + end) for end in (".new", ".old"))
    with full_disk_is_typed(path.parent), directory_lock(path.parent, shared=False):
        overwrite(new)  # of a writer that was killed
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        overwrite(old)
        with suppress(FileNotFoundError):
            path.rename(old)
        new.rename(path)
        sync_directory(path.parent)
        overwrite(old)


def read(path: Path, training: str, like: Mapping[str, Any]) -> tuple[Place, dict[str, Any]] | None:
    """The place and tensors in a file, shaped as ``like``; ``None`` for what is not of this
    training, was cut, or is not there."""
    try:
        info = check_safetensors(path)
        told = decode_object(info.metadata["memos"].encode(), max_depth=1, what="the checkpoint")
        place = Place(**told)
        tensors = load(path.read_bytes())
    except (NotFound, HostileArchive, KeyError, TypeError, SafetensorError):
        return None
    fits = tensors.keys() == like.keys() and all(
        tensors[k].shape == t.shape and tensors[k].dtype == t.dtype for k, t in like.items()
    )
    return (place, tensors) if fits and place.training == training else None
