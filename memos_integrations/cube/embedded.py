"""Texts that come with their vectors: made elsewhere, kept under a name of the caller's.

A framework that embeds its own nodes hands them over like this. A cube of such texts carries a
fingerprint of its own kind, so that no vector of another model is ever compared with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_GIVEN = "given:"
KEY_FIELD = "info.embedded"
"""The filter field that an embedded text's name is found under."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text under a name of the caller's, with the vector it is to be found by, if any."""

    key: str
    text: str
    vector: Sequence[float] | None = None
    data: Mapping[str, Any] | None = None
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What filters may ask about; ``embedded``, the key, is added to it."""
    source: str | None = None
    tags: tuple[str, ...] = ()


def given_fingerprint(model: str, dim: int) -> str:
    """What a cube of vectors from elsewhere is marked with."""
    return f"{_GIVEN}{model}/{dim}"


def is_given(fingerprint: str | None) -> bool:
    """Whether a cube's vectors came with its texts, so that no embedder of ours may make more."""
    return fingerprint is not None and fingerprint.startswith(_GIVEN)
