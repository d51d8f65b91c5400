"""Usage records: what the scheduler's policies are functions of. Numbers and names, no words.

Read by the vault, judged by ``operation.scheduler``. Heat is a count of reads that halves every
half-life, so one number and one instant stand for the whole history of reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Tier: TypeAlias = Literal["hot", "warm", "cold"]
Form: TypeAlias = Literal["plaintext", "activation", "parametric"]

MICROS = 1_000_000
HALF_LIFE_SECONDS = 7 * 86_400.0


def cooled(heat: float, *, since: int, now: int, half_life_seconds: float) -> float:
    """``heat`` as it stands at ``now``, in microseconds; time that runs backwards cools nothing."""
    halvings = max(0, now - since) / (half_life_seconds * MICROS)
    return heat * 0.5**halvings if halvings < 1000 else 0.0


def heated(
    heat: float, *, since: int, reads: int, at: int, half_life_seconds: float
) -> tuple[float, int]:
    """Heat and its instant after ``reads`` more at ``at``. Batches may come out of order."""
    if at < since:
        late = cooled(float(reads), since=at, now=since, half_life_seconds=half_life_seconds)
        return heat + late, since
    return cooled(heat, since=since, now=at, half_life_seconds=half_life_seconds) + reads, at


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One memory as a policy sees it. Instants are microseconds since 1970 UTC."""

    item: int
    id: str
    cube: int
    path: str
    tenant: str
    bytes: int
    """Of its words, unpacked."""
    tokens: int
    """What its words cost in a prompt, about."""
    created: int
    changed: int
    """When its words or its header last changed."""
    count: int = 0
    last: int | None = None
    heat: float = 0.0
    heat_at: int = 0
    tier: Tier = "warm"
    moved: int | None = None
    """When it last changed its tier."""
    form: Form = "plaintext"
    memory_type: str = "long_term"
    trust: str = "user"
    labels: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    priority: float = 0.0
    live: bool = True
    """Whether a search may show it: not archived, merged, stale, quarantined or outdated."""
    frozen: bool = False
    drawn: bool = False
    """A fact that restates the words of another memory."""
    closeness: float = 0.0
    """Cosine to the work in hand; 0 where nothing is known of it."""
