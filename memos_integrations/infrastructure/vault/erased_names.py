"""A person's name leaves what stays when they are erased: grants, actors, cubes that they owned.

Called by the verb ``erase`` inside its transaction, after ``carry_out`` took their memories.
"""

from __future__ import annotations

import json
from typing import Any, cast

from memos_integrations.cube.events import EventKind
from memos_integrations.infrastructure.vault.rows import dumps
from memos_integrations.infrastructure.vault.transaction import Transaction


def forget_name(tx: Transaction, name: str, *, tenant: str, home: str) -> dict[str, int]:
    """Take a person's name out of what stays: grants, actors, idempotency, empty cubes at home,
    cubes elsewhere that they owned.

    A cube under the home starts with ``home/``; as a range of paths ('0' follows '/'), so that
    case and the signs of LIKE never count and ``users/al`` never reaches ``users/al2``.
    """
    actor = f"user:{name}"
    done = {
        "grants": tx.execute(
            "DELETE FROM access WHERE tenant = ? AND subject_kind = 'user' AND subject = ?",
            (tenant, name),
        ).rowcount,
        "idempotency": tx.execute(
            "DELETE FROM idempotency WHERE tenant = ? AND actor = ?", (tenant, actor)
        ).rowcount,
        "actors": tx.execute(
            "UPDATE version SET actor = 'erased' WHERE actor = ? "
            "AND cid IN (SELECT cid FROM cube WHERE tenant = ?)",
            (actor, tenant),
        ).rowcount,
        "granted by": tx.execute(
            "UPDATE access SET granted_by = 'erased' WHERE granted_by = ? AND tenant = ?",
            (actor, tenant),
        ).rowcount,
    }
    done["cubes"] = tx.execute(
        "DELETE FROM cube WHERE tenant = ?1 "
        "AND (path = ?2 OR (path > ?2 || '/' AND path < ?2 || '0')) "
        "AND NOT EXISTS (SELECT 1 FROM item WHERE item.cid = cube.cid) "
        "AND NOT EXISTS (SELECT 1 FROM record WHERE record.cid = cube.cid)",
        (tenant, home),
    ).rowcount
    done["cubes owned elsewhere"] = _disown(tx, actor, tenant=tenant, home=home)
    # The number of a cube that is gone may be given to another one.
    tx.execute("DELETE FROM quarantine WHERE cid NOT IN (SELECT cid FROM cube)")
    # Whoever comes by that name later must not find it shared, nor be taken for a fork's base.
    done["grants on it"] = tx.execute(
        "DELETE FROM access WHERE tenant = ?1 "
        "AND (scope = ?2 OR (scope > ?2 || '/' AND scope < ?2 || '0')) "
        "AND NOT EXISTS (SELECT 1 FROM cube WHERE tenant = ?1 AND path = access.scope)",
        (tenant, home),
    ).rowcount
    tx.execute(
        "UPDATE cube SET fork_of = NULL, fork_seq = NULL "
        "WHERE fork_of NOT IN (SELECT cid FROM cube)"
    )
    return done


def _disown(tx: Transaction, actor: str, *, tenant: str, home: str) -> int:
    """Leave the cubes of a person outside their home to nobody; how many there were.

    No principal bears the name, so rights on them are those that were granted, and an admin's of
    the tenant; whoever comes by the person's name later has none. Their ``info`` no longer gives
    the name as a value or key. What is left at home under a legal hold stays a home, which is
    found by its path.
    """
    rows = tx.execute(
        "UPDATE cube SET owner = 'erased' WHERE tenant = ?1 AND owner = ?2 AND path <> ?3 "
        "AND NOT (path > ?3 || '/' AND path < ?3 || '0') RETURNING cid, info",
        (tenant, actor, home),
    ).fetchall()
    names = frozenset({actor, actor.removeprefix("user:")})
    for cid, info in rows:
        bare = dumps(_unnamed(json.loads(info), names))
        tx.execute("UPDATE cube SET info = ? WHERE cid = ? AND info <> ?", (bare, cid, bare))
        tx.emit(EventKind.ACCESS, int(cid), 0)
    return len(rows)


def _unnamed(told: Any, names: frozenset[str]) -> Any:
    """JSON in which no value and no key is one of these names; longer texts stay as they are."""
    match told:
        case str():
            return "erased" if told in names else told
        case list():
            return [_unnamed(each, names) for each in cast("list[object]", told)]
        case dict():
            pairs = cast("dict[str, Any]", told).items()
            return {_unnamed(key, names): _unnamed(value, names) for key, value in pairs}
        case _:
            return told
