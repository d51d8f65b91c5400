"""The memories under examination and what is known around them. Pure data.

Filled by the facade from one governed snapshot; every examination reads from it and from nothing
else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from memos_integrations.infrastructure.vault.examined import Claim, Examined, Job, Source
from memos_integrations.operation.analytics.findings import (
    Ailment,
    Finding,
    Repair,
    Severity,
    Step,
    Thresholds,
    finding,
)

STANDING = ("generated", "activated", "frozen")
MICROS = 1_000_000
DAY = 86_400 * MICROS


@dataclass(frozen=True)
class Ward:
    """Everything an examination may look at."""

    rows: Sequence[Examined]
    now: int
    limits: Thresholds = field(default_factory=Thresholds)
    writable: frozenset[int] = frozenset()
    """Item rows that the asker may change; only for these is anything planned."""
    due: Sequence[Examined] = ()
    """Expired memories that still hold their words."""
    model: str | None = None
    """The fingerprint of the present embedder."""
    alike_keys: Sequence[tuple[bytes, int]] = ()
    disputes: Sequence[tuple[int, int]] = ()
    claims: Sequence[Claim] = ()
    sources: Sequence[Source] = ()
    jobs: Sequence[Job] = ()
    waiting: frozenset[int] = frozenset()
    """Item rows that an open task is going to look at."""
    barred: Sequence[tuple[int, str]] = ()
    cubes: Mapping[int, str] = field(default_factory=dict[int, str])
    """Cube row -> path."""
    models: Mapping[int, str] = field(default_factory=dict[int, str])
    """Cube row -> the embedder that its vectors come from."""
    lags: Mapping[int, int] = field(default_factory=dict[int, int])
    """Cube row -> places of the log that an outside engine has not seen."""
    open_cubes: frozenset[int] = frozenset()
    """Cube rows that the asker may write to as a whole."""
    cleared: bool = False
    """Whether the asker may read personal data of others."""
    who: str = ""

    @cached_property
    def by_iid(self) -> dict[int, Examined]:
        return {row.iid: row for row in self.rows}

    @cached_property
    def standing(self) -> list[Examined]:
        """What a search may show now, or would after its vector came."""
        return [row for row in self.rows if stands(row, self.now)]

    @cached_property
    def readable(self) -> list[Examined]:
        """Of what stands, whose stored words the asker may read unmasked: only these are compared,
        as a likeness of masked words would tell something about them."""
        return [row for row in self.standing if row.spans is None or self._cleared(row)]

    def _cleared(self, row: Examined) -> bool:
        return self.cleared or bool(row.master) or (bool(row.home) and row.owner == self.who)

    def step(self, repair: Repair, *rows: Examined) -> list[Step]:
        """The repair of these memories; none where the asker may not, or a hold forbids it."""
        if any(row.held or row.iid not in self.writable for row in rows):
            return []
        return [Step(repair, tuple((row.id, row.version) for row in rows))]


def stands(row: Examined, now: int) -> bool:
    """Whether the memory is in use: neither archived, stale, hidden nor over."""
    over = row.valid_to is not None and row.valid_to <= now
    return row.state in STANDING and not (row.stale or row.quarantined or over)


def gathered(
    ward: Ward,
    kind: Ailment,
    found: Iterable[tuple[Examined, str, Repair | None]],
    *,
    severity: Severity | None = None,
) -> list[Finding]:
    """One finding per cube and reason, with all the memories that have it."""
    groups: dict[tuple[int, str], tuple[list[str], list[Step]]] = {}
    for row, why, repair in found:
        items, plan = groups.setdefault((row.cid, why), ([], []))
        items.append(row.id)
        plan += [] if repair is None else ward.step(repair, row)
    return [
        finding(kind, why, items=items, cube=ward.cubes.get(cid), plan=plan, severity=severity)
        for (cid, why), (items, plan) in groups.items()
    ]
