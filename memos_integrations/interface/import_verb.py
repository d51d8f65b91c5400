"""The verb that moves memories in from other systems, out of the files these keep or export."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias, get_args

from memos_integrations.cube.acl import Trust
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.vault.imported import known
from memos_integrations.interface.base import Verbs
from memos_integrations.interface.importing import langgraph_items, letta_agents, mem0_memories
from memos_integrations.interface.importing.bringing import (
    EXISTS,
    Bringer,
    Brought,
    Ready,
    names_taken,
)
from memos_integrations.interface.importing.files import ImportLimits
from memos_integrations.interface.importing.foreign import Foreign, Left, Records
from memos_integrations.interface.importing.report import ImportReport, System
from memos_integrations.interface.reader import as_enum
from memos_integrations.interface.scope import CubeName, Scope

Progress: TypeAlias = Callable[[float], None]
_READERS: Final[dict[str, Callable[[Path, ImportLimits], Records]]] = {
    "langgraph": langgraph_items.read,
    "mem0": mem0_memories.read,
    "letta": letta_agents.read,
}
_BATCH = 100


class ImportVerb(Verbs):
    """Bringing memories in from elsewhere."""

    def import_from(
        self,
        system: System,
        path: str | os.PathLike[str],
        *,
        of: str | None = None,
        trust: Trust | str = Trust.IMPORT,
        dry_run: bool = False,
        limits: ImportLimits | None = None,
        progress: Progress | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> ImportReport:
        """Remember what another system remembered: LangGraph's store, mem0 or Letta.

        Each memory keeps its times, its origin ``import``, and in ``info`` what was noted with it
        and its id there. The same file again changes nothing; a later one corrects what changed.
        ``of`` takes one user's (mem0), one agent's (Letta) or one namespace's (LangGraph,
        segments parted by full stops); a mem0 file with several users needs it. ``trust`` is for
        files that are known to be good. A break loses nothing: run it again. Raises
        ``InvalidInput`` for a file that is not what was said, or too large.
        """
        if system not in get_args(System):
            raise InvalidInput(f"system must be one of {', '.join(get_args(System))}")
        scope = self._scope(user, agent, session, cube)
        bounds = limits or ImportLimits()
        done = Brought()
        found = self._found(system, Path(path), of, bounds, done)
        chosen = as_enum(Trust, trust, "trust")
        bringer = Bringer(self._rooms, scope.principal, scope.cube, system=system, trust=chosen)
        ready = list(bringer.ready(found, done))
        for place, batch in enumerate(_batches(ready)):
            _add(
                done,
                self._foreseen(scope, batch) if dry_run else self._bring(scope, bringer, batch),
            )
            if progress is not None:
                progress(min(1.0, (place + 1) * _BATCH / len(ready)))
        return ImportReport(
            system,
            scope.cube,
            dry_run,
            **done.fates,
            left=done.left,
            masked=done.masked,
            ids=tuple(done.ids),
            task_ids=tuple(done.task_ids),
        )

    def _found(
        self, system: System, path: Path, of: str | None, limits: ImportLimits, done: Brought
    ) -> list[Foreign]:
        """The memories asked for. Raises before anything is written."""
        if not path.is_file():
            raise InvalidInput(f"there is no file {path}")
        found: dict[str, Foreign] = {}
        for each in _READERS[system](path, limits):
            if isinstance(each, Left):
                done.leave(each.why)
            elif not _is_of(each, of):
                done.leave("of somebody else")
            else:
                found[each.id] = each
        owners = {each.owner for each in found.values()}
        if len(owners) > 1:
            raise InvalidInput(
                f"{path.name} holds memories of {len(owners)} users; name one of them with of=..."
            )
        return list(found.values())

    def _bring(self, scope: Scope, bringer: Bringer, batch: Sequence[Ready]) -> Brought:
        self._rooms.pressure.wait(scope.principal.tenant)
        return self._write(scope, lambda tx: bringer.bring(tx, batch), action="import")

    def _foreseen(self, scope: Scope, batch: Sequence[Ready]) -> Brought:
        done = Brought()
        with self._reading(scope, action="import") as reading:
            cids = [cube.cid for cube in reading.cubes(scope.cubes)]
            taken = names_taken(reading, cids, batch)
            for each in batch:
                fate = each.fate(known(reading.connection, scope.principal, each.key))
                if fate == "new" and each.foreign.name in taken:
                    done.leave(EXISTS)
                else:
                    done.count(fate)
        return done


def _is_of(each: Foreign, of: str | None) -> bool:
    if of is None:
        return True
    if each.name is not None:
        wanted = of.split(".")
        return list(each.name[0][: len(wanted)]) == wanted
    return of in (each.owner, each.agent)


def _batches(ready: Sequence[Ready]) -> Iterator[Sequence[Ready]]:
    for start in range(0, len(ready), _BATCH):
        yield ready[start : start + _BATCH]


def _add(done: Brought, more: Brought) -> None:
    for name in ("fates", "left", "masked"):
        counts: dict[str, int] = getattr(done, name)
        for what, count in getattr(more, name).items():
            counts[what] = counts.get(what, 0) + count
    done.ids += more.ids
    done.task_ids += more.task_ids


__all__ = ["ImportReport", "ImportVerb", "System"]
