"""One ranking: a linear sum of signals on absolute scales, each one named and explained.

Rank fusion throws the scales away and costs recall where one arm is weak, so values are added
as they are. The weights are constants of the code, learnt once on half of two public sets and
checked across conversations that were left out; ``mos.fit`` learns others from a user's labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.item import Signal
from memos_integrations.operation.operator.pool import Pool
from memos_integrations.operation.operator.signals import SIGNALS, RankSignal

_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "cosine": 1.0,
        "own_words": 1.7,
        "sentence": 2.8,
        "words": 1.0,
        "window": 1.9,
        "nearness": 2.5,
        "session": 2.5,
        "graph": 0.0,  # no gain on the public sets, no loss up to 0.4: ADR 21
        "speaker": 1.3,
        "said_then": 1.3,
        "speaks_of": 0.85,
        "when": 1.3,
        "number": 0.5,
        "asks": -0.5,
        "assistant": -2.1,
    }
)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Which signals count, and how much; ``without`` and ``with_weights`` give other ones."""

    weights: Mapping[str, float] = field(default_factory=lambda: _WEIGHTS)
    signals: tuple[RankSignal, ...] = field(init=False, repr=False, compare=False)
    """The signals that are switched on."""
    _weights: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _speaking_for: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _ensure_known(self.weights)
        for name, weight in self.weights.items():
            if not np.isfinite(weight):
                raise UsageError(f"the weight of {name} must be a finite number")
        signals = tuple(signal for signal in SIGNALS if self.weights.get(signal.name))
        object.__setattr__(self, "signals", signals)
        weights = np.asarray([self.weights[signal.name] for signal in signals], np.float64)
        object.__setattr__(self, "_weights", weights)
        object.__setattr__(self, "_speaking_for", np.maximum(weights, 0.0))

    @classmethod
    def default(cls) -> Ranking:
        """The weights that come with the package."""
        return cls()

    def without(self, *names: str) -> Ranking:
        """The same ranking with these signals switched off."""
        _ensure_known(names)
        return Ranking({n: w for n, w in self.weights.items() if n not in names})

    def with_weights(self, **weights: float) -> Ranking:
        """The same ranking with other weights for the signals named."""
        return Ranking({**self.weights, **weights})

    def values(self, pool: Pool) -> NDArray[np.float32]:
        """Shape (items, signals): the value of each switched-on signal for each item."""
        values = np.zeros((len(pool), len(self.signals)), dtype=np.float32)
        if len(pool):
            for column, signal in enumerate(self.signals):
                found = signal.values(pool)
                if found is not None:
                    values[:, column] = found
        return values

    def scores(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Shape (items,): the sum of weight times value."""
        scores: NDArray[np.float64] = values.astype(np.float64) @ self._weights
        return scores

    def supported(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Shape (items,): whether anything speaks for a memory. One that only had nothing said
        against it is no hit; one that was only marked down still is."""
        spoken_for: NDArray[np.bool_] = values @ self._speaking_for > 0
        return spoken_for

    def terms(self, values: Sequence[float]) -> tuple[Signal, ...]:
        """The signals that spoke for (or against) one memory, in words."""
        return tuple(
            Signal(name=s.name, value=value, weight=self.weights[s.name], why=s.says(value))
            for s, value in zip(self.signals, values, strict=True)
            if value
        )


def _ensure_known(names: Sequence[str] | Mapping[str, float]) -> None:
    known = {signal.name for signal in SIGNALS}
    unknown = sorted(set(names) - known)
    if unknown:
        raise UsageError(f"there is no signal {unknown[0]!r}; there are {', '.join(sorted(known))}")
