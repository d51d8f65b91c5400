"""MemScheduler: looks at what is used, decides by pure policies, and moves memories between tiers.

Called by the facade and by the ``schedule`` task; reads usage records and moves through the
vault. A plan moves nothing. A rebalance carries a plan out in one transaction, and only if no
other rebalance came between, so that two of them cannot fill one tier together.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from memos_integrations.cube.errors import BackendUnavailable
from memos_integrations.cube.usage import Form, UsageRecord
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.usage_records import move, usage_records
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.scheduler.budget import Allowance, Budget
from memos_integrations.operation.scheduler.cube_use import cube_uses
from memos_integrations.operation.scheduler.decision import Decision, Plan
from memos_integrations.operation.scheduler.forms import FormExecutor, FormRules, choose_forms
from memos_integrations.operation.scheduler.placement import CubeForms, Host, PlacementRules
from memos_integrations.operation.scheduler.placing import place_cubes
from memos_integrations.operation.scheduler.policy import Policy
from memos_integrations.operation.scheduler.tiers import TierRules, place

_EPOCH = "scheduler.epoch"
_TRIES = 5
_MOVES_AT_ONCE = 2000
"""So that a rebalance holds up writers for milliseconds; the next one goes on."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a plan depends on, besides the records and the instant."""

    policy: Policy = field(default_factory=Policy)
    tiers: TierRules = field(default_factory=TierRules)
    forms: FormRules = field(default_factory=FormRules)
    hot: Budget = field(default_factory=lambda: Budget(Allowance(bytes=64 * 1024 * 1024)))
    """The hot tier, over all tenants and for each."""
    work: Budget = field(default_factory=lambda: Budget(Allowance(seconds=600.0)))
    """What one plan may spend on changes of form."""
    placing: PlacementRules = field(default_factory=PlacementRules)
    kept: Budget = field(
        default_factory=lambda: Budget(Allowance(bytes=4 * 1024**3, seconds=600.0))
    )
    """What the forms of cubes may take: bytes in all, seconds in one plan."""


class MemScheduler:
    """Plans and rebalances where and in which form memories live."""

    def __init__(
        self,
        vault: MemVault,
        *,
        rules: Rules,
        executors: Sequence[FormExecutor] = (),
        forms: CubeForms | None = None,
    ) -> None:
        """``executors`` carry single memories over into forms, ``forms`` whole cubes."""
        self._vault = vault
        self._forms = forms
        self.rules = rules
        self._executors: dict[Form, FormExecutor] = {each.form: each for each in executors}

    def plan(self) -> Plan:
        """What would be done now, over all tenants. Nothing moves."""
        self._get_ready()
        with self._vault.readers.snapshot() as connection:
            return self._plan(connection)

    def rebalance(self, *, cubes: Collection[tuple[str, str]] | None = None) -> Plan:
        """Carry out the tier moves of a fresh plan, and hand changes of form to their executors.

        ``cubes`` narrows it to these (tenant, path). Returns what was done; of forms, what was
        queued. Raises ``BackendUnavailable`` when other rebalances kept coming between.
        """
        self._get_ready()
        for _ in range(_TRIES):
            with self._vault.readers.snapshot() as connection:
                epoch, plan = _epoch(connection), self._plan(connection)
            chosen = only(plan, cubes)
            tiers = [each for each in chosen.moves if not each.migrates][:_MOVES_AT_ONCE]
            moved = self._vault.maintain(partial(_carry_out, epoch=epoch, moves=tiers))
            if moved is not None:
                done = moved + self._migrate(chosen)
                if self._forms is not None and chosen.form_moves:
                    self._forms.migrate(chosen.form_moves)
                left = tuple(each for each in chosen.decisions if each.fate != "move")
                return replace(chosen, decisions=(*done, *left))
        raise BackendUnavailable("other rebalances kept coming between; try again later")

    def _plan(self, connection: sqlite3.Connection) -> Plan:
        now, rules = self._vault.now(), self.rules
        records = usage_records(connection, now=now)
        placed = place(records, policy=rules.policy, rules=rules.tiers, budget=rules.hot, now=now)
        hosts = () if self._forms is None else self._forms.hosts(connection)
        of_cubes = frozenset[Form]().union(*(host.prices for host in hosts))
        forms, spending = choose_forms(
            records,
            policy=rules.policy,
            rules=rules.forms,
            budget=rules.work,
            executors=set(self._executors),
            now=now,
            but=of_cubes,
        )
        plan = Plan(
            now,
            (*placed.decisions, *forms),
            len(records),
            placed.hot,
            spending,
            hosted=tuple(host.name for host in hosts),
            counts=Counter((each.tenant, each.path) for each in records),
        )
        return self._with_placements(connection, plan, records, hosts) if hosts else plan

    def _with_placements(
        self,
        connection: sqlite3.Connection,
        plan: Plan,
        records: Sequence[UsageRecord],
        hosts: Sequence[Host],
    ) -> Plan:
        assert self._forms is not None  # noqa: S101  -- the hosts come from there
        uses = cube_uses(
            records,
            asks=self._forms.asks(connection),
            half_life_seconds=self.rules.policy.half_life_seconds,
            now=plan.at,
        )
        placements, kept = place_cubes(
            uses,
            hosts,
            self._forms.standings(connection),
            rules=self.rules.placing,
            budget=self.rules.kept,
        )
        return replace(plan, placements=placements, kept=kept)

    def _get_ready(self) -> None:
        if self._forms is not None:
            self._forms.get_ready()

    def _migrate(self, plan: Plan) -> tuple[Decision, ...]:
        done: tuple[Decision, ...] = ()
        for form, executor in self._executors.items():
            mine = tuple(d for d in plan.moves if d.migrates and form == _carrier(d))
            if mine:
                executor.migrate(mine)
                done += mine
        return done


def only(plan: Plan, cubes: Collection[tuple[str, str]] | None) -> Plan:
    """The part of a plan that concerns these cubes. What a tenant spends is told where these are
    all its cubes that hold anything: it is of no single one."""
    if cubes is None:
        return plan
    others = {tenant for tenant, path in plan.counts if (tenant, path) not in cubes}
    tenants = {tenant for tenant, _ in cubes} - others
    counts = {cube: count for cube, count in plan.counts.items() if cube in cubes}
    return replace(
        plan,
        decisions=tuple(d for d in plan.decisions if (d.tenant, d.cube) in cubes),
        considered=sum(counts.values()),
        hot={name: each for name, each in plan.hot.items() if name in tenants},
        forms={name: each for name, each in plan.forms.items() if name in tenants},
        placements=tuple(p for p in plan.placements if (p.tenant, p.path) in cubes),
        kept={name: each for name, each in plan.kept.items() if name in tenants},
        counts=counts,
    )


def _carrier(decision: Decision) -> Form:
    return decision.form if decision.form != "plaintext" else decision.from_form


def _epoch(connection: sqlite3.Connection | Transaction) -> int:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_EPOCH,)).fetchone()
    return 0 if row is None else int(row[0])


def _carry_out(
    tx: Transaction, *, epoch: int, moves: Sequence[Decision]
) -> tuple[Decision, ...] | None:
    """The moves that were made; ``None``, and nothing done, where another rebalance was quicker."""
    if _epoch(tx) != epoch:
        return None
    if not moves:
        return ()
    tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_EPOCH, epoch + 1))
    done = tuple(d for d in moves if move(tx, d.row, before=d.from_tier, to=d.to_tier))
    lines: dict[tuple[str, str, str], list[str]] = {}
    for each in done:
        step = f"{each.from_tier} to {each.to_tier}"
        lines.setdefault((each.tenant, each.cube, step), []).append(each.item)
    for (tenant, cube, step), items in sorted(lines.items()):
        tx.audit("tier", cube=cube, items=items, reason=step, tenant=tenant)
    return done
