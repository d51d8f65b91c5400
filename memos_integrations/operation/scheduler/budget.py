"""Budgets in tokens, bytes and seconds, shared fairly between tenants and never exceeded.

Pure: shares are computed by water-filling (weighted max-min fairness: nobody gets more than it
asks, what is left over goes to those that ask for more), and spending is reserved first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

_DIMENSIONS = ("tokens", "bytes", "seconds")
_ROUNDING = 1e-9
"""A share of what is allowed, that sums of the same costs differ by in another order."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """An amount in each of the three dimensions."""

    tokens: float = math.inf
    bytes: float = math.inf
    seconds: float = math.inf

    def plus(self, other: Allowance) -> Allowance:
        return Allowance(
            self.tokens + other.tokens, self.bytes + other.bytes, self.seconds + other.seconds
        )

    def at_most(self, other: Allowance) -> Allowance:
        return Allowance(
            min(self.tokens, other.tokens),
            min(self.bytes, other.bytes),
            min(self.seconds, other.seconds),
        )

    def covers(self, other: Allowance) -> bool:
        """Whether ``other`` fits into it, in every dimension, but for what rounding adds."""
        slack = 1.0 + _ROUNDING
        return (
            other.tokens <= self.tokens * slack
            and other.bytes <= self.bytes * slack
            and other.seconds <= self.seconds * slack
        )


NOTHING = Allowance(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Budget:
    """What there is to share: ``total`` over all tenants, at most ``each`` for any one."""

    total: Allowance = Allowance()
    each: Allowance = Allowance()
    weights: Mapping[str, float] | None = None
    """A tenant's weight in the sharing; 1 for those not named."""

    def shares(self, demands: Mapping[str, Allowance]) -> dict[str, Allowance]:
        """What each tenant may spend, given what each could use."""
        wanted = {name: self.each.at_most(demand) for name, demand in demands.items()}
        by = {
            d: water_fill(
                getattr(self.total, d),
                {name: getattr(want, d) for name, want in wanted.items()},
                self.weights or {},
            )
            for d in _DIMENSIONS
        }
        return {name: Allowance(*(by[d][name] for d in _DIMENSIONS)) for name in demands}


def water_fill(
    total: float, demands: Mapping[str, float], weights: Mapping[str, float]
) -> dict[str, float]:
    """Weighted max-min fair shares of ``total``: each gets its demand, or as much as the level."""
    shares = dict.fromkeys(demands, 0.0)
    left, thirsty = total, sorted(demands)
    while thirsty:
        weight = math.fsum(weights.get(name, 1.0) for name in thirsty)
        level = left / weight
        done = [n for n in thirsty if demands[n] <= level * weights.get(n, 1.0)]
        if not done:
            return shares | {n: level * weights.get(n, 1.0) for n in thirsty}
        for name in done:
            shares[name] = demands[name]
            left -= demands[name]
        thirsty = [name for name in thirsty if name not in done]
    return shares


class Ledger:
    """What was reserved of an allowance: a thing is reserved before it is done, or not done."""

    def __init__(self, allowed: Allowance) -> None:
        self.allowed = allowed
        self.spent = NOTHING

    def reserve(self, cost: Allowance) -> bool:
        """Take ``cost`` out of what is left; False, and nothing taken, where it does not fit."""
        after = self.spent.plus(cost)
        if not self.allowed.covers(after):
            return False
        self.spent = after.at_most(self.allowed)
        return True
