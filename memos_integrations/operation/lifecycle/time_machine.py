"""The time machine over whole cubes: roll back, fork, compare, merge.

History is never rewritten: going back writes new versions that equal old ones. A fork is a cube
of its own that remembers where it came from, for counterfactuals and for graph branches.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from memos_integrations.cube.acl import Permission, Principal
from memos_integrations.cube.draft import Draft
from memos_integrations.cube.errors import InvalidInput, MergeConflict, UsageError
from memos_integrations.cube.header import Relation, State
from memos_integrations.cube.ids import CubePath, Seq
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.vault import records
from memos_integrations.infrastructure.vault.entries import (
    copy_names,
    holders_of_same,
    take_fields,
)
from memos_integrations.infrastructure.vault.governed import Asking, Governed, Instant
from memos_integrations.infrastructure.vault.masked_blobs import open_blobs
from memos_integrations.infrastructure.vault.rows import Stored, dumps, may_have_vector, to_item
from memos_integrations.infrastructure.vault.stored import current, versions
from memos_integrations.infrastructure.vault.transaction import CubeRow, Inserted, Transaction
from memos_integrations.operation.facts.adopting import adopt, copy_marks
from memos_integrations.operation.fine_task import queue_cube
from memos_integrations.operation.lifecycle.states import Event, next_state
from memos_integrations.operation.lifecycle.truth import mark_stale
from memos_integrations.operation.tool_copies import note_copied_calls

OnConflict = Literal["error", "ours", "theirs"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One memory on both sides of a comparison."""

    base: str
    branch: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class CubeDiff:
    """How a branch differs from the cube it was forked from, as the asking principal sees it."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Pair, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def roll_back_cube(tx: Transaction, cube: CubeRow, to: Seq, *, reason: str) -> list[str]:
    """Bring every memory of the cube to what it was at ``to``; the ids that changed.

    Memories born since are deleted (as tombstones); frozen ones are left as they are.
    """
    tx.gate(cube, Permission.ADMIN)
    touched = tx.execute(
        "SELECT DISTINCT iid FROM version WHERE cid = ? AND seq > ? ORDER BY iid", (cube.cid, to)
    ).fetchall()
    return _roll_back(tx, [iid for (iid,) in touched], to, reason=reason)


def roll_back_source(tx: Transaction, cube: CubeRow, source: str, *, reason: str) -> list[str]:
    """Undo what one source brought: memories it made are deleted, versions it wrote undone."""
    tx.gate(cube, Permission.ADMIN)
    rows = tx.execute(
        "SELECT iid, min(seq) FROM version WHERE cid = ? AND source = ? GROUP BY iid",
        (cube.cid, source),
    ).fetchall()
    changed: list[str] = []
    for iid, first in rows:
        changed += _roll_back(tx, [iid], Seq(first - 1), reason=reason)
    return changed


def _roll_back(tx: Transaction, items: Sequence[int], to: Seq, *, reason: str) -> list[str]:
    changed: list[Stored] = []
    for now in current(tx, items):
        then = next((v for v in versions(tx, now.iid) if v.seq <= to < v.seq_to), None)
        if now.state == State.FROZEN or (then is not None and then.seq == now.seq):
            continue
        if then is None or then.tid is None:
            if now.tid is None:
                continue
            state = next_state(State(now.state), Event.DELETE, item=now.id)
            tx.revise(now, reason=reason, tombstone=True, state=state.value)
        else:
            state = State(then.before or then.state)
            next_state(State(now.state), Event.RESTORE, item=now.id, named=state)
            back = then.with_(version=now.version, state=state.value, before=None)
            tx.revise(back, reason=reason)
        changed.append(now)
    back_too = [row.iid for row in changed]  # as they were then, staleness included
    for now in changed:
        mark_stale(tx, now, reason="was rolled back", spare=back_too)
    return [row.id for row in changed]


def fork(
    tx: Transaction, source: CubeRow, path: CubePath, *, instant: Instant, reason: str
) -> CubeRow:
    """A new cube of the principal's with everything of ``source`` that it may read then.

    Under a cube of the source's owner it is that owner's: the principal is there by a grant, which
    reaches the new cube for as long as it stands, and must not outlive it as an owner. Copies
    carry words as the principal sees them, vectors and the links among themselves.
    """
    if tx.find_cube(path) is not None:
        raise UsageError(f"cube {path} exists already; choose another name for the branch")
    seq = min(instant.seq, tx.seq)
    owner = _owner_above(tx, source, path)
    branch = tx.new_cube(path, owner=owner, fork_of=source.cid, fork_seq=seq)
    asking = Asking(tx.principal, tx.now, Permission.READ, Instant(Seq(seq)))
    rows = Governed(tx.connection, asking).listing(cids=[source.cid], pick="present")
    rows = [row for row in reversed(rows) if row.tid is not None]
    made = _insert_copies(tx, branch, rows, reason=reason)
    new = {row.iid: item.iid for row, item in zip(rows, made, strict=True)}
    _copy_vectors(tx, rows, new)
    _copy_links(tx, branch, new, seq)
    adopt(tx, branch.cid)
    copy_marks(tx, branch.cid, new)
    copy_names(tx, branch.cid, new, upto=seq)
    records.fork(tx, source.cid, branch.cid, instant=instant)
    if source.embedding:
        tx.execute("UPDATE cube SET embedding = ? WHERE cid = ?", (source.embedding, branch.cid))
    return branch


def _owner_above(tx: Transaction, source: CubeRow, path: CubePath) -> str | None:
    """Who owns the source, where the nearest cube above ``path`` is theirs too."""
    parts = path.split("/")
    paths = (CubePath("/".join(parts[:depth])) for depth in range(len(parts) - 1, 0, -1))
    above = next((cube for cube in map(tx.find_cube, paths) if cube is not None), None)
    return source.owner if above is not None and above.owner == source.owner else None


def _insert_copies(
    tx: Transaction, cube: CubeRow, rows: Sequence[Stored], *, reason: str
) -> list[Inserted]:
    """Copies that are hidden from searches where their originals are."""
    made = tx.insert(cube, [copy_of(row, tx) for row in rows], reason=reason)
    note_copied_calls(tx, cube.cid, ((r, m.iid) for r, m in zip(rows, made, strict=True)))
    for row, new in zip(rows, made, strict=True):
        tx.keep_hidden(row, new.iid)
        if row.stale:
            tx.execute("UPDATE version SET stale = 1 WHERE iid = ?", (new.iid,))
    return made


def copy_of(row: Stored, tx: Transaction) -> Draft:
    """A draft that repeats a stored item as the transaction's principal may read it."""
    item = to_item(row, tx.principal)
    steps = [s.model_dump(mode="json", exclude_none=True) for s in item.header.provenance]
    return Draft(
        text=item.text,
        time=row.time,
        role=row.role,
        speaker=row.speaker,
        conversation=row.conversation,
        agent=row.agent,
        source=row.source,
        memory_type=row.memory_type,
        kind=row.kind,
        origin=row.origin,
        trust=row.trust,
        state=_standing(row).value,
        visibility="private" if row.visibility == "private" else "inherit",
        labels=item.header.labels,
        tags=item.header.tags,
        info=item.header.info or None,
        data=item.data,
        blobs=open_blobs(tx.connection, tx.principal, row, item.blobs),
        model=row.model,
        priority=row.priority,
        confidence=row.confidence,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        expires=row.expires,
        spans=None if item.header.redacted else row.spans,
        provenance=dumps(steps) if steps else None,
        fork_origin=row.iid,
    )


def _standing(row: Stored) -> State:
    """The state of a copy: holds stay behind, and so does the successor of a merged memory."""
    state = State(row.before or row.state)
    return State.ARCHIVED if state is State.MERGED else state


def _copy_vectors(tx: Transaction, rows: Sequence[Stored], new: Mapping[int, int]) -> None:
    # A masked copy keeps a vector of our own: those are made of masked words in the first place.
    for row in (row for row in rows if may_have_vector(row, tx.principal)):
        tx.execute(
            "INSERT INTO embedding (tid, cid, model, vec) "
            "SELECT ?, (SELECT cid FROM item WHERE iid = ?), model, vec "
            "FROM embedding WHERE tid = ?",
            (new[row.iid], new[row.iid], row.tid),
        )


def _copy_links(tx: Transaction, branch: CubeRow, new: Mapping[int, int], seq: int) -> None:
    edges = tx.execute(
        "SELECT source, relation, target, target_version FROM edge "
        "WHERE source IN (SELECT value FROM json_each(?)) AND seq_from <= ? AND seq_to > ?",
        (json.dumps(list(new)), seq, seq),
    ).fetchall()
    for source, relation, target, version in edges:
        if target in new:
            tx.link_rows(branch.cid, new[source], Relation(relation), new[target], version)


def diff(
    base: Iterable[Stored],
    branch: Iterable[Stored],
    origins: Mapping[int, int],
    principal: Principal,
) -> CubeDiff:
    """Compare the kept memories of two cubes as the principal may read them.

    ``origins`` maps branch rows to base rows.
    """
    left = {row.iid: to_item(row, principal) for row in base}
    right = {origins.get(row.iid, -row.iid): to_item(row, principal) for row in branch}
    shared = left.keys() & right.keys()
    changed = [
        Pair(left[n].id, right[n].id, left[n].text, right[n].text)
        for n in sorted(shared)
        if _shown_face(left[n]) != _shown_face(right[n])
    ]
    return CubeDiff(
        added=tuple(right[n].id for n in sorted(right.keys() - left.keys())),
        removed=tuple(left[n].id for n in sorted(left.keys() - right.keys())),
        changed=tuple(changed),
    )


@dataclass(slots=True)
class _Merge:
    """The plan of a merge, item by item."""

    new: list[Stored]
    take: list[tuple[Stored, Stored, Stored]]
    """Ours, theirs, and what theirs was at the fork."""
    conflicts: list[tuple[Stored, Stored, Stored]]


def merge_branch(
    tx: Transaction, branch: CubeRow, base: CubeRow, *, on_conflict: OnConflict, reason: str
) -> list[str]:
    """Bring a branch's changes into the cube it was forked from; the ids that changed there.

    Three-way, field by field, against the branch's own copy as it was made: words that were masked
    in the copy are no change, and stay as they are in the base. Raises ``MergeConflict`` when both
    sides changed an item and ``on_conflict`` is ``"error"``; ``"ours"`` keeps the base's,
    ``"theirs"`` the branch's.
    """
    if branch.fork_of != base.cid:
        raise UsageError(f"cube {branch.path} was not forked from {base.path}")
    if on_conflict not in ("error", "ours", "theirs"):
        raise InvalidInput("on_conflict is 'error', 'ours' or 'theirs'")
    tx.gate(branch, Permission.READ)
    tx.gate(base, Permission.WRITE)
    plan = _plan(tx, branch, base)
    if plan.conflicts and on_conflict == "error":
        raise MergeConflict([ours.id for ours, *_ in plan.conflicts])
    take = plan.take + (plan.conflicts if on_conflict == "theirs" else [])
    changed = [_take(tx, *each, reason=reason) for each in take]
    made = _insert_copies(tx, base, plan.new, reason=reason)
    new = {row.iid: item.iid for row, item in zip(plan.new, made, strict=True)}
    copy_names(tx, base.cid, new)
    queue_cube(tx, base.cid)
    if tx.governed(Permission.WRITE).gates([branch.cid])[0].open:
        # Whoever may only read the branch leaves its mark alone: its owner's next merge counts.
        tx.execute("UPDATE cube SET fork_seq = ? WHERE cid = ?", (tx.seq, branch.cid))
    return changed + [item.id for item in made]


def _plan(tx: Transaction, branch: CubeRow, base: CubeRow) -> _Merge:
    plan = _Merge([], [], [])
    rows = tx.governed().listing(cids=[branch.cid], pick="present")
    drawn = _drawn(tx, branch)  # facts follow from what was told: the fine stage draws them anew
    rows = [row for row in rows if row.iid not in drawn]
    origins = origins_of(tx.connection.execute, [row.iid for row in rows], base=base.cid)
    ours = {r.iid: r for r in current(tx, list(origins.values())) if r.cid == base.cid}
    for theirs in reversed(rows):
        mine = ours.get(origins.get(theirs.iid, 0))
        if mine is None:
            if theirs.tid is not None and theirs.iid not in origins:
                plan.new.append(theirs)
            continue
        then, copied = (_at_fork(tx, row, branch) for row in (mine, theirs))
        if _face(theirs) in (_face(copied), _face(mine)):
            continue
        found = plan.take if _face(mine) == _face(then) else plan.conflicts
        found.append((mine, theirs, copied))
    _settle_names(tx, base, plan)
    return plan


def _settle_names(tx: Transaction, base: CubeRow, plan: _Merge) -> None:
    """A name that both sides gave to a memory of their own is a conflict, not two memories."""
    holders = holders_of_same(tx, base.cid, [row.iid for row in plan.new])
    leaving = {mine.iid for mine, theirs, _ in plan.take if theirs.tid is None}
    ours = {row.iid: row for row in current(tx, list(holders.values())) if row.iid not in leaving}
    for theirs in list(plan.new):
        mine = ours.get(holders.get(theirs.iid, 0))
        if mine is not None and mine.tid is not None:
            plan.new.remove(theirs)
            if _face(mine) != _face(theirs):
                plan.conflicts.append((mine, theirs, mine))


def _drawn(tx: Transaction, cube: CubeRow) -> set[int]:
    sql = "SELECT iid FROM item WHERE cid = ? AND drawn_from IS NOT NULL"
    return {iid for (iid,) in tx.execute(sql, (cube.cid,)).fetchall()}


def _at_fork(tx: Transaction, row: Stored, branch: CubeRow) -> Stored:
    """The item as it was at the fork or the last merge; a copy made then, as it was made."""
    known = versions(tx, row.iid)
    return next((v for v in known if v.seq <= (branch.fork_seq or 0) < v.seq_to), known[0])


def _take(tx: Transaction, ours: Stored, theirs: Stored, copied: Stored, *, reason: str) -> str:
    governed = tx.items([ours.id], Permission.WRITE)[0]
    if theirs.tid is None:
        state = next_state(State(ours.state), Event.DELETE, item=ours.id)
        tx.revise(governed, reason=reason, tombstone=True, state=state.value)
    else:
        state = next_state(State(ours.state), Event.RESTORE, item=ours.id, named=_standing(theirs))
        columns = {
            name: getattr(theirs, name)
            for name in _TAKEN
            if ours.tid is None or getattr(theirs, name) != getattr(copied, name)
        }
        same = ours.tid is not None and (theirs.text, theirs.data) == (copied.text, copied.data)
        words = None if same else copy_of(theirs, tx)
        tx.revise(governed, reason=reason, words=words, state=state.value, stale=0, **columns)
        take_fields(tx, ours.iid, theirs.iid)
    mark_stale(tx, ours, reason="was changed by a merged branch")
    return ours.id


_TAKEN = ("valid_from", "valid_to", "tags", "info", "priority", "confidence", "memory_type")


def _face(row: Stored) -> tuple[Any, ...]:
    """What counts as a difference between two versions of a memory."""
    if row.tid is None:
        return ()
    return (row.text, row.data, *(getattr(row, name) for name in _TAKEN))


def _shown_face(item: MemoryItem) -> tuple[Any, ...]:
    header = item.header
    return (item.text, item.data, *(getattr(header, name) for name in _TAKEN))


def origins_of(execute: Any, items: Sequence[int], *, base: int) -> dict[int, int]:
    """Branch item row -> the row of ``base`` it was copied from, or that a merge made of it."""
    rows = execute(
        "SELECT fork_origin, iid FROM item WHERE cid = ?2 "
        "AND fork_origin IN (SELECT value FROM json_each(?1)) "
        "UNION ALL SELECT iid, fork_origin FROM item WHERE fork_origin IS NOT NULL "
        "AND iid IN (SELECT value FROM json_each(?1))",
        (json.dumps(list(items)), base),
    ).fetchall()
    return {int(a): int(b) for a, b in rows}
