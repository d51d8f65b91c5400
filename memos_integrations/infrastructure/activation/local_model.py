"""A transformers model out of a folder of this machine: no hub, no code of others, no pickle.

Called by the command line. Needs torch and transformers (extra ``activation``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

from memos_integrations.cube.errors import MissingExtra, UsageError

try:
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ModuleNotFoundError as error:
    raise MissingExtra("a local model", "activation") from error

_BUILT_IN: Final = (None, "eager", "sdpa")
_CHOICES: Final = frozenset(
    f"{mark}{part}_implementation{more}"
    for mark in ("", "_")
    for part in ("attn", "experts")
    for more in ("", "_internal")
)
"""Fields of a config.json by which transformers chooses code: other values name a hub's kernels."""


def load(folder: Path, *, tokenizer: Path | None = None) -> tuple[Any, Any]:
    """Model (for answering, not training) and tokenizer as they lie in ``folder``.

    Only safetensors are read and nothing is looked for elsewhere. Raises ``UsageError`` for a
    folder that holds none, or one whose files lead out of it: to a base model of an adapter, or to
    other code than torch's own for attention.
    """
    words = folder if tokenizer is None else tokenizer
    for each in (folder, words):
        if not each.is_dir():
            raise UsageError(f"{each} is no folder; name one that save_pretrained has written")
        _refuse_what_leads_out(each)
    given = {"local_files_only": True, "trust_remote_code": False}
    try:
        # None: torch's own, where the model has it, whatever the folder says.
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(folder), use_safetensors=True, dtype="auto", attn_implementation=None, **given
        )
        spoken: Any = AutoTokenizer.from_pretrained(str(words), **given)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise UsageError(
            f"{folder} holds no model that can be loaded ({type(error).__name__}); it needs "
            "config.json, safetensors and a tokenizer"
        ) from error
    return model.eval(), spoken


def _refuse_what_leads_out(folder: Path) -> None:
    if (folder / "adapter_config.json").exists():
        raise UsageError(
            f"{folder} holds an adapter, which names a base model elsewhere: merge it into its "
            "base and save that, or host the base"
        )
    config = folder / "config.json"
    try:
        told = json.loads(config.read_bytes()) if config.exists() else None
        chosen = [(name, value) for name, value in _fields(told) if name in _CHOICES]
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{config} cannot be read ({type(error).__name__})") from error
    for name, value in chosen:
        if value not in _BUILT_IN:
            raise UsageError(
                f"{config} asks for {name} of its own; take the field out, or say eager or sdpa"
            )


def _fields(told: Any) -> Iterator[tuple[str, Any]]:
    """All fields of a JSON text, at any depth."""
    if isinstance(told, dict):
        for name, value in cast("dict[str, Any]", told).items():
            yield name, value
            yield from _fields(value)
    elif isinstance(told, list):
        for each in cast("list[object]", told):
            yield from _fields(each)
