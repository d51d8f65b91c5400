"""Why a KV-cache is not served. Neither is an answer: the caller prefills the text instead."""

from __future__ import annotations

from memos_integrations.cube.errors import MemosError


class CacheUnsupported(MemosError, NotImplementedError):
    """No cache of this model may be kept: a part of it has no codec that was tried."""


class CacheRefused(MemosError, ValueError):
    """This cache does not belong to this model, these tokens or itself; it is as good as none."""
