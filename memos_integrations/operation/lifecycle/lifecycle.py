"""MemLifecycle: every change of a memory is a new version with an actor and a reason.

Called by the facade inside a transaction; asks the state table, writes through the transaction
and passes the change on to whatever was derived from the memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.draft import Draft
from memos_integrations.cube.errors import InvalidInput, NotFound, UsageError, VersionConflict
from memos_integrations.cube.header import TOMBSTONES, Relation, State
from memos_integrations.cube.outcomes import Changed
from memos_integrations.infrastructure.vault.rows import Stored, dumps
from memos_integrations.infrastructure.vault.stored import current, versions
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.operation.fine_task import review_answers, review_facts
from memos_integrations.operation.lifecycle.states import Event, next_state
from memos_integrations.operation.lifecycle.truth import mark_stale


@dataclass(frozen=True, slots=True)
class Correction:
    """New words or header values for an item; ``None`` leaves a field as it is."""

    draft: Draft | None = None
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def changes_the_fact(self) -> bool:
        """Whether what was derived from the item rests on something else now."""
        return self.draft is not None or not _FACT_COLUMNS.isdisjoint(self.columns)


_FACT_COLUMNS = frozenset({"valid_from", "valid_to"})
_RETURNS = (Event.ACTIVATE, Event.SPLIT, Event.MERGE, Event.THAW)
"""Steps after which a memory stands otherwise than before without having changed its words."""


class MemLifecycle:
    """The verbs that move a memory through its life. Stateless; all state is in the vault."""

    def activate(self, tx: Transaction, item: str, *, reason: str) -> Changed:
        """Bring a rough or archived memory into use; confirms a stale one as well."""
        old = tx.item(item)
        return self._step(tx, old, Event.ACTIVATE, reason=reason, stale=0)

    def archive(self, tx: Transaction, item: str, *, reason: str) -> Changed:
        """Take a memory out of searches; it can be activated again. Derived ones turn stale."""
        old = tx.item(item)
        return self._step(tx, old, Event.ARCHIVE, reason=reason, passes_on="was archived")

    def delete(self, tx: Transaction, item: str, *, reason: str) -> Changed:
        """Leave a tombstone: gone from every present read, still in history and the past."""
        old = tx.item(item)
        return self._step(
            tx, old, Event.DELETE, reason=reason, tombstone=True, passes_on="was deleted"
        )

    def expire(self, tx: Transaction, old: Stored, *, reason: str) -> Changed:
        """As ``delete``, for a memory whose time has run out."""
        return self._step(tx, old, Event.EXPIRE, reason=reason, tombstone=True, passes_on="expired")

    def freeze(self, tx: Transaction, item: str, *, reason: str) -> Changed:
        """Put a legal hold on a memory: readable, but nobody changes or erases it."""
        old = tx.item(item, Permission.ADMIN)
        tx.execute("UPDATE item SET legal_hold = 1 WHERE iid = ?", (old.iid,))
        return self._step(tx, old, Event.FREEZE, reason=reason, before=old.state)

    def thaw(self, tx: Transaction, item: str, *, reason: str) -> Changed:
        """Lift the hold; the memory stands where it stood before."""
        old = tx.item(item, Permission.ADMIN)
        tx.execute("UPDATE item SET legal_hold = 0 WHERE iid = ?", (old.iid,))
        named = State(old.before) if old.before else None
        return self._step(tx, old, Event.THAW, reason=reason, named=named, before=None)

    def correct(
        self,
        tx: Transaction,
        item: str,
        correction: Correction,
        *,
        reason: str,
        expected_version: int | None = None,
    ) -> Changed:
        """Write a corrected version; what was derived from the old words turns stale.

        Raises ``VersionConflict`` when somebody wrote since ``expected_version``.
        """
        old = tx.item(item)
        if expected_version is not None and old.version != expected_version:
            raise VersionConflict(item, expected=expected_version, actual=old.version)
        return self._step(
            tx,
            old,
            Event.REVISE,
            reason=reason,
            words=correction.draft,
            passes_on="was corrected" if correction.changes_the_fact else None,
            stale=0,
            **correction.columns,
        )

    def merge(
        self, tx: Transaction, cube: CubeRow, items: Sequence[str], draft: Draft, *, reason: str
    ) -> Changed:
        """One new memory in place of several; the sources stay and can be split out again."""
        if len(set(items)) < 2:
            raise UsageError("merge needs at least two different memories")
        olds = tx.items(list(dict.fromkeys(items)))
        _ensure_one_cube(olds)
        (new,) = tx.insert(cube, [draft], reason=reason)
        for old in olds:
            tx.link_rows(cube.cid, new.iid, Relation.DERIVED_FROM, old.iid, old.version)
            self._step(tx, old, Event.MERGE, reason=reason, merged_into=new.iid)
        return Changed(new.id, 1)

    def fold(self, tx: Transaction, copy: Stored, kept: Stored, *, reason: str) -> Changed:
        """Merge a duplicate into the memory it repeats, without writing a new one."""
        return self._step(tx, copy, Event.MERGE, reason=reason, merged_into=kept.iid)

    def split(self, tx: Transaction, item: str, *, reason: str) -> list[Changed]:
        """Bring the sources of a merged memory back; the merged one is archived.

        ``item`` may be the merged memory itself or one of its sources (then only that source
        comes back). Raises ``UsageError`` when nothing was merged.
        """
        row = tx.item(item)
        if row.state == State.MERGED:
            return [self._step(tx, row, Event.SPLIT, reason=reason, merged_into=None)]
        found = tx.execute(
            "SELECT iid FROM version WHERE merged_into = ? AND seq_to > ? AND cid = ?",
            (row.iid, 2**63 - 2, row.cid),
        ).fetchall()
        # One that was archived, deleted or rolled back since stands for itself already.
        apart = (State.MERGED, State.FROZEN)
        sources = [s for s in current(tx, [iid for (iid,) in found]) if s.state in apart]
        if not sources:
            raise UsageError(f"memory {item} was not made by a merge")
        tx.items([source.id for source in sources])  # each needs write rights of its own
        back = [self._step(tx, s, Event.SPLIT, reason=reason, merged_into=None) for s in sources]
        made = tx.execute(
            "SELECT 1 FROM edge WHERE source = ? AND relation = ? AND target = ?",
            (row.iid, Relation.DERIVED_FROM.value, sources[0].iid),
        ).fetchone()
        # A folded duplicate has an original as successor: that one stays as it is.
        if made and row.state != State.ARCHIVED:
            self._step(tx, row, Event.ARCHIVE, reason=reason, passes_on="was split")
        return back

    def rollback(self, tx: Transaction, item: str, version: int, *, reason: str) -> Changed:
        """A new version equal to an old one; history is never rewritten."""
        old = tx.item(item)
        target = next((v for v in versions(tx, old.iid) if v.version == version), None)
        if target is None:
            raise NotFound(f"memory {item} has no version {version}; it has 1 to {old.version}")
        if State(target.state) in TOMBSTONES:
            raise InvalidInput(f"version {version} of memory {item} is a tombstone; use delete")
        named = State(target.before or target.state)
        state = next_state(State(old.state), Event.RESTORE, item=item, named=named)
        back = target.with_(version=old.version, state=state.value, before=None, stale=0)
        tx.revise(back, reason=reason)
        stale = mark_stale(tx, old, reason="was rolled back")
        return Changed(item, old.version + 1, tuple(stale))

    def _step(
        self,
        tx: Transaction,
        old: Stored,
        event: Event,
        *,
        reason: str,
        named: State | None = None,
        words: Draft | None = None,
        tombstone: bool = False,
        passes_on: str | None = None,
        **columns: Any,
    ) -> Changed:
        state = next_state(State(old.state), event, item=old.id, named=named)
        tx.revise(
            old, reason=reason, words=words, tombstone=tombstone, state=state.value, **columns
        )
        stale = mark_stale(tx, old, reason=passes_on) if passes_on else []
        if event in _RETURNS:
            review_facts(tx, [old])
            review_answers(tx, [old])
        return Changed(old.id, old.version + 1, tuple(stale))


def with_step(provenance: str | None, step: Mapping[str, Any]) -> str:
    """A provenance chain with one more step at its end."""
    chain = json.loads(provenance) if provenance else []
    return dumps([*chain, step])


def _ensure_one_cube(rows: Sequence[Stored]) -> None:
    if len({row.cid for row in rows}) > 1:
        raise UsageError("merge takes memories of one cube; copy or share them first")
