"""``MemoryVersion``: the channel that carries where a thread stands in its memory.

It is checkpointed and restored with the rest of the state, so whoever goes back in a thread goes
back in its memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from langgraph.channels.base import BaseChannel
from langgraph.errors import EmptyChannelError, InvalidUpdateError


class Branch(TypedDict):
    """What stands for a cube on a fork."""

    cube: str
    upto: int | None
    """``None``: it is this fork's own, read as it is and written to. Else the version at which
    this fork left it; the first write makes a branch of it."""


class Mark(TypedDict):
    """Where a thread stands in its memory. Plain data, for any checkpointer."""

    seq: int
    """The version of the cube that the last memory node left; ``mos.as_of`` takes it."""
    found: int
    """The version it found when it began."""
    tick: int
    """How many steps with memory in them the thread has taken."""
    at: str
    """The checkpoint on which the last of them ran."""
    line: str
    """The graph it began in (empty for the outermost); a fork has a name of its own."""
    known: int | None
    """On a fork: the version from which on it knows nothing of the main line."""
    branches: dict[str, Branch]
    """On a fork: cube -> what stands for it. ``""`` is the home cube."""


def first_mark(line: str = "") -> Mark:
    """The mark of a thread in which no memory was touched yet."""
    return Mark(seq=0, found=0, tick=0, at="", line=line, known=None, branches={})


def changed(mark: Mark, **changes: Any) -> Mark:
    """The mark with these keys replaced."""
    return cast(Mark, {**mark, **changes})


class MemoryVersion(BaseChannel[Mark, Mark, Mark]):  # noqa: PLW1641  -- as every channel
    """Keeps the furthest mark of a step; nodes that ran side by side are brought together.

    ``memory_version: Annotated[Mark, MemoryVersion]`` in the state of any graph.
    """

    __slots__ = ("value",)

    def __init__(self, typ: Any = Mark, key: str = "") -> None:
        super().__init__(typ, key)
        self.value: Mark | None = None

    def __eq__(self, value: object) -> bool:
        return isinstance(value, MemoryVersion)

    @property
    def ValueType(self) -> Any:  # noqa: N802  -- LangGraph's name
        return Mark

    @property
    def UpdateType(self) -> Any:  # noqa: N802
        return Mark

    def from_checkpoint(self, checkpoint: Mark | Any) -> MemoryVersion:
        made = self.__class__(self.typ, self.key)
        if isinstance(checkpoint, Mapping):
            made.value = _clean(checkpoint)
        return made

    def update(self, values: Sequence[Mark]) -> bool:
        if not values:
            return False
        for each in values:
            self.value = _later(self.value, _clean(each))
        return True

    def get(self) -> Mark:
        if self.value is None:
            raise EmptyChannelError
        return self.value


def _clean(given: Mapping[str, Any]) -> Mark:
    try:
        return Mark(
            seq=int(given["seq"]),
            found=int(given["found"]),
            tick=int(given["tick"]),
            at=str(given["at"]),
            line=str(given["line"]),
            known=None if given["known"] is None else int(given["known"]),
            branches={str(cube): _branch(each) for cube, each in given["branches"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidUpdateError(
            "memory_version takes the mark of a memory node, unchanged"
        ) from error


def _branch(given: Mapping[str, Any]) -> Branch:
    upto = given["upto"]
    return Branch(cube=str(given["cube"]), upto=None if upto is None else int(upto))


def _later(old: Mark | None, new: Mark) -> Mark:
    if old is None or old["line"] != new["line"] or new["tick"] > old["tick"]:
        return new
    if new["tick"] < old["tick"]:
        return old
    return Mark(
        seq=max(old["seq"], new["seq"]),
        found=min(old["found"], new["found"]),
        tick=old["tick"],
        at=max(old["at"], new["at"]),
        line=old["line"],
        known=old["known"],
        branches=old["branches"] | new["branches"],
    )
