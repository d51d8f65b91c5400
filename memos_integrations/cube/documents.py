"""What is told of documents: what became of an ingestion, and a document as it stands."""

from __future__ import annotations

from dataclasses import dataclass

from memos_integrations.cube.item import MemoryItem
from memos_integrations.cube.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one document, or of one that could not be read (``id`` is then ``None``)."""

    name: str
    id: str | None
    """The memory that stands for the document as a whole."""
    version: int
    """Of that memory; it counts the versions of the document."""
    cube: str
    unchanged: bool = False
    """The same bytes were there already, so nothing was done."""
    added: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """Chunks with a new version; what was derived from the old one is stale now."""
    removed: tuple[str, ...] = ()
    """Chunks that the document no longer has; archived, not erased."""
    stale: tuple[str, ...] = ()
    """Memories that were derived from what changed or is gone."""
    outcomes: tuple[Outcome, ...] = ()
    """One per chunk of the new version, in the order of the document."""
    task_ids: tuple[str, ...] = ()
    media_type: str = "text/plain"
    title: str | None = None
    notes: tuple[str, ...] = ()
    """What the reader of the answer should know: pages without text, what was masked ..."""
    error: str | None = None
    """Why it was refused; only in the answer to ``ingest_folder``."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it stood at the instant asked about."""

    name: str
    item: MemoryItem
    chunks: tuple[MemoryItem, ...] = ()
    """In the order of the document; empty in a list of documents."""

    @property
    def title(self) -> str | None:
        found = (self.item.data or {}).get("document", {}).get("title")
        return None if found is None else str(found)

    @property
    def version(self) -> int:
        return self.item.version
