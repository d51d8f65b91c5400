"""Rows inside a write, for the rules that must hold whoever is asking.

A correction must reach derived memories that the corrector cannot read, an erase must reach
copies in other cubes: these reads are the only ones without a principal, they never leave a
transaction, and only the lifecycle, erase and task handlers use them. ``unexpired`` tells numbers
alone: by them a read finds that something is hidden from who asks.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from memos_integrations.cube.ids import LATEST
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import Transaction

_FROM = """
FROM json_each(?) w
CROSS JOIN version v ON v.iid = w.value
JOIN (SELECT cid, path, tenant, owner, 0 AS master, 0 AS home FROM cube) g ON g.cid = v.cid
JOIN item i ON i.iid = v.iid
LEFT JOIN content t ON t.tid = v.tid
LEFT JOIN usage u ON u.iid = v.iid
"""
_UNEXPIRED = """
SELECT iid FROM item WHERE iid IN (SELECT value FROM json_each(?))
    AND (expires IS NULL OR expires > ? OR legal_hold)
"""


def current(tx: Transaction, items: Sequence[int]) -> list[Stored]:
    """The present versions of these item rows, in the order asked; gone ones are left out."""
    sql = f"SELECT {queries('governed')['item_columns']} {_FROM} WHERE v.seq_to > ?"
    rows = tx.execute(sql, (json.dumps([int(n) for n in items]), LATEST)).fetchall()
    found = {row[0]: Stored(*row) for row in rows}
    return [found[item] for item in items if item in found]


def unexpired(connection: sqlite3.Connection, items: Sequence[int], *, now: int) -> set[int]:
    """Those of these item rows that have not run out, whoever may see them."""
    return {iid for (iid,) in connection.execute(_UNEXPIRED, (json.dumps(list(items)), now))}


def versions(tx: Transaction, item: int) -> list[Stored]:
    """Every version of an item row, oldest first."""
    sql = f"SELECT {queries('governed')['item_columns']} {_FROM} ORDER BY v.version"
    return [Stored(*row) for row in tx.execute(sql, (json.dumps([item]),)).fetchall()]
