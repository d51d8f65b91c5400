"""In which form a memory should live: plaintext, activation or parametric. Decided here, purely.

What carries a decision out is a ``FormExecutor``; where none is registered for a form the plan
says so and nothing happens. Text stays the truth in every form.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from memos_integrations.cube.usage import MICROS, Form, UsageRecord
from memos_integrations.operation.scheduler.budget import NOTHING, Allowance, Budget, Ledger
from memos_integrations.operation.scheduler.decision import Decision, Fate, Spending
from memos_integrations.operation.scheduler.policy import (
    PREFILL_TOKENS_PER_SECOND,
    Policy,
    saved_seconds,
)

TRUSTED = ("user", "inference")
"""Trust classes whose memories may be promoted. A page, a tool or an import never is."""

_DAY = 86_400.0


@runtime_checkable
class FormExecutor(Protocol):
    """Carries memories over into one form, or back out of it."""

    @property
    def form(self) -> Form: ...

    def migrate(self, decisions: tuple[Decision, ...], /) -> None:
        """Do it, durably and more than once without harm: a decision may come again."""
        ...


@dataclass(frozen=True, slots=True)
class FormRules:
    """When a form pays. A half-life of reads is what the heat is measured by."""

    activation_heat: float = 4.0
    """So many reads, decayed, make a stable memory worth a cache of its own."""
    stable_seconds: float = 1 * _DAY
    """So long unchanged counts as stable."""
    parametric_heat: float = 8.0
    long_stable_seconds: float = 30 * _DAY
    leave_share: float = 0.5
    """A form is left at this share of the heat that it is entered at."""
    train_seconds_per_token: float = 0.5
    """What training costs per token of text, about, to be held against a budget in seconds."""


def choose_forms(
    records: Iterable[UsageRecord],
    *,
    policy: Policy,
    rules: FormRules,
    budget: Budget,
    executors: Collection[Form],
    now: int,
    but: Collection[Form] = (),
) -> tuple[tuple[Decision, ...], dict[str, Spending]]:
    """Changes of form at ``now`` and what they would cost each tenant, dearest need first.

    ``but`` are forms that whole cubes change for hosted models, so not decided here. Nor is what
    was made by use or by hand left where nobody could carry that out.
    """
    able, others = frozenset(executors), frozenset(but)
    judged = (_decide(each, policy, rules, able, others, now) for each in records)
    wanted = [each for each in judged if each is not None]
    demands: dict[str, Allowance] = {}
    for each in wanted:
        if each.fate == "move":
            demands[each.tenant] = demands.get(each.tenant, NOTHING).plus(each.cost)
    shares = budget.shares(demands)
    ledgers = {name: Ledger(share) for name, share in shares.items()}
    ordered = sorted(wanted, key=lambda d: (-d.benefit_seconds, d.row))
    decided = tuple(_within(each, ledgers.get(each.tenant)) for each in ordered)
    return decided, {n: Spending(shares[n], ledgers[n].spent) for n in sorted(ledgers)}


def form_of(
    record: UsageRecord, heat: float, rules: FormRules, now: int
) -> tuple[Form, float, str]:
    """The form this memory should have, the heat that decides it, and why."""
    if not record.live:
        return "plaintext", 0.0, "withdrawn or outdated: only its text may stay"
    if record.trust not in TRUSTED:
        return "plaintext", 0.0, f"trust {record.trust}: never promoted"
    rest = (now - record.changed) / MICROS
    for form, enter, stable in (
        ("parametric", rules.parametric_heat, rules.long_stable_seconds),
        ("activation", rules.activation_heat, rules.stable_seconds),
    ):
        least = enter * rules.leave_share if record.form == form else enter
        if heat >= least and rest >= stable:
            why = f"heat {heat:.2f} of {least:g}, unchanged for {rest / _DAY:.1f} d"
            return form, least, why  # type: ignore[return-value]  # the names stand above
    return "plaintext", rules.activation_heat, f"heat {heat:.2f}, unchanged for {rest / _DAY:.1f} d"


def _decide(
    record: UsageRecord,
    policy: Policy,
    rules: FormRules,
    executors: frozenset[Form],
    but: frozenset[Form],
    now: int,
) -> Decision | None:
    heat = policy.heat(record, now=now)
    form, threshold, why = form_of(record, heat, rules, now)
    carrier = form if form != "plaintext" else record.form
    if form == record.form or carrier in but:
        return None
    fate: Fate = "move" if carrier in executors else "no executor"
    if form == "plaintext" and fate != "move":
        return None
    reasons = (why,) if fate == "move" else (why, f"no executor for {carrier} is registered")
    return Decision(
        item=record.id,
        row=record.item,
        cube=record.path,
        tenant=record.tenant,
        from_tier=record.tier,
        to_tier=record.tier,
        score=policy.score(record, now=now),
        threshold=threshold,
        reasons=reasons,
        fate=fate,
        from_form=record.form,
        form=form,
        cost=_cost(record, form, rules),
        benefit_seconds=saved_seconds(record) * heat,
    )


def _cost(record: UsageRecord, form: Form, rules: FormRules) -> Allowance:
    if form == "plaintext":
        return NOTHING
    per_token = 1.0 / PREFILL_TOKENS_PER_SECOND
    if form == "parametric":
        per_token = rules.train_seconds_per_token
    return Allowance(tokens=record.tokens, bytes=0.0, seconds=record.tokens * per_token)


def _within(each: Decision, ledger: Ledger | None) -> Decision:
    """The decision, held back where its cost does not fit the tenant's share."""
    if each.fate != "move" or ledger is None or ledger.reserve(each.cost):
        return each
    why = f"its {each.cost.seconds:.1f} s are over what is left of its tenant's share"
    return replace(each, fate="held", reasons=(*each.reasons, why))
