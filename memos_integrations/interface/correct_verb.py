"""The verb by which a model corrects a memory without speaking as whoever said it.

Called by the tools of the adapters and by programs that let a model keep its own notes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from memos_integrations.cube.acl import Trust
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.header import Origin, Relation
from memos_integrations.cube.ops import AddOp, ArchiveOp, Replayable, UpdateOp
from memos_integrations.cube.outcomes import AddResult, Changed
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.interface.arguments import clean_reason
from memos_integrations.interface.hidden_as import hide_as
from memos_integrations.interface.idempotency import Request, run_once
from memos_integrations.interface.reader import About, Turn
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.interface.writes import Writes


@dataclass(frozen=True, slots=True)
class Corrected:
    """Where the model's words stand now."""

    id: str
    version: int
    replaced: str | None = None
    """The memory that was archived for it; ``None`` where the model corrected its own."""
    task_ids: tuple[str, ...] = ()
    """The fine stage; pass it to ``wait``."""


class CorrectVerb(Writes):
    """Corrections in the words of a model."""

    def correct(
        self,
        item: str,
        text: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        idempotency_key: str | None = None,
        reason: str = "corrected by a model",
    ) -> Corrected:
        """Correct a memory in the words of a model, in one transaction.

        What a model had inferred gets a new version. What a person, a tool, the web or an import
        said keeps its words and is archived: an update would lend the model the trust of whoever
        said them. The model's words stand in its place, marked as inferred, with the same tags
        and type, and seen by no more people and for no longer. An erase of one of the two takes the
        other along. ``update`` is for people.
        Raises ``NotFound`` or ``AccessDenied`` for a memory the asker may not see or change.
        """
        clean_reason(reason)
        self._rooms.reader.require_text(text)
        scope = self._scope(user, agent, session, cube)
        request = Request("correct", item, text, *scope.where_said)

        def work(tx: Transaction) -> list[AddResult | Changed]:
            return run_once(tx, idempotency_key, request, lambda: self._correct(tx, scope, step))

        step = UpdateOp(item, text, reason=reason)
        done = self._write(scope, work, action="update")
        return _corrected(done, item)

    def _correct(self, tx: Transaction, scope: Scope, step: UpdateOp) -> list[AddResult | Changed]:
        old = tx.item(step.item)
        executor = self._rooms.executor
        if old.trust == Trust.INFERENCE:
            return executor.execute(tx, [step])
        said = self._said(scope, old, step.text or "")
        hide_as([old], [said], scope)
        add = AddOp(scope.cube, (said,), reason=step.reason)
        done = executor.execute(tx, [add, ArchiveOp(old.id, step.reason)])
        made = _made(done[0])
        iid, cid = tx.numbers([made])[made]
        tx.keep_hidden(old, iid)
        tx.link_rows(cid, iid, Relation.REPLACES, old.iid, old.version)
        return done

    def _said(self, scope: Scope, old: Stored, text: str) -> Replayable:
        about = About.of(
            memory_type=old.memory_type,
            tags=json.loads(old.tags or "[]"),
            info={"replaces": old.id},
            trust=Trust.INFERENCE,
            origin=Origin.INFERENCE,
        )
        rooms, turn = self._rooms, Turn(text, role="assistant")
        drafts, refused = rooms.reader.read([turn], about, scope.principal, now=rooms.vault.now())
        if refused:
            raise InvalidInput(f"the correction cannot be stored: {refused[0].reason}")
        return drafts[0]


def _corrected(done: list[AddResult | Changed], item: str) -> Corrected:
    if isinstance(done[0], Changed):
        return Corrected(item, done[0].version, None, done[0].task_ids)
    return Corrected(_made(done[0]), 1, item, done[0].task_ids)


def _made(done: AddResult | Changed) -> str:
    assert isinstance(done, AddResult)  # noqa: S101  -- what an AddOp gives
    return done.id
