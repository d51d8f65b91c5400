"""The audit log: an append-only hash chain of who did or read what, when and why.

Called by the vault inside its transactions; calls only the tables ``audit``, ``audit_detail``,
``audit_erased`` and ``meta``. The chain holds keyed commitments, the names stand beside it, so an
erase can take names out while the chain still verifies.

What it proves: without the key nobody can change, drop, insert or reorder a line unnoticed. Who
holds the key (by default it lies in the file) can rewrite the chain, and who kept an old copy of
the file can put it back; both show against a head that ``export_head`` anchored elsewhere.
"""

from __future__ import annotations

import hmac
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol, TypedDict

from memos_integrations.cube.errors import AuditBroken, InvalidInput, NotFound, UsageError
from memos_integrations.infrastructure.governance.audit_lines import AuditLine, naming, read
from memos_integrations.infrastructure.governance.chain import (
    ERASE_ACTION,
    HEAD,
    AuditProblem,
    AuditReport,
    Execute,
    Fault,
    Rows,
    canonical,
    check,
    erase_action,
    genesis,
    key_id,
    row_hash,
    seal,
)

__all__ = [
    "ERASE_ACTION",
    "AuditEntry",
    "AuditLine",
    "AuditLog",
    "AuditProblem",
    "AuditReport",
    "ExportedHead",
    "Fault",
    "Transaction",
    "is_fresh",
]

_SALT_BYTES: Final = 16
_MIN_KEY_BYTES: Final = 16


class Transaction(Protocol):
    """An open transaction of the vault; ``sqlite3.Connection`` is one."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows: ...


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What is to be logged. Give ids and names, never content."""

    tenant: str
    actor: str
    action: str
    outcome: Literal["allowed", "denied"]
    cube: str | None = None
    items: tuple[str, ...] = ()
    reason: str = ""
    agent: str | None = None
    session: str | None = None
    extra: Mapping[str, str | int] = field(default_factory=dict[str, str | int])


class ExportedHead(TypedDict):
    """The head as JSON, to be kept where the file's owner cannot change it."""

    chain: str
    n: int
    at: int
    hash: str
    mac: str


_INSERT_ROW = (
    "INSERT INTO audit (n, at, action, outcome, detail, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_DETAIL = "INSERT INTO audit_detail (n, tenant, actor, body) VALUES (?, ?, ?, ?)"
_INSERT_META = "INSERT INTO meta (key, value) VALUES (?, ?)"
_UPDATE_HEAD = "UPDATE meta SET value = ? WHERE key = 'audit_head'"
_SELECT_META = "SELECT value FROM meta WHERE key = ?"
_HELD = "SELECT n FROM audit_detail WHERE n IN (SELECT value FROM json_each(?)) ORDER BY n"
_DELETE_DETAILS = "DELETE FROM audit_detail WHERE n IN (SELECT value FROM json_each(?))"
_INSERT_ERASED = "INSERT INTO audit_erased (n, by) SELECT value, ? FROM json_each(?)"


class AuditLog:
    """Writes and reads one file's chain. Holds the key, never a position.

    Several processes write to one file, so each call reads the head inside the caller's
    transaction. That head must carry a valid mac: an append never builds on a forged one.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) < _MIN_KEY_BYTES:
            raise InvalidInput(f"an audit key needs at least {_MIN_KEY_BYTES} bytes")
        self._key = key

    @classmethod
    def create(cls, tx: Transaction, *, key: bytes | None = None) -> AuditLog:
        """The log of a fresh file. A given ``key`` stays outside; only its fingerprint is kept."""
        log = cls(os.urandom(32) if key is None else key)
        chain = os.urandom(16)
        tx.execute(_INSERT_META, ("audit_chain", chain))
        if key is None:
            tx.execute(_INSERT_META, ("audit_key", log._key))
        else:
            tx.execute(_INSERT_META, ("audit_key_id", key_id(key)))
        tx.execute(_INSERT_META, ("audit_head", log._sealed(0, genesis(chain))))
        return log

    @classmethod
    def open(cls, execute: Execute, *, key: bytes | None = None) -> AuditLog:
        """The log of an existing file. Raises ``UsageError`` when ``key`` is not the file's."""
        stored = _meta(execute, "audit_key")
        kept_outside = _meta(execute, "audit_key_id")
        if key is None and stored is None:
            if kept_outside is not None:
                raise UsageError("this file's audit key is kept outside it: pass audit_key")
            raise AuditBroken("this file has no audit key: restore a copy")
        if key is not None and stored != key and kept_outside != key_id(key):
            raise UsageError("audit_key is not the key this file was created with")
        return cls(key if key is not None else stored or b"")

    @classmethod
    def of_file(cls, tx: Transaction, *, key: bytes | None = None) -> AuditLog:
        """The log of a file, made where the file is fresh."""
        return cls.create(tx, key=key) if is_fresh(tx.execute) else cls.open(tx.execute, key=key)

    def append(self, tx: Transaction, entry: AuditEntry, *, at: int) -> int:
        """The number of the new line, durable when ``tx`` commits. ``at`` is in microseconds."""
        return self.extend(tx, (entry,), at=at)[0]

    def extend(self, tx: Transaction, entries: Iterable[AuditEntry], *, at: int) -> range:
        """The numbers of the new lines, in order, with one update of the head for all."""
        entries = tuple(entries)
        if any(entry.action.startswith(ERASE_ACTION) for entry in entries):
            raise UsageError(f"{ERASE_ACTION} is written by erase_details only")
        return self._extend(tx, entries, at=at)

    def _extend(self, tx: Transaction, entries: Sequence[AuditEntry], *, at: int) -> range:
        before, link = self._head(tx.execute)
        n = before
        try:
            for n, entry in enumerate(entries, before + 1):
                link = self._write(tx, n, entry, at=at, prev=link)
        except sqlite3.IntegrityError as error:
            raise AuditBroken(f"audit line {n} stands behind the head: verify the file") from error
        if entries:
            tx.execute(_UPDATE_HEAD, (self._sealed(n, link),))
        return range(before + 1, n + 1)

    def _write(self, tx: Transaction, n: int, entry: AuditEntry, *, at: int, prev: bytes) -> bytes:
        body = _body(entry)
        detail = hmac.digest(self._key, body.encode(), "sha256")
        link = row_hash(n, at, (entry.action.encode(), entry.outcome.encode(), detail, prev))
        tx.execute(_INSERT_ROW, (n, at, entry.action, entry.outcome, detail, prev, link))
        tx.execute(_INSERT_DETAIL, (n, entry.tenant, entry.actor, body))
        return link

    def erase_details(
        self, tx: Transaction, numbers: Iterable[int], by: AuditEntry, *, at: int
    ) -> int:
        """The number of the line that logs this erase of the names in lines ``numbers``.

        ``by`` says who erases and why; its action is set here. Lines erased before are left as
        they are. Raises ``NotFound`` when none of the lines holds names.
        """
        wanted = json.dumps(sorted(set(numbers)))
        held = [int(n) for (n,) in tx.execute(_HELD, (wanted,))]
        if not held:
            raise NotFound("none of these audit lines holds names")
        entry = replace(by, action=erase_action(held))
        (number,) = self._extend(tx, (entry,), at=at)
        tx.execute(_DELETE_DETAILS, (json.dumps(held),))
        tx.execute(_INSERT_ERASED, (number, json.dumps(held)))
        return number

    def read(
        self,
        execute: Execute,
        *,
        tenant: str,
        actor: str | None = None,
        cube: str | None = None,
        item: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> list[AuditLine]:
        """The newest lines of ``tenant`` that fit, newest first; page on with ``before``.

        Lines without names are shown to the tenant that erased them, and only unfiltered.
        """
        return read(
            execute, tenant=tenant, actor=actor, cube=cube, item=item, limit=limit, before=before
        )

    def naming(
        self,
        execute: Execute,
        *,
        items: Collection[str] = (),
        tenant: str | None = None,
        actor: str | None = None,
    ) -> list[int]:
        """The numbers of lines by ``actor``, or that name one of ``items``: what to erase.

        Reads every detail of the tenant once (about 3 microseconds a line).
        """
        return naming(execute, items=items, tenant=tenant, actor=actor)

    def verify(
        self, execute: Execute, *, anchor: Mapping[str, object] | None = None
    ) -> AuditReport:
        """What is wrong with the chain; a damaged file is a finding, not an exception.

        ``anchor`` is an exported head: then the chain must still contain that line, which shows
        a rewrite even by someone who holds the key. Run it inside one read transaction.
        """
        return check(execute, self._key, anchor)

    def export_head(self, execute: Execute) -> ExportedHead:
        """The head as JSON-ready fields. ``at`` is the time of its line, 0 for an empty log."""
        n, link = self._head(execute)
        line = execute("SELECT at FROM audit WHERE n = ?", (n,)).fetchone()
        return ExportedHead(
            chain=(_meta(execute, "audit_chain") or b"").hex(),
            n=n,
            at=line[0] if line else 0,
            hash=link.hex(),
            mac=seal(self._key, n, link).hex(),
        )

    def _sealed(self, n: int, link: bytes) -> bytes:
        return HEAD.pack(n, link, seal(self._key, n, link))

    def _head(self, execute: Execute) -> tuple[int, bytes]:
        stored = _meta(execute, "audit_head")
        if stored is None or len(stored) != HEAD.size:
            raise AuditBroken("the file's audit head is missing or cut: verify the file")
        n, link, mac = HEAD.unpack(stored)
        if not hmac.compare_digest(mac, seal(self._key, n, link)):
            raise AuditBroken("the audit head was not sealed with this key: verify the file")
        return n, link


def is_fresh(execute: Execute) -> bool:
    """Whether nothing was ever written to the file.

    A used file without its chain was tampered with: it must not get a fresh one in silence.
    """
    row = execute(
        "SELECT NOT EXISTS (SELECT 1 FROM meta) AND NOT EXISTS (SELECT 1 FROM audit) "
        "AND NOT EXISTS (SELECT 1 FROM outbox) AND NOT EXISTS (SELECT 1 FROM item)",
        (),
    ).fetchone()
    return bool(row[0])


def _meta(execute: Execute, name: str) -> bytes | None:
    row = execute(_SELECT_META, (name,)).fetchone()
    return None if row is None else row[0]


def _body(entry: AuditEntry) -> str:
    """The words of one line as canonical JSON.

    The salt keeps an erased line erased: without it, whoever holds the key could try names
    until one fits the commitment that stays in the chain.
    """
    told: dict[str, object] = {
        "actor": entry.actor,
        "cube": entry.cube,
        "items": entry.items,
        "reason": entry.reason,
        "salt": os.urandom(_SALT_BYTES).hex(),
        "tenant": entry.tenant,
    }
    if entry.agent is not None:
        told["agent"] = entry.agent
    if entry.session is not None:
        told["session"] = entry.session
    if entry.extra:
        told["extra"] = dict(entry.extra)
    return canonical(told)
