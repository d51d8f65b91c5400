"""What the scheduler decides, with everything that led to it. Data; nothing here moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from memos_integrations.cube.usage import Form, Tier
from memos_integrations.operation.scheduler.budget import NOTHING, Allowance
from memos_integrations.operation.scheduler.placement import Placement
from memos_integrations.operation.scheduler.policy import Score

Fate: TypeAlias = Literal["move", "held", "no executor"]
"""``held``: it would move, but a budget or its residence holds it back this time."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One memory's move between tiers or forms, explained term by term."""

    item: str
    row: int
    cube: str
    tenant: str
    from_tier: Tier
    to_tier: Tier
    score: Score
    threshold: float
    """What the score was held against."""
    reasons: tuple[str, ...]
    fate: Fate = "move"
    from_form: Form = "plaintext"
    form: Form = "plaintext"
    cost: Allowance = NOTHING
    benefit_seconds: float = 0.0
    """Seconds it is expected to save until its heat has halved."""

    @property
    def migrates(self) -> bool:
        """Whether it is about the form, not the tier."""
        return self.form != self.from_form


@dataclass(frozen=True, slots=True)
class Spending:
    """A tenant's share of a budget, and how much of it the plan reserves."""

    share: Allowance
    reserved: Allowance


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a look at the memories decided, in the order it would be done."""

    at: int
    decisions: tuple[Decision, ...] = ()
    considered: int = 0
    hot: Mapping[str, Spending] = field(default_factory=dict[str, Spending])
    """Per tenant: the hot tier after the plan."""
    forms: Mapping[str, Spending] = field(default_factory=dict[str, Spending])
    """Per tenant: the work on forms that the plan asks for."""
    placements: tuple[Placement, ...] = ()
    """Each cube's form for each model that this program hosts; none without one."""
    kept: Mapping[str, Spending] = field(default_factory=dict[str, Spending])
    """Per tenant: the bytes and seconds that the placements take."""
    hosted: tuple[str, ...] = ()
    """The models that this program hosts."""
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """Of what was considered, how many memories each (tenant, cube) holds."""

    @property
    def moves(self) -> tuple[Decision, ...]:
        """What would be done now to single memories."""
        return tuple(each for each in self.decisions if each.fate == "move")

    @property
    def form_moves(self) -> tuple[Placement, ...]:
        """What would be done now to cubes."""
        return tuple(each for each in self.placements if each.fate == "move")
