"""Where a memory comes from: one step per hand it went through, oldest first."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class SourceKind(StrEnum):
    MESSAGE = "message"
    DOCUMENT = "document"
    TOOL = "tool"
    MEMORY = "memory"
    MODEL = "model"
    IMPORT = "import"


class ProvenanceStep(BaseModel):
    """One source or one change: what it was, who did it, when, and the words it rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_kind: SourceKind
    source: str
    """Message id, document name, tool name or memory id."""
    actor: str
    action: str = "added"
    at: datetime
    quote: str | None = None
    """The span of the source this memory rests on, where it is not the whole of it."""
    content_hash: str | None = None
    """sha256 of the words, so that a later reader can tell whether they changed."""
