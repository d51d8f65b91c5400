"""What is worth having in mind now: the best-judged memories under a budget of tokens. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from memos_integrations.cube.usage import UsageRecord
from memos_integrations.operation.scheduler.policy import Policy, Score


@dataclass(frozen=True, slots=True)
class Chosen:
    """A memory of the working set, with why."""

    record: UsageRecord
    score: Score
    tokens: int


def choose(
    records: Iterable[UsageRecord],
    *,
    policy: Policy,
    budget_tokens: int,
    tokens: Callable[[UsageRecord], int],
    now: int,
) -> list[Chosen]:
    """The best records whose tokens fit together, best first. One that is too long is passed
    over, not cut."""
    judged = [(policy.score(record, now=now), record) for record in records if record.live]
    judged.sort(key=lambda each: (-each[0].total, each[1].item))
    spent = 0
    chosen: list[Chosen] = []
    for score, record in judged:
        if spent >= budget_tokens:
            break
        cost = tokens(record)
        if spent + cost <= budget_tokens:
            spent += cost
            chosen.append(Chosen(record, score, cost))
    return chosen
