"""Usage records of the vault, and the tier that a memory's words lie in.

Numbers, names and lengths only: no words leave here, so the scheduler's upkeep can look at every
tenant's memories without reading any. A tier says where words lie in this file, not what was
believed, so a move makes no new version: it is a change of the present row, audited as upkeep.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import cast

from memos_integrations.cube.ids import LATEST
from memos_integrations.cube.usage import Form, Tier, UsageRecord, heated
from memos_integrations.infrastructure.vault.packing import pack_item, unpack_item
from memos_integrations.infrastructure.vault.transaction import Transaction

_BYTES_PER_TOKEN = 4
"""A rough count that needs no words to be read; budgets of prompts count for real."""

FORM = """
(SELECT coalesce(max(a.kind), v.kind) FROM artifact_source s JOIN artifact a ON a.aid = s.aid
 WHERE s.iid = v.iid AND a.withdrawn IS NULL
 AND NOT EXISTS (SELECT 1 FROM adapter d WHERE d.aid = a.aid AND d.state <> 'published'))
"""
"""The deepest form that a memory is in, for any model: that of what was made of it and still
serves, so that what withdraws an artifact puts the memory back to plaintext in that transaction.
For columns of ``version v``; parametric is behind activation in the alphabet too."""

_RECORDS = """
SELECT i.iid, i.id, v.cid, c.path, c.tenant, length(CAST(t.text AS BLOB)), i.created, v.recorded,
       coalesce(u.count, 0), u.last, coalesce(h.score, 0), coalesce(h.at, 0), v.storage_mode,
       h.moved, THE_FORM, v.memory_type, i.trust, i.labels, v.tags, v.priority,
       v.state IN ('generated', 'activated', 'frozen') AND v.stale = 0 AND i.quarantined = 0
           AND (v.valid_to IS NULL OR v.valid_to > ?2)
           AND (i.expires IS NULL OR i.expires > ?2 OR i.legal_hold),
       v.state = 'frozen' OR i.legal_hold, i.drawn_from IS NOT NULL
FROM version v
JOIN item i ON i.iid = v.iid
JOIN cube c ON c.cid = v.cid
JOIN content t ON t.tid = v.tid
LEFT JOIN usage u ON u.iid = v.iid
LEFT JOIN heat h ON h.iid = v.iid
WHERE v.seq_to = ?1 AND (?3 IS NULL OR v.iid IN (SELECT value FROM json_each(?3)))
ORDER BY i.iid
""".replace("THE_FORM", FORM)
_PRESENT = LATEST + 1


def usage_records(
    connection: sqlite3.Connection, *, now: int, items: Iterable[int] | None = None
) -> list[UsageRecord]:
    """A record of every memory that has words, or of these item rows, in row order."""
    wanted = None if items is None else json.dumps([int(n) for n in items])
    return [_record(row) for row in connection.execute(_RECORDS, (_PRESENT, now, wanted))]


def _record(row: tuple[object, ...]) -> UsageRecord:
    (iid, id_, cid, path, tenant, size, created, changed, count, last, heat, at, tier) = row[:13]
    moved, kind, memory_type, trust, labels, tags, priority, live, frozen, drawn = row[13:]
    return UsageRecord(
        item=cast(int, iid),
        id=cast(str, id_),
        cube=cast(int, cid),
        path=cast(str, path),
        tenant=cast(str, tenant),
        bytes=cast(int, size),
        tokens=-(-cast(int, size) // _BYTES_PER_TOKEN),
        created=cast(int, created),
        changed=cast(int, changed),
        count=cast(int, count),
        last=cast(int | None, last),
        heat=cast(float, heat),
        heat_at=cast(int, at),
        tier=cast(Tier, tier),
        moved=cast(int | None, moved),
        form=cast(Form, kind),
        memory_type=cast(str, memory_type),
        trust=cast(str, trust),
        labels=_strings(labels),
        tags=_strings(tags),
        priority=cast(float, priority),
        live=bool(live),
        frozen=bool(frozen),
        drawn=bool(drawn),
    )


def _strings(text: object) -> tuple[str, ...]:
    return () if text is None else tuple(json.loads(cast(str, text)))


def warm_up(tx: Transaction, item: int, *, reads: int, at: int, half_life_seconds: float) -> None:
    """Add reads to an item's heat; one that is gone stays gone."""
    row = tx.execute("SELECT score, at FROM heat WHERE iid = ?", (item,)).fetchone()
    before, since = row or (0.0, at)
    score, when = heated(
        before, since=since, reads=reads, at=at, half_life_seconds=half_life_seconds
    )
    tx.execute(
        "INSERT INTO heat (iid, score, at) "
        "SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM item WHERE iid = ?1) "
        "ON CONFLICT (iid) DO UPDATE SET score = excluded.score, at = excluded.at",
        (item, score, when),
    )


def move(tx: Transaction, item: int, *, before: Tier, to: Tier) -> bool:
    """Put a memory into a tier; False where it is not in ``before`` any more."""
    done = tx.execute(
        "UPDATE version SET storage_mode = ? WHERE iid = ? AND seq_to = ? AND storage_mode = ? "
        "AND tid IS NOT NULL",
        (to, item, _PRESENT, before),
    )
    if done.rowcount == 0:
        return False
    if to == "cold":
        pack_item(tx.connection, item)
    elif before == "cold":
        unpack_item(tx.connection, item)
    tx.execute(
        "INSERT INTO heat (iid, score, at, moved) VALUES (?1, 0, ?2, ?2) "
        "ON CONFLICT (iid) DO UPDATE SET moved = excluded.moved",
        (item, tx.at),
    )
    return True
