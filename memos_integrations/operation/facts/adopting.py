"""Facts that came as copies find their source again: after a fork, a merge of one, or a load.

Called inside the transaction that copied them. The tables beside the items are made anew from
what the copies say and what they are linked to.
"""

from __future__ import annotations

import json

from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.operation.facts.keys import slot_key, value_key
from memos_integrations.operation.fine_task import queue_cube

_STRAYS = """
SELECT v.iid, min(e.target) FROM version v
JOIN item i ON i.iid = v.iid
JOIN content t ON t.tid = v.tid
JOIN edge e ON e.source = v.iid AND e.relation = 'derived_from' AND e.seq_to > ?2
JOIN item s ON s.iid = e.target AND s.cid = v.cid AND s.drawn_from IS NULL
WHERE v.cid = ?1 AND v.seq_to > ?2 AND i.drawn_from IS NULL AND v.model IS NOT NULL
  AND v.origin IN ('inference', 'import')
  AND json_type(t.data, '$.fact.attribute') = 'text'
GROUP BY v.iid HAVING count(*) = 1
"""


def adopt(tx: Transaction, cid: int) -> int:
    """Have the cube's copied facts stand behind their sources again; how many did.

    The fine stage then looks at the cube as a whole, and takes back what no source says.
    """
    found = tx.execute(_STRAYS, (cid, 2**63 - 2)).fetchall()
    source = dict(found)
    for row in current(tx, list(source)):
        told = json.loads(row.data or "{}")["fact"]
        names = (told.get("subject"), told.get("attribute"), told.get("value"))
        if not all(isinstance(name, str) for name in names):
            continue
        subject, attribute, value = names
        tx.execute("UPDATE item SET drawn_from = ? WHERE iid = ?", (source[row.iid], row.iid))
        tx.execute(
            "INSERT OR REPLACE INTO fact (iid, cid, slot, value, single, negated, until) "
            "VALUES (?, ?, ?, ?, ?, ?, NULL)",
            (
                *(row.iid, cid, slot_key(row.owner, subject, attribute), value_key(value)),
                *(int(bool(told.get("single"))), int(bool(told.get("negated")))),
            ),
        )
    queue_cube(tx, cid)
    return len(found)
