"""The verbs that write memories: sugar over operations, each one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from memos_integrations.cube.acl import Trust, Visibility
from memos_integrations.cube.header import MemoryType, Origin, Relation
from memos_integrations.cube.item import BlobRef
from memos_integrations.cube.ops import (
    ActivateOp,
    AddOp,
    ArchiveOp,
    DeleteOp,
    LinkOp,
    MergeOp,
    Operation,
    SplitOp,
    UnlinkOp,
    UpdateOp,
)
from memos_integrations.cube.outcomes import AddResult, Changed, Outcome
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.interface.arguments import clean_reason, texts
from memos_integrations.interface.base import Verbs
from memos_integrations.interface.idempotency import Request, run_once
from memos_integrations.interface.pipeline import Pipeline
from memos_integrations.interface.portability import renewed
from memos_integrations.interface.reader import About, Messages, as_enum, as_list
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.interface.tool_messages import read_messages
from memos_integrations.interface.updates import update_columns


class Writes(Verbs):
    """Adding, correcting, removing, merging and linking memories."""

    def add(
        self,
        messages: Messages,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        memory_type: MemoryType | str | None = None,
        tags: Sequence[str] = (),
        info: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        blobs: Sequence[BlobRef] = (),
        labels: Sequence[str] = (),
        visibility: Visibility | str = Visibility.INHERIT,
        trust: Trust | str | None = None,
        origin: Origin | str | None = None,
        source: str | None = None,
        model: str | None = None,
        priority: float = 0.0,
        confidence: float = 1.0,
        time: datetime | None = None,
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        ttl_seconds: float | None = None,
        derived_from: Sequence[str] = (),
        idempotency_key: str | None = None,
        reason: str = "added",
    ) -> AddResult:
        """Remember messages: durable and searchable on return, refined in the background.

        ``messages`` is text, a mapping of ``role``, ``content`` and optional ``time``, ``name``,
        ``session``, ``id``, a chat message object, or a list of these. One outcome per message.
        Raises ``InvalidInput`` when the call is malformed or nothing at all could be stored.
        """
        scope = self._scope(user, agent, session, cube)
        about = About.of(
            memory_type=memory_type,
            tags=tags,
            info={} if info is None else info,
            data=data,
            blobs=renewed(self._rooms.vault, blobs),
            labels=labels,
            visibility=visibility,
            trust=trust,
            origin=origin,
            source=source,
            model=model,
            priority=priority,
            confidence=confidence,
            time=time,
            valid_from=valid_from,
            valid_to=valid_to,
            ttl_seconds=ttl_seconds,
        )
        sources = texts(derived_from, "derived_from")
        rooms = self._rooms
        turns, told = read_messages(as_list(messages))
        drafts, refused = rooms.reader.read(turns, about, scope.principal, now=rooms.vault.now())
        op = AddOp(scope.cube, tuple(drafts), sources, reason)
        request = Request("add", turns, about, sources, *scope.where_said)
        done = self._run(scope, op, idempotency_key, request)
        assert isinstance(done, AddResult)  # noqa: S101  -- what an AddOp gives
        return _with_refused(done, refused | told)

    def update(
        self,
        item: str,
        text: str | None = None,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        tags: Sequence[str] | None = None,
        info: Mapping[str, Any] | None = None,
        memory_type: MemoryType | str | None = None,
        priority: float | None = None,
        confidence: float | None = None,
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        reason: str = "corrected",
    ) -> Changed:
        """Correct a memory: a new version; what was derived from the old words turns stale.

        Raises ``VersionConflict`` when somebody wrote since ``expected_version``.
        """
        scope = self._scope(user, agent, session, cube)
        columns = update_columns(
            tags=tags,
            info=info,
            memory_type=None
            if memory_type is None
            else as_enum(MemoryType, memory_type, "memory_type"),
            priority=priority,
            confidence=confidence,
            valid_from=valid_from,
            valid_to=valid_to,
            keep=self._rooms.reader.keep,
        )
        if text is not None:
            self._rooms.reader.require_text(text)
        op = UpdateOp(item, text, columns, expected_version, reason)
        return self._change(scope, op, idempotency_key)

    def delete(
        self,
        item: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        idempotency_key: str | None = None,
        reason: str = "deleted",
    ) -> Changed:
        """Remove a memory from every present read. History keeps it; ``erase`` does not."""
        scope = self._scope(user, agent, session, cube)
        return self._change(scope, DeleteOp(item, reason), idempotency_key)

    def merge(
        self,
        items: Sequence[str],
        text: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        idempotency_key: str | None = None,
        reason: str = "merged",
    ) -> Changed:
        """One new memory in place of several of one cube. The sources can be split out again."""
        scope = self._scope(user, agent, session, cube)
        self._rooms.reader.require_text(text)
        return self._change(scope, MergeOp(texts(items, "items"), text, reason), idempotency_key)

    def split(
        self,
        item: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        idempotency_key: str | None = None,
        reason: str = "split",
    ) -> Changed:
        """Undo a merge: the sources come back, the merged memory is archived."""
        scope = self._scope(user, agent, session, cube)
        return self._change(scope, SplitOp(item, reason), idempotency_key)

    def archive(
        self,
        item: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        idempotency_key: str | None = None,
        reason: str = "archived",
    ) -> Changed:
        """Take a memory out of searches; ``activate`` brings it back."""
        scope = self._scope(user, agent, session, cube)
        return self._change(scope, ArchiveOp(item, reason), idempotency_key)

    def activate(
        self,
        item: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        idempotency_key: str | None = None,
        reason: str = "activated",
    ) -> Changed:
        """Bring an archived memory back, or confirm a stale one."""
        scope = self._scope(user, agent, session, cube)
        return self._change(scope, ActivateOp(item, reason), idempotency_key)

    def link(
        self,
        source: str,
        relation: Relation | str,
        target: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        idempotency_key: str | None = None,
    ) -> Changed:
        """Draw a typed link from one memory to another."""
        scope = self._scope(user, agent, session, cube)
        op = LinkOp(source, as_enum(Relation, relation, "relation"), target)
        return self._change(scope, op, idempotency_key)

    def unlink(
        self,
        source: str,
        relation: Relation | str,
        target: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        idempotency_key: str | None = None,
    ) -> Changed:
        """Take a link away; the past keeps it."""
        scope = self._scope(user, agent, session, cube)
        op = UnlinkOp(source, as_enum(Relation, relation, "relation"), target)
        return self._change(scope, op, idempotency_key)

    def pipeline(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        idempotency_key: str | None = None,
    ) -> Pipeline:
        """Collect operations and run them as one unit: all of them commit, or none does.

        ``with mos.pipeline(user="alice") as p: p.add(...); p.update(...)`` runs at the end of
        the block; ``p.results`` then holds one result per operation.
        """
        scope = self._scope(user, agent, session, cube)
        return Pipeline(self._rooms, scope, self._execute, idempotency_key)

    # -- what the verbs share -----------------------------------------------------------------

    def _change(self, scope: Scope, op: Operation, key: str | None) -> Changed:
        done = self._run(scope, op, key, Request(type(op).__name__, op))
        assert isinstance(done, Changed)  # noqa: S101  -- what every op but AddOp gives
        return done

    def _run(
        self, scope: Scope, op: Operation, key: str | None, request: Request
    ) -> AddResult | Changed:
        return self._execute(scope, [op], key, request)[0]

    def _execute(
        self, scope: Scope, ops: Sequence[Operation], key: str | None, request: Request
    ) -> list[AddResult | Changed]:
        def work(tx: Transaction) -> list[AddResult | Changed]:
            return run_once(tx, key, request, lambda: self._rooms.executor.execute(tx, ops))

        for op in ops:
            clean_reason(getattr(op, "reason", ""))
        action = type(ops[0]).__name__.removesuffix("Op").lower() if ops else "pipeline"
        if not any(isinstance(op, AddOp) for op in ops):
            return self._write(scope, work, action=action)
        waited = self._rooms.pressure.wait(scope.principal.tenant)
        return [_noting(done, waited.remark) for done in self._write(scope, work, action=action)]


def _noting(done: AddResult | Changed, remark: str | None) -> AddResult | Changed:
    """The result, saying of what was stored under pressure that it is refined later."""
    if remark is None or isinstance(done, Changed):
        return done
    told = (replace(o, reason=remark) if o.status == "stored" else o for o in done.outcomes)
    return replace(done, outcomes=tuple(told))


def _with_refused(done: AddResult, refused: Mapping[int, Outcome]) -> AddResult:
    """The outcomes in the order of the messages, the refused ones in their places."""
    if not refused:
        return done
    stored = iter(done.outcomes)
    total = len(done.outcomes) + len(refused)
    outcomes = tuple(refused[n] if n in refused else next(stored) for n in range(total))
    return replace(done, outcomes=outcomes)
