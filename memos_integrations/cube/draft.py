"""What a write hands to the vault: drafts of items, before they have an id or a place in the log.

Slotted and plain, because a batch makes many of them on the durable write path.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.item import BlobRef


@dataclass(slots=True)
class Draft:
    """A memory to be stored. Times are microseconds; JSON-able values are still Python ones."""

    text: str
    time: int
    role: str | None = None
    speaker: str | None = None
    conversation: str | None = None
    agent: str | None = None
    source: str | None = None
    memory_type: str = "long_term"
    kind: str = "plaintext"
    origin: str = "user_input"
    trust: str = "user"
    state: str = "generated"
    visibility: str = "inherit"
    owner: str | None = None
    labels: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    info: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    blobs: tuple[BlobRef, ...] = ()
    model: str | None = None
    priority: float = 0.0
    confidence: float = 1.0
    valid_from: int | None = None
    valid_to: int | None = None
    expires: int | None = None
    spans: str | None = None
    provenance: str | None = None
    """JSON array of steps; made by the reader."""
    fork_origin: int | None = None
    call: tuple[str, str] | None = None
    """Tool and canonical arguments of the call it tells of; kept as a keyed hash only."""
    drawn_from: int | None = None
    """Item row of the memory whose words this one restates: a fact the fine stage drew."""

    def fold(self) -> bytes:
        """Equal for drafts that say the same: one speaker, one text but for case and spaces."""
        return fold(self.speaker or self.role, self.text)


def fold(speaker: str | None, text: str) -> bytes:
    """A 16-byte hash of who said what, blind to case and white space."""
    words = " ".join(text.split()).casefold()
    return hashlib.sha256(f"{speaker or ''}\x00{words}".encode()).digest()[:16]
