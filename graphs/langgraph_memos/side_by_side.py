"""``StepList``: a channel for what several nodes find or write in one superstep.

LangGraph's plain channel refuses two values in a step, and a reducer would pile them up over the
turns. Two nodes that recall from different cubes side by side want neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.channels.base import BaseChannel
from langgraph.errors import EmptyChannelError, InvalidUpdateError


class StepList(BaseChannel[list[Any], list[Any], list[Any]]):  # noqa: PLW1641  -- as every channel
    """The lists that the nodes of one step wrote, as one; those of a later step take its place.

    What has an ``id`` is in it once; what has a ``score`` stands by it, best first.
    """

    __slots__ = ("value",)

    def __init__(self, typ: Any = list, key: str = "") -> None:
        super().__init__(typ, key)
        self.value: list[Any] | None = None

    def __eq__(self, value: object) -> bool:
        return isinstance(value, StepList)

    @property
    def ValueType(self) -> Any:  # noqa: N802  -- LangGraph's name
        return self.typ

    @property
    def UpdateType(self) -> Any:  # noqa: N802
        return self.typ

    def from_checkpoint(self, checkpoint: list[Any] | Any) -> StepList:
        made = self.__class__(self.typ, self.key)
        if isinstance(checkpoint, list):
            made.value = list(checkpoint)
        return made

    def update(self, values: Sequence[list[Any]]) -> bool:
        if not values:
            return False
        for each in values:
            if not isinstance(each, list):
                raise InvalidUpdateError(f"{self.key} takes a list, not {type(each).__name__}")
        self.value = values[0] if len(values) == 1 else _together(values)
        return True

    def get(self) -> list[Any]:
        if self.value is None:
            raise EmptyChannelError
        return self.value


def newest(old: Any, new: Any) -> Any:
    """The reducer of a key that nodes side by side may write, and write alike."""
    return new


def _together(lists: Sequence[list[Any]]) -> list[Any]:
    known: set[Any] = set()
    kept: list[Any] = []
    for each in (one for listed in lists for one in listed):
        name = each.get("id") if isinstance(each, Mapping) else None
        if name is None or name not in known:
            kept.append(each)
        known.add(name)
    if all(isinstance(each, Mapping) and "score" in each for each in kept):
        kept.sort(key=lambda each: -each["score"])
    return kept
