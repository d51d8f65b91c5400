"""Which memory tells of which call of a tool, found by the hash of the call.

The arguments may hold secrets that are masked in the memory itself, so what stands here is a hash
under a key of the file: it finds the same call again and tells nothing without the file.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence

from memos_integrations.infrastructure.vault.transaction import Transaction

_KEY = "tool_call_key"
_PAGE = 256


def keep_calls(
    tx: Transaction, cid: int, calls: Iterable[tuple[int, tuple[str, str] | None]]
) -> None:
    """Note for each item row which call (tool, canonical arguments) it tells of."""
    told = [(iid, call) for iid, call in calls if call is not None]
    if not told:
        return
    tx.execute("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", (_KEY, os.urandom(32)))
    key = _key(tx.connection)
    assert key is not None  # noqa: S101  -- made one line above
    for iid, (tool, arguments) in told:
        tx.execute(
            "INSERT OR IGNORE INTO tool_call (cid, tool, args, iid) VALUES (?, ?, ?, ?)",
            (cid, _hash(key, tool), _hash(key, arguments), iid),
        )


def copy_calls(tx: Transaction, cid: int, copies: Mapping[int, int]) -> None:
    """Note of copies in cube ``cid`` (original row -> its copy) which calls they tell of."""
    tx.execute(
        "INSERT OR IGNORE INTO tool_call (cid, tool, args, iid) "
        "SELECT ?, o.tool, o.args, json_extract(p.value, '$[1]') FROM json_each(?) p "
        "CROSS JOIN tool_call o ON o.iid = json_extract(p.value, '$[0]')",
        (cid, json.dumps(list(copies.items()))),
    )


def calls_like(
    connection: sqlite3.Connection, cids: Sequence[int], tool: str, arguments: str
) -> Iterator[list[int]]:
    """The item rows that tell of exactly this call, the newest first, a page at a time.

    Numbers only: whoever reads them decides who may see what lies behind.
    """
    key = _key(connection)
    for cid in cids if key is not None else ():
        before = 2**63 - 1
        while True:
            rows = connection.execute(
                "SELECT iid FROM tool_call WHERE cid = ? AND tool = ? AND args = ? AND iid < ? "
                "ORDER BY iid DESC LIMIT ?",
                (cid, _hash(key or b"", tool), _hash(key or b"", arguments), before, _PAGE),
            ).fetchall()
            if not rows:
                break
            yield [iid for (iid,) in rows]
            before = rows[-1][0]


def _key(connection: sqlite3.Connection) -> bytes | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
    return None if row is None else bytes(row[0])


def _hash(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
