"""The verb that says what may still be shown: for caches, later steps and other services."""

from __future__ import annotations

from collections.abc import Sequence

from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.interface.arguments import texts, whole
from memos_integrations.interface.base import Verbs
from memos_integrations.interface.scope import CubeName, Scope, Where


class ShowableVerb(Verbs):
    """The last check before something found earlier is shown again."""

    def showable(
        self,
        items: Sequence[str],
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> list[MemoryItem]:
        """The memories of these ids that a search may show, in the order given.

        The rule is that of a search: what is archived, merged, stale, quarantined, expired, no
        longer valid, deleted or hidden from the asker is left out, and so is what is unknown.
        They may lie in any cube, as for ``get``, unless ``cube`` names where. Costs a look-up for
        each. Raises ``AccessDenied`` for a cube that is not there.
        """
        scope = self._scope(user, agent, session, cube)
        wanted = texts(items, "items")
        with self._reading(scope, action="get") as reading:
            rows = self._searchable(reading, scope, wanted)
        shown = [rows[each] for each in dict.fromkeys(wanted) if each in rows]
        self._rooms.vault.shown(scope.principal, "get", shown)
        return [to_item(row, scope.principal) for row in shown]

    def list_showable(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        limit: int = 100,
        offset: int = 0,
    ) -> list[MemoryItem]:
        """The memories of the scope that a search may show, newest first: ``list`` by the rule
        of ``showable``, facts too, in one snapshot. Raises as ``list``."""
        whole(limit, "limit", least=0)
        whole(offset, "offset", least=0)
        scope = self._scope(user, agent, session, cube)
        where = scope.where(filter)
        with self._reading(scope, action="list") as reading:
            cids = [each.cid for each in self._open_cubes(reading, scope)]
            rows = reading.governed.listing(
                cids=cids, pick="searchable", where=where, limit=limit, offset=offset
            )
        self._rooms.vault.shown(scope.principal, "list", rows, cubes=scope.cubes)
        return [to_item(row, scope.principal) for row in rows]

    def _searchable(
        self, reading: Reading, scope: Scope, wanted: Sequence[str]
    ) -> dict[str, Stored]:
        numbers = reading.numbers(wanted).values()
        cids = {cid for _, cid in numbers}
        if not scope.at_home:
            cids &= {cube.cid for cube in self._cubes(reading, scope)}
        found = reading.governed.items(
            [iid for iid, cid in numbers if cid in cids],
            cids=cids,
            pick="searchable",
            where=scope.narrow,
        )
        return {row.id: row for row in found}
