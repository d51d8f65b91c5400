"""Writing entries: what a batch asks for becomes new memories, versions and tombstones.

Called by the facade inside one transaction, with drafts that are checked already; asks the
lifecycle for every step, so a legal hold holds for names as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from memos_integrations.cube.acl import Permission, Principal
from memos_integrations.cube.draft import Draft
from memos_integrations.cube.entries import is_entry_source
from memos_integrations.cube.errors import Conflict
from memos_integrations.cube.events import EventKind
from memos_integrations.cube.header import TOMBSTONES, State
from memos_integrations.cube.ids import CubePath
from memos_integrations.infrastructure.vault.behind_names import ensure_writable
from memos_integrations.infrastructure.vault.entries import (
    Name,
    give_names,
    holders,
    keep_fields,
    put_off,
)
from memos_integrations.infrastructure.vault.governed import Asking, Governed
from memos_integrations.infrastructure.vault.rows import Stored, dumps
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.operation.executor import Executor
from memos_integrations.operation.fine_task import queue_items
from memos_integrations.operation.lifecycle.lifecycle import MemLifecycle
from memos_integrations.operation.lifecycle.states import Event, next_state
from memos_integrations.operation.lifecycle.truth import mark_stale


@dataclass(frozen=True, slots=True)
class Put:
    """A value for a name, as the memory that is to hold it."""

    draft: Draft
    fields: tuple[str, ...]
    ttl_micros: int | None


Wanted: TypeAlias = Put | None
"""``None`` is a deletion."""
Names: TypeAlias = Mapping[tuple[CubePath, str, str], Wanted]
"""(cube, encoded namespace, key) -> what it is to hold."""


class EntryWriter:
    """Writes batches of entries. Holds no state but the parts it writes through."""

    def __init__(self, executor: Executor, lifecycle: MemLifecycle, *, embeds: bool) -> None:
        self._executor = executor
        self._lifecycle = lifecycle
        self._embeds = embeds

    def write(self, tx: Transaction, names: Names) -> None:
        """Have every name hold what is wanted. Any refusal undoes all of it.

        Raises ``AccessDenied``, ``ItemFrozen``, and ``Conflict`` for a value that would be hidden
        by a quarantine.
        """
        by_cube: dict[CubePath, dict[tuple[str, str], Wanted]] = {}
        for (path, space, key), wanted in names.items():
            by_cube.setdefault(path, {})[space, key] = wanted
        for path, entries in by_cube.items():
            cube = self._cube(tx, path, entries.values())
            if cube is not None:
                self._write_cube(tx, cube, entries)

    def _cube(self, tx: Transaction, path: CubePath, wanted: Iterable[Wanted]) -> CubeRow | None:
        """The cube, made where something is put into it; nothing is deleted from one not there."""
        if any(wanted):
            return self._executor.cube_for_writing(tx, path)
        cube = tx.find_cube(path)
        if cube is None:
            self._executor.ensure_own_name(tx, path)
        else:
            tx.gate(cube, Permission.WRITE)
        return cube

    def _write_cube(
        self, tx: Transaction, cube: CubeRow, entries: Mapping[tuple[str, str], Wanted]
    ) -> None:
        names: dict[Name, Wanted] = {(cube.cid, *name): each for name, each in entries.items()}
        held = self._held(tx, cube, list(names))
        new = {name: put for name, put in names.items() if put is not None and name not in held}
        changed = [(held[n], put) for n, put in names.items() if put is not None and n in held]
        gone = [held[name] for name, put in names.items() if put is None and name in held]
        _ensure_shown(tx, cube, [old for old, _ in changed], [put.draft for put in new.values()])
        made = self._insert(tx, cube, new)
        for old, put in changed:
            self._revise(tx, old, put)
        for old in gone:
            self._lifecycle.delete(tx, old.id, reason="deleted")
        _audit(tx, cube, "put", [*made.values(), *(old.id for old, _ in changed)])
        _audit(tx, cube, "delete", [old.id for old in gone])
        words = [iid for iid, put in zip(made, new.values(), strict=True) if put.fields]
        self._queue(tx, cube, words + [old.iid for old, put in changed if put.fields])

    def _held(self, tx: Transaction, cube: CubeRow, names: Sequence[Name]) -> dict[Name, Stored]:
        """What the names hold now, all of it the principal's to write. Raises ``AccessDenied``."""
        iids = holders(tx, names)
        rows = {row.iid: row for row in current(tx, list(iids.values()))}
        found = {name: rows[iid] for name, iid in iids.items() if _lives(tx, rows[iid])}
        for row in rows.values():
            if State(row.state) not in TOMBSTONES and not _lives(tx, row):
                self._lifecycle.expire(tx, row, reason="time to live ran out")
        ensure_writable(tx, cube, {row.iid: row.id for row in found.values()})
        return found

    def _insert(self, tx: Transaction, cube: CubeRow, new: Mapping[Name, Put]) -> dict[int, str]:
        """Item row -> id of the memories made, in the order given."""
        made = tx.insert(cube, [put.draft for put in new.values()], reason="put")
        pairs = zip(made, new.items(), strict=True)
        give_names(tx, [(item.iid, name, p.fields, p.ttl_micros) for item, (name, p) in pairs])
        return {item.iid: item.id for item in made}

    def _revise(self, tx: Transaction, old: Stored, put: Put) -> None:
        """The next version of what a name holds; it comes back from an archive or a merge."""
        merged = old.state == State.MERGED
        next_state(State(old.state), Event.SPLIT if merged else Event.REVISE, item=old.id)
        draft = put.draft
        tx.revise(
            old,
            reason="put",
            words=draft,
            state=draft.state,
            time=draft.time,
            valid_from=draft.time,
            valid_to=None,
            agent=draft.agent,
            origin=draft.origin,
            source=draft.source,
            provenance=draft.provenance,
            stale=0,
            merged_into=None,
        )
        sql = "UPDATE item SET expires = ?, trust = ? WHERE iid = ?"
        tx.execute(sql, (draft.expires, draft.trust, old.iid))
        keep_fields(tx, old.iid, put.fields, put.ttl_micros)
        if tx.execute(_RESTS_ON, (old.iid,)).fetchone() is not None:
            mark_stale(tx, old, reason="was put anew")

    def _queue(self, tx: Transaction, cube: CubeRow, items: Sequence[int]) -> None:
        if self._embeds:
            queue_items(tx, cube.cid, items)


def refresh(tx: Transaction, ends: Mapping[int, int], who: Principal) -> None:
    """Put off the end of entries that ``who`` read and may write, and have the indexes know of it.

    Who may only read them must not keep them from ending.
    """
    cubes = dict(tx.execute(_CUBES, (dumps(list(ends)),)).fetchall())
    own = Governed(tx.connection, Asking(who, tx.now, Permission.WRITE))
    rows = own.items(list(cubes), cids=set(cubes.values())) if cubes else []
    for iid in put_off(tx, {row.iid: ends[row.iid] for row in rows}):
        tx.emit(EventKind.ACCESS, cubes[iid], iid)


def _ensure_shown(
    tx: Transaction, cube: CubeRow, old: Iterable[Stored], new: Sequence[Draft]
) -> None:
    """Raise ``Conflict`` where what is put would be hidden by a quarantine and read as nothing.

    What a barred import brings is hidden on purpose.
    """
    hidden = [row.id for row in old if row.quarantined]
    sources = [draft.source for draft in new if is_entry_source(draft.source)]
    barred = tx.execute(_BARRED, (cube.cid, dumps(sources))).fetchone() if sources else None
    if hidden or barred:
        what = f"memory {hidden[0]} under it is" if hidden else "it is"
        raise Conflict(
            f"a name in cube {cube.path} cannot be put: {what} under quarantine, so it would hold "
            "nothing. Release its source with mos.release(...), or choose another name"
        )


_BARRED = (
    "SELECT 1 FROM quarantine WHERE cid = ? AND source IN (SELECT value FROM json_each(?)) LIMIT 1"
)
_RESTS_ON = "SELECT 1 FROM edge WHERE target = ? AND relation = 'derived_from' LIMIT 1"
_CUBES = "SELECT iid, cid FROM item WHERE iid IN (SELECT value FROM json_each(?))"


def _lives(tx: Transaction, row: Stored) -> bool:
    ended = row.expires is not None and row.expires <= tx.now and not row.legal_hold
    return State(row.state) not in TOMBSTONES and not ended


def _audit(tx: Transaction, cube: CubeRow, action: str, ids: Sequence[str]) -> None:
    if ids:
        tx.audit(action, cube=cube.path, items=ids, reason=action)
