"""The atomic unit of memory: a payload and its header, and what a search says about it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from memos_integrations.cube.header import Header


class BlobRef(BaseModel):
    """Names a content-addressed file: tensors of a KV-cache, an adapter, media, a document."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int
    media_type: str = "application/octet-stream"


class MemoryItem(BaseModel):
    """One memory at one version, as the asking principal may see it."""

    model_config = ConfigDict(frozen=True)

    text: str
    data: dict[str, Any] | None = None
    """Structured payload beside the words (a tool call and its result, say)."""
    blobs: tuple[BlobRef, ...] = ()
    header: Header

    @property
    def id(self) -> str:
        return self.header.id

    @property
    def version(self) -> int:
        return self.header.version

    @property
    def cube(self) -> str:
        return self.header.cube

    def __str__(self) -> str:
        return self.text


class Signal(BaseModel):
    """One term of a hit's score: ``weight * value``, and what it means in words."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: float
    weight: float
    why: str

    @property
    def points(self) -> float:
        return self.value * self.weight


class Hit(BaseModel):
    """A memory that was found, how well it fits, and (with ``explain=True``) why."""

    model_config = ConfigDict(frozen=True)

    item: MemoryItem
    score: float
    signals: tuple[Signal, ...] = ()

    @property
    def id(self) -> str:
        return self.item.id

    @property
    def text(self) -> str:
        return self.item.text

    @property
    def time(self) -> datetime:
        return self.item.header.time

    def why(self) -> str:
        """The reasons in words, strongest first."""
        strongest = sorted(self.signals, key=lambda s: -abs(s.points))
        return "; ".join(s.why for s in strongest if s.points) or "no signal was recorded"

    def __str__(self) -> str:
        return f"{self.score:.2f}  {self.item.text}"
