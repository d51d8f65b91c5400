"""What of a prompt's memories is not for every reader of their cubes.

Called by what reads memories for a model. A cache of a prompt that holds such a memory is found by
its reader alone: found by others, the time of an answer would tell them whether a guess was right.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from memos_integrations.cube.acl import Effect, Permission, Visibility
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored

_DENIED = """
WITH denied AS (
    SELECT iid FROM access
    WHERE tenant = :tenant AND iid IS NOT NULL AND effect = :deny AND permissions & :read
)
SELECT iid FROM item
WHERE iid IN (SELECT value FROM json_each(:iids)) AND (iid IN denied OR drawn_from IN denied)
"""


def cubes_apart(reading: Reading, rows: Sequence[Stored]) -> frozenset[str]:
    """Paths of the cubes of which these rows hold what not every reader of the cube is shown in
    the same words, or which the asker may not read as a whole."""
    gates = reading.governed.gates({row.cid for row in rows})
    closed = {gate.cid for gate in gates if not gate.open}
    denied = _denied(reading, rows)
    return frozenset(
        row.path
        for row in rows
        if row.cid in closed or row.iid in denied or not _for_every_reader(row)
    )


def _for_every_reader(row: Stored) -> bool:
    """Whether neither who owns it nor who is cleared for it is shown more than others."""
    return row.visibility == Visibility.INHERIT and row.labels is None and row.spans is None


def _denied(reading: Reading, rows: Sequence[Stored]) -> set[int]:
    """The item rows that somebody may not read though their cube is open to them."""
    asked = {
        "tenant": reading.asking.principal.tenant,
        "deny": Effect.DENY.value,
        "read": int(Permission.READ),
        "iids": json.dumps([row.iid for row in rows]),
    }
    return {int(iid) for (iid,) in reading.connection.execute(_DENIED, asked)}
