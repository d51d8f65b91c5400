"""The self-describing header of every memory item (MemOS, section 4, and what governance needs)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from memos_integrations.cube.acl import Trust, Visibility
from memos_integrations.cube.provenance import ProvenanceStep


class Kind(StrEnum):
    """The three forms of memory."""

    PLAINTEXT = "plaintext"
    ACTIVATION = "activation"
    PARAMETRIC = "parametric"


class MemoryType(StrEnum):
    WORKING = "working"
    LONG_TERM = "long_term"
    USER = "user"
    PREFERENCE = "preference"
    EVENT = "event"
    TOOL = "tool"
    SKILL = "skill"
    DOCUMENT = "document"


class Origin(StrEnum):
    USER_INPUT = "user_input"
    INFERENCE = "inference"
    RETRIEVAL = "retrieval"
    IMPORT = "import"
    DISTILLATION = "distillation"


class State(StrEnum):
    """Where an item stands in its life; the last two are tombstones without content."""

    GENERATED = "generated"
    ACTIVATED = "activated"
    MERGED = "merged"
    ARCHIVED = "archived"
    FROZEN = "frozen"
    EXPIRED = "expired"
    DELETED = "deleted"


SEARCHABLE = (State.GENERATED, State.ACTIVATED, State.FROZEN)
TOMBSTONES = (State.EXPIRED, State.DELETED)


class StorageMode(StrEnum):
    HOT = "hot"
    WARM = "warm"
    COLD = "cold"


class Relation(StrEnum):
    """Typed links between items, read as "source RELATION target"."""

    DERIVED_FROM = "derived_from"
    SUPERSEDES = "supersedes"
    CONTRADICTS = "contradicts"
    RELATES_TO = "relates_to"
    PART_OF = "part_of"
    MENTIONS = "mentions"
    FOLLOWS = "follows"
    REPLACES = "replaces"
    """A correction and the words that were archived for it: neither is erased without the other.
    Only ``correct`` draws it."""


class Link(BaseModel):
    """One typed edge of the graph, with the source version it was drawn at."""

    model_config = ConfigDict(frozen=True)

    source: str
    relation: Relation
    target: str
    target_version: int | None = None


class Header(BaseModel):
    """Everything known about an item besides its words. All datetimes are aware and UTC."""

    model_config = ConfigDict(frozen=True)

    # descriptive
    id: str
    cube: str
    kind: Kind = Kind.PLAINTEXT
    memory_type: MemoryType = MemoryType.LONG_TERM
    created: datetime
    updated: datetime
    """System time of this version: when the vault began to believe it."""
    time: datetime
    """When it was said or happened, by its source."""
    valid_from: datetime
    valid_to: datetime | None = None
    """The world's time in which it holds; ``valid_to`` is exclusive, ``None`` means still."""
    role: str | None = None
    speaker: str | None = None
    conversation: str | None = None
    """The session it was said in."""
    agent: str | None = None
    origin: Origin = Origin.USER_INPUT
    source: str | None = None
    """The message, document or tool it came from; ``erase(source=...)`` goes by this."""
    provenance: tuple[ProvenanceStep, ...] = ()
    model: str | None = None
    tags: tuple[str, ...] = ()
    info: dict[str, Any] = Field(default_factory=dict)
    embedding: str | None = None
    """Fingerprint of the embedder its vector was made by; ``None`` until embedded."""
    # governance
    owner: str
    visibility: Visibility = Visibility.INHERIT
    labels: tuple[str, ...] = ()
    trust: Trust = Trust.USER
    expires: datetime | None = None
    legal_hold: bool = False
    quarantined: bool = False
    redacted: bool = False
    """Whether the words shown here were masked for the principal that asked."""
    # behavioural
    usage_count: int = 0
    last_used: datetime | None = None
    priority: float = 0.0
    confidence: float = 1.0
    state: State = State.GENERATED
    stale: bool = False
    """A source it was derived from changed since; left out of searches until confirmed."""
    merged_into: str | None = None
    version: int = 1
    seq: int = 0
    """Place of this version in the vault's log."""
    storage_mode: StorageMode = StorageMode.WARM
