"""Brings the facts of a slot to what they say together: intervals and links.

Called inside the transaction that changed a fact; asks ``slots`` what holds when. What it ended
once and would not end now is opened again, so a withdrawn fact takes its effects along.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from memos_integrations.cube.header import Relation, State
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.operation.facts.slots import Standing, Statement, standings

Slot = tuple[int, bytes]
"""Cube row and key of the slot."""

_PRESENT = 2**63 - 2
_FACTS = """
SELECT f.iid, f.value, f.single, f.negated, i.trust, v.valid_from, f.until, v.time,
       v.state = 'frozen'
FROM fact f
CROSS JOIN version v ON v.iid = f.iid AND v.seq_to > ?
CROSS JOIN item i ON i.iid = f.iid
WHERE f.cid = ? AND f.slot = ? AND v.state IN ('generated', 'activated', 'frozen')
  AND v.stale = 0 AND i.quarantined = 0
"""
Pair = tuple[int, str, int]


def arrange(tx: Transaction, slots: Iterable[Slot], *, thorough: bool = False) -> None:
    """Set the intervals and links of every fact in these slots.

    ``thorough``: also where nothing contradicts them any more, for what did may have been
    taken away.
    """
    for cid, key in sorted(slots):
        if not thorough and _undisputed(tx, cid, key):
            continue
        rows = tx.execute(_FACTS, (_PRESENT, cid, key)).fetchall()
        facts = [
            Statement(iid, value, bool(single), bool(neg), trust, start, until, said, bool(frozen))
            for iid, value, single, neg, trust, start, until, said, frozen in rows
        ]
        found = standings(facts)
        _set_intervals(tx, found)
        _set_links(tx, cid, key, _wanted(found))


def slots_of(tx: Transaction, items: Iterable[int]) -> set[Slot]:
    """The slots that facts among these item rows stand in."""
    rows = tx.execute(
        "SELECT cid, slot FROM fact WHERE iid IN (SELECT value FROM json_each(?))",
        (json.dumps(list(items)),),
    )
    return {(cid, slot) for cid, slot in rows.fetchall()}


def _undisputed(tx: Transaction, cid: int, key: bytes) -> bool:
    """Whether no fact the slot ever had contradicts another: nothing to arrange, however many.

    None is denied, and either all say the same or each may hold beside the others.
    """
    row = tx.execute(
        "SELECT NOT EXISTS (SELECT 1 FROM fact WHERE cid = ?1 AND slot = ?2 AND negated = 1) "
        "AND ((SELECT min(value) FROM fact WHERE cid = ?1 AND slot = ?2 AND negated = 0) = "
        "(SELECT max(value) FROM fact WHERE cid = ?1 AND slot = ?2 AND negated = 0) "
        "OR NOT EXISTS (SELECT 1 FROM fact WHERE cid = ?1 AND slot = ?2 AND single = 1))",
        (cid, key),
    ).fetchone()
    return bool(row[0])


def _set_intervals(tx: Transaction, found: Sequence[Standing]) -> None:
    ends = {each.iid: each.valid_to for each in found}
    told = tx.execute(
        "SELECT iid, valid_to FROM version WHERE seq_to > ? "
        "AND iid IN (SELECT value FROM json_each(?))",
        (_PRESENT, json.dumps(list(ends))),
    ).fetchall()
    changed = [iid for iid, valid_to in told if valid_to != ends[iid]]
    for row in current(tx, changed):
        if row.state != State.FROZEN:
            reason = "a later fact took its place" if ends[row.iid] else "holds again"
            tx.revise(row, reason=reason, valid_to=ends[row.iid])


def _wanted(found: Sequence[Standing]) -> set[Pair]:
    """The links these facts should have among themselves."""
    wanted: set[Pair] = set()
    for each in found:
        if each.ended_by is not None:
            wanted.add((each.ended_by, Relation.SUPERSEDES.value, each.iid))
            wanted.add((each.ended_by, Relation.CONTRADICTS.value, each.iid))
        wanted |= {(other, Relation.CONTRADICTS.value, each.iid) for other in each.disputed_by}
    return wanted


def _set_links(tx: Transaction, cid: int, key: bytes, wanted: set[Pair]) -> None:
    """Draw the links that are missing, close those between facts of the slot that went."""
    rows = tx.execute(
        "SELECT e.source, e.relation, e.target FROM fact f "
        "CROSS JOIN edge e ON e.source = f.iid AND e.seq_to > ? "
        "CROSS JOIN fact o ON o.iid = e.target AND o.slot = f.slot "
        "WHERE f.cid = ? AND f.slot = ? AND e.relation IN ('supersedes', 'contradicts')",
        (_PRESENT, cid, key),
    ).fetchall()
    drawn = {(s, r, t) for s, r, t in rows}
    links = drawn ^ wanted
    ends = {r.iid: r for r in current(tx, [n for s, _, t in links for n in (s, t)])}
    for source, relation, target in sorted(links):
        if (source, relation, target) in wanted:
            tx.link(ends[source], Relation(relation), ends[target])
        else:
            tx.unlink(ends[source], Relation(relation), ends[target])
