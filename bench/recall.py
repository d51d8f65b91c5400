"""How well evidence was found: pure functions of ranked turn ids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

K = 10


@dataclass(frozen=True, slots=True)
class Score:
    """One question's figures, or their mean; all in [0, 1]."""

    recall: float
    """Share of the evidence among the first ten."""
    all: float
    """1 where all of it is."""
    mrr: float
    """One by the rank of the first evidence; 0 where none is among the ten."""
    ndcg: float
    """Discounted gain over the best that ten places could hold."""
    precision: float = 0.0
    """Of the tokens of a context of 1,000 tokens, the share that evidence turns take."""
    in_context: float = 0.0
    """Share of the evidence that such a context holds."""


def score(
    ranked: Sequence[str | None],
    evidence: frozenset[str],
    *,
    precision: float = 0.0,
    in_context: float = 0.0,
) -> Score:
    """The figures of one answer. ``None`` in ``ranked`` is a hit that is no turn of the data.

    A turn counts once, at its best place, so that saying it twice gains nothing.
    """
    places: dict[str, int] = {}
    for place, turn in enumerate(ranked[:K]):
        if turn is not None and turn in evidence:
            places.setdefault(turn, place)
    found = len(places) / len(evidence)
    gained = sum(1 / math.log2(place + 2) for place in places.values())
    best = sum(1 / math.log2(place + 2) for place in range(min(K, len(evidence))))
    first = min(places.values(), default=None)
    return Score(
        recall=found,
        all=float(found == 1),
        mrr=0.0 if first is None else 1 / (first + 1),
        ndcg=gained / best,
        precision=precision,
        in_context=in_context,
    )


def mean(scores: Iterable[Score]) -> Score:
    """The mean figure by figure; zeros for no scores."""
    every = list(scores)
    names = [each.name for each in fields(Score)]
    total = max(1, len(every))
    return Score(**{name: sum(getattr(each, name) for each in every) / total for name in names})


def fill(costs: Sequence[tuple[str, int]], *, budget: int) -> tuple[list[str], int]:
    """Of the ranked (turn, tokens) what fits into a budget, whole and in order; and its cost."""
    spent = 0
    taken: list[str] = []
    for turn, cost in costs:
        if spent + cost <= budget:
            spent += cost
            taken.append(turn)
    return taken, spent


def context_figures(
    taken: Iterable[str | None],
    evidence: frozenset[str],
    *,
    words: Mapping[str, int],
    spent: int,
) -> tuple[float, float]:
    """(share of the block's tokens that are words of evidence turns, share of the evidence in it).

    ``words`` is what each turn's words cost alone; ``spent`` is the whole block with its marks.
    """
    held = {turn for turn in taken if turn is not None and turn in evidence}
    useful = sum(words[turn] for turn in held)
    return (useful / spent if spent else 0.0), len(held) / len(evidence)
