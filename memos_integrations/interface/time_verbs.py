"""The verbs of the time machine: roll back, fork, compare, merge back."""

from __future__ import annotations

from datetime import datetime

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.errors import InvalidInput, NotFound
from memos_integrations.cube.ids import LATEST, Seq, clean_name, clean_path
from memos_integrations.cube.mem_cube import MemCube
from memos_integrations.cube.outcomes import Changed
from memos_integrations.infrastructure.vault.governed import NOW, Instant
from memos_integrations.infrastructure.vault.log import position_at
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.interface.arguments import clean_reason
from memos_integrations.interface.base import Verbs, refused_cube
from memos_integrations.interface.cubes import to_cube
from memos_integrations.interface.reader import micros_of
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.operation.lifecycle.time_machine import (
    CubeDiff,
    OnConflict,
    diff,
    fork,
    merge_branch,
    origins_of,
    roll_back_cube,
    roll_back_source,
)


class TimeVerbs(Verbs):
    """Going back, sideways and forward again, without ever rewriting history."""

    def rollback(
        self,
        item: str | None = None,
        *,
        version: int | None = None,
        to: datetime | int | None = None,
        source: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        reason: str = "rolled back",
    ) -> list[str]:
        """Write new versions equal to old ones; the ids that changed.

        ``rollback(item, version=2)`` for one memory; ``rollback(to=time or log position)`` for a
        whole cube; ``rollback(source=...)`` undoes everything one source brought.
        """
        scope = self._scope(user, agent, session, cube)
        if item is not None and version is not None and to is None and source is None:
            return [self._roll_back_item(scope, item, version, reason).id]
        if item is not None or version is not None or (to is None) == (source is None):
            raise InvalidInput(
                "rollback takes an item with version=..., or to=... or source=... for a cube"
            )

        clean_reason(reason)
        if source is not None:
            clean_name(source, "source")

        def work(tx: Transaction) -> list[str]:
            row = require_cube(tx, scope, Permission.ADMIN)
            if source is not None:
                changed = roll_back_source(tx, row, source, reason=reason)
            else:
                changed = roll_back_cube(tx, row, self._position(tx, to), reason=reason)
            tx.audit("rollback", cube=row.path, items=changed, reason=reason)
            return changed

        return self._write(scope, work, action="rollback")

    def _roll_back_item(self, scope: Scope, item: str, version: int, reason: str) -> Changed:
        def work(tx: Transaction) -> Changed:
            path = tx.item(item).path
            done = self._rooms.lifecycle.rollback(tx, item, version, reason=reason)
            tx.audit("rollback", cube=path, items=[item], reason=reason)
            return done

        return self._write(scope, work, action="rollback")

    def fork(
        self,
        name: str,
        *,
        at: datetime | int | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        reason: str = "forked",
    ) -> MemCube:
        """A new cube ``name`` of the asker's with everything it may read of ``cube``, now or as
        it was ``at`` a time. Under a cube of the owner of ``cube`` (``teams/acme/try`` of
        ``teams/acme``) it is that owner's, and the asker's by what was granted there. Raises
        ``UsageError`` when the name is taken."""
        scope = self._scope(user, agent, session, cube)
        path = clean_path(name)

        def work(tx: Transaction) -> MemCube:
            source = require_cube(tx, scope, Permission.READ)
            tx.gate(source, Permission.READ)
            self._rooms.executor.ensure_own_name(tx, path)
            instant = NOW if at is None else Instant(self._position(tx, at))
            branch = fork(tx, source, path, instant=instant, reason=reason)
            tx.audit("fork", cube=source.path, reason=reason, extra={"branch": path})
            return to_cube(tx.connection, branch)

        return self._write(scope, work, action="fork")

    def diff(
        self,
        branch: CubeName,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> CubeDiff:
        """How a branch differs from the cube it was forked from (or from ``cube``)."""
        scope = self._scope(user, agent, session, branch)
        with self._reading(scope, action="diff") as reading:
            (theirs,) = self._open_cubes(reading, scope)
            base = cube if cube is not None else to_cube(reading.connection, theirs).forked_from
            if base is None:
                raise InvalidInput(f"cube {theirs.path} is no fork; pass cube=... to compare with")
            other = self._scope(user, agent, session, base)
            (ours,) = self._open_cubes(reading, other)
            right = reading.governed.listing(cids=[theirs.cid], pick="told")
            left = reading.governed.listing(cids=[ours.cid], pick="told")
            origins = origins_of(
                reading.connection.execute, [row.iid for row in right], base=ours.cid
            )
        cubes = [theirs.path, ours.path]
        self._rooms.vault.shown(scope.principal, "diff", [*left, *right], cubes=cubes)
        return diff(left, right, origins, scope.principal)

    def merge_branch(
        self,
        branch: CubeName,
        *,
        on_conflict: OnConflict = "error",
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        reason: str = "merged a branch",
    ) -> list[str]:
        """Bring a branch's changes back into the cube it was forked from; the ids that changed.

        Raises ``MergeConflict`` naming what both sides changed, unless ``on_conflict`` says whose
        words stand (``"ours"``: the cube's, ``"theirs"``: the branch's).
        """
        scope = self._scope(user, agent, session, branch)

        def work(tx: Transaction) -> list[str]:
            theirs = require_cube(tx, scope, Permission.READ)
            tx.gate(theirs, Permission.READ)
            base = self._base_of(tx, theirs, self._scope(user, agent, session, cube), cube)
            changed = merge_branch(tx, theirs, base, on_conflict=on_conflict, reason=reason)
            tx.audit("merge_branch", cube=base.path, items=changed, reason=reason)
            return changed

        return self._write(scope, work, action="merge_branch")

    def _base_of(
        self, tx: Transaction, branch: CubeRow, scope: Scope, cube: CubeName | None
    ) -> CubeRow:
        if cube is not None:
            return require_cube(tx, scope, Permission.WRITE)
        row = tx.execute("SELECT path FROM cube WHERE cid = ?", (branch.fork_of,)).fetchone()
        base = None if row is None else tx.find_cube(clean_path(row[0]))
        if base is None:
            raise InvalidInput(f"cube {branch.path} is no fork; there is nothing to merge into")
        return base

    def _position(self, tx: Transaction, at: datetime | int | None) -> Seq:
        """The place in the log of a time, or of a position given as a number."""
        if isinstance(at, int) and not isinstance(at, bool):
            if not 0 <= at <= LATEST:
                raise InvalidInput("a log position is a whole number from 0 upwards")
            return Seq(at)
        if at is None:
            raise InvalidInput("say which time or log position")
        return position_at(tx.execute, micros_of(at, "time"))


def require_cube(tx: Transaction, scope: Scope, need: Permission) -> CubeRow:
    """The cube of the scope. Where there is none: ``NotFound`` for the asker's own home, for any
    other name the refusal that a closed cube gets, so that names are not to be probed."""
    found = tx.find_cube(scope.cube)
    if found is None and scope.at_home:
        raise NotFound(f"there is no cube {scope.cube} for {scope.principal.name}")
    if found is None:
        raise refused_cube(scope.principal, scope.cube, need)
    return found
