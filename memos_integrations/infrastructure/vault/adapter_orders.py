"""Who ordered a training, so that their right is looked at again when it begins and when it ends.

Called by the verb that distils and by what trains. An order lies beside the idempotency keys, as
the claims on blobs do: an erase of the person takes it along, and what they ordered with it. No
caller's key may hold a control character, so none can pretend to be an order.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from memos_integrations.cube.acl import Permission, Principal
from memos_integrations.infrastructure.vault.governed import Asking, Governed
from memos_integrations.infrastructure.vault.rows import dumps
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import Transaction

ORDER = "\x1forder:"
_SETS = ("roles", "groups", "clearances")


def keep(tx: Transaction, adapter: str) -> None:
    """Keep that the principal of this transaction ordered the training of this candidate."""
    who = tx.principal
    told = {"agent": who.agent, **{each: sorted(getattr(who, each)) for each in _SETS}}
    tx.remember(ORDER + adapter, b"", dumps(told))


def hand_over(tx: Transaction, old: str, new: str) -> None:
    """Whoever ordered the one has ordered the other, which is made in its place."""
    tx.execute(queries("adapters")["hand_over"], {"old": ORDER + old, "new": ORDER + new})


def drop(tx: Transaction, adapter: str) -> None:
    """Forget who ordered it; nothing is made in its place."""
    tx.execute(queries("adapters")["drop_order"], {"key": ORDER + adapter})


def stands(
    connection: sqlite3.Connection, adapter: str, *, cid: int, items: Iterable[int], now: int
) -> bool:
    """Whether whoever ordered it may write to the cube still and read each of these item rows.
    Nobody may who was erased since."""
    who = _orderer(connection, adapter)
    if who is None:
        return False
    if not Governed(connection, Asking(who, now, Permission.WRITE)).gates([cid])[0].open:
        return False
    wanted = sorted(set(items))
    seen = Governed(connection, Asking(who, now)).items(wanted, cids=[cid], pick="kept")
    return len(seen) == len(wanted)


def _orderer(connection: sqlite3.Connection, adapter: str) -> Principal | None:
    row = connection.execute(queries("adapters")["orderer"], {"key": ORDER + adapter}).fetchone()
    if row is None:
        return None
    tenant, actor, told = row[0], str(row[1]), json.loads(row[2])
    kind, _, name = actor.partition(":")
    roles, groups, clearances = (frozenset[str](told[each]) for each in _SETS)
    return Principal(
        tenant=tenant,
        user=name if kind == "user" else None,
        agent=told["agent"],
        roles=roles,
        groups=groups,
        clearances=clearances,
    )
