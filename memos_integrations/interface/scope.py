"""The scoping keywords of every verb, resolved once: who asks, and about which cubes.

``user`` and ``agent`` say who acts; ``cube`` says whose memory. On reads, naming an agent beside
a user, or a session, narrows to what was said by that agent or in that session: a scope that
is named is never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.filters import And, Comparison, Filter, parse
from memos_integrations.cube.ids import CubePath, clean_path, home_path
from memos_integrations.cube.mem_cube import MemCube

CubeName: TypeAlias = str | MemCube
Where: TypeAlias = Mapping[str, object] | Filter | None


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks, the cubes asked about, and whether these are the asker's own home."""

    principal: Principal
    cubes: tuple[CubePath, ...]
    at_home: bool
    narrow: Filter | None

    @property
    def cube(self) -> CubePath:
        """The one cube of a verb that takes one."""
        if len(self.cubes) != 1:
            raise InvalidInput("this verb takes one cube, not several")
        return self.cubes[0]

    @property
    def where_said(self) -> tuple[str | None, ...]:
        """Cube, session and agent: with other ones, the same words are another request."""
        return self.cube, self.principal.session, self.principal.agent

    def where(self, given: Where) -> Filter | None:
        """The caller's filter together with what the scope itself narrows to."""
        asked = parse(given)
        parts = tuple(part for part in (asked, self.narrow) if part is not None)
        if len(parts) < 2:
            return parts[0] if parts else None
        return And(parts)


def resolve(
    base: Principal,
    *,
    default_user: str,
    user: str | None,
    agent: str | None,
    session: str | None,
    cube: CubeName | Sequence[CubeName] | None,
) -> Scope:
    """The scope of a call. ``base`` carries tenant, roles and clearances (and a bound user)."""
    asked = _asked(base, default_user, user, agent, session)
    cubes = _paths(cube)
    return Scope(
        principal=asked,
        cubes=cubes or (home_path(user=asked.user, agent=asked.agent),),
        at_home=not cubes,
        narrow=_narrowing(asked, agent=agent, session=session),
    )


def _asked(
    base: Principal, default_user: str, user: str | None, agent: str | None, session: str | None
) -> Principal:
    user = base.user if user is None else user
    agent = base.agent if agent is None else agent
    if user is None and agent is None:
        user = default_user
    session = base.session if session is None else session
    # replace() would say it in a line, for three times the time of every call.
    return Principal(base.tenant, user, agent, session, base.roles, base.groups, base.clearances)


def _paths(cube: CubeName | Sequence[CubeName] | None) -> tuple[CubePath, ...]:
    if cube is None:
        return ()
    if not isinstance(cube, str | MemCube | Sequence):
        raise InvalidInput(f"cube must be a path or a list of paths, not {type(cube).__name__}")
    names = [cube] if isinstance(cube, str | MemCube) else list(cube)
    if not names:
        raise InvalidInput("cube is an empty list: name at least one, or leave it out")
    paths = [clean_path(n.path if isinstance(n, MemCube) else n) for n in names]
    return tuple(dict.fromkeys(paths))


def _narrowing(asked: Principal, *, agent: str | None, session: str | None) -> Filter | None:
    parts: list[Filter] = []
    if agent is not None and asked.user is not None:
        parts.append(Comparison("agent", "=", agent))
    if session is not None:
        parts.append(Comparison("conversation", "=", session))
    if len(parts) < 2:
        return parts[0] if parts else None
    return And(tuple(parts))
