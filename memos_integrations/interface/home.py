"""Where a verb reads and writes when nobody names a cube, for what is to be kept beside it."""

from __future__ import annotations

from memos_integrations.cube.ids import CubePath
from memos_integrations.interface.base import Verbs


def home_of(memory: Verbs, *, user: str | None = None, agent: str | None = None) -> CubePath:
    """The path of the cube that a verb of ``memory`` without ``cube=`` reads and writes."""
    # Part of the facade in all but its place: a question that no memory is read for.
    return memory._scope(user, agent).cube  # pyright: ignore[reportPrivateUsage]
