"""What a checkup can find, and what could be done about it. Pure data, ids and kinds only.

Made by ``examine``, shown by the facade, carried out by ``mending``. No finding and no repair
holds a word of a memory, so a report can be logged, sent and kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from memos_integrations.cube.ops import ActivateOp, ArchiveOp


class Severity(StrEnum):
    """How much a finding matters."""

    CRITICAL = "critical"
    WARNING = "warning"
    NOTICE = "notice"


class Ailment(StrEnum):
    """What can be wrong with a memory."""

    SECRET = "secret"  # noqa: S105  -- a kind of finding
    OTHER_MODEL = "other_model"
    CONTRADICTION = "contradiction"
    ORPHANED = "orphaned"
    STALE = "stale"
    NO_VECTOR = "no_vector"
    TASK_FAILED = "task_failed"
    TASK_STUCK = "task_stuck"
    BEHIND = "behind"
    QUARANTINED = "quarantined"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    JUNK = "junk"
    NEVER_READ = "never_read"


SEVERITIES = {
    Ailment.SECRET: Severity.CRITICAL,
    Ailment.OTHER_MODEL: Severity.CRITICAL,
    Ailment.CONTRADICTION: Severity.WARNING,
    Ailment.ORPHANED: Severity.WARNING,
    Ailment.STALE: Severity.WARNING,
    Ailment.NO_VECTOR: Severity.WARNING,
    Ailment.TASK_FAILED: Severity.WARNING,
    Ailment.TASK_STUCK: Severity.WARNING,
}
"""The others are notices."""


# -- repairs that are more than one operation on a memory ------------------------------------------


@dataclass(frozen=True, slots=True)
class Fold:
    """Merge ``item`` into ``kept``, which says all of it; ``split`` brings it back."""

    item: str
    kept: str


@dataclass(frozen=True, slots=True)
class Mask:
    """A new version without the secret; earlier versions keep it until they are erased."""

    item: str


@dataclass(frozen=True, slots=True)
class Refine:
    """Have the fine stage look at the memory again: vectors, facts, duplicates."""

    item: str


@dataclass(frozen=True, slots=True)
class Expire:
    """Leave the tombstone that an expired memory is to become."""

    item: str


@dataclass(frozen=True, slots=True)
class Requeue:
    """Have a task tried again from its first attempt."""

    task: str


@dataclass(frozen=True, slots=True)
class Reembed:
    """Make a cube's vectors anew with the present model."""

    cube: str


@dataclass(frozen=True, slots=True)
class Project:
    """Have the outside vector engine follow a cube's log."""

    cube: str


Repair: TypeAlias = (
    ArchiveOp | ActivateOp | Fold | Mask | Refine | Expire | Requeue | Reembed | Project
)
"""Nothing here destroys: what is archived, folded or masked can be brought back."""


@dataclass(frozen=True, slots=True)
class Step:
    """One repair, and the versions of the memories it was decided on."""

    repair: Repair
    versions: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, or many memories with the same trouble."""

    kind: Ailment
    why: str
    items: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    cube: str | None = None
    severity: Severity = Severity.NOTICE
    plan: tuple[Step, ...] = ()
    """What ``fix`` would do; empty where only a person can decide."""


def finding(
    kind: Ailment,
    why: str,
    *,
    items: Iterable[str] = (),
    tasks: Iterable[str] = (),
    cube: str | None = None,
    plan: Iterable[Step] = (),
    severity: Severity | None = None,
) -> Finding:
    """A finding with its kind's severity, unless another is given."""
    weight = severity or SEVERITIES.get(kind, Severity.NOTICE)
    return Finding(kind, why, tuple(items), tuple(tasks), cube, weight, tuple(plan))


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on something is worth a word."""

    unread_days: float = 90.0
    stuck_seconds: float = 3600.0
    alike: float = 0.8
    """Share of words in common."""
    longest: int = 100_000
    """Characters of a memory that is still one memory."""
    kinds: frozenset[Ailment] = field(default_factory=lambda: frozenset(Ailment))
