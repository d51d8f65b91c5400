"""What a memory is worth keeping near: a weighted sum of named terms over its usage record.

Pure: the instant is an argument, nothing is remembered, so the same records give the same scores
in a plan, in a rebalance and in a simulation. Called by ``tiers``, ``forms`` and the working set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
            Term(name, _VALUES[name](self, record, now), weight, _WORDS[name](self, record, now))
            for name, weight in sorted(self.weights.items())
            if weight
        )
        return Score(terms)

    def total(self, record: UsageRecord, *, now: int) -> float:
        """The total of ``score``, without what is said of the terms."""
        weights = self.weights.items()
        return math.fsum(_VALUES[name](self, record, now) * w for name, w in weights if w)

    def heat(self, record: UsageRecord, *, now: int) -> float:
        """Reads of the memory, decayed to ``now``."""
        return cooled(
            record.heat, since=record.heat_at, now=now, half_life_seconds=self.half_life_seconds
        )


def _recency(policy: Policy, record: UsageRecord, now: int) -> float:
    if record.last is None:
        return 0.0
    seconds = max(0, now - record.last) / MICROS
    return float(0.5 ** min(1000.0, seconds / policy.recency_seconds))


def _recency_words(_: Policy, record: UsageRecord, now: int) -> str:
    if record.last is None:
        return "never read"
    return f"read {_span(max(0, now - record.last) / MICROS)} ago"


def _frequency(policy: Policy, record: UsageRecord, now: int) -> float:
    return math.log2(1.0 + policy.heat(record, now=now))


def _frequency_words(policy: Policy, record: UsageRecord, now: int) -> str:
    return f"{record.count} reads, {policy.heat(record, now=now):.2f} after decay"


def _closeness(_: Policy, record: UsageRecord, __: int) -> float:
    return min(1.0, max(0.0, record.closeness))


def _closeness_words(policy: Policy, record: UsageRecord, now: int) -> str:
    near = _closeness(policy, record, now)
    return f"cosine {near:.2f} to the work in hand" if near else "no work in hand is known"


def _labels(policy: Policy, record: UsageRecord, __: int) -> float:
    return float(bool(_favoured(policy, record)))


def _labels_words(policy: Policy, record: UsageRecord, __: int) -> str:
    hits = _favoured(policy, record)
    return "favoured by " + ", ".join(sorted(hits)) if hits else "no favoured label"


def _favoured(policy: Policy, record: UsageRecord) -> frozenset[str]:
    if not policy.favoured:
        return policy.favoured
    return policy.favoured.intersection((*record.labels, *record.tags))


def _priority(_: Policy, record: UsageRecord, __: int) -> float:
    return min(1.0, max(-1.0, record.priority))


def _priority_words(_: Policy, record: UsageRecord, __: int) -> str:
    return f"priority {record.priority:g}"


def _cost(_: Policy, record: UsageRecord, __: int) -> float:
    per_kib = saved_seconds(record) / (max(1, record.bytes) / 1024)
    return per_kib / (1.0 + per_kib)


def _cost_words(_: Policy, record: UsageRecord, __: int) -> str:
    seconds = saved_seconds(record)
    return f"saves {seconds:.3f} s a read for {record.bytes} bytes ({record.memory_type})"


_VALUES: Final[Mapping[TermName, Callable[[Policy, UsageRecord, int], float]]] = {
    "recency": _recency,
    "frequency": _frequency,
    "closeness": _closeness,
    "labels": _labels,
    "priority": _priority,
    "cost": _cost,
}
_WORDS: Final[Mapping[TermName, Callable[[Policy, UsageRecord, int], str]]] = {
    "recency": _recency_words,
    "frequency": _frequency_words,
    "closeness": _closeness_words,
    "labels": _labels_words,
    "priority": _priority_words,
    "cost": _cost_words,
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
