"""The right to replace what stands behind names, told without telling what is hidden there.

Called by who writes by names of the caller's; calls the governed queries.
"""

from __future__ import annotations

from collections.abc import Mapping

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.errors import AccessDenied
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction


def ensure_writable(tx: Transaction, cube: CubeRow, held: Mapping[int, str]) -> None:
    """Raise ``AccessDenied`` unless the principal may write these item rows (with their ids).

    Who asked by a name must not learn the id of what is hidden behind it.
    """
    own = _among(tx, cube, list(held), Permission.WRITE)
    barred = [iid for iid in held if iid not in own]
    if not barred:
        return
    if len(_among(tx, cube, barred, Permission.READ)) == len(barred):
        tx.items([held[iid] for iid in barred])
    refusal = AccessDenied(
        f"{tx.principal.name} may not write one of these names in cube {cube.path}; ask its owner "
        "for a grant, or choose another name"
    )
    refusal.cube = cube.path
    raise refusal


def _among(tx: Transaction, cube: CubeRow, items: list[int], need: Permission) -> set[int]:
    """Those of the item rows that the principal holds this right on."""
    return {row.iid for row in tx.governed(need).items(items, cids=[cube.cid])} if items else set()
