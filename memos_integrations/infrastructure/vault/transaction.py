"""The one transaction: version, edges, access, audit, outbox, task and idempotency together.

Made by the vault inside its group commit; handed to whoever writes. Nothing here commits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.acl import Grant, Permission, Principal, Visibility
from memos_integrations.cube.draft import Draft
from memos_integrations.cube.errors import AccessDenied, IdempotencyConflict, NotFound
from memos_integrations.cube.events import EventKind
from memos_integrations.cube.header import Relation
from memos_integrations.cube.ids import CubePath, ItemId, Seq, clean_name, home_owner, new_item_id
from memos_integrations.cube.ports import Matrix, TaskQueue, TaskSpec, Vector
from memos_integrations.infrastructure.governance.audit import AuditEntry, AuditLog
from memos_integrations.infrastructure.vault.governed import Asking, Gate, Governed, Pick
from memos_integrations.infrastructure.vault.rows import Stored, dumps, dumps_or_none
from memos_integrations.infrastructure.vault.sql import queries


@dataclass(frozen=True, slots=True)
class CubeRow:
    """A cube as it stands in the file."""

    cid: int
    tenant: str
    path: str
    owner: str
    visibility: str
    embedding: str | None
    created: int
    fork_of: int | None
    fork_seq: int | None
    info: str


@dataclass(frozen=True, slots=True)
class Inserted:
    """The identity a draft got."""

    iid: int
    id: ItemId


class Transaction:
    """An open write by one principal. ``at`` is its system time in microseconds."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        principal: Principal,
        *,
        now: int,
        audit: AuditLog,
        queue: TaskQueue,
    ) -> None:
        self._connection = connection
        self._sql = queries("writes")
        self._audit = audit
        self._queue = queue
        self.principal = principal
        head = connection.execute(self._sql["head"]).fetchone()
        self._seq: int = head[0] if head else 0
        last: int = head[1] if head else 0
        # System time never runs backwards, so that log order and time order agree.
        self.at: int = max(now, last)
        self.now = now
        self.changed: set[int] = set()
        """Cubes this transaction wrote to."""

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection, for engines that work on the truth's own tables."""
        return self._connection

    # -- reading inside the write -------------------------------------------------------------

    def execute(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = (), /
    ) -> sqlite3.Cursor:
        """Raw SQL on the open transaction, for the parts of the vault that own their tables."""
        return self._connection.execute(sql, parameters)

    def governed(self, need: Permission = Permission.READ) -> Governed:
        """Queries that see what this principal holds ``need`` on."""
        return Governed(self._connection, Asking(self.principal, self.now, need))

    def find_cube(self, path: CubePath, *, tenant: str | None = None) -> CubeRow | None:
        key = (tenant or self.principal.tenant, path)
        row = self._connection.execute(self._sql["cube"], key).fetchone()
        return None if row is None else CubeRow(*row)

    def gate(self, cube: CubeRow, need: Permission) -> Gate:
        """What the principal may do with the cube. Raises ``AccessDenied``."""
        if self._undenied_owner(cube):
            path, owner = cube.path, cube.owner
            return Gate(cube.cid, path, cube.tenant, owner, True, True, False, True)
        (gate,) = self.governed(need).gates([cube.cid])
        if not gate.open:
            refusal = AccessDenied(
                f"{self.principal.name} may not {_names(need)} cube {cube.path}; ask its owner "
                "for a grant"
            )
            refusal.cube = cube.path
            raise refusal
        return gate

    def _undenied_owner(self, cube: CubeRow) -> bool:
        """Whether it is the principal's own cube and no rule denies it anything.

        The gates would say the same; most writes are of this kind, and this asks a tenth of it.
        """
        who = self.principal
        if cube.tenant != who.tenant or cube.owner != who.name:
            return False
        sql = self._sql["denied"]
        asked = ((who.tenant, kind.value, name) for kind, name in who.subjects())
        return not any(self._connection.execute(sql, each).fetchone() for each in asked)

    def item(
        self, item_id: str, need: Permission = Permission.WRITE, *, pick: Pick = "present"
    ) -> Stored:
        """The present version of an item the principal holds ``need`` on.

        Raises ``NotFound`` where it may not even be read, ``AccessDenied`` where only ``need``
        is missing.
        """
        return self.items([item_id], need, pick=pick)[0]

    def items(
        self,
        item_ids: Sequence[str],
        need: Permission = Permission.WRITE,
        *,
        pick: Pick = "present",
    ) -> list[Stored]:
        """As ``item``, for several, in the order asked."""
        numbers = self.numbers(item_ids)
        iids, cids = [n[0] for n in numbers.values()], {n[1] for n in numbers.values()}
        found = {r.id: r for r in self.governed(need).items(iids, cids=cids, pick=pick)}
        for item_id in item_ids:
            if item_id not in found:
                self._refuse(item_id, numbers.get(item_id), need, pick)
        return [found[item_id] for item_id in item_ids]

    def _refuse(
        self, item_id: str, number: tuple[int, int] | None, need: Permission, pick: Pick
    ) -> None:
        readable = number and self.governed(Permission.READ).items(
            [number[0]], cids=[number[1]], pick=pick
        )
        if readable:
            refusal = AccessDenied(
                f"{self.principal.name} may read but not {_names(need)} memory {item_id}"
            )
            refusal.items = (item_id,)
            raise refusal
        missing = NotFound(f"no memory {item_id} is visible to {self.principal.name}")
        missing.hidden, missing.items = number is not None, (item_id,)
        raise missing

    def numbers(self, item_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Item id -> (item row, cube row) of those that exist. Numbers only, no content."""
        found: dict[str, tuple[int, int]] = {}
        for item_id in item_ids:
            clean_name(item_id, "the id of a memory")
            row = self._connection.execute(
                "SELECT iid, cid FROM item WHERE id = ?", (item_id,)
            ).fetchone()
            if row is not None:
                found[item_id] = row
        return found

    # -- writing ------------------------------------------------------------------------------

    def next_seq(self) -> Seq:
        self._seq += 1
        return Seq(self._seq)

    @property
    def seq(self) -> Seq:
        """The place in the log of the newest event so far."""
        return Seq(self._seq)

    def new_cube(
        self,
        path: CubePath,
        *,
        owner: str | None = None,
        visibility: Visibility = Visibility.PRIVATE,
        fork_of: int | None = None,
        fork_seq: int | None = None,
        info: Mapping[str, object] | None = None,
    ) -> CubeRow:
        """A fresh cube in the principal's tenant, owned by the principal unless said.

        A home cube belongs to the one it is the home of, also when an admin founds it.
        """
        tenant = self.principal.tenant
        whose = owner or home_owner(path) or self.principal.name
        values = (tenant, path, whose, visibility.value, self.at)
        values += (fork_of, fork_seq, dumps(dict(info or {})))  # type: ignore[assignment]
        self._connection.execute(self._sql["new_cube"], values)
        cube = self.find_cube(path)
        assert cube is not None  # noqa: S101  -- inserted one line above
        return cube

    def insert(self, cube: CubeRow, drafts: Sequence[Draft], *, reason: str) -> list[Inserted]:
        """Store new items, each as version 1. Rights on the cube are the caller's check."""
        items: list[tuple[object, ...]] = []
        contents: list[tuple[object, ...]] = []
        versions: list[tuple[object, ...]] = []
        events: list[tuple[object, ...]] = []
        made: list[Inserted] = []
        actor = self.principal.name
        for draft in drafts:
            seq = self.next_seq()  # also the item's and the content's number
            new = Inserted(seq, new_item_id(self.at))
            made.append(new)
            items.append(_item_values(new, cube.cid, self.at, draft, draft.owner or actor))
            contents.append(_content_values(seq, cube.cid, seq, draft))
            versions.append(_first_version(seq, cube.cid, self.at, draft, actor, reason))
            events.append((seq, self.at, cube.cid, seq, 1, EventKind.PUT.value))
        self._connection.executemany(self._sql["item"], items)
        self._connection.executemany(self._sql["content"], contents)
        self._connection.executemany(self._sql["version"], versions)
        self._connection.executemany(self._sql["outbox"], events)
        for draft, new in zip(drafts, made, strict=True):
            self._use_blobs(new.iid, draft)
        self._hide_barred(cube.cid, drafts, made)
        self.changed.add(cube.cid)
        return made

    def bar(self, cid: int, source: str, *, barred: bool) -> None:
        """Have what this source brings into the cube hidden from now on, or no longer."""
        verb = "INSERT OR IGNORE INTO quarantine (cid, source) VALUES (?, ?)"
        if not barred:
            verb = "DELETE FROM quarantine WHERE cid = ? AND source = ?"
        self._connection.execute(verb, (cid, source))

    def _hide_barred(self, cid: int, drafts: Sequence[Draft], made: Sequence[Inserted]) -> None:
        if all(draft.source is None for draft in drafts):
            return
        rows = self._connection.execute("SELECT source FROM quarantine WHERE cid = ?", (cid,))
        barred = {source for (source,) in rows}
        if barred:
            hidden = [(n.iid,) for d, n in zip(drafts, made, strict=True) if d.source in barred]
            self._connection.executemany("UPDATE item SET quarantined = 1 WHERE iid = ?", hidden)

    def revise(
        self,
        old: Stored,
        *,
        reason: str,
        words: Draft | None = None,
        tombstone: bool = False,
        **changes: Any,
    ) -> Seq:
        """Write the next version of an item; the old one stays, closed at this point of the log.

        ``words`` brings new content; otherwise the new version shares the old words. Columns of
        the version are changed by keyword.
        """
        seq = self.next_seq()
        tid = old.tid
        if words is not None:
            if old.storage_mode == "cold":  # words that are written now lie unpacked
                changes.setdefault("storage_mode", "warm")
            tid = seq
            self._connection.execute(
                self._sql["content"], _content_values(seq, old.cid, old.iid, words)
            )
            self._use_blobs(old.iid, words)
        new = old.with_(**changes, tid=None if tombstone else tid)
        self._connection.execute(self._sql["close_version"], (seq, old.iid, old.version))
        values = _version_values(
            new, seq=seq, recorded=self.at, actor=self.principal.name, reason=reason
        )
        self._connection.execute(self._sql["version"], values)
        self.emit(EventKind.PUT, old.cid, old.iid, version=old.version + 1, seq=seq)
        return seq

    def emit(
        self, kind: EventKind, cid: int, iid: int, *, version: int = 0, seq: Seq | None = None
    ) -> Seq:
        """Add an event to the log; ``seq`` where the place was taken already."""
        place = self.next_seq() if seq is None else seq
        row = (place, self.at, cid, iid, version, kind.value)
        self._connection.execute(self._sql["outbox"], row)
        self.changed.add(cid)
        return place

    def _use_blobs(self, iid: int, draft: Draft) -> None:
        for blob in draft.blobs:
            self._connection.execute(
                "INSERT OR IGNORE INTO blob (sha256, bytes, media_type, created) "
                "VALUES (?, ?, ?, ?)",
                (blob.sha256, blob.bytes, blob.media_type, self.at),
            )
            self._connection.execute(
                "INSERT OR IGNORE INTO blob_use (sha256, iid) VALUES (?, ?)", (blob.sha256, iid)
            )

    def link(self, source: Stored, relation: Relation, target: Stored) -> None:
        """Draw a typed edge; one that is there already changes nothing."""
        self.link_rows(source.cid, source.iid, relation, target.iid, target.version)

    def link_rows(
        self, cid: int, source: int, relation: Relation, target: int, target_version: int | None
    ) -> None:
        """As ``link``, by row numbers."""
        seq = self.next_seq()
        self._connection.execute(
            self._sql["edge"], (source, relation.value, target, target_version, seq)
        )
        self.emit(EventKind.LINKED, cid, source, seq=seq)

    def unlink(self, source: Stored, relation: Relation, target: Stored) -> bool:
        """Close an edge; whether there was one."""
        seq = self.next_seq()
        done = self._connection.execute(
            self._sql["close_edge"], (seq, source.iid, relation.value, target.iid)
        )
        self.emit(EventKind.LINKED, source.cid, source.iid, seq=seq)
        return done.rowcount > 0

    def embed(self, cid: int, tids: Sequence[int], model: str, vectors: Matrix) -> None:
        """Keep vectors beside the words they were made of; gone words are passed over."""
        rows = [
            (tid, cid, model, vector.astype("<f4").tobytes())
            for tid, vector in zip(tids, vectors, strict=True)
        ]
        self._connection.executemany(self._sql["embedding"], rows)

    def embed_parts(self, cid: int, model: str, parts: Sequence[tuple[int, int, Vector]]) -> None:
        """As ``embed``, for (content, part, vector): bare words are part 0, sentences follow."""
        rows = [(tid, part, cid, model, vec.astype("<f4").tobytes()) for tid, part, vec in parts]
        self._connection.executemany(self._sql["part_vector"], rows)

    def grant(self, grant: Grant, *, cid: int, iid: int | None) -> None:
        """Write an access rule; replaces one for the same subject, scope and effect."""
        self._take_back(grant, iid=iid)
        self.add_rule(grant, iid=iid)
        self.emit(EventKind.ACCESS, cid, iid or 0)

    def add_rule(self, grant: Grant, *, iid: int | None) -> None:
        """Write an access rule beside those that stand; the event of it is the caller's."""
        values = (grant.tenant, grant.scope, iid, grant.subject_kind.value, grant.subject)
        rest = (int(grant.permissions), grant.effect.value, grant.expires)
        self._connection.execute(self._sql["grant"], (*values, *rest, self.principal.name, self.at))

    def revoke(self, grant: Grant, *, cid: int, iid: int | None) -> bool:
        """Remove an access rule; whether there was one."""
        done = self._take_back(grant, iid=iid)
        self.emit(EventKind.ACCESS, cid, iid or 0)
        return done

    def _take_back(self, grant: Grant, *, iid: int | None) -> bool:
        key = (grant.tenant, grant.scope, iid, grant.subject_kind.value, grant.subject)
        done = self._connection.execute(self._sql["revoke"], (*key, grant.effect.value))
        return done.rowcount > 0

    def keep_hidden(self, old: Stored, new: int) -> None:
        """Let what hides a memory hide its copy or successor: quarantine, and denials on the
        memory itself, but for those that would lock out the principal who made the copy."""
        if old.quarantined:
            self._connection.execute("UPDATE item SET quarantined = 1 WHERE iid = ?", (new,))
        own = dumps([[kind.value, name] for kind, name in self.principal.subjects()])
        told = {"old": old.iid, "new": new, "own": own}
        if self._connection.execute(self._sql["copy_denials"], told).rowcount > 0:
            sql = "SELECT cid FROM item WHERE iid = ?"
            (cid,) = self._connection.execute(sql, (new,)).fetchone()
            self.emit(EventKind.ACCESS, cid, new)

    def enqueue(self, task: TaskSpec) -> str:
        """Background work that starts only if this transaction commits."""
        return self._queue.enqueue(self, task, now=self.now)

    def audit(
        self,
        action: str,
        *,
        cube: str | None = None,
        items: Iterable[str] = (),
        reason: str = "",
        outcome: str = "allowed",
        extra: Mapping[str, str | int] | None = None,
        tenant: str | None = None,
    ) -> int:
        """One line of the audit chain for what this principal does; returns its number.

        ``tenant`` says whose log it belongs to where that is not the principal's own (upkeep).
        """
        entry = AuditEntry(
            tenant=tenant or self.principal.tenant,
            actor=self.principal.name,
            action=action,
            outcome="denied" if outcome == "denied" else "allowed",
            cube=cube,
            items=tuple(items),
            reason=reason,
            agent=self.principal.agent,
            session=self.principal.session,
            extra=dict(extra or {}),
        )
        return self._audit.append(self, entry, at=self.at)

    def once(self, key: str, request: bytes) -> str | None:
        """The stored result of an earlier write with this key. Raises ``IdempotencyConflict``."""
        who = (self.principal.tenant, self.principal.name, key)
        row = self._connection.execute(self._sql["once"], who).fetchone()
        if row is None:
            return None
        if row[0] != request:
            raise IdempotencyConflict(
                f"idempotency key {key!r} was used for another request; use a new key"
            )
        return str(row[1])

    def remember(self, key: str, request: bytes, result: str) -> None:
        """Keep the result under its key; it commits with the write itself."""
        who = (self.principal.tenant, self.principal.name, key)
        self._connection.execute(self._sql["remember"], (*who, request, result, self.at))


def _names(need: Permission) -> str:
    return str(need.name or need).lower()


def _item_values(new: Inserted, cid: int, at: int, draft: Draft, owner: str) -> tuple[object, ...]:
    labels = dumps(sorted(draft.labels)) if draft.labels else None
    return (
        new.iid,
        new.id,
        cid,
        at,
        owner,
        draft.visibility,
        labels,
        draft.trust,
        draft.expires,
        draft.fork_origin,
        draft.drawn_from,
    )


def _content_values(tid: int, cid: int, iid: int, draft: Draft) -> tuple[object, ...]:
    return (tid, cid, iid, draft.fold(), draft.text, dumps_or_none(draft.data), draft.spans)


def _first_version(
    seq: int, cid: int, at: int, draft: Draft, actor: str, reason: str
) -> tuple[object, ...]:
    valid_from = draft.time if draft.valid_from is None else draft.valid_from
    blobs = [b.model_dump() for b in draft.blobs] if draft.blobs else None
    return (
        *(seq, seq, cid, 1, at, seq, draft.state, None, draft.kind, draft.memory_type),
        *(draft.time, valid_from, draft.valid_to, draft.role, draft.speaker),
        *(draft.conversation, draft.agent, draft.origin, draft.source, draft.model),
        *(dumps_or_none(draft.tags), dumps_or_none(draft.info), draft.provenance),
        *(dumps_or_none(blobs), draft.priority, draft.confidence, "warm", 0, None, actor, reason),
    )


def _version_values(
    row: Stored, *, seq: int, recorded: int, actor: str, reason: str
) -> tuple[object, ...]:
    return (
        *(seq, row.iid, row.cid, row.version + 1, recorded, row.tid, row.state, row.before),
        *(row.kind, row.memory_type, row.time, row.valid_from, row.valid_to, row.role),
        *(row.speaker, row.conversation, row.agent, row.origin, row.source, row.model),
        *(row.tags, row.info, row.provenance, row.blobs, row.priority, row.confidence),
        *(row.storage_mode, row.stale, row.merged_into, actor, reason),
    )
