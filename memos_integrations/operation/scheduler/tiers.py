"""Which memories are hot, warm and cold: thresholds with hysteresis under shared budgets. Pure.

A memory enters a tier at one score and leaves it at another, a challenger must beat a resident of
a full tier by a margin, and whatever moved stays a while. So in any span of time a memory moves
at most ``span / residence + 1`` times, unless a budget shrinks or the memory is withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from memos_integrations.cube.usage import MICROS, Tier, UsageRecord
from memos_integrations.operation.scheduler.budget import NOTHING, Allowance, Budget, Ledger
from memos_integrations.operation.scheduler.decision import Decision, Fate, Spending
from memos_integrations.operation.scheduler.policy import Policy, saved_seconds

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class TierRules:
    """Thresholds of the tiers. The defaults let a memory in at about its second read."""

    enter_hot: float = 1.6
    leave_hot: float = 1.0
    margin: float = 0.25
    """By which share a challenger must beat a resident of the full hot tier."""
    residence_seconds: float = 3600.0
    """How long what moved stays, unless a budget or its withdrawal forces it out."""
    leave_cold: float = 0.5
    enter_cold: float = 0.1
    cold_after_seconds: float = 30 * _DAY
    """Nothing younger, or read or changed since, turns cold."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A record with the total of its score."""

    record: UsageRecord
    total: float

    @property
    def cost(self) -> Allowance:
        return Allowance(tokens=self.record.tokens, bytes=self.record.bytes, seconds=0.0)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where everything belongs: the moves, and each tenant's hot tier afterwards."""

    decisions: tuple[Decision, ...]
    hot: Mapping[str, Spending]
    residents: frozenset[int]
    """Item rows that are hot after the moves."""


def place(
    records: Iterable[UsageRecord], *, policy: Policy, rules: TierRules, budget: Budget, now: int
) -> Placed:
    """The tier of every memory at ``now``. Deterministic: ties go by row number."""
    judged = [Judged(record, policy.total(record, now=now)) for record in records]
    contenders = [each for each in judged if _contends(each, rules)]
    shares = budget.shares(_demands(contenders))
    ledgers = {tenant: Ledger(share) for tenant, share in shares.items()}
    admitted: set[int] = set()
    held: dict[int, str] = {}
    for each in sorted(contenders, key=lambda j: _order(j, rules, now)):
        why = _refusal(each, ledgers[each.record.tenant], rules, now)
        if why is None:
            admitted.add(each.record.item)
        else:
            held[each.record.item] = why
    decided = (_decide(each, admitted, held, rules, policy, now) for each in judged)
    moves = tuple(sorted((d for d in decided if d is not None), key=_in_order))
    hot = {name: Spending(shares[name], ledger.spent) for name, ledger in sorted(ledgers.items())}
    return Placed(moves, hot, frozenset(admitted))


def _contends(each: Judged, rules: TierRules) -> bool:
    if not each.record.live:
        return False
    resident = each.record.tier == "hot"
    return each.total >= (rules.leave_hot if resident else rules.enter_hot)


def _demands(contenders: Sequence[Judged]) -> dict[str, Allowance]:
    demands: dict[str, Allowance] = {}
    for each in contenders:
        tenant = each.record.tenant
        demands[tenant] = demands.get(tenant, NOTHING).plus(each.cost)
    return demands


def _order(each: Judged, rules: TierRules, now: int) -> tuple[bool, float, int]:
    """Whoever must stay comes first, then by score, in which a resident has its margin."""
    resident = each.record.tier == "hot"
    stays = resident and _rests(each.record, rules, now)
    lead = 1.0 + rules.margin if resident else 1.0
    return not stays, -each.total * lead, each.record.item


def _rests(record: UsageRecord, rules: TierRules, now: int) -> bool:
    return record.moved is not None and now - record.moved < rules.residence_seconds * MICROS


def _refusal(each: Judged, ledger: Ledger, rules: TierRules, now: int) -> str | None:
    if each.record.tier != "hot" and _rests(each.record, rules, now):
        return f"moved less than {rules.residence_seconds:g} s ago"
    if not ledger.reserve(each.cost):
        return (
            f"its {each.cost.bytes:.0f} bytes and {each.cost.tokens:.0f} tokens are over what is "
            "left of its tenant's share of the hot tier"
        )
    return None


def _decide(
    each: Judged,
    admitted: set[int],
    held: Mapping[int, str],
    rules: TierRules,
    policy: Policy,
    now: int,
) -> Decision | None:
    record = each.record
    to, threshold, why = _wanted(each, record.item in admitted, rules, now)
    fate: Fate = "move"
    reasons = [why]
    if record.item in held:
        reasons.append(held[record.item])
        if to == record.tier:
            to, fate, threshold = "hot", "held", rules.enter_hot
    elif {record.tier, to} == {"warm", "cold"} and _rests(record, rules, now):
        reasons.append(f"moved less than {rules.residence_seconds:g} s ago")
        fate = "held"
    if to == record.tier:
        return None
    return Decision(
        item=record.id,
        row=record.item,
        cube=record.path,
        tenant=record.tenant,
        from_tier=record.tier,
        to_tier=to,
        score=policy.score(record, now=now),
        threshold=threshold,
        reasons=tuple(reasons),
        fate=fate,
        from_form=record.form,
        form=record.form,
        cost=each.cost,
        benefit_seconds=saved_seconds(record) * policy.heat(record, now=now),
    )


def _wanted(each: Judged, admitted: bool, rules: TierRules, now: int) -> tuple[Tier, float, str]:
    """The tier it belongs into, the threshold that says so, and the words for it."""
    record, total = each.record, each.total
    if admitted:
        return "hot", rules.enter_hot, f"score {total:.3f} keeps it at hand"
    if record.tier == "hot":
        why = f"score {total:.3f} against {rules.leave_hot:g} to stay"
        return "warm", rules.leave_hot, why if record.live else "withdrawn: no search shows it"
    if record.tier == "cold":
        back = total > rules.leave_cold
        why = f"score {total:.3f} against {rules.leave_cold:g} to come back"
        return "warm" if back else "cold", rules.leave_cold, why
    return _cooled(record, total, rules, now)


def _cooled(
    record: UsageRecord, total: float, rules: TierRules, now: int
) -> tuple[Tier, float, str]:
    """Whether a warm memory turns cold. A frozen one is left as it lies."""
    idle = (now - max(record.created, record.changed, record.last or 0)) / MICROS
    if total <= rules.enter_cold and idle >= rules.cold_after_seconds and not record.frozen:
        why = f"score {total:.3f} is below {rules.enter_cold:g}, idle for {idle / _DAY:.0f} d"
        return "cold", rules.enter_cold, why
    return "warm", rules.enter_hot, f"score {total:.3f}"


def _in_order(each: Decision) -> tuple[str, int, int]:
    """Room is made before it is taken."""
    return each.fate, ("cold", "warm", "hot").index(each.to_tier), each.row
