"""In which form a cube lives for a hosted model: what is known of it, and what was decided. Data.

A KV-cache is made of a whole cube's prompt and an adapter of a part of it, for one model; so the
unit of a decision is a cube and a model. ``placing`` decides, a ``CubeFormExecutor`` carries out.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from memos_integrations.cube.usage import Form
from memos_integrations.operation.scheduler.budget import NOTHING, Allowance

Step: TypeAlias = Literal["promote", "refresh", "demote", "stay"]
"""``refresh``: the form stays and what is new or changed is built into it."""
PlacementFate: TypeAlias = Literal["move", "held", "stay"]
Key: TypeAlias = tuple[int, str]
"""A cube's row and a hosted model's name."""

DAY = 86_400.0
_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Asks:
    """How often a cube was read from, decayed as the heat of a memory is."""

    heat: float
    at: int


@dataclass(frozen=True, slots=True)
class Price:
    """What a form costs for one model. Tokens are those of usage records: bytes / 4."""

    build_seconds_per_token: float = 0.0
    build_seconds_per_memory: float = 0.0
    bytes_per_token: float = 0.0
    bytes_per_part: float = 0.0
    part_memories: int | None = None
    """The form is made in parts of at most so many memories, and a change builds one part again.
    ``None``: it is one, and a change builds again what stands behind it, half on average."""
    use_seconds: float = 0.0
    """What a question costs in this form beyond what it costs without memory."""
    source: str = "estimated"
    """Where the figures come from, for the explanation."""

    def build_seconds(self, *, tokens: float, memories: int) -> float:
        """Processor seconds for building it of so much."""
        return tokens * self.build_seconds_per_token + memories * self.build_seconds_per_memory

    def bytes(self, *, tokens: float, memories: int) -> float:
        """What it takes where it is kept."""
        parts = math.ceil(memories / self.part_memories) if self.part_memories else 0
        return tokens * self.bytes_per_token + parts * self.bytes_per_part

    def rebuilt_share(self, memories: int) -> float:
        """How much of it is built again when one memory changes."""
        if self.part_memories is None:
            return 0.5
        return min(1.0, self.part_memories / max(1, memories))


@dataclass(frozen=True, slots=True)
class Host:
    """A hosted model as a policy sees it."""

    name: str
    text_seconds_per_token: float
    """What it takes to read a token of a memory."""
    prices: Mapping[Form, Price]
    """Of the forms that can be made for it here."""


@dataclass(frozen=True, slots=True)
class PlacementRules:
    """When a form pays."""

    payback: float = 2.0
    """A form is entered where it saves so many times what it costs."""
    leave_share: float = 0.1
    """It is left where it saves less than this share of what it is entered at. What is there costs
    no more than its bytes, and where these are short what gains more takes them."""
    margin: float = 0.25
    """By which share of its net gain a form must beat the one that is decided on."""
    residence_seconds: float = 3600.0
    """How long a cube's form stays, unless a budget or a withdrawal takes it away. After a build
    that came to nothing it is doubled, each time."""
    stable_seconds: float = 0.0
    """For a cache: so long nothing in the cube may have changed. What changes cost is counted, so
    this may be nought."""
    long_stable_seconds: float = 30 * DAY
    """For an adapter: the memories that have stood so long are taken."""
    least_asks: float = 1.0
    """Asks expected until the heat has halved, below which nothing is built."""

    def rest_seconds(self, failures: int) -> float:
        """How long to leave a form alone after its last decision."""
        return self.residence_seconds * 2.0 ** min(failures, _MOST_DOUBLINGS)


@dataclass(frozen=True, slots=True)
class Held:
    """What there is of a cube in one form for one model: what it was made of, and its bytes."""

    form: Form
    items: frozenset[int]
    bytes: float
    built: int
    """When it was last built. What stood then and is not in it was left out, and is not missing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is for one cube and model. What nobody decided on is never taken away: it was
    made by use or by hand."""

    held: Mapping[Form, Held] = field(default_factory=dict[Form, Held])
    decided: frozenset[Form] = frozenset()
    """The forms that the scheduler has promoted it to and not demoted it from."""
    moved: int | None = None
    """When that was last decided."""
    failures: int = 0
    """Builds that came to nothing since the last one that did not."""
    waiting: Form | None = None
    """A task is queued or at work for this form."""


NOWHERE = Standing()


@dataclass(frozen=True, slots=True)
class Weighed:
    """One form for one cube and model: what it saves and costs until the heat has halved."""

    form: Form
    items: frozenset[int]
    """What it would be made of."""
    missing: frozenset[int]
    """Those of them that it is not made of yet."""
    saves_seconds: float
    costs_seconds: float
    """Building all of it, and building again what is expected to change."""
    build_seconds: float
    """Building what is missing now."""
    bytes: float
    enters: float
    """The seconds saved from which on it is entered, or kept where it is decided on."""
    why_not: str | None
    source: str
    """Where the prices come from."""

    @property
    def net_seconds(self) -> float:
        return self.saves_seconds - self.costs_seconds


@dataclass(frozen=True, slots=True)
class Placement:
    """What becomes of one cube's form for one model, with everything that led to it."""

    tenant: str
    cube: int
    path: str
    model: str
    step: Step
    from_form: Form
    form: Form
    fate: PlacementFate
    reasons: tuple[str, ...]
    asks: float
    """Calls that are expected to read from it until its heat has halved."""
    text_seconds: float
    """What reading its memories as text will cost in that time."""
    weighed: tuple[Weighed, ...]
    items: frozenset[int] = frozenset()
    """Rows of the memories that the form is to be made of, or was."""
    cost: Allowance = NOTHING
    benefit_seconds: float = 0.0
    committed: bool = False
    """Its cost stands, whatever others ask for: a task is at it, or its residence keeps it."""


@runtime_checkable
class CubeFormExecutor(Protocol):
    """Carries cubes over into one form, or back out of it, for the models hosted here."""

    @property
    def form(self) -> Form: ...

    def migrate(self, placements: tuple[Placement, ...], /) -> None:
        """Do it, durably and more than once without harm: a placement may come again."""
        ...


class CubeForms(Protocol):
    """What a scheduler asks about hosted models, and hands placements to."""

    def get_ready(self) -> None:
        """Do what takes long, before a snapshot is opened."""
        ...

    def hosts(self, connection: sqlite3.Connection, /) -> Sequence[Host]:
        """The models hosted here with their prices; none where none is."""
        ...

    def asks(self, connection: sqlite3.Connection, /) -> Mapping[int, Asks]: ...

    def standings(self, connection: sqlite3.Connection, /) -> Mapping[Key, Standing]: ...

    def migrate(self, placements: Sequence[Placement], /) -> None:
        """Queue what they ask for, but for what is queued already."""
        ...
