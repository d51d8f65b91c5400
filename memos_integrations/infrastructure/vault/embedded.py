"""Texts that came with their vectors, in the file: whose key is whose, and the vectors themselves.

Called by the verbs for such texts and by what searches them; the SQL stands in
``sql/embedded.sql``. Rights are the caller's check.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np

from memos_integrations.infrastructure.vault.rows import dumps
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction

_PRESENT = 2**63 - 2


def named(tx: Transaction, cube: CubeRow, keys: Sequence[str]) -> dict[int, str]:
    """Item row -> id of the texts that are kept under these keys now."""
    asked = {"cid": cube.cid, "present": _PRESENT, "keys": dumps(list(keys))}
    found = tx.execute(queries("embedded")["named"], asked).fetchall()
    return {int(iid): str(item) for iid, item in found}


def claim(tx: Transaction, cube: CubeRow, mark: str) -> None:
    """Say by what the vectors of the cube were made."""
    tx.execute(queries("embedded")["claim"], {"cid": cube.cid, "mark": mark})


def vector(connection: sqlite3.Connection, tid: int) -> list[float] | None:
    """The vector of a text, where it has one."""
    row = connection.execute(queries("embedded")["vector"], {"tid": tid}).fetchone()
    return None if row is None else np.frombuffer(row[0], dtype="<f4").tolist()
