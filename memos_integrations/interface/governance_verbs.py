"""The verbs of governance: cubes, grants, holds, quarantine, erasure and the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from memos_integrations.cube.acl import Effect, Grant, Permission, SubjectKind, Visibility
from memos_integrations.cube.errors import InvalidInput, NotFound, UsageError
from memos_integrations.cube.events import EventKind
from memos_integrations.cube.ids import clean_name, clean_path
from memos_integrations.cube.mem_cube import MemCube
from memos_integrations.cube.outcomes import Changed
from memos_integrations.infrastructure.governance.audit import AuditLine, AuditReport, ExportedHead
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import dumps
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.interface.arguments import clean_reason, span_micros, whole
from memos_integrations.interface.base import Verbs, refused_cube
from memos_integrations.interface.cubes import to_cube
from memos_integrations.interface.json_values import clean_json
from memos_integrations.interface.rights import Target, ensure_held, ensure_may_replace
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.interface.time_verbs import require_cube
from memos_integrations.operation.fine_task import review_answers, review_facts
from memos_integrations.operation.lifecycle.hiding import deny_restated, narrow_restated
from memos_integrations.operation.lifecycle.lifecycle import MemLifecycle
from memos_integrations.operation.lifecycle.truth import mark_stale

_PERMISSIONS = {
    "read": Permission.READ,
    "write": Permission.READ | Permission.WRITE,
    "share": Permission.READ | Permission.SHARE,
    "admin": Permission.ALL,
}
_DENIALS = {
    "read": Permission.ALL,
    "write": Permission.WRITE | Permission.SHARE | Permission.ADMIN,
    "share": Permission.SHARE | Permission.ADMIN,
    "admin": Permission.ADMIN,
}


class GovernanceVerbs(Verbs):
    """Who may see and do what, and the proof of it."""

    def create_cube(
        self,
        name: str,
        *,
        visibility: Visibility | str = Visibility.PRIVATE,
        info: Mapping[str, Any] | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
    ) -> MemCube:
        """A new cube owned by the asker, such as ``teams/acme/notes``."""
        scope = self._scope(user, agent, session)
        path = clean_path(name)
        shown = _visibility(visibility)
        facts = clean_json(info or {}, "info")

        def work(tx: Transaction) -> MemCube:
            self._rooms.executor.ensure_own_name(tx, path)  # first: names are not to be probed
            if tx.find_cube(path) is not None:
                raise UsageError(f"cube {path} exists already")
            row = tx.new_cube(path, visibility=shown, info=facts)
            tx.audit("create_cube", cube=path)
            return to_cube(tx.connection, row)

        return self._write(scope, work, action="create_cube")

    def share(
        self,
        item: str | None = None,
        *,
        to: str,
        permission: str = "read",
        ttl_seconds: float | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> None:
        """Grant ``to`` (``"bob"``, ``"agent:planner"``, ``"role:auditor"``, ``"group:ops"``) a
        permission (``read``, ``write``, ``share``, ``admin``) on one memory, or on a cube and
        the cubes under it. Takes effect at once and ends by itself after ``ttl_seconds``."""
        scope = self._scope(user, agent, session, cube)
        rights = _permission(permission, _PERMISSIONS)
        self._rule(scope, item, to, rights, Effect.ALLOW, ttl_seconds)

    def deny(
        self,
        item: str | None = None,
        *,
        to: str,
        permission: str = "read",
        ttl_seconds: float | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> None:
        """Forbid; wins over every grant, over visibility and over ownership. What is denied of a
        memory is denied of its summaries too, until it is taken back there."""
        scope = self._scope(user, agent, session, cube)
        rights = _permission(permission, _DENIALS)
        self._rule(scope, item, to, rights, Effect.DENY, ttl_seconds)

    def revoke(
        self,
        item: str | None = None,
        *,
        to: str,
        denial: bool = False,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> None:
        """Take a grant back (or, with ``denial=True``, lift a denial). Takes effect at once.

        Raises ``NotFound`` when there is no such rule, so that a typing error is not success.
        """
        scope = self._scope(user, agent, session, cube)
        kind, name = _subject(to)
        effect = Effect.DENY if denial else Effect.ALLOW

        def work(tx: Transaction) -> None:
            target = self._target(tx, scope, item)
            rule = Grant(tx.principal.tenant, target.path, kind, name, Permission.NONE, effect)
            ensure_may_replace(tx, target, rule)
            if not tx.revoke(rule, cid=target.cid, iid=target.iid):
                raise NotFound(f"there is no such rule for {to} on {item or target.path}")
            tx.audit("revoke", cube=target.path, items=_ids(target), extra={"to": to})

        self._write(scope, work, action="revoke")

    def grants(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> list[Grant]:
        """The rules on a cube and its items; for those who may share it."""
        scope = self._scope(user, agent, session, cube)
        with self._reading(scope, action="grants", need=Permission.SHARE) as reading:
            found_cubes = self._whole_cubes(reading, scope, Permission.SHARE)
            found = reading.connection.execute(
                "SELECT a.tenant, a.scope, a.subject_kind, a.subject, a.permissions, a.effect, "
                "i.id, a.expires, a.gid FROM access a LEFT JOIN item i ON i.iid = a.iid "
                "WHERE a.tenant = ? AND a.scope = ? ORDER BY a.gid",
                (scope.principal.tenant, found_cubes[0].path if found_cubes else ""),
            ).fetchall()
        paths = [cube.path for cube in found_cubes]
        self._rooms.vault.shown(scope.principal, "grants", [], cubes=paths)
        return [
            Grant(t, s, SubjectKind(k), name, Permission(p), Effect(e), item, until, gid)
            for t, s, k, name, p, e, item, until, gid in found
        ]

    def set_visibility(
        self,
        visibility: Visibility | str,
        item: str | None = None,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> None:
        """Who sees a memory (or a cube) without a grant: ``private``, ``tenant``, ``public``,
        and for a memory ``inherit``."""
        scope = self._scope(user, agent, session, cube)
        shown = _visibility(visibility)
        if item is None and shown is Visibility.INHERIT:
            raise InvalidInput("a cube is private, tenant or public; inherit is for memories")

        def work(tx: Transaction) -> None:
            target = self._target(tx, scope, item)
            # Outlives the asker's own right, so that right must not end.
            ensure_held(tx, target, Permission.SHARE, None)
            if target.iid is None:
                tx.execute(
                    "UPDATE cube SET visibility = ? WHERE cid = ?", (shown.value, target.cid)
                )
            else:
                tx.execute(
                    # What was drawn from its words is seen by those who see the words.
                    "UPDATE item SET visibility = ?1 WHERE iid = ?2 OR drawn_from = ?2",
                    (shown.value, target.iid),
                )
                for row in current(tx, [target.iid]):
                    narrow_restated(tx, row, shown)
            tx.emit(EventKind.ACCESS, target.cid, target.iid or 0)
            tx.audit("set_visibility", cube=target.path, items=_ids(target), reason=shown.value)

        self._write(scope, work, action="set_visibility")

    def freeze(
        self,
        item: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        reason: str = "legal hold",
    ) -> Changed:
        """Put a legal hold on a memory: nobody changes, expires or erases it until ``thaw``."""
        scope = self._scope(user, agent, session, cube)
        return self._lock(scope, item, MemLifecycle.freeze, "freeze", reason)

    def thaw(
        self,
        item: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        reason: str = "hold lifted",
    ) -> Changed:
        """Lift a legal hold; needs admin rights on the memory."""
        scope = self._scope(user, agent, session, cube)
        return self._lock(scope, item, MemLifecycle.thaw, "thaw", reason)

    def quarantine(
        self,
        source: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        reason: str = "quarantined",
    ) -> list[str]:
        """Hide everything one source brought, and whatever it brings until ``release``, from
        every search at once; the ids hidden."""
        scope = self._scope(user, agent, session, cube)
        return self._set_quarantine(scope, source, reason, "quarantine")

    def release(
        self,
        source: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        reason: str = "released",
    ) -> list[str]:
        """End a quarantine; the ids that are shown again."""
        scope = self._scope(user, agent, session, cube)
        return self._set_quarantine(scope, source, reason, "release")

    # -- audit --------------------------------------------------------------------------------

    def audit(
        self,
        *,
        item: str | None = None,
        limit: int = 100,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> list[AuditLine]:
        """The newest lines of the audit log: one's own, or, with admin rights on ``cube``,
        everybody's on that cube."""
        scope = self._scope(user, agent, session, cube)
        whole(limit, "limit", least=0)
        if item is not None:
            clean_name(item, "the id of a memory")
        self._rooms.vault.flush_reads()
        who = scope.principal
        with self._reading(scope, action="audit", need=Permission.ADMIN) as reading:
            everyone = who.is_admin and scope.at_home
            if not scope.at_home:
                self._whole_cubes(reading, scope, Permission.ADMIN)
            lines = self._rooms.vault.audit_log.read(
                reading.connection.execute,
                tenant=who.tenant,
                actor=who.name if scope.at_home and not everyone else None,
                cube=None if scope.at_home else scope.cube,
                item=item,
                limit=limit,
            )
        if scope.at_home and not everyone:
            return [_without_hidden_cube(line) for line in lines]
        self._rooms.vault.shown(who, "audit", [], cubes=scope.cubes)
        return lines

    def audit_verify(self, *, anchor: Mapping[str, object] | None = None) -> AuditReport:
        """Whether the audit chain is unbroken, and still holds an anchored head if given."""
        if anchor is not None and not isinstance(anchor, Mapping):
            raise InvalidInput("anchor must be the mapping that audit_head() gave")
        self._rooms.vault.flush_reads()
        with self._rooms.vault.readers.snapshot() as connection:
            return self._rooms.vault.audit_log.verify(connection.execute, anchor=anchor)

    def audit_head(self) -> ExportedHead:
        """The head of the audit chain, to be anchored outside this machine."""
        self._rooms.vault.flush_reads()
        with self._rooms.vault.readers.snapshot() as connection:
            return self._rooms.vault.audit_log.export_head(connection.execute)

    # -- what the verbs share -----------------------------------------------------------------

    def _whole_cubes(self, reading: Reading, scope: Scope, need: Permission) -> list[CubeRow]:
        """The cubes, refused unless the principal holds ``need`` on each as a whole."""
        cubes = self._cubes(reading, scope, need)
        for gate in reading.governed.gates([cube.cid for cube in cubes]):
            if not gate.open:
                raise refused_cube(scope.principal, gate.path, need)
        return cubes

    def _target(self, tx: Transaction, scope: Scope, item: str | None) -> Target:
        """What a rule is about, checked for the right to share it."""
        if item is not None:
            row = tx.item(item, Permission.SHARE)
            return Target(row.path, row.cid, row.iid, row.id)
        cube = tx.find_cube(scope.cube)
        if cube is None:
            self._rooms.executor.ensure_own_name(tx, scope.cube, need=Permission.SHARE)
            cube = tx.new_cube(scope.cube)
        tx.gate(cube, Permission.SHARE)
        return Target(cube.path, cube.cid, None, None)

    def _rule(
        self,
        scope: Scope,
        item: str | None,
        to: str,
        rights: Permission,
        effect: Effect,
        ttl_seconds: float | None,
    ) -> None:
        kind, name = _subject(to)
        span = None if ttl_seconds is None else span_micros(ttl_seconds, "ttl_seconds")

        def work(tx: Transaction) -> None:
            target = self._target(tx, scope, item)
            until = None if span is None else tx.now + span
            ensure_held(tx, target, rights, until)
            rule = Grant(
                tx.principal.tenant, target.path, kind, name, rights, effect, expires=until
            )
            ensure_may_replace(tx, target, rule)
            tx.grant(rule, cid=target.cid, iid=target.iid)
            if effect is Effect.DENY and target.iid is not None:
                for row in current(tx, [target.iid]):
                    deny_restated(tx, row, rule)
            action = "share" if effect is Effect.ALLOW else "deny"
            tx.audit(action, cube=target.path, items=_ids(target), extra={"to": to})

        self._write(scope, work, action="share" if effect is Effect.ALLOW else "deny")

    def _lock(
        self,
        scope: Scope,
        item: str,
        step: Callable[..., Changed],
        action: str,
        reason: str,
    ) -> Changed:
        clean_reason(reason)

        def work(tx: Transaction) -> Changed:
            # Before the step: lifting a hold may be what lets the memory expire.
            path = tx.item(item, Permission.ADMIN).path
            done = step(self._rooms.lifecycle, tx, item, reason=reason)
            tx.audit(action, cube=path, items=[item], reason=reason)
            return done

        return self._write(scope, work, action=action)

    def _set_quarantine(self, scope: Scope, source: str, reason: str, action: str) -> list[str]:
        clean_name(source, "source")
        clean_reason(reason)
        flag = int(action == "quarantine")

        def work(tx: Transaction) -> list[str]:
            cube = require_cube(tx, scope, Permission.ADMIN)
            tx.gate(cube, Permission.ADMIN)
            rows = tx.execute(
                "SELECT DISTINCT i.iid, i.id FROM version v JOIN item i ON i.iid = v.iid "
                "WHERE v.source = ? AND v.cid = ? AND i.quarantined <> ? ORDER BY i.iid",
                (source, cube.cid, flag),
            ).fetchall()
            tx.bar(cube.cid, source, barred=bool(flag))
            numbers = dumps([iid for iid, _ in rows])
            tx.execute(
                "UPDATE item SET quarantined = ? WHERE iid IN (SELECT value FROM json_each(?))",
                (flag, numbers),
            )
            for iid, _ in rows:
                tx.emit(EventKind.ACCESS, cube.cid, iid)
            # What was merged or derived from these says the same words.
            for row in current(tx, [iid for iid, _ in rows]) if flag else []:
                mark_stale(tx, row, reason="was quarantined")
            turns = current(tx, [iid for iid, _ in rows])
            review_facts(tx, turns)
            review_answers(tx, turns)
            ids = [item for _, item in rows]
            tx.audit(action, cube=cube.path, items=ids, reason=reason)
            return ids

        return self._write(scope, work, action=action)


def _without_hidden_cube(line: AuditLine) -> AuditLine:
    """A line for its own actor: where a hidden memory lies is for that cube's admins."""
    hidden = line.outcome == "denied" and line.reason == NotFound.__name__
    return replace(line, cube=None) if hidden else line


def _ids(target: Target) -> Sequence[str]:
    return [target.item] if target.item else []


def _subject(to: str) -> tuple[SubjectKind, str]:
    """``"bob"`` and ``"user:bob"`` are the user; ``agent:``, ``role:`` and ``group:`` as named."""
    clean_name(to, "to")
    kind, colon, name = to.partition(":")
    if colon and kind in set(SubjectKind):
        return SubjectKind(kind), clean_name(name, "to")
    return SubjectKind.USER, to


def _permission(name: str, table: Mapping[str, Permission]) -> Permission:
    if not isinstance(name, str) or name not in table:
        raise InvalidInput(f"permission must be one of {', '.join(table)}")
    return table[name]


def _visibility(value: Visibility | str) -> Visibility:
    try:
        return Visibility(value)
    except ValueError as error:
        raise InvalidInput("visibility is private, tenant, public or inherit") from error
