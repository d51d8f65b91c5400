"""Whether a principal may hand a right on: nobody gives, takes back or forbids what they lack.

Called by the governance verbs inside the transaction that writes the rule.
"""

from __future__ import annotations

from dataclasses import dataclass

from memos_integrations.cube.acl import Grant, Permission
from memos_integrations.cube.errors import AccessDenied
from memos_integrations.infrastructure.vault.governed import Asking, Governed
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import Transaction

_FOREVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Target:
    """What a rule is about: a cube with everything under it, or one item."""

    path: str
    cid: int
    iid: int | None
    item: str | None


def ensure_held(tx: Transaction, target: Target, rights: Permission, until: int | None) -> None:
    """Raise ``AccessDenied`` unless the principal holds these rights now and up to ``until``.

    ``None`` is for good: a right that ends cannot be passed on beyond its end, not even to
    oneself.
    """
    end = _FOREVER if until is None else until - 1
    for one in (Permission.READ, Permission.WRITE, Permission.SHARE, Permission.ADMIN):
        if one in rights and not (_holds(tx, target, one, tx.now) and _holds(tx, target, one, end)):
            refusal = AccessDenied(
                f"{tx.principal.name} cannot pass on {str(one.name).lower()} rights on "
                f"{target.item or target.path} without holding them for as long"
            )
            refusal.cube = target.path
            raise refusal


def ensure_may_replace(tx: Transaction, target: Target, rule: Grant) -> None:
    """Raise ``AccessDenied`` where a standing rule for this subject goes beyond the principal's
    own rights: it may then neither be taken back nor be shrunk, and no denial be lifted."""
    key = (rule.tenant, target.path, target.iid, rule.subject_kind.value, rule.subject)
    standing = tx.execute(queries("writes")["rule"], (*key, rule.effect.value, tx.now)).fetchall()
    for permissions, expires in standing:
        ensure_held(tx, target, Permission(permissions), expires)


def _holds(tx: Transaction, target: Target, one: Permission, at: int) -> bool:
    if target.iid is None:
        governed = Governed(tx.connection, Asking(tx.principal, at, one))
        return governed.gates([target.cid])[0].open
    row = tx.execute("SELECT expires FROM item WHERE iid = ?", (target.iid,)).fetchone()
    if row[0] is not None:  # the memory itself may end first
        at = max(tx.now, min(at, row[0] - 1))
    governed = Governed(tx.connection, Asking(tx.principal, at, one))
    return bool(governed.items([target.iid], cids=[target.cid]))
