"""One ranking: a linear sum of signals on absolute scales, each one named and explained.

Rank fusion throws the scales away and costs recall where one arm is weak, so scores are added
as they are. Weights are constants of the code; a signal is switched off by leaving it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.item import Signal
from memos_integrations.infrastructure.vault.search_space import Space
from memos_integrations.operation.operator.arms import Place, Query


class RankSignal(Protocol):
    """One term of the score. ``values`` are on an absolute scale, usually [0, 1]."""

    name: str
    weight: float

    def values(self, query: Query, space: Space, places: Sequence[Place]) -> NDArray[np.float32]:
        """One value per place, in order; 0 where the signal says nothing."""
        ...

    def why(self, value: float) -> str:
        """The value in words."""
        ...


class CosineSignal:
    """Closeness in meaning."""

    name = "cosine"
    weight = 3.5

    def values(self, query: Query, space: Space, places: Sequence[Place]) -> NDArray[np.float32]:
        out = np.zeros(len(places), dtype=np.float32)
        if query.vector is None or space.vectors is None:
            return out
        for cube, at in _by_cube(places).items():
            items = np.asarray([places[n].item for n in at], dtype=np.int64)
            out[at] = np.nan_to_num(space.vectors.scores(cube, query.vector, items))
        return out

    def why(self, value: float) -> str:
        return f"close in meaning ({value:.2f})"


class LexicalSignal:
    """The share of the question's informative words that the memory holds."""

    name = "words"
    weight = 3.9

    def values(self, query: Query, space: Space, places: Sequence[Place]) -> NDArray[np.float32]:
        out = np.zeros(len(places), dtype=np.float32)
        for cube, at in _by_cube(places).items():
            items = np.asarray([places[n].item for n in at], dtype=np.int64)
            out[at] = space.text.scores(cube, query.text, items)
        return out

    def why(self, value: float) -> str:
        return f"shares words with the question ({value:.0%} of what it could)"


DEFAULT_SIGNALS: tuple[RankSignal, ...] = (CosineSignal(), LexicalSignal())


@dataclass(frozen=True, slots=True)
class Ranked:
    """A proposed place with its score and the value of each signal, in the signals' order."""

    place: Place
    score: float
    values: tuple[float, ...]


def rank(
    query: Query, space: Space, places: Sequence[Place], signals: Sequence[RankSignal]
) -> list[Ranked]:
    """The places by falling score; ties by place, so that one question has one answer."""
    if not places:
        return []
    values = np.stack([signal.values(query, space, places) for signal in signals], axis=1)
    total = values.astype(np.float64) @ np.asarray([signal.weight for signal in signals])
    scores, rows = total.tolist(), values.tolist()
    order = sorted(range(len(places)), key=lambda n: (-scores[n], places[n]))
    return [Ranked(places[n], scores[n], tuple(rows[n])) for n in order]


def terms(ranked: Ranked, signals: Sequence[RankSignal]) -> tuple[Signal, ...]:
    """The signals that spoke for (or against) a place, in words."""
    return tuple(
        Signal(name=s.name, value=value, weight=s.weight, why=s.why(value))
        for s, value in zip(signals, ranked.values, strict=True)
        if value
    )


def _by_cube(places: Sequence[Place]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for n, place in enumerate(places):
        found.setdefault(place.cube, []).append(n)
    return found
