"""The lines of a thread: is this node where its thread has arrived, or was the thread taken back?

A thread that is replayed or forked from an earlier checkpoint must recall what was known there,
and must not write into the cube that the main line goes on in. LangGraph does not tell a node; the
thread's own checkpoints do: once somebody has gone on from this mark, it is the past. Called by
the nodes that touch memory, calls the checkpointer of the run and the facade.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from langgraph_memos.asking import Asker, info_of
from langgraph_memos.version import Branch, Mark, changed, first_mark
from memos_integrations.cube.errors import AccessDenied, NotFound, UsageError
from memos_integrations.cube.ids import home_path
from memos_integrations.cube.mem_cube import MemCube
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import CubeName

KEY: Final = "memory_version"
"""The key of the state that carries the mark."""
_SAVER: Final = "__pregel_checkpointer"
"""Where LangGraph keeps the run's checkpointer; a test holds that it is there."""

Cubes = CubeName | Sequence[CubeName] | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands in its thread's memory: what it reads, and where it may write."""

    mos: MOS
    asker: Asker
    mark: Mark
    checkpoint: str
    rewound: bool
    """Whether this very step left the line it was on."""

    @property
    def forked(self) -> bool:
        """Whether this is a fork: it reads the past and writes to branches."""
        return self.mark["known"] is not None

    def readings(self, cubes: Cubes = None) -> list[tuple[Reads, Cubes]]:
        """What to read: (memory, cubes of it). On a fork the past, and its own branches."""
        known = self.mark["known"]
        if known is None:
            return [(self.mos, cubes)]
        found: dict[int | None, list[CubeName | None]] = {}
        for cube in _listed(cubes):
            path, upto = self._standing_for(cube, known)
            found.setdefault(upto, []).append(path)
        return [
            (self.mos if upto is None else self.mos.as_of(upto), _given(paths))
            for upto, paths in found.items()
        ]

    def version(self, cubes: Cubes = None) -> int:
        """The version of what would be read now."""
        asked = self.asker.keywords()
        return max(memory.version(cube=paths, **asked) for memory, paths in self.readings(cubes))

    def version_written(self, cube: CubeName | None = None) -> int:
        """As ``version``, for a cube to write to: 0 where it is not founded yet."""
        try:
            return self.version(cube)
        except AccessDenied:  # in these words also what is not there; the write itself decides
            return 0

    def writing(self, cube: CubeName | None = None) -> tuple[Place, CubeName | None]:
        """The cube to write to, and the place from then on: on a fork a branch of ``cube``, made
        by the first write."""
        known = self.mark["known"]
        if known is None:
            return self, cube
        base, upto = self._standing_for(cube, known)
        if upto is None:
            return self, base
        branch = _branch(self.mos, self.asker, base, self.mark["line"], upto)
        made = {**self.mark["branches"], _name(cube): Branch(cube=branch, upto=None)}
        return replace(self, mark=changed(self.mark, branches=made)), branch

    def _standing_for(
        self, cube: CubeName | None, known: int
    ) -> tuple[CubeName | None, int | None]:
        """The cube that stands for this one on a fork, and the version to read it at."""
        branch = self.mark["branches"].get(_name(cube))
        return (cube, known) if branch is None else (branch["cube"], branch["upto"])

    def left(self, *, found: int, seq: int) -> Mark:
        """The mark after this node."""
        tick = self.mark["tick"] + 1
        return changed(self.mark, found=found, seq=seq, tick=tick, at=self.checkpoint)


def place_of(
    mos: MOS, asker: Asker, mark: Mark | None, config: RunnableConfig, runtime: object
) -> Place:
    """Where this node stands. Costs a look at the thread's newest checkpoints, where it has any."""
    if not isinstance(mos, MOS):
        raise UsageError(f"a memory node takes a MOS, not {type(mos).__name__}; it runs async, too")
    info = info_of(runtime)
    if info is None:
        return Place(mos, asker, mark or first_mark(), "", rewound=False)
    was = mark or first_mark(_graph(info.checkpoint_ns))
    now = standing(was, _saved(config, info.checkpoint_ns, was), checkpoint=info.checkpoint_id)
    return Place(mos, asker, now, info.checkpoint_id, rewound=now["line"] != was["line"])


def standing(mark: Mark, saved: Iterable[Mark], *, checkpoint: str) -> Mark:
    """The same mark where nobody has gone on from it; else the beginning of a fork.

    ``saved`` are the marks in the thread's other checkpoints. Pure.
    """
    after = [each for each in saved if each["line"] == mark["line"] and each["tick"] > mark["tick"]]
    if not after:
        return mark
    first = min(after, key=lambda each: (each["tick"], each["at"]))
    line = hashlib.sha256(json.dumps([mark["line"], mark["tick"], checkpoint]).encode())
    branches = {
        cube: Branch(
            cube=each["cube"], upto=first["found"] if each["upto"] is None else each["upto"]
        )
        for cube, each in mark["branches"].items()
    }
    known = first["found"] if mark["known"] is None else mark["known"]
    return changed(mark, line=line.hexdigest()[:20], known=known, branches=branches)


def _graph(task_ns: str) -> str:
    """The names of the graphs this task is nested in, without the ids of their tasks."""
    return "|".join(part.partition(":")[0] for part in task_ns.split("|")[:-1])


def _saved(config: RunnableConfig, task_ns: str, mark: Mark) -> Iterator[Mark]:
    """The marks in the checkpoints of this graph (and of the outermost) newer than the mark."""
    named: dict[str, Any] = config.get("configurable", {})
    saver = named.get(_SAVER)
    if not isinstance(saver, BaseCheckpointSaver):
        return
    own = "|".join(task_ns.split("|")[:-1])
    # Who asks goes along: a governed checkpointer shows a thread to nobody else.
    asked = {k: v for k, v in named.items() if not k.startswith(("__", "checkpoint_"))}
    for namespace in dict.fromkeys([own, ""]):
        where: RunnableConfig = {"configurable": {**asked, "checkpoint_ns": namespace}}
        yield from _newer(saver, where, mark["at"])


def _newer(saver: BaseCheckpointSaver[Any], where: RunnableConfig, at: str) -> Iterator[Mark]:
    """The marks in the checkpoints there that are newer than ``at``, newest first."""
    try:
        listed = saver.list(where)
    except NotImplementedError:  # for event loops only; nodes run in threads of their own
        yield from asyncio.run(_newer_by_loop(saver, where, at))
        return
    for each in listed:
        if each.checkpoint["id"] <= at:  # ids are ordered by time
            return
        if (found := each.checkpoint["channel_values"].get(KEY)) is not None:
            yield found


async def _newer_by_loop(
    saver: BaseCheckpointSaver[Any], where: RunnableConfig, at: str
) -> list[Mark]:
    found: list[Mark] = []
    async for each in saver.alist(where):
        if each.checkpoint["id"] <= at:
            break
        if KEY in each.checkpoint["channel_values"]:
            found.append(each.checkpoint["channel_values"][KEY])
    return found


def _branch(mos: MOS, asker: Asker, cube: CubeName | None, line: str, known: int) -> str:
    """The branch of this cube for this line, under the cube itself so that it is its owner's and
    whoever was granted the one has the other, as long as that; made if it is not there yet."""
    place = json.dumps([_name(cube), asker.thread, line])
    above = _name(cube).partition("/branches/")[0] if cube is not None else _home(asker)
    name = f"{above}/branches/{hashlib.sha256(place.encode()).hexdigest()[:20]}".lstrip("/")
    who = asker.keywords()
    if _there(mos, name, who):
        return name
    try:
        mos.fork(name, at=known, cube=cube, reason="the thread was forked", **who)
    except NotFound:  # the home was not founded yet
        mos.create_cube(name, **who)
    except UsageError:
        if not _there(mos, name, who):
            raise  # else another attempt at this step has just made it
    return name


def _there(mos: MOS, name: str, who: Mapping[str, Any]) -> bool:
    return any(each.path == name for each in mos.cubes(**who))


def _home(asker: Asker) -> str:
    if asker.user is None and asker.agent is None:
        return ""
    return home_path(user=asker.user, agent=None if asker.user else asker.agent)


def _listed(cubes: Cubes) -> list[CubeName | None]:
    if cubes is None or isinstance(cubes, str | MemCube):
        return [cubes]
    return list(cubes)


def _given(paths: Sequence[CubeName | None]) -> Cubes:
    """As the facade takes them: no list for the home cube."""
    named = [path for path in paths if path is not None]
    return named or None


def _name(cube: CubeName | None) -> str:
    if cube is None:
        return ""
    return cube.path if isinstance(cube, MemCube) else cube
