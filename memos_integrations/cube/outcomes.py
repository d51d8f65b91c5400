"""What became of a write, item by item."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from memos_integrations.cube.errors import VaultDamaged

Status = Literal["stored", "merged", "duplicate", "rejected"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message. ``id`` is the memory that holds it, also for a duplicate."""

    status: Status
    id: str | None = None
    reason: str | None = None
    masked: dict[str, int] | None = None
    """What was taken out before storing, such as ``{"api_key": 1}``."""


@dataclass(frozen=True, slots=True)
class AddResult:
    """What became of a call to ``add``: one outcome per message, in order."""

    outcomes: tuple[Outcome, ...]
    cube: str
    task_ids: tuple[str, ...] = ()
    """The fine stage; pass the result to ``wait`` to see it done."""

    @property
    def task_id(self) -> str | None:
        """The last task of the fine stage; ``None`` when nothing was stored."""
        return self.task_ids[-1] if self.task_ids else None

    @property
    def ids(self) -> list[str]:
        """The memories that hold the messages, in order, without the rejected ones."""
        return [o.id for o in self.outcomes if o.id is not None]

    @property
    def id(self) -> str:
        """The first memory stored; for calls with one message."""
        return self.ids[0]

    def counts(self) -> dict[str, int]:
        """How many messages ended as what."""
        found: dict[str, int] = {}
        for outcome in self.outcomes:
            found[outcome.status] = found.get(outcome.status, 0) + 1
        return found


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change did: the item, its new version, and what it made stale."""

    id: str
    version: int
    stale: tuple[str, ...] = ()
    task_ids: tuple[str, ...] = ()


Result = AddResult | Changed


def to_json(result: Result) -> dict[str, Any]:
    """A result as JSON-able data, for the idempotency record."""
    return {"type": type(result).__name__, **asdict(result)}


def from_json(data: dict[str, Any]) -> Result:
    """The inverse of ``to_json``."""
    kind = data.pop("type", None)
    if kind == "AddResult":
        outcomes = tuple(Outcome(**each) for each in data.pop("outcomes"))
        return AddResult(outcomes, data["cube"], tuple(data["task_ids"]))
    if kind == "Changed":
        return Changed(data["id"], data["version"], tuple(data["stale"]), tuple(data["task_ids"]))
    raise VaultDamaged("an idempotency record is not readable")
