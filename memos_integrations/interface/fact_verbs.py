"""The verbs about facts: what is known of somebody, and answers to plain questions."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import datetime

from memos_integrations.cube.facts import FactKind
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.interface.arguments import whole
from memos_integrations.interface.reader import as_enum
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import CubeName, Scope, Where
from memos_integrations.operation.facts.finding import Asked, FactView, find_facts


class FactVerbs(Reads):
    """Looking up what was drawn from what people said."""

    def facts(
        self,
        subject: str | None = None,
        attribute: str | None = None,
        *,
        kind: FactKind | str | None = None,
        valid_at: datetime | str | None = None,
        history: bool = False,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        limit: int = 100,
    ) -> builtins.list[FactView]:
        """The facts that hold (or held ``valid_at`` a time), oldest first.

        What several memories say is one fact with several ``sources``. ``history=True`` gives
        every fact there is: those that ended, and those taken back because their source changed.
        """
        whole(limit, "limit", least=0)
        scope = self._scope(user, agent, session, cube)
        instant = self._valid(valid_at)
        asked = Asked(
            subject=subject,
            attributes=None if attribute is None else frozenset({attribute}),
            kind=None if kind is None else as_enum(FactKind, kind, "kind"),
            history=history,
            at=self._rooms.vault.now() if instant.valid_micros is None else instant.valid_micros,
            exact=instant.valid_micros is not None,
        )
        return self._facts(scope, asked, filter, valid_at, limit, action="facts")

    def _facts(
        self,
        scope: Scope,
        asked: Asked,
        given: Where,
        valid_at: datetime | str | None,
        limit: int,
        *,
        action: str,
    ) -> builtins.list[FactView]:
        where = scope.where(given)
        with self._reading(scope, action=action, instant=self._valid(valid_at)) as reading:
            cids = [c.cid for c in self._open_cubes(reading, scope)]
            found = find_facts(reading, cids, asked, where)[:limit]
        rows: builtins.list[Stored] = [row for row, _ in found]
        self._rooms.vault.shown(scope.principal, action, rows, cubes=scope.cubes)
        return [view for _, view in found]


__all__ = ["FactVerbs", "FactView"]
