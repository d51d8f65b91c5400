"""The verb that forgets for good, and its receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.errors import AccessDenied, InvalidInput, NotFound
from memos_integrations.cube.events import EventKind
from memos_integrations.cube.header import State
from memos_integrations.cube.ids import clean_name, from_micros, home_path
from memos_integrations.infrastructure.backends.embedders import CachedEmbedder
from memos_integrations.infrastructure.governance.audit import AuditEntry
from memos_integrations.infrastructure.vault import erase, erased_names, records
from memos_integrations.infrastructure.vault.erase import ErasePlan
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.scrub import Scan
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import SYSTEM
from memos_integrations.interface.arguments import clean_reason
from memos_integrations.interface.base import Verbs
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.operation.facts.arranging import arrange, slots_of
from memos_integrations.operation.lifecycle.states import Event, next_state
from memos_integrations.operation.lifecycle.truth import visible


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an erase covered, what it kept and what lies out of its reach."""

    at: datetime
    asked: str
    erased: tuple[str, ...]
    """Memories that are gone in every version, those derived from and copied of them too, as far
    as the asker might see them; ``counts`` has all."""
    kept: tuple[str, ...]
    """Under legal hold; untouched."""
    not_allowed: int
    """Memories and records of that source or subject, and memories that what is gone had
    corrected, which the asker has no admin rights on."""
    revived: tuple[str, ...]
    """Sources of an erased merge that stand on their own again."""
    counts: dict[str, int]
    """Rows removed, by kind."""
    scan: Scan
    audit_line: int
    covered: tuple[str, ...]
    not_covered: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The receipt as JSON-able data."""
        return {**asdict(self), "at": self.at.isoformat()}


_COVERED = (
    "every version of the memories, their links, grants and usage",
    "text, vector and graph indexes",
    "stored results of idempotent calls that name them",
    "records of the user, or of the conversation that the source is",
    "blobs that nothing else uses",
    "caches and adapters of local models made of them, and all that trainings had written so far",
    "freed pages and the write-ahead log (raw bytes scanned)",
)
_NOT_COVERED = (
    "backups, file-system snapshots and copies of the file made earlier",
    "cubes dumped to archives or loaded elsewhere, adapters exported",
    "what others wrote down of a person, unless an admin erases that person",
    "a name inside a longer text of a cube's info, and in the audit line of the erase itself",
    "the audit log keeps ids and hashes, never content",
)


@dataclass(slots=True)
class _Asked:
    """Rows that are to go, and how many the asker sees but may not erase."""

    items: list[int]
    records: list[int] = field(default_factory=list[int])
    not_allowed: int = 0


@dataclass(slots=True)
class _Done:
    """What the transaction of an erase leaves for the receipt."""

    plan: ErasePlan
    taken: erase.Taken
    not_allowed: int
    audit_line: int


class EraseVerb(Verbs):
    """Erasure by item, by source or by subject."""

    def erase(
        self,
        item: str | None = None,
        *,
        source: str | None = None,
        subject: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        reason: str = "erased on request",
    ) -> Receipt:
        """Remove a memory, everything of a source, or everything of a person, for good.

        Goes along: what was merged into it, everything derived from it, copies in forks, a model's
        correction of it and what it was a correction of. Records
        go with their subject, and with the conversation they belong to (``source="session:..."``).
        Legal holds are kept and named in the receipt. Needs admin rights on each memory; a subject
        is erased by that user or by an admin of the tenant.
        """
        if sum(each is not None for each in (item, source, subject)) != 1:
            raise InvalidInput("erase takes exactly one of item, source=... or subject=...")
        clean_reason(reason)
        scope = self._scope(user, agent, session, cube)
        vault = self._rooms.vault
        vault.flush_reads()
        done = self._write(
            scope, lambda tx: self._erase(tx, scope, item, source, subject, reason), action="erase"
        )
        scan = vault.scrub(done.taken)
        if isinstance(self._rooms.embedder, CachedEmbedder):
            self._rooms.embedder.forget()
        return Receipt(
            at=from_micros(vault.now()),
            asked=f"item {item}" if item else f"source {source}" if source else f"user {subject}",
            erased=tuple(row.id for row in done.plan.take),
            kept=tuple(row.id for row in done.plan.held),
            not_allowed=done.not_allowed,
            revived=tuple(row.id for row in done.plan.revived),
            counts=done.taken.counts,
            scan=scan,
            audit_line=done.audit_line,
            covered=_COVERED,
            not_covered=_NOT_COVERED,
        )

    def _erase(
        self,
        tx: Transaction,
        scope: Scope,
        item: str | None,
        source: str | None,
        subject: str | None,
        reason: str,
    ) -> _Done:
        asked = self._asked(tx, scope, item, source, subject)
        plan = erase.plan(tx, asked.items)
        named = _named(tx, plan, asked.items)
        for row in plan.revived:
            state = next_state(State(row.state), Event.SPLIT, item=row.id)
            tx.revise(row, reason=reason, state=state.value, merged_into=None)
        slots = slots_of(tx, [row.iid for row in plan.take])
        taken = erase.carry_out(tx, plan.take)
        arrange(tx, slots, thorough=True)  # what the erased facts had ended holds again
        gone = records.remove(tx, asked.records)
        self._audit_records(tx, gone, reason)
        taken = replace(
            taken,
            counts={**taken.counts, "records": gone.count},
            packed=taken.packed + gone.needles,
        )
        if subject is not None:
            names = self._forget_subject(tx, subject, reason)
            taken = replace(taken, counts=taken.counts | names)
        line = self._audit(tx, plan.take, named, reason)
        return _Done(named, taken, asked.not_allowed + plan.not_allowed, line)

    def _audit(self, tx: Transaction, rows: Sequence[Stored], named: ErasePlan, reason: str) -> int:
        """A line in the log of every cube that lost something; the number of the last.

        Where the asker may not look, the line is the vault's own.
        """
        line = 0
        seen = {row.iid for row in named.take}
        for tenant, cube in sorted({(row.tenant, row.path) for row in rows}):
            here = [row for row in rows if (row.tenant, row.path) == (tenant, cube)]
            hidden = tuple(row.id for row in here if row.iid not in seen)
            if hidden:
                why = "derived from or copied of an erased memory"
                entry = AuditEntry(tenant, SYSTEM.name, "erase", "allowed", cube, hidden, why)
                self._rooms.vault.audit_log.append(tx, entry, at=tx.at)
            told = [row.id for row in here if row.iid in seen]
            if told:
                line = tx.audit("erase", cube=cube, items=told, reason=reason, tenant=tenant)
        return line or tx.audit("erase", reason=reason)

    def _audit_records(self, tx: Transaction, gone: records.Removed, reason: str) -> None:
        seen = {gate.cid for gate in tx.governed().gates([c for c, *_ in gone.cubes]) if gate.open}
        for cid, tenant, path, count in gone.cubes:
            extra = {"records": count}
            if cid in seen:
                tx.audit("erase", cube=path, reason=reason, tenant=tenant, extra=extra)
                continue
            why = "copied of erased records"
            entry = AuditEntry(tenant, SYSTEM.name, "erase", "allowed", path, (), why, extra=extra)
            self._rooms.vault.audit_log.append(tx, entry, at=tx.at)

    def _asked(
        self,
        tx: Transaction,
        scope: Scope,
        item: str | None,
        source: str | None,
        subject: str | None,
    ) -> _Asked:
        """The rows asked for that this principal may erase, and how many it may not."""
        if item is not None:
            row = tx.item(item, Permission.ADMIN)
            if row.state == State.FROZEN:
                next_state(State.FROZEN, Event.DELETE, item=item)
            return _Asked([row.iid])
        if source is not None:
            return self._of_source(tx, scope, clean_name(source, "source"))
        return self._of_subject(tx, clean_name(subject, "subject"))

    def _of_source(self, tx: Transaction, scope: Scope, source: str) -> _Asked:
        """Those the principal may erase; of what it may not even read, it learns nothing."""
        cube = tx.find_cube(scope.cube)
        found = [] if cube is None else erase.of_source(tx, source, [cube.cid])
        cids = [] if cube is None else [cube.cid]
        seen = tx.governed().items(found, cids=cids)
        own = tx.governed(Permission.ADMIN).items(found, cids=cids)
        kept = [] if cube is None else _of_conversation(tx, source, cube.cid)
        readable = bool(kept) and tx.governed().gates(cids)[0].open
        erasable = bool(kept) and tx.governed(Permission.ADMIN).gates(cids)[0].open
        if not (seen or own or readable or erasable):
            missing = NotFound(f"no memory in {scope.cube} came from source {source}")
            missing.hidden, missing.cube = bool(found or kept), scope.cube
            raise missing
        barred = len({row.iid for row in seen} - {row.iid for row in own})
        if not erasable:
            return _Asked([row.iid for row in own], [], barred + len(kept) * readable)
        return _Asked([row.iid for row in own], kept, barred)

    def _of_subject(self, tx: Transaction, subject: str) -> _Asked:
        who = tx.principal
        if who.user != subject and not who.is_admin:
            refusal = AccessDenied(
                f"{who.name} may not erase user {subject}; that user or an admin can"
            )
            raise refusal
        home = home_path(user=subject, agent=None)
        return _Asked(
            erase.of_subject(tx, subject, tenant=who.tenant, home=home, spoken=who.is_admin),
            records.of_subject(tx, subject, tenant=who.tenant, home=home),
        )

    def _forget_subject(self, tx: Transaction, subject: str, reason: str) -> dict[str, int]:
        tenant = tx.principal.tenant
        home = home_path(user=subject, agent=None)
        cube = tx.find_cube(home)
        if cube is not None:  # told to other processes, whatever of it there was to remove
            tx.emit(EventKind.ERASED, cube.cid, 0)
        counts = erased_names.forget_name(tx, subject, tenant=tenant, home=home)
        log = self._rooms.vault.audit_log
        lines = log.naming(tx.execute, tenant=tenant, actor=f"user:{subject}")
        if lines:
            by = AuditEntry(tenant, "erase", "erase", "allowed", reason=reason)
            log.erase_details(tx, lines, by, at=tx.at)
        return {**counts, "audit names": len(lines)}


def _of_conversation(tx: Transaction, source: str, cid: int) -> list[int]:
    """The record rows of the conversation that the source is, if it is one."""
    session = source.removeprefix("session:")
    return [] if session == source else records.of_session(tx, session, cid=cid)


def _named(tx: Transaction, plan: ErasePlan, asked: Sequence[int]) -> ErasePlan:
    """The plan as the asker may be told of it: an erase also reaches what is hidden from it."""
    own = set(asked)

    def told(rows: Sequence[Stored]) -> tuple[Stored, ...]:
        seen = {row.iid for row in visible(tx, rows)} | own
        return tuple(row for row in rows if row.iid in seen)

    return ErasePlan(told(plan.take), told(plan.held), told(plan.revived))
