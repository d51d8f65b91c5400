"""Header changes as columns of the next version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.header import MemoryType
from memos_integrations.infrastructure.vault.rows import dumps_or_none, masked
from memos_integrations.interface.json_values import clean_json, clean_labels
from memos_integrations.interface.reader import micros_of


def update_columns(
    *,
    tags: Sequence[str] | None = None,
    info: Mapping[str, Any] | None = None,
    memory_type: MemoryType | None = None,
    priority: float | None = None,
    confidence: float | None = None,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
    keep: frozenset[str],
) -> dict[str, Any]:
    """The columns to change, checked. ``info`` and ``tags`` replace what was there.

    ``keep`` names the labels that may be stored as they are.
    """
    columns: dict[str, Any] = {}
    if tags is not None:
        columns["tags"] = dumps_or_none(masked(list(clean_labels(tags, "tags")), keep=keep))
    if info is not None:
        clean = masked(clean_json(info, "info"), keep=keep)
        columns["info"] = dumps_or_none(clean)
    if memory_type is not None:
        columns["memory_type"] = MemoryType(memory_type).value
    for name, number in (("priority", priority), ("confidence", confidence)):
        if number is not None:
            columns[name] = _finite(number, name)
    for name, when in (("valid_from", valid_from), ("valid_to", valid_to)):
        if when is not None:
            columns[name] = micros_of(when, name)
    return columns


def _finite(number: float, name: str) -> float:
    known = isinstance(number, int | float) and not isinstance(number, bool)
    if not known or not -1e9 < number < 1e9:
        raise InvalidInput(f"{name} must be a finite number")
    return float(number)
