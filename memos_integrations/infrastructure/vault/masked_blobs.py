"""Whether the bytes of a blob would show what the memory that has it is shown without.

A blob that an application brought is that application's to judge. One that was made of the words
of a memory (the whole of a tool's long result, the original of a document) is not masked, so its
bytes are for those who may read these words unmasked.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.item import BlobRef
from memos_integrations.infrastructure.governance.detection import PERSONAL
from memos_integrations.infrastructure.vault.rows import Stored

_SENSITIVE = """
SELECT 1 FROM version v JOIN content t ON t.tid = v.tid
WHERE v.cid = ? AND v.source = ? AND t.spans IS NOT NULL LIMIT 1
"""


def open_blobs(
    connection: sqlite3.Connection, principal: Principal, row: Stored, blobs: Iterable[BlobRef]
) -> tuple[BlobRef, ...]:
    """Those of a memory's blobs that a copy made for the principal may take along."""
    return tuple(b for b in blobs if not shows_masked(connection, principal, row, b.sha256))


def shows_masked(
    connection: sqlite3.Connection, principal: Principal, row: Stored, sha256: str
) -> bool:
    """Whether the principal is shown the words of this version masked, and the blob's are not."""
    owned = bool(row.master) or (bool(row.home) and row.owner == principal.name)
    if owned or PERSONAL in principal.clearances:
        return False
    data: dict[str, Any] = json.loads(row.data or "{}")
    tool = data.get("tool")
    if isinstance(tool, dict) and tool.get("result_blob") == sha256:
        return True  # `recall_tool` gives the whole of it, masked
    if not isinstance(data.get("document"), dict):
        return False
    return connection.execute(_SENSITIVE, (row.cid, row.source)).fetchone() is not None
