"""Runs operations inside one transaction: the write half of every verb.

Called by the facade; asks the lifecycle, writes through the transaction, queues the fine stage.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import assert_never

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.draft import Draft
from memos_integrations.cube.errors import (
    AccessDenied,
    EmbedderMismatch,
    InvalidInput,
    ItemFrozen,
    UsageError,
)
from memos_integrations.cube.header import Relation, State
from memos_integrations.cube.ids import CubePath, from_micros, home_path, within
from memos_integrations.cube.ops import (
    ActivateOp,
    AddOp,
    ArchiveOp,
    DeleteOp,
    LinkOp,
    MergeOp,
    Operation,
    Replayable,
    SplitOp,
    UnlinkOp,
    UpdateOp,
)
from memos_integrations.cube.outcomes import AddResult, Changed, Outcome
from memos_integrations.infrastructure.governance.redaction import (
    RedactionPolicy,
    apply_on_write,
    spans_to_json,
)
from memos_integrations.infrastructure.vault.blob_claims import ensure_usable
from memos_integrations.infrastructure.vault.rows import Stored, dumps
from memos_integrations.infrastructure.vault.tool_calls import keep_calls
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.operation.fine_task import queue_fine_stage, queue_items
from memos_integrations.operation.lifecycle.lifecycle import Correction, MemLifecycle, with_step


class Executor:
    """Executes operations; all of a call's commit together or not at all."""

    def __init__(
        self,
        lifecycle: MemLifecycle,
        *,
        model: str | None,
        redaction: RedactionPolicy,
    ) -> None:
        self._lifecycle = lifecycle
        self._model = model
        self._redaction = redaction

    def execute(self, tx: Transaction, ops: Sequence[Operation]) -> list[AddResult | Changed]:
        """One result per operation, in order. Any error undoes them all."""
        return [self._run(tx, op) for op in ops]

    def _run(self, tx: Transaction, op: Operation) -> AddResult | Changed:
        match op:
            case AddOp():
                return self._add(tx, op)
            case UpdateOp():
                return self._update(tx, op)
            case MergeOp():
                return self._merge(tx, op)
            case DeleteOp() | ArchiveOp() | ActivateOp() | SplitOp():
                return self._step(tx, op)
            case LinkOp() | UnlinkOp():
                return self._link(tx, op)
            case _:
                assert_never(op)

    # -- add ----------------------------------------------------------------------------------

    def _add(self, tx: Transaction, op: AddOp) -> AddResult:
        cube = self.cube_for_writing(tx, op.cube)
        sources = tx.items(op.derived_from, Permission.READ) if op.derived_from else []
        ensure_usable(tx, [blob for each in op.drafts for blob in each.draft.blobs])
        new, outcomes = _without_replays(tx, cube, op.drafts)
        inserted = tx.insert(cube, [each.draft for each in new], reason=op.reason)
        keep_calls(
            tx,
            cube.cid,
            [(i.iid, n.draft.call) for i, n in zip(inserted, new, strict=True) if n.draft.call],
        )
        for item in inserted:
            for source in sources:
                tx.link_rows(cube.cid, item.iid, Relation.DERIVED_FROM, source.iid, source.version)
        stored = zip(new, inserted, strict=True)
        outcomes |= {
            each.place: Outcome("stored", item.id, masked=each.masked) for each, item in stored
        }
        ids = [item.id for item in inserted]
        if inserted:
            tx.audit("add", cube=cube.path, items=ids, reason=op.reason)
        tasks = queue_items(tx, cube.cid, [item.iid for item in inserted])
        return AddResult(tuple(outcomes[n] for n in sorted(outcomes)), cube.path, tasks)

    def cube_for_writing(self, tx: Transaction, path: CubePath) -> CubeRow:
        """The cube, made on first use where it is the principal's own or a new name.

        Raises ``AccessDenied`` without write rights, ``EmbedderMismatch`` for a cube whose
        vectors another model made.
        """
        cube = tx.find_cube(path)
        if cube is None:
            self.ensure_own_name(tx, path)
            return tx.new_cube(path)
        tx.gate(cube, Permission.WRITE)
        if self._model and cube.embedding and cube.embedding != self._model:
            raise EmbedderMismatch(
                f"cube {path} was embedded by {cube.embedding}, not {self._model}: open it with "
                "that embedder, or re-embed it with mos.reembed(cube=...)"
            )
        return cube

    def ensure_own_name(
        self, tx: Transaction, path: CubePath, *, need: Permission = Permission.WRITE
    ) -> None:
        """Raise ``AccessDenied`` for a new cube under somebody else's home or cube."""
        who = tx.principal
        own = home_path(user=who.user, agent=None if who.user else who.agent)
        parts = path.split("/")
        homes = parts[0] in ("users", "agents")
        refused = homes and not within(path, own) and not who.is_admin
        for depth in range(1, len(parts)):
            above = tx.find_cube(CubePath("/".join(parts[:depth])))
            if above is not None and not refused:
                refused = not tx.governed(Permission.WRITE).gates([above.cid])[0].open
        if refused or _covers_others(tx, path):
            error = AccessDenied(
                f"{who.name} may not {str(need.name).lower()} cube {path}; "
                "ask its owner for a grant"
            )
            error.cube = path
            raise error

    # -- change -------------------------------------------------------------------------------

    def _update(self, tx: Transaction, op: UpdateOp) -> Changed:
        old = tx.item(op.item)
        columns = dict(op.columns)
        draft = None
        if op.text is not None:
            draft = self._corrected(old, op.text)
            draft.data = draft.data if op.data is None else dict(op.data)
            if op.blobs:
                ensure_usable(tx, op.blobs)
                draft.blobs = op.blobs
                columns["blobs"] = dumps([blob.model_dump() for blob in op.blobs])
            step = {
                "source_kind": "message",
                "source": old.id,
                "actor": tx.principal.name,
                "action": op.reason[:200],
                "at": _iso(tx.at),
            }
            columns.setdefault("provenance", with_step(old.provenance, step))
        if not columns and draft is None:
            raise InvalidInput("update needs new text or at least one header field")
        done = self._lifecycle.correct(
            tx,
            op.item,
            Correction(draft, columns),
            reason=op.reason,
            expected_version=op.expected_version,
        )
        tx.audit("update", cube=old.path, items=[op.item], reason=op.reason)
        tasks = (queue_fine_stage(tx, old.cid, [old.iid]),) if draft else ()
        return Changed(done.id, done.version, done.stale, tasks)

    def _corrected(self, old: Stored, text: str) -> Draft:
        written = apply_on_write(text, self._redaction)
        return Draft(
            text=written.text,
            time=old.time,
            role=old.role,
            speaker=old.speaker,
            spans=spans_to_json(written.spans),
            data=json.loads(old.data) if old.data else None,
        )

    def _merge(self, tx: Transaction, op: MergeOp) -> Changed:
        if len(set(op.items)) < 2:
            raise UsageError("merge needs at least two different memories")
        olds = tx.items(op.items)
        cube = tx.find_cube(CubePath(olds[0].path), tenant=olds[0].tenant)
        assert cube is not None  # noqa: S101  -- it holds the items just read
        tx.gate(cube, Permission.WRITE)
        done = self._lifecycle.merge(
            tx, cube, op.items, self._merged(tx, olds, op.text), reason=op.reason
        )
        tx.audit("merge", cube=cube.path, items=[done.id, *op.items], reason=op.reason)
        iid = tx.numbers([done.id])[done.id][0]
        for row in olds:
            tx.keep_hidden(row, iid)
        return Changed(done.id, done.version, done.stale, (queue_fine_stage(tx, cube.cid, [iid]),))

    def _merged(self, tx: Transaction, olds: Sequence[Stored], text: str) -> Draft:
        written = apply_on_write(text, self._redaction)
        newest = max(olds, key=lambda row: row.time)
        steps = [
            {
                "source_kind": "memory",
                "source": row.id,
                "actor": tx.principal.name,
                "action": "merged",
                "at": _iso(tx.at),
            }
            for row in olds
        ]
        return Draft(
            text=written.text,
            time=newest.time,
            role=newest.role,
            speaker=newest.speaker,
            memory_type=newest.memory_type,
            origin="inference",
            trust=_least_trusted(olds),
            visibility=_narrowest(olds),
            labels=tuple(sorted({x for row in olds for x in json.loads(row.labels or "[]")})),
            tags=tuple(sorted({x for row in olds for x in json.loads(row.tags or "[]")})),
            spans=spans_to_json(written.spans),
            provenance=json.dumps(steps),
            expires=min((row.expires for row in olds if row.expires), default=None),
        )

    def _step(self, tx: Transaction, op: DeleteOp | ArchiveOp | ActivateOp | SplitOp) -> Changed:
        cube = tx.item(op.item).path
        match op:
            case DeleteOp():
                done = self._lifecycle.delete(tx, op.item, reason=op.reason)
            case ArchiveOp():
                done = self._lifecycle.archive(tx, op.item, reason=op.reason)
            case ActivateOp():
                done = self._lifecycle.activate(tx, op.item, reason=op.reason)
            case SplitOp():
                done = self._lifecycle.split(tx, op.item, reason=op.reason)[0]
        action = type(op).__name__.removesuffix("Op").lower()
        tx.audit(action, cube=cube, items=[op.item], reason=op.reason)
        return done

    def _link(self, tx: Transaction, op: LinkOp | UnlinkOp) -> Changed:
        source = tx.item(op.source)
        target = tx.item(op.target, Permission.READ)
        if source.iid == target.iid:
            raise InvalidInput("a memory cannot be linked to itself")
        if op.relation == Relation.REPLACES:
            # An erase follows it both ways, so it says what happened and is nobody's to claim.
            raise InvalidInput("what replaces a memory is linked to it by correct alone")
        if source.state == State.FROZEN:
            raise ItemFrozen("link" if isinstance(op, LinkOp) else "unlink", source.id)
        if op.relation == Relation.DERIVED_FROM and source.owner != tx.principal.name:
            # Whoever erases the target takes along what was derived from it, so to say that of
            # a memory is to hand it over.
            tx.item(op.source, Permission.ADMIN)
        if isinstance(op, LinkOp):
            tx.link(source, op.relation, target)
        elif not tx.unlink(source, op.relation, target):
            raise InvalidInput(f"there is no link {op.relation.value} to take away")
        action = "link" if isinstance(op, LinkOp) else "unlink"
        tx.audit(action, cube=source.path, items=[op.source, op.target], reason=op.relation.value)
        return Changed(source.id, source.version)


def _without_replays(
    tx: Transaction, cube: CubeRow, drafts: Sequence[Replayable]
) -> tuple[list[Replayable], dict[int, Outcome]]:
    """What is new, and the outcome of each message that was stored by an earlier call."""
    new: list[Replayable] = []
    outcomes: dict[int, Outcome] = {}
    for each in drafts:
        known = _replayed(tx, cube.cid, each.draft) if each.replayable else None
        if known is None:
            new.append(each)
        else:
            outcomes[each.place] = Outcome("duplicate", known, "stored by an earlier call")
    return new, outcomes


def _replayed(tx: Transaction, cid: int, draft: Draft) -> str | None:
    row = tx.execute(
        "SELECT i.id FROM content t JOIN version v ON v.iid = t.iid AND v.tid = t.tid "
        "JOIN item i ON i.iid = v.iid WHERE t.cid = ? AND t.fold = ? AND v.time = ? "
        "AND v.conversation IS ? AND i.owner = ? AND i.drawn_from IS NULL LIMIT 1",
        (cid, draft.fold(), draft.time, draft.conversation, draft.owner or tx.principal.name),
    ).fetchone()
    return None if row is None else str(row[0])


def _covers_others(tx: Transaction, path: CubePath) -> bool:
    """Whether somebody else's cube lies under this path: grants on it would reach that cube."""
    found = tx.execute(
        "SELECT 1 FROM cube WHERE tenant = ?1 AND owner <> ?2 "
        "AND substr(path, 1, length(?3) + 1) = ?3 || '/' LIMIT 1",
        (tx.principal.tenant, tx.principal.name, path),
    ).fetchone()
    return found is not None and not tx.principal.is_admin


_TRUST_ORDER = ("user", "inference", "tool", "web", "import")
_VISIBILITY_ORDER = ("private", "inherit", "tenant", "public")


def _least_trusted(rows: Sequence[Stored]) -> str:
    return max((row.trust for row in rows), key=_TRUST_ORDER.index)


def _narrowest(rows: Sequence[Stored]) -> str:
    return min((row.visibility for row in rows), key=_VISIBILITY_ORDER.index)


def _iso(micros: int) -> str:
    return from_micros(micros).isoformat()
