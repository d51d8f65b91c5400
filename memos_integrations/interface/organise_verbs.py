"""The verbs that organise memory: summaries of what belongs together."""

from __future__ import annotations

from dataclasses import dataclass

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.errors import InvalidInput, NotFound
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.interface.arguments import whole
from memos_integrations.interface.base import Verbs
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.interface.time_verbs import require_cube
from memos_integrations.operation.operator.clusters import Limits, clusters
from memos_integrations.operation.operator.consolidate import queue_consolidation, read_cards

_MOST = 40


@dataclass(frozen=True, slots=True)
class PlannedCluster:
    """Memories that a consolidation would put together."""

    items: tuple[str, ...]
    texts: tuple[str, ...]


class OrganiseVerbs(Verbs):
    """Putting memories together without taking any away."""

    def consolidate(
        self,
        *,
        min_cluster: int = 3,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> str:
        """Sum up what belongs together in a cube, in the background; the id of the task.

        Every summary is ``derived_from`` its sources, which stay as they are and are found as
        before. ``wait`` for the task; its ``result`` says what was made, renewed, withdrawn and
        left, with reasons. Doing it again changes nothing until memories came or changed.
        """
        whole(min_cluster, "min_cluster", least=2, most=_MOST)
        scope = _whole_cube(self._scope(user, agent, session, cube))

        def work(tx: Transaction) -> str:
            row = require_cube(tx, scope, Permission.WRITE)
            tx.gate(row, Permission.WRITE)
            tx.audit("consolidate", cube=row.path)
            return queue_consolidation(tx, row, min_cluster=min_cluster)

        return self._write(scope, work, action="consolidate")

    def plan_consolidation(
        self,
        *,
        min_cluster: int = 3,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> list[PlannedCluster]:
        """What ``consolidate`` would put together, of the memories the asker may change."""
        whole(min_cluster, "min_cluster", least=2, most=_MOST)
        scope = _whole_cube(self._scope(user, agent, session, cube))
        with self._reading(scope, action="plan_consolidation", need=Permission.WRITE) as reading:
            cubes = self._open_cubes(reading, scope)
            if not cubes:
                raise NotFound(f"there is no cube {scope.cube} for {scope.principal.name}")
            cid = cubes[0].cid
            cards = read_cards(reading.connection, cube=cid, model=self._rooms.vault.model)
            rows = {
                row.iid: row
                for row in reading.governed.items(
                    [card.item for card in cards], cids=[cid], pick="searchable"
                )
            }
        groups = clusters([c for c in cards if c.item in rows], Limits(least=min_cluster))
        shown = [rows[card.item] for group in groups for card in group]
        self._rooms.vault.shown(scope.principal, "plan_consolidation", shown, cubes=scope.cubes)
        return [
            PlannedCluster(
                tuple(rows[card.item].id for card in group), tuple(card.text for card in group)
            )
            for group in groups
        ]


def _whole_cube(scope: Scope) -> Scope:
    if scope.narrow is not None or len(scope.cubes) != 1:
        raise InvalidInput("consolidation works on one whole cube: leave session and agent out")
    return scope
