"""Links that were drawn in a branch, drawn again where the branch is merged.

Called by the merge, in its transaction, once the memories are there. Without them a correction
would no longer know what it stands in place of, nor what is derived from a memory what it rests on,
and neither an erase nor a change of the one would reach the other.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.header import Relation, State
from memos_integrations.cube.ids import LATEST
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.operation.lifecycle.states import Event, next_state
from memos_integrations.operation.lifecycle.truth import mark_stale

_OPEN = """
SELECT source, relation, target FROM edge
WHERE source IN (SELECT value FROM json_each(?)) AND seq_to > ?
"""
_AT_FORK = """
SELECT source, relation, target FROM edge
WHERE source IN (SELECT value FROM json_each(?)) AND seq_from <= ?2 AND seq_to > ?2
"""
_HANDS_OVER = (Relation.DERIVED_FROM, Relation.REPLACES)
"""An erase of the target takes the source along."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge has brought: branch item row -> item row of the cube, and which of the latter
    are new."""

    pairs: Mapping[int, int]
    new: Collection[int]
    alike: Collection[int]
    """Of the latter, those that say what the branch's copy of them says."""


def bring_links(
    tx: Transaction, branch: CubeRow, base: CubeRow, merged: Merged, *, reason: str
) -> list[str]:
    """Draw what was drawn in the branch since it was forked, as far as the principal may say so in
    the cube. What a new correction replaces, and holds the words that it was made for, is archived
    as it is in the branch: the ids of that.

    A link that stood at the fork and was taken away in the cube since is not drawn again.
    """
    there = {row.iid: row for row in current(tx, list(merged.pairs.values())) if row.tid}
    own = _held(tx, base, there, Permission.WRITE)
    theirs = _held(tx, base, there, Permission.ADMIN)
    archived: list[str] = []
    for source, relation, target in _new_links(tx, branch, merged.pairs):
        ours, old = (there.get(merged.pairs[end]) for end in (source, target))
        if ours is None or old is None or ours.iid == old.iid:
            continue
        if ours.iid not in merged.new and not _may_say(tx, ours, relation, own, theirs):
            continue
        if relation is Relation.REPLACES and old.iid not in own:
            continue
        tx.link_rows(base.cid, ours.iid, relation, old.iid, old.version)
        corrects = relation is Relation.REPLACES and ours.iid in merged.new
        if corrects and old.iid in merged.alike and old.id not in archived:
            archived += _archived(tx, old, target, reason=reason)
    return archived


def _may_say(
    tx: Transaction, ours: Stored, relation: Relation, own: set[int], theirs: set[int]
) -> bool:
    """As for whoever draws a link there: to say of a memory that it rests on another is to hand it
    over to whoever erases that one."""
    if ours.iid not in own or ours.state == State.FROZEN:
        return False
    if relation not in _HANDS_OVER:
        return True
    return ours.owner == tx.principal.name or ours.iid in theirs


def _archived(tx: Transaction, old: Stored, copy: int, *, reason: str) -> list[str]:
    """Its id, where it was archived now, as its copy was."""
    gone = any(row.state == State.ARCHIVED for row in current(tx, [copy]))
    if not gone or old.state not in (State.GENERATED, State.ACTIVATED):
        return []
    state = next_state(State(old.state), Event.ARCHIVE, item=old.id)
    tx.revise(old, reason=reason, state=state.value)
    mark_stale(tx, old, reason="was archived")
    return [old.id]


def _new_links(
    tx: Transaction, branch: CubeRow, pairs: Mapping[int, int]
) -> Iterator[tuple[int, Relation, int]]:
    """The branch's links among these rows which the cube neither has nor had at the fork."""
    ours = json.dumps(sorted(pairs.values()))
    known = set(tx.execute(_OPEN, (ours, LATEST)).fetchall())
    known |= set(tx.execute(_AT_FORK, (ours, branch.fork_seq or 0)).fetchall())
    drawn = tx.execute(_OPEN, (json.dumps(sorted(pairs)), LATEST)).fetchall()
    for source, relation, target in sorted(drawn):
        if target in pairs and (pairs[source], relation, pairs[target]) not in known:
            yield source, Relation(relation), target


def _held(
    tx: Transaction, base: CubeRow, there: Mapping[int, Stored], need: Permission
) -> set[int]:
    return {row.iid for row in tx.governed(need).items(list(there), cids={base.cid})}
