"""Weights learnt from a user's own labels: which memories answer which question.

Pure. A linear softmax over each question's proposals (listwise: Cao et al., ICML 2007), pulled
towards the weights that come with the package, so that few labels change little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.errors import UsageError
from memos_integrations.operation.operator.ranking import Ranking

Weights = NDArray[np.float64]

_STEPS = 200
_RATE = 0.1
_SHARPNESS = 2.0
_PULL = 0.02
_FOLDS = 5
_CUT = 10


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled question: the values of its proposals and which of these are evidence."""

    values: NDArray[np.float32]
    """Shape (proposals, signals), in the order of the ranking's signals."""
    evidence: tuple[int, ...]
    """Rows of ``values`` that answer the question; may be empty if none was proposed."""
    labelled: int
    """How many memories were labelled as evidence, proposed or not."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What came of a fit. ``recall_after`` is measured on questions left out of the learning."""

    ranking: Ranking
    questions: int
    recall_before: float
    """Share of the evidence among the best ten, with the weights one started from."""
    recall_after: float

    @property
    def helps(self) -> bool:
        """Whether the learnt weights did better on questions they were not learnt from."""
        return self.recall_after > self.recall_before


def fit(examples: Sequence[Example], start: Ranking) -> Fit:
    """Weights for these examples, with what they gain on held-out questions.

    Raises ``UsageError`` for fewer than ten questions, or when no evidence was proposed.
    """
    if len(examples) < 2 * _FOLDS:
        raise UsageError(f"fit needs at least {2 * _FOLDS} questions with evidence")
    if not any(example.evidence for example in examples):
        raise UsageError("no evidence was among the proposals: check the ids and the scope")
    names = [signal.name for signal in start.signals]
    origin = np.asarray([start.weights[name] for name in names])
    held_out: list[float] = []
    for fold in range(_FOLDS):
        learnt = _learn([e for n, e in enumerate(examples) if n % _FOLDS != fold], origin)
        held_out += [_recall(e, learnt) for n, e in enumerate(examples) if n % _FOLDS == fold]
    weights = _learn(examples, origin)
    return Fit(
        Ranking(dict(zip(names, weights.tolist(), strict=True))),
        len(examples),
        float(np.mean([_recall(example, origin) for example in examples])),
        float(np.mean(held_out)),
    )


def _learn(examples: Sequence[Example], origin: Weights) -> Weights:
    """Adam (Kingma and Ba, 2015) on the mean loss; deterministic."""
    told = [example for example in examples if example.evidence]
    weights, mean, spread = origin.copy(), np.zeros_like(origin), np.zeros_like(origin)
    for step in range(1, _STEPS + 1):
        slope = _PULL * (weights - origin)
        for example in told:
            slope += _slope(example, weights) / len(told)
        mean = 0.9 * mean + 0.1 * slope
        spread = 0.99 * spread + 0.01 * slope * slope
        unbiased = mean / (1 - 0.9**step)
        weights = weights - _RATE * unbiased / (np.sqrt(spread / (1 - 0.99**step)) + 1e-8)
    return weights


def _slope(example: Example, weights: Weights) -> Weights:
    scores = _SHARPNESS * (example.values @ weights)
    share = np.exp(scores - scores.max())
    share /= share.sum()
    wanted = example.values[list(example.evidence)].mean(axis=0)
    slope: Weights = _SHARPNESS * (example.values.T @ share - wanted)
    return slope


def _recall(example: Example, weights: Weights) -> float:
    best = np.argsort(-(example.values @ weights), kind="stable")[:_CUT]
    found = len(set(best.tolist()) & set(example.evidence))
    return found / max(example.labelled, 1)
