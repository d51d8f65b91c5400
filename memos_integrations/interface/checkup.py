"""What ``doctor`` found, and the mending of it. Made by the facade, which does what is mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from memos_integrations.interface.reader import as_enum
from memos_integrations.operation.analytics.findings import (
    Ailment,
    Finding,
    Repair,
    Severity,
    Step,
)


@dataclass(frozen=True, slots=True)
class Fixed:
    """What ``fix`` did, or with ``dry_run`` would do."""

    kind: Ailment
    dry_run: bool
    repairs: tuple[Repair, ...]
    left: dict[str, str]
    """Memory, task or cube -> why it was left alone."""


Offload: TypeAlias = Callable[[Callable[[], Fixed]], Awaitable[Fixed]]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was looked at and found, the gravest first. Ids and kinds, no content."""

    memories: int
    """What was told, counted as ``stats`` counts it."""
    facts: int
    """Looked at beside them: what was drawn from their words."""
    cubes: tuple[str, ...]
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether there is nothing but notices."""
        return all(each.severity is Severity.NOTICE for each in self.findings)

    def of(self, kind: Ailment | str) -> tuple[Finding, ...]:
        """The findings of one kind."""
        wanted = as_enum(Ailment, kind, "kind")
        return tuple(each for each in self.findings if each.kind is wanted)

    def counts(self) -> dict[str, int]:
        """How many memories, tasks or cubes each kind concerns."""
        found: Counter[str] = Counter()
        for each in self.findings:
            found[each.kind.value] += len(each.items) or len(each.tasks) or 1
        return dict(found)

    def plan(self, kind: Ailment | str) -> tuple[Step, ...]:
        """What ``fix`` would do about one kind; each memory in one step at most."""
        seen: set[str] = set()
        steps: list[Step] = []
        for step in (step for each in self.of(kind) for step in each.plan):
            items = {item for item, _ in step.versions}
            if not items or not items & seen or not _changes(step) & seen:
                steps.append(step)
                seen |= _changes(step)
        return tuple(steps)


@dataclass(frozen=True, slots=True)
class Checkup(Diagnosis):
    """What ``MOS.doctor`` found; ``fix`` mends it."""

    _mend: Callable[[Ailment, Sequence[Step]], Fixed] = field(repr=False, compare=False)

    def fix(self, kind: Ailment | str, *, dry_run: bool = True) -> Fixed:
        """Carry out the plan for one kind; by default only say what would be done.

        Nothing is destroyed: what is archived, merged or masked can be brought back. A plan is
        one transaction (of a thousand steps at most), audited; memories that changed since are
        left alone. Raises ``InvalidInput`` for an unknown kind.
        """
        wanted = as_enum(Ailment, kind, "kind")
        steps = self.plan(wanted)
        if dry_run:
            return Fixed(wanted, True, tuple(step.repair for step in steps), {})
        return self._mend(wanted, steps)


@dataclass(frozen=True, slots=True)
class AsyncCheckup(Diagnosis):
    """What ``AsyncMOS.doctor`` found; ``await fix(...)`` mends it, off the event loop."""

    _found: Checkup = field(repr=False, compare=False)
    _offload: Offload = field(repr=False, compare=False)

    @classmethod
    def behind(cls, offload: Offload, found: Checkup) -> AsyncCheckup:
        """``found`` with a ``fix`` that ``offload`` runs elsewhere."""
        told = (found.memories, found.facts, found.cubes, found.seconds, found.findings)
        return cls(*told, found, offload)

    async def fix(self, kind: Ailment | str, *, dry_run: bool = True) -> Fixed:
        """As ``Checkup.fix``."""
        return await self._offload(partial(self._found.fix, kind, dry_run=dry_run))


def _changes(step: Step) -> set[str]:
    """The memories whose versions the step moves on."""
    item = getattr(step.repair, "item", None)
    return set() if item is None else {item}
