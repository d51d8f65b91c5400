"""What came of an import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

System: TypeAlias = Literal["langgraph", "mem0", "letta"]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What came of an import, or with ``dry_run`` would come."""

    system: System
    cube: str
    dry_run: bool
    new: int = 0
    changed: int = 0
    """Said otherwise there than when they were imported before."""
    unchanged: int = 0
    left: dict[str, int] = field(default_factory=dict[str, int])
    """What could not be taken over, why -> how often."""
    masked: dict[str, int] = field(default_factory=dict[str, int])
    """What was taken out of the words before storing, by kind."""
    ids: tuple[str, ...] = ()
    """The memories that are new or changed."""
    task_ids: tuple[str, ...] = ()
    """The fine stage; pass the report to ``wait`` to see it done."""
