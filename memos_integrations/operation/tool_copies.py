"""Calls of tools that came as copies are found by their arguments again: fork, merge, load.

Called inside the transaction that made the copies. The hash of a call covers what was masked
before it was stored, so it is copied only for who may confirm such a call where it came from;
for everybody else, and after a load, it is made anew from what the copy itself says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.header import MemoryType
from memos_integrations.cube.ids import LATEST
from memos_integrations.infrastructure.governance.detection import PERSONAL
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.infrastructure.vault.tool_calls import copy_calls, keep_calls
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.operation.tool_traces import ToolTrace

_PAGE = 1_000
_TOLD = """
SELECT v.iid, t.data FROM version v JOIN content t ON t.tid = v.tid
WHERE v.cid = ? AND v.seq_to > ? AND v.memory_type = ? AND v.iid > ?
  AND json_type(t.data, '$.tool.name') = 'text'
ORDER BY v.iid LIMIT ?
"""


def call_told(data: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """Tool and canonical arguments, where ``data`` has the shape of a call."""
    told = (data or {}).get("tool")
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        return None
    arguments = told.get("arguments", {})
    return ToolTrace(told["name"], arguments).call if isinstance(arguments, dict) else None


def is_cleared(row: Stored, who: Principal) -> bool:
    """Whether the principal may read personal data in it, and so confirm what it was called
    with; as ``to_item`` decides."""
    owned = bool(row.master) or (bool(row.home) and row.owner == who.name)
    return owned or PERSONAL in who.clearances


def note_copied_calls(tx: Transaction, cid: int, copies: Iterable[tuple[Stored, int]]) -> None:
    """Have calls among these (original, row of the copy in cube ``cid``) found again."""
    calls = [(row, new) for row, new in copies if row.memory_type == MemoryType.TOOL]
    same = {row.iid: new for row, new in calls if is_cleared(row, tx.principal)}
    copy_calls(tx, cid, same)
    told = ((new, to_item(row, tx.principal).data) for row, new in calls if row.iid not in same)
    keep_calls(tx, cid, ((new, call_told(data)) for new, data in told))


def note_loaded_calls(tx: Transaction, cid: int) -> None:
    """Have the calls of a cube that was loaded found again, by the arguments it shows."""
    for page in _pages(tx, cid):
        keep_calls(tx, cid, [(iid, call_told(json.loads(data))) for iid, data in page])


def _pages(tx: Transaction, cid: int) -> Iterator[list[tuple[int, str]]]:
    after = 0
    while True:
        asked = (cid, LATEST, MemoryType.TOOL.value, after, _PAGE)
        page = tx.execute(_TOLD, asked).fetchall()
        if not page:
            return
        yield page
        after = page[-1][0]
