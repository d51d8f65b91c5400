"""Erasure: an item, a source or a subject goes from every table, index, file and log.

Called inside a transaction by the facade (``plan`` and ``carry_out``); the file is scrubbed and
scanned afterwards by ``scrub``. What a legal hold keeps and what lies out of reach is said in
the receipt, never passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.events import EventKind
from memos_integrations.cube.header import State
from memos_integrations.infrastructure.vault import artifacts, blob_claims
from memos_integrations.infrastructure.vault.borrowed_words import borrowing
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction

_PRESENT = 2**63 - 2
PENDING = "erasing:"


@dataclass(frozen=True, slots=True)
class ErasePlan:
    """What an erase will take: the rows, what is kept back, and what comes back instead."""

    take: tuple[Stored, ...]
    held: tuple[Stored, ...]
    """Under legal hold: left untouched, named in the receipt."""
    revived: tuple[Stored, ...]
    """Sources of an erased merge that were not asked to go: they stand on their own again."""
    not_allowed: int = 0
    """What an erased correction stands in place of and the principal may read, not erase."""


def plan(tx: Transaction, asked: Sequence[int]) -> ErasePlan:
    """Everything that must go with these item rows so that the words are gone.

    Taken along: what was merged or folded into them, as far as the principal holds admin rights on
    it, everything derived from them, copies in forks, corrections of them and, where the principal
    holds admin rights on it, what they correct; each with what hangs on it in turn.
    """
    taken = _closure(tx, _with_parts(tx, asked))
    rows = current(tx, sorted(taken))
    held = [row for row in rows if row.legal_hold or row.state == State.FROZEN]
    kept = {row.iid for row in held}
    take = [row for row in rows if row.iid not in kept]
    return ErasePlan(
        take=tuple(take),
        held=tuple(held),
        revived=tuple(
            row
            for row in _merged_into(tx, [t.iid for t in take])
            if row.iid not in taken and row.state == State.MERGED
        ),
        not_allowed=len(_held_by(tx, _corrected(tx, taken) - taken)),
    )


def _with_parts(tx: Transaction, items: Sequence[int]) -> set[int]:
    """The items and, step by step, everything that was merged into them."""
    found: set[int] = set(items)
    new = list(items)
    while new:
        parts = [row for row in _merged_into(tx, new) if row.iid not in found]
        own = tx.governed(Permission.ADMIN)
        cids = {row.cid for row in parts}
        # One that is not the principal's to erase stands on its own again.
        new = [row.iid for row in own.items([row.iid for row in parts], cids=cids)]
        found.update(new)
    return found


def _closure(tx: Transaction, items: set[int]) -> set[int]:
    found = set(items)
    new = set(items)
    while new:
        ids = json.dumps(sorted(new))
        derived = tx.execute(
            "SELECT source FROM edge WHERE relation IN ('derived_from', 'replaces') "
            "AND target IN (SELECT value FROM json_each(?))",
            (ids,),
        ).fetchall()
        copies = tx.execute(
            "SELECT iid FROM item WHERE fork_origin IN (SELECT value FROM json_each(?))", (ids,)
        ).fetchall()
        answers = borrowing(tx, new)
        before = _held_by(tx, _corrected(tx, new) - found, Permission.ADMIN)
        new = ({int(n) for (n,) in derived + copies} | set(answers) | before) - found
        found |= new
    return found


def _corrected(tx: Transaction, items: Iterable[int]) -> set[int]:
    """The rows in whose place these stand, as the words of a model."""
    rows = tx.execute(
        "SELECT target FROM edge WHERE relation = 'replaces' "
        "AND source IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(items)),),
    ).fetchall()
    return {int(n) for (n,) in rows}


def _held_by(tx: Transaction, items: Iterable[int], need: Permission = Permission.READ) -> set[int]:
    """Those of these rows on which the principal has the right."""
    rows = current(tx, sorted(items))
    seen = tx.governed(need).items([row.iid for row in rows], cids={row.cid for row in rows})
    return {row.iid for row in seen}


def _merged_into(tx: Transaction, items: Sequence[int]) -> list[Stored]:
    rows = tx.execute(
        "SELECT DISTINCT iid FROM version WHERE seq_to > ? "
        "AND merged_into IN (SELECT value FROM json_each(?))",
        (_PRESENT, json.dumps(list(items))),
    ).fetchall()
    return current(tx, [int(n) for (n,) in rows])


@dataclass(frozen=True, slots=True)
class Taken:
    """What was removed from the file, in rows, and what the scan must not find again."""

    counts: dict[str, int]
    words: tuple[str, ...]
    blobs: tuple[str, ...]
    cubes: frozenset[int]
    note: str
    """Key of the note in ``meta`` which says that the files are still to be scrubbed."""
    packed: tuple[bytes, ...] = ()
    """Words that lay compressed and values of records, as the bytes they lay in: a scan for the
    words misses them."""


def carry_out(tx: Transaction, rows: Sequence[Stored]) -> Taken:
    """Remove these items in every version, with all that hangs on them."""
    iids = json.dumps([row.iid for row in rows])
    words, packed = _words(tx, iids), _packed(tx, iids)
    blobs = (*_orphaned_blobs(tx, iids), *artifacts.take_out_made_of(tx, iids))
    counts = {
        name: tx.execute(sql, {"items": iids}).rowcount for name, sql in queries("erase").items()
    }
    counts["idempotency"] = _forget_results(tx, [row.id for row in rows])
    for sha256 in blobs:
        tx.execute("DELETE FROM blob WHERE sha256 = ?", (sha256,))
    blob_claims.forget(tx, blobs)
    for row in rows:
        tx.emit(EventKind.ERASED, row.cid, row.iid)
    note = f"{PENDING}{tx.seq}"
    tx.execute(
        "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (note, json.dumps(blobs).encode())
    )
    cubes = frozenset(row.cid for row in rows)
    return Taken(counts, words, blobs, cubes, note, packed)


def _words(tx: Transaction, iids: str) -> tuple[str, ...]:
    rows = tx.execute(
        "SELECT text, data FROM content WHERE tid IN "
        "(SELECT tid FROM version WHERE iid IN (SELECT value FROM json_each(?)))",
        (iids,),
    ).fetchall()
    return tuple({word for row in rows for word in row if word})


def _packed(tx: Transaction, iids: str) -> tuple[bytes, ...]:
    rows = tx.execute(
        "SELECT DISTINCT packed FROM main.content WHERE packed IS NOT NULL AND tid IN "
        "(SELECT tid FROM version WHERE iid IN (SELECT value FROM json_each(?)))",
        (iids,),
    ).fetchall()
    return tuple(bytes(blob) for (blob,) in rows)


def _orphaned_blobs(tx: Transaction, iids: str) -> tuple[str, ...]:
    rows = tx.execute(
        "SELECT DISTINCT sha256 FROM blob_use WHERE iid IN (SELECT value FROM json_each(?1)) "
        "AND sha256 NOT IN (SELECT sha256 FROM blob_use "
        "WHERE iid NOT IN (SELECT value FROM json_each(?1)))",
        (iids,),
    ).fetchall()
    return tuple(str(sha256) for (sha256,) in rows)


def _forget_results(tx: Transaction, ids: Iterable[str]) -> int:
    # A kept result names ids, and its request hash could be guessed at: both go.
    found = tx.execute(
        "DELETE FROM idempotency WHERE EXISTS "
        "(SELECT 1 FROM json_each(?) w WHERE instr(idempotency.result, w.value))",
        (json.dumps(list(ids)),),
    )
    return found.rowcount


def of_source(tx: Transaction, source: str, cids: Sequence[int]) -> list[int]:
    """Item rows that ever came from this source: by name, or as a message of that session."""
    rows = tx.execute(
        "SELECT DISTINCT iid FROM version WHERE source = ? "
        "AND cid IN (SELECT value FROM json_each(?)) ORDER BY iid",
        (source, json.dumps(list(cids))),
    ).fetchall()
    return [int(n) for (n,) in rows]


def of_subject(tx: Transaction, name: str, *, tenant: str, home: str, spoken: bool) -> list[int]:
    """Item rows of a person: their home, the cubes under it, and what they own elsewhere.

    ``spoken`` takes what they said in memories of others too: a speaker is only a name that
    those others wrote down, so that is for an admin to decide.
    """
    rows = tx.execute(
        "SELECT i.iid FROM item i JOIN cube c ON c.cid = i.cid WHERE c.tenant = ?1 "
        "AND (c.path = ?2 OR (c.path > ?2 || '/' AND c.path < ?2 || '0') "
        "OR i.owner = ?3 OR (?5 AND EXISTS "
        "(SELECT 1 FROM version v WHERE v.iid = i.iid AND v.speaker = ?4))) ORDER BY i.iid",
        (tenant, home, f"user:{name}", name, spoken),
    ).fetchall()
    return [int(n) for (n,) in rows]
