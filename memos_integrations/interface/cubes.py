"""A cube's row as the description people see."""

from __future__ import annotations

import json
import sqlite3

from memos_integrations.cube.acl import Visibility
from memos_integrations.cube.ids import from_micros
from memos_integrations.cube.mem_cube import MemCube
from memos_integrations.infrastructure.vault.transaction import CubeRow


def to_cube(connection: sqlite3.Connection, row: CubeRow) -> MemCube:
    """The description of a cube, with the path of the cube it was forked from."""
    parent = connection.execute("SELECT path FROM cube WHERE cid = ?", (row.fork_of,)).fetchone()
    return MemCube(
        path=row.path,
        tenant=row.tenant,
        owner=row.owner,
        visibility=Visibility(row.visibility),
        embedding=row.embedding,
        created=from_micros(row.created),
        forked_from=parent[0] if parent else None,
        fork_seq=row.fork_seq,
        info=json.loads(row.info),
    )
