"""What the store of KV-caches is asked for, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memos_integrations.infrastructure.activation.codec import Kept
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.vault.artifacts import Source


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: by the hashes of its blocks, longest last, for one tenant."""

    blocks: tuple[Digest, ...]
    identity: Digest
    tenant: str
    device: Any
    architecture: str = ""

    @property
    def key(self) -> Digest:
        return self.blocks[-1]


@dataclass(frozen=True, slots=True)
class Stored:
    """A cache, what it was made of and what making it took."""

    kept: Kept
    blocks: tuple[Digest, ...]
    """Hashes of the blocks it covers, its own key last."""
    sources: tuple[Source, ...]
    build_seconds: float
    on_disk: bool = False
    passing: bool = False
    """Of a conversation: superseded by its next turn, so it never goes to disk."""
    since: int = 0
    """Of a conversation: the place of the log before it was read. Nobody knows which memories its
    turns repeat, so any erase behind that place takes it along."""
    tenant: str = ""
    """Whose it is; the keeper knows it from who looked for it."""
    architecture: str = ""
    pinned: bool = False
    created: int = 0
    """Microseconds since 1970 UTC."""

    @property
    def key(self) -> Digest:
        return self.blocks[-1]

    @property
    def serving(self) -> tuple[Digest, ...]:
        """The blocks it can be used up to: with sliding windows, its very end only."""
        return self.blocks if self.kept.whole else self.blocks[-1:]


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored cache and how many of the wanted blocks it covers."""

    stored: Stored
    blocks: int
