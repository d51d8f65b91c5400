"""A cube as its owner reads it, for work that nobody waits for. Called by what carries out forms.

Nobody is shown what is read here: a cache is found only by who can name its tokens, and an adapter
serves only who may read all of its sources.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.errors import NotFound
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.vault import adapters, artifacts
from memos_integrations.infrastructure.vault.artifacts import Source
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.transform.shown_apart import cubes_apart

WriteMemory: TypeAlias = Callable[[Sequence[MemoryItem], Any], str]
"""Memories and a tokenizer -> the memory part of a prompt, as every prompt has it."""

_CUBE = """
SELECT cid, tenant, path, owner, visibility, embedding, created, fork_of, fork_seq, info
FROM cube WHERE cid = ?
"""
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Memories:
    """What stands in the prompt of one reader, in the order of the prompt."""

    items: tuple[MemoryItem, ...]
    reader: Principal
    apart: frozenset[str]
    """The cubes of which it holds what not every reader of them is shown."""
    place: int
    """Of the log, at the reading."""

    @property
    def cubes(self) -> tuple[str, ...]:
        return tuple(sorted({each.cube for each in self.items}))

    @property
    def sources(self) -> tuple[Source, ...]:
        return sources_in(self.items, self.place)


def find_cube(connection: sqlite3.Connection, cid: int) -> CubeRow | None:
    """The cube of this row, if it is still there."""
    row = connection.execute(_CUBE, (cid,)).fetchone()
    return None if row is None else CubeRow(*row)


def cube_row(vault: MemVault, cid: int | None) -> CubeRow:
    """Raises ``NotFound`` for a cube that is gone."""
    with vault.readers.snapshot() as connection:
        found = None if cid is None else find_cube(connection, cid)
    if found is None:
        raise NotFound("the cube is gone")
    return found


def owner_of(cube: CubeRow) -> Principal:
    """Who owns it, as the one who asks. Raises ``NotFound`` for a cube of nobody."""
    kind, _, name = cube.owner.partition(":")
    if not name or kind not in ("user", "agent"):
        raise NotFound(f"cube {cube.path} has no owner whose view could be computed ahead")
    if kind == "user":
        return Principal(tenant=cube.tenant, user=name)
    return Principal(tenant=cube.tenant, agent=name)


def memories_of(vault: MemVault, cube: CubeRow) -> Memories:
    """As ``MOS.activated`` reads them for the owner. It is audited, and makes nothing hotter."""
    who = owner_of(cube)
    with vault.reading(who, action="activate") as reading:
        rows = reading.governed.listing(
            cids=[cube.cid], pick="searchable", where=None, limit=_MOST + 1, offset=0
        )
        drawn = adapters.drawn_from(reading.connection, [row.iid for row in rows])
        apart = cubes_apart(reading, [row for row in rows if row.iid not in drawn])
        place = artifacts.head(reading.connection)
    if len(rows) > _MOST:
        raise NotFound(f"more than {_MOST} memories are no prompt")
    vault.shown(who, "activate", rows, cubes=[cube.path], reason="scheduler", used=False)
    return memories_in([row for row in rows if row.iid not in drawn], who, apart, place)


def memories_in(
    rows: Sequence[Stored], reader: Principal, apart: frozenset[str], place: int
) -> Memories:
    """What ``reader`` is shown of these rows, in the order of their time."""
    items = sorted((to_item(row, reader) for row in rows), key=lambda it: (it.header.time, it.id))
    return Memories(tuple(items), reader, apart, place)


def sources_in(items: Sequence[MemoryItem], place: int) -> tuple[Source, ...]:
    """These memories as they were read at that place of the log."""
    return tuple(Source(each.id, each.version, place) for each in items)


def audit_form(tx: Transaction, cube: CubeRow, *, model: str, step: str) -> None:
    """One line for what becomes of a cube's form."""
    tx.audit("form", cube=cube.path, reason=f"{step} for {model}", tenant=cube.tenant)
