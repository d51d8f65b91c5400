"""Who asks, and in whose cube: the scoping keywords every part here hands to ``MOS``.

Who asks is said the same way for every framework (``memos_integrations.interface.asker``); a part
of LlamaIndex is made for one asker, as its runs carry no config that could name one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from memos_integrations.cube.errors import AccessDenied, IllegalTransition, NotFound, UsageError
from memos_integrations.cube.ids import clean_path, home_path
from memos_integrations.interface.asker import Asker, Keywords
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.reads import Reads

__all__ = ["Room", "Scoped", "checked", "delete_found", "in_a_cube"]


class Scoped(Keywords):
    """Keywords of the verbs of ``MOS``."""

    session: str | None
    cube: str | None


@dataclass(frozen=True, slots=True)
class Room(Asker):
    """Who asks, in which cube; without one in the asker's own."""

    cube: str | None = None

    def of(self, *, session: str | None = None) -> Scoped:
        """The keywords of a verb."""
        return Scoped(**self.keywords(), session=session, cube=self.cube)


ReadsT = TypeVar("ReadsT", bound=Reads)


def checked(memory: ReadsT, kind: type[Reads] = MOS) -> ReadsT:
    """``memory``, if it is what parts here are made on. Raises ``UsageError``.

    An ``AsyncMOS`` is not: LlamaIndex calls both halves of one object, and each has its own way
    to the same body here.
    """
    if not isinstance(memory, kind):
        raise UsageError(
            f"this needs a MOS, not {type(memory).__name__}; its async methods hand work to "
            "threads by themselves"
        )
    return memory


def in_a_cube(
    mos: MOS, part: str, *, user: str | None, agent: str | None, cube: str | None
) -> Room:
    """The room in ``cube``, or in the asker's own cube for ``part``; it is made where missing.

    Raises ``InvalidInput`` where nobody is named, ``AccessDenied`` for a new cube in another's
    name.
    """
    checked(mos)
    path = cube or f"{home_path(user=user, agent=agent)}/{part}"
    clean_path(path)
    # It may be there already, or be another's: every verb decides about it anew anyway.
    with suppress(UsageError, AccessDenied):
        mos.create_cube(path, user=user, agent=agent)
    return Room(user, agent, cube=path)


def delete_found(mos: MOS, room: Room, find: Callable[[], Iterable[str]]) -> None:
    """Delete what ``find`` finds, all of it in one transaction.

    What somebody else deletes meanwhile is no error: the rest is looked for once more.
    """
    for last in (False, False, True):
        try:
            with mos.pipeline(**room.of()) as changes:
                for item in dict.fromkeys(find()):
                    changes.delete(item)
        except (NotFound, IllegalTransition):
            if last:
                raise
        else:
            return
