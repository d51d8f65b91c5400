"""What a memory is worth keeping near: a weighted sum of named terms over its usage record.

Pure: the instant is an argument, nothing is remembered, so the same records give the same scores
in a plan, in a rebalance and in a simulation. Called by ``tiers``, ``forms`` and the working set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from memos_integrations.cube.usage import HALF_LIFE_SECONDS, MICROS, UsageRecord, cooled

TermName: TypeAlias = Literal["recency", "frequency", "closeness", "labels", "priority", "cost"]

PREFILL_TOKENS_PER_SECOND: Final = 1000.0
"""A modest machine's prefill, to turn tokens saved into seconds saved."""

_TYPE_FACTOR: Final[Mapping[str, float]] = {
    "working": 2.0,
    "preference": 1.5,
    "user": 1.5,
    "skill": 1.5,
    "tool": 0.75,
    "document": 0.5,
}
"""How often a read of this type saves rereading it: documents are read in parts, working memory
at each turn. 1 for every other type."""

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of a score."""

    name: TermName
    value: float
    weight: float
    why: str

    @property
    def amount(self) -> float:
        return self.value * self.weight


@dataclass(frozen=True, slots=True)
class Score:
    """What a policy says of one memory. ``total`` is the sum of the terms, nothing else."""

    terms: tuple[Term, ...]

    @property
    def total(self) -> float:
        return math.fsum(term.amount for term in self.terms)


@dataclass(frozen=True, slots=True)
class Policy:
    """Weights of the terms, on absolute scales; a term of weight 0 is left out."""

    weights: Mapping[TermName, float] = field(
        default_factory=lambda: {
            "frequency": 1.0,
            "recency": 0.25,
            "closeness": 1.0,
            "labels": 0.5,
            "priority": 0.5,
            "cost": 0.25,
        }
    )
    half_life_seconds: float = HALF_LIFE_SECONDS
    """Of heat; the same that it is kept with."""
    recency_seconds: float = _DAY
    """After how long the recency term has halved."""
    favoured: frozenset[str] = frozenset()
    """Labels and tags that are worth more."""

    def score(self, record: UsageRecord, *, now: int) -> Score:
        """The memory's terms at ``now``."""
        terms = tuple(
            _term(name, weight, _TERMS[name](self, record, now))
            for name, weight in sorted(self.weights.items())
            if weight
        )
        return Score(terms)

    def heat(self, record: UsageRecord, *, now: int) -> float:
        """Reads of the memory, decayed to ``now``."""
        return cooled(
            record.heat, since=record.heat_at, now=now, half_life_seconds=self.half_life_seconds
        )


Measured: TypeAlias = tuple[float, str]


def _term(name: TermName, weight: float, measured: Measured) -> Term:
    return Term(name, measured[0], weight, measured[1])


def _recency(policy: Policy, record: UsageRecord, now: int) -> Measured:
    if record.last is None:
        return 0.0, "never read"
    seconds = max(0, now - record.last) / MICROS
    return 0.5 ** min(1000.0, seconds / policy.recency_seconds), f"read {_span(seconds)} ago"


def _frequency(policy: Policy, record: UsageRecord, now: int) -> Measured:
    heat = policy.heat(record, now=now)
    return math.log2(1.0 + heat), f"{record.count} reads, {heat:.2f} after decay"


def _closeness(_: Policy, record: UsageRecord, now: int) -> Measured:
    del now
    near = min(1.0, max(0.0, record.closeness))
    return near, f"cosine {near:.2f} to the work in hand" if near else "no work in hand is known"


def _labels(policy: Policy, record: UsageRecord, now: int) -> Measured:
    del now
    hits = sorted(policy.favoured.intersection((*record.labels, *record.tags)))
    return float(bool(hits)), "favoured by " + ", ".join(hits) if hits else "no favoured label"


def _priority(_: Policy, record: UsageRecord, now: int) -> Measured:
    del now
    return min(1.0, max(-1.0, record.priority)), f"priority {record.priority:g}"


def _cost(_: Policy, record: UsageRecord, now: int) -> Measured:
    del now
    seconds = saved_seconds(record)
    per_kib = seconds / (max(1, record.bytes) / 1024)
    value = per_kib / (1.0 + per_kib)
    return value, f"saves {seconds:.3f} s a read for {record.bytes} bytes ({record.memory_type})"


_TERMS = {
    "recency": _recency,
    "frequency": _frequency,
    "closeness": _closeness,
    "labels": _labels,
    "priority": _priority,
    "cost": _cost,
}


def saved_seconds(record: UsageRecord) -> float:
    """What one read of it at hand saves, by the tokens it spares and the type it is of."""
    factor = _TYPE_FACTOR.get(record.memory_type, 1.0)
    return record.tokens * factor / PREFILL_TOKENS_PER_SECOND


def _span(seconds: float) -> str:
    for unit, size in (("d", _DAY), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
