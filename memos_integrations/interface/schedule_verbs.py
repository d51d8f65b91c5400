"""The verbs of the scheduler: what is in mind, what would move, and moving it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.errors import AccessDenied
from memos_integrations.cube.ids import CubePath
from memos_integrations.cube.item import MemoryItem
from memos_integrations.cube.ports import Vector
from memos_integrations.cube.usage import Tier, UsageRecord, cooled
from memos_integrations.infrastructure.backends.embedders import embed_query
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.infrastructure.vault.usage_records import usage_records
from memos_integrations.interface.arguments import texts, whole
from memos_integrations.interface.base import Verbs
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.operation.scheduler.decision import Plan
from memos_integrations.operation.scheduler.policy import Term
from memos_integrations.operation.scheduler.scheduler import only
from memos_integrations.operation.scheduler.working_set import choose

_CONSIDERED = 1000
_CLOSEST = 200


@dataclass(frozen=True, slots=True)
class WorkingMemory:
    """A memory of the working set, and why it is in it."""

    item: MemoryItem
    line: str
    """As it would stand in a prompt."""
    tokens: int
    tier: Tier
    score: float
    terms: tuple[Term, ...]


class ScheduleVerbs(Verbs):
    """Working set, plan and rebalance."""

    def working_set(
        self,
        *,
        budget_tokens: int = 1000,
        query: str | Sequence[str] | None = None,
        favoured: Sequence[str] = (),
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> list[WorkingMemory]:
        """The memories most worth having at hand now, best first, within ``budget_tokens``.

        ``query`` is the work in hand: one question or the latest few, whose middle is taken.
        ``favoured`` are labels or tags that are worth more. Being in it is no read: it makes
        nothing hotter.
        """
        whole(budget_tokens, "budget_tokens", least=1)
        scope = self._scope(user, agent, session, cube)
        aim = self._aim(query)
        rules = self._rooms.scheduler.rules
        policy = replace(
            rules.policy, favoured=rules.policy.favoured | frozenset(texts(favoured, "favoured"))
        )
        self._rooms.vault.flush_reads()
        with self._reading(scope, action="working_set") as reading:
            records, rows = self._usable(reading, scope, aim)
        items = {iid: to_item(row, scope.principal) for iid, row in rows.items()}
        lines = {
            record.item: self._rooms.lines.line(items[record.item], keep=record.tier == "hot")
            for record in records
        }
        chosen = choose(
            records,
            policy=policy,
            budget_tokens=budget_tokens,
            tokens=lambda record: lines[record.item].tokens,
            now=self._rooms.vault.now(),
        )
        self._audit_shown(scope, [rows[each.record.item] for each in chosen])
        return [
            WorkingMemory(
                items[each.record.item],
                lines[each.record.item].text,
                each.tokens,
                each.record.tier,
                each.score.total,
                each.score.terms,
            )
            for each in chosen
        ]

    def plan(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> Plan:
        """What ``rebalance`` would do to the cubes of the scope, with every reason. Nothing moves.

        ``decisions`` are about single memories, ``placements`` about the form of each cube for
        each model that this program hosts: text, KV-cache or adapter, by seconds and bytes.
        Needs admin rights on them; a tenant's admin who names no cube sees the whole tenant. What
        the tenant spends stands there for whoever rules all that it holds.
        """
        scope = self._scope(user, agent, session, cube)
        cubes = self._ruled(scope, named=cube is not None)
        self._rooms.vault.flush_reads()
        return only(self._rooms.scheduler.plan(), cubes)

    def rebalance(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> Plan:
        """Move memories between tiers by a fresh plan, and queue the changes of form of cubes for
        the models that this program hosts; ``work`` or the workers carry those out.

        As ``plan`` for whose. Readers are never held up, and nothing that is read changes.
        Returns what was done.
        """
        scope = self._scope(user, agent, session, cube)
        cubes = self._ruled(scope, named=cube is not None)
        self._rooms.vault.flush_reads()
        return self._rooms.scheduler.rebalance(cubes=cubes)

    # -- what the verbs share -----------------------------------------------------------------

    def _ruled(self, scope: Scope, *, named: bool) -> set[tuple[str, str]]:
        """(tenant, path) of the cubes the asker rules, or ``AccessDenied``."""
        who = scope.principal
        with self._reading(scope, action="plan", need=Permission.ADMIN) as reading:
            if who.is_admin and not named:
                gates = [g for g in reading.governed.gates() if g.tenant == who.tenant]
                return {(g.tenant, g.path) for g in gates if g.open}
            cubes = self._cubes(reading, scope, Permission.ADMIN)
            for gate in reading.governed.gates([row.cid for row in cubes]):
                if not gate.open:
                    refusal = AccessDenied(
                        f"{who.name} may not admin cube {gate.path}; ask its owner for a grant"
                    )
                    refusal.cube = CubePath(gate.path)
                    raise refusal
            return {(row.tenant, row.path) for row in cubes}

    def _aim(self, query: str | Sequence[str] | None) -> Vector | None:
        asked = (
            [] if query is None else texts([query] if isinstance(query, str) else query, "query")
        )
        if self._rooms.embedder is None:
            return None
        made = [embed_query(self._rooms.embedder, each) for each in asked if each.strip()]
        if not made:
            return None
        middle = np.mean(np.stack(made), axis=0)
        return np.asarray(middle / (np.linalg.norm(middle) or 1.0), dtype=np.float32)

    def _usable(
        self, reading: Reading, scope: Scope, aim: Vector | None
    ) -> tuple[list[UsageRecord], dict[int, Stored]]:
        """The records most in question, and their rows as the asker may see them."""
        cids = [each.cid for each in self._open_cubes(reading, scope)]
        allowed = [n for _, n, _ in reading.governed.rows(cids=cids, where=scope.where(None))]
        now = self._rooms.vault.now()
        records = usage_records(reading.connection, now=now, items=allowed)
        records = self._with_closeness(reading, records, aim)
        best = {r.item: r for r in _most_in_question(records, now, self._half_life)}
        rows = reading.governed.items(list(best), cids=cids, pick="searchable")
        return [best[row.iid] for row in rows], {row.iid: row for row in rows}

    @property
    def _half_life(self) -> float:
        return self._rooms.vault.half_life_seconds

    def _with_closeness(
        self, reading: Reading, records: list[UsageRecord], aim: Vector | None
    ) -> list[UsageRecord]:
        if aim is None:
            return records
        found = reading.connection.execute(
            "SELECT v.iid, e.vec FROM version v JOIN embedding e ON e.tid = v.tid AND e.model = ? "
            "WHERE v.seq_to > ? AND v.iid IN (SELECT value FROM json_each(?))",
            (self._rooms.vault.model, 2**63 - 2, json.dumps([r.item for r in records])),
        )
        near = {iid: float(np.frombuffer(vec, dtype="<f4") @ aim) for iid, vec in found}
        return [replace(r, closeness=near.get(r.item, 0.0)) for r in records]

    def _audit_shown(self, scope: Scope, rows: Sequence[Stored]) -> None:
        self._rooms.vault.shown(scope.principal, "working_set", rows, cubes=scope.cubes, used=False)


def _most_in_question(
    records: Sequence[UsageRecord], now: int, half_life_seconds: float
) -> list[UsageRecord]:
    """The warmest, the closest, the weightiest and the newest: enough to fill any budget."""

    def heat(record: UsageRecord) -> float:
        return cooled(
            record.heat, since=record.heat_at, now=now, half_life_seconds=half_life_seconds
        )

    by_use = sorted(records, key=lambda r: (-heat(r), -r.priority, -r.created, r.item))
    by_meaning = sorted(records, key=lambda r: (-r.closeness, r.item))[:_CLOSEST]
    weighty = sorted(records, key=lambda r: (-r.priority, -len(r.labels) - len(r.tags), r.item))
    chosen = [*by_use[:_CONSIDERED], *by_meaning, *weighty[:_CLOSEST]]
    return list({record.item: record for record in chosen}.values())
