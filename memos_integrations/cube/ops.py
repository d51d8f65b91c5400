"""Operations as data: one frozen dataclass each, one union, run by one ``execute``.

The verbs of the facade are sugar over these, so tracing, batching, pipelines and approval all
see the same values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from memos_integrations.cube.draft import Draft
from memos_integrations.cube.header import Relation
from memos_integrations.cube.ids import CubePath
from memos_integrations.cube.item import BlobRef


@dataclass(frozen=True, slots=True)
class Replayable:
    """A draft whose source told when it was said: the same again is a duplicate."""

    draft: Draft
    place: int
    """Which message of the call it was."""
    replayable: bool
    masked: dict[str, int] | None = None
    """What redaction took out of it, by kind."""


@dataclass(frozen=True, slots=True)
class AddOp:
    """Store drafts as rough memories and queue their fine stage."""

    cube: CubePath
    drafts: tuple[Replayable, ...]
    derived_from: tuple[str, ...] = ()
    reason: str = "added"


@dataclass(frozen=True, slots=True)
class UpdateOp:
    """Correct an item: new words, new header values, or both."""

    item: str
    text: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    expected_version: int | None = None
    reason: str = "corrected"
    data: Mapping[str, Any] | None = None
    """A new payload beside the new words; without one the old payload stays."""
    blobs: tuple[BlobRef, ...] = ()
    """The blobs of the new words; without any the old ones stay."""


@dataclass(frozen=True, slots=True)
class DeleteOp:
    item: str
    reason: str = "deleted"


@dataclass(frozen=True, slots=True)
class ArchiveOp:
    item: str
    reason: str = "archived"


@dataclass(frozen=True, slots=True)
class ActivateOp:
    item: str
    reason: str = "activated"


@dataclass(frozen=True, slots=True)
class MergeOp:
    """Replace several items by one that says it all; the sources stay reachable."""

    items: tuple[str, ...]
    text: str
    reason: str = "merged"


@dataclass(frozen=True, slots=True)
class SplitOp:
    item: str
    reason: str = "split"


@dataclass(frozen=True, slots=True)
class LinkOp:
    source: str
    relation: Relation
    target: str


@dataclass(frozen=True, slots=True)
class UnlinkOp:
    source: str
    relation: Relation
    target: str


Operation: TypeAlias = (
    AddOp | UpdateOp | DeleteOp | ArchiveOp | ActivateOp | MergeOp | SplitOp | LinkOp | UnlinkOp
)
