"""Facts that came as copies find their source again: after a fork, a merge of one, or a load.

Called inside the transaction that copied them. The tables beside the items are made anew from
what the copies say and what they are linked to; whom and which times a memory speaks of is copied
in a fork, and read again after a load.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from memos_integrations.cube.facts import FactKind
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.operation.facts.arranging import arrange, slots_of
from memos_integrations.operation.facts.keys import slot_key, value_key

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
    """Have the cube's copied facts stand behind their sources again; how many did."""
    found = tx.execute(_STRAYS, (cid, 2**63 - 2)).fetchall()
    source = dict(found)
    for row in current(tx, list(source)):
        told = json.loads(row.data or "{}")["fact"]
        if not _is_whole(told):
            continue
        subject, attribute, value = told["subject"], told["attribute"], told["value"]
        tx.execute("UPDATE item SET drawn_from = ? WHERE iid = ?", (source[row.iid], row.iid))
        tx.execute(
            "INSERT OR REPLACE INTO fact (iid, cid, slot, value, single, negated, until) "
            "VALUES (?, ?, ?, ?, ?, ?, "
            "(SELECT valid_to FROM version WHERE iid = ? AND seq_to > ?))",
            (
                *(row.iid, cid, slot_key(row.owner, subject, attribute), value_key(value)),
                *(int(bool(told.get("single"))), int(bool(told.get("negated")))),
                *(source[row.iid], 2**63 - 2),
            ),
        )
    arrange(tx, slots_of(tx, source), thorough=True)
    return len(found)


def _is_whole(told: dict[str, Any]) -> bool:
    """Whether it says all that a fact says. A copy may have come from anywhere, and one that
    does not would stand in the way of every look at the facts of its cube."""
    if not all(isinstance(told.get(name), str) for name in _WORDS):
        return False
    when = told.get("when")
    try:
        FactKind(told["kind"])
        if when is not None:
            datetime.fromisoformat(when["start"])
    except (ValueError, TypeError, KeyError):
        return False
    return isinstance(told.get("negated"), bool)


def copy_marks(tx: Transaction, cid: int, copies: Mapping[int, int]) -> None:
    """Note of copied memories what is noted of their originals: names, times, near words."""
    pairs = json.dumps(list(copies.items()))
    for sql in _MARKS:
        tx.execute(sql, {"cid": cid, "pairs": pairs})


_WORDS = ("kind", "subject", "attribute", "value", "quote")
_PAIRS = "JOIN json_each(:pairs) p ON json_extract(p.value, '$[0]') = o.iid"
_COPY = "json_extract(p.value, '$[1]')"
_MARKS = (
    f"INSERT OR IGNORE INTO mention (cid, entity, iid) "  # noqa: S608  -- constants
    f"SELECT :cid, o.entity, {_COPY} FROM mention o {_PAIRS}",
    f"INSERT OR IGNORE INTO spoken_time (iid, starts, ends, grain) "  # noqa: S608
    f"SELECT {_COPY}, o.starts, o.ends, o.grain FROM spoken_time o {_PAIRS}",
    f"INSERT OR IGNORE INTO sketch (cid, bucket, iid) "  # noqa: S608
    f"SELECT :cid, o.bucket, {_COPY} FROM sketch o {_PAIRS}",
)
