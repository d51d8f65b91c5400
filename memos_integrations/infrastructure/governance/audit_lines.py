"""Reading the audit log: whole lines for showing, line numbers for erasing.

Called by ``audit``; calls only the audit tables.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from memos_integrations.infrastructure.governance.chain import Execute, canonical


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the log; after an erase the names are gone and ``erased_by`` is set."""

    n: int
    at: int
    action: str
    outcome: str
    tenant: str | None = None
    actor: str | None = None
    agent: str | None = None
    session: str | None = None
    cube: str | None = None
    items: tuple[str, ...] = ()
    reason: str = ""
    extra: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    erased_by: int | None = None


# Both walk from the newest line down and stop at the limit; the first goes by audit_actor.
_LINES_OF_ACTOR = """
SELECT a.n, a.at, a.action, a.outcome, d.tenant, d.actor, d.body, NULL
FROM audit_detail d CROSS JOIN audit a ON a.n = d.n
WHERE d.tenant = ?1 AND d.actor = ?2 AND d.n < ?3
  AND (?4 IS NULL OR instr(d.body, ?4)) AND (?5 IS NULL OR instr(d.body, ?5))
ORDER BY d.n DESC
"""
_LINES_OF_TENANT = """
SELECT a.n, a.at, a.action, a.outcome, d.tenant, d.actor, d.body, e.by
FROM audit a LEFT JOIN audit_detail d ON d.n = a.n
LEFT JOIN audit_erased e ON e.n = a.n LEFT JOIN audit_detail b ON b.n = e.by
WHERE a.n < ?2 AND (
    (d.tenant = ?1 AND (?3 IS NULL OR instr(d.body, ?3)) AND (?4 IS NULL OR instr(d.body, ?4)))
    OR (?3 IS NULL AND ?4 IS NULL AND b.tenant = ?1))
ORDER BY a.n DESC
"""
_NAMING = """
SELECT n, body FROM audit_detail
WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR actor = ?2)
  AND (?3 IS NULL OR instr(body, ?3)) ORDER BY n
"""


def read(
    execute: Execute,
    *,
    tenant: str,
    actor: str | None,
    cube: str | None,
    item: str | None,
    limit: int,
    before: int | None,
) -> list[AuditLine]:
    """See ``AuditLog.read``. SQL only narrows by substring; the words decide here."""
    below = 2**63 - 1 if before is None else before
    needles = (None if cube is None else f'"cube":{canonical(cube)}', _quoted(item))
    if actor is not None:
        rows = execute(_LINES_OF_ACTOR, (tenant, actor, below, *needles))
    else:
        rows = execute(_LINES_OF_TENANT, (tenant, below, *needles))
    fitting = (
        line
        for line in map(_line, rows)
        if (cube is None or line.cube == cube) and (item is None or item in line.items)
    )
    return list(islice(fitting, max(limit, 0)))


def naming(
    execute: Execute, *, items: Collection[str], tenant: str | None, actor: str | None
) -> list[int]:
    """See ``AuditLog.naming``."""
    wanted = frozenset(items)
    needle = _quoted(next(iter(wanted))) if len(wanted) == 1 else None
    rows = execute(_NAMING, (tenant, actor, needle))
    return [n for n, body in rows if not wanted or wanted.intersection(_items(_told(body)))]


def _quoted(word: str | None) -> str | None:
    return None if word is None else canonical(word)


def _told(body: str | None) -> dict[str, Any]:
    """The words of a body; none for an erased or damaged one, which ``verify`` reports."""
    try:
        told = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _items(told: Mapping[str, Any]) -> tuple[str, ...]:
    items = told.get("items")
    return tuple(i for i in items if isinstance(i, str)) if isinstance(items, list) else ()


def _line(row: Sequence[Any]) -> AuditLine:
    n, at, action, outcome, tenant, actor, body, erased_by = row
    told = _told(body)
    return AuditLine(
        n,
        at,
        action,
        outcome,
        tenant,
        actor,
        agent=told.get("agent"),
        session=told.get("session"),
        cube=told.get("cube"),
        items=_items(told),
        reason=told.get("reason", ""),
        extra=told.get("extra", {}),
        erased_by=erased_by,
    )
