"""The container of memories: one per user, agent, session, team or knowledge base."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from memos_integrations.cube.acl import Visibility


class MemCube(BaseModel):
    """A cube's description: owned, governed, shared, forked, dumped and loaded as a whole."""

    model_config = ConfigDict(frozen=True)

    path: str
    tenant: str = "default"
    owner: str
    visibility: Visibility = Visibility.PRIVATE
    embedding: str | None = None
    """Fingerprint of the embedder its vectors were made by; another one is refused."""
    created: datetime
    forked_from: str | None = None
    fork_seq: int | None = None
    info: dict[str, Any] = Field(default_factory=dict)

    def __str__(self) -> str:
        return self.path
