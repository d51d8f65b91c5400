"""The audit chain's arithmetic, and the check of a whole chain against its tables.

Called by ``audit``; ``verify_audit`` is an independent second implementation of the same rules.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

from memos_integrations.cube.errors import AuditBroken

ERASE_ACTION: Final = "audit.erase"
"""An erase is logged as ``audit.erase:<sha256 of the numbers>``, so the list cannot be changed."""

HEAD = struct.Struct(">q32s32s")
"""The stored head: number of the last line, its hash, the seal over both."""

_ROW = struct.Struct(">qqIIII")
_ROW_TAG: Final = b"memos.audit.row.1\0"
_HEAD_TAG: Final = b"memos.audit.head.1\0"
_GENESIS_TAG: Final = b"memos.audit.chain.1\0"
_KEY_TAG: Final = b"memos.audit.key.1\0"
_ERASE_TAG: Final = b"memos.audit.erase.1\0"


canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
"""Canonical JSON: sorted keys, no spaces; other than ASCII is escaped, so any text can be kept."""


class Rows(Protocol):
    """What a statement answers; ``sqlite3.Cursor`` is one."""

    def fetchone(self) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


Execute: TypeAlias = Callable[[str, Sequence[Any]], Rows]


class Fault(StrEnum):
    """What can be wrong with a chain."""

    UNREADABLE = "unreadable"
    META = "meta"
    HEAD = "head"
    GAP = "gap"
    LINK = "link"
    ROW = "row"
    DETAIL = "detail"
    ERASE = "erase"
    ORPHAN = "orphan"
    ANCHOR = "anchor"


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """One finding. ``n`` is the line it is about, ``None`` when it is about the whole log."""

    n: int | None
    fault: Fault
    reason: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a check of the chain found; no problems means that it verifies."""

    entries: int
    head: str
    problems: tuple[AuditProblem, ...] = ()

    @property
    def intact(self) -> bool:
        return not self.problems

    def require(self) -> None:
        """Raise ``AuditBroken``, naming the first problem, unless the chain verifies."""
        if self.problems:
            first = self.problems[0]
            where = "the log" if first.n is None else f"line {first.n}"
            raise AuditBroken(f"the audit chain is broken at {where}: {first.reason}")


def row_hash(n: int, at: int, fields: tuple[bytes, bytes, bytes, bytes]) -> bytes:
    """The link of one line; ``fields`` are action, outcome, detail and prev.

    sha256 over a tag, the two numbers, the four lengths and the four fields, so that no two
    different lines are the same bytes.
    """
    head = _ROW.pack(n, at, *map(len, fields))
    return hashlib.sha256(_ROW_TAG + head + b"".join(fields)).digest()


def genesis(chain: bytes) -> bytes:
    """What line 1 links to: the hash of the chain's id."""
    return hashlib.sha256(_GENESIS_TAG + chain).digest()


def seal(key: bytes, n: int, link: bytes) -> bytes:
    """The mac of a head: only who holds the key can make it."""
    return hmac.digest(key, _HEAD_TAG + struct.pack(">q", n) + link, "sha256")


def key_id(key: bytes) -> bytes:
    """The fingerprint that a file keeps of a key it does not hold."""
    return hashlib.sha256(_KEY_TAG + key).digest()


def erase_action(numbers: Iterable[int]) -> str:
    """The action that logs an erase of exactly these lines' names."""
    packed = b"".join(struct.pack(">q", n) for n in sorted(numbers))
    return f"{ERASE_ACTION}:{hashlib.sha256(_ERASE_TAG + packed).hexdigest()}"


# Text is read as bytes, so that a flipped byte is a finding and not a decoding error; the types
# are compared because a text that became a blob would hide from the queries of `read`.
_ROWS = """
SELECT a.n, a.at, CAST(a.action AS BLOB), CAST(a.outcome AS BLOB), CAST(a.detail AS BLOB),
    CAST(a.prev AS BLOB), CAST(a.hash AS BLOB),
    typeof(a.at) || ' ' || typeof(a.action) || ' ' || typeof(a.outcome) || ' ' ||
    typeof(a.detail) || ' ' || typeof(a.prev) || ' ' || typeof(a.hash),
    d.n, CAST(d.tenant AS BLOB), CAST(d.actor AS BLOB), CAST(d.body AS BLOB),
    typeof(d.tenant) || ' ' || typeof(d.actor) || ' ' || typeof(d.body), e.n
FROM audit a LEFT JOIN audit_detail d ON d.n = a.n LEFT JOIN audit_erased e ON e.n = a.n
ORDER BY a.n
"""
_ROW_TYPES: Final = "integer text text blob blob blob"
_DETAIL_TYPES: Final = "text text text"
_META = """
SELECT key, value FROM meta
WHERE key IN ('audit_chain', 'audit_head', 'audit_key', 'audit_key_id')
  AND typeof(value) = 'blob'
"""
_ORPHANS = """
SELECT n FROM audit_detail WHERE n NOT IN (SELECT n FROM audit)
UNION SELECT n FROM audit_erased WHERE n NOT IN (SELECT n FROM audit) ORDER BY 1
"""
_ERASED = "SELECT n, by, typeof(by) FROM audit_erased ORDER BY n"


def check(execute: Execute, key: bytes, anchor: Mapping[str, object] | None) -> AuditReport:
    """What is wrong with the chain, never raising for a damaged one.

    Run it inside one read transaction, so that all statements see the same instant.
    """
    walk = _Walk(key)
    try:
        walk.meta(execute)
        for row in execute(_ROWS, ()):
            walk.line(row, anchor)
        walk.end(execute)
    except sqlite3.Error as error:
        walk.report(None, Fault.UNREADABLE, f"the audit tables cannot be read: {error}")
    if anchor is not None:
        walk.anchored(anchor)
    return AuditReport(walk.count, walk.link.hex(), tuple(walk.problems))


@dataclass(slots=True)
class _Walk:
    """The state of one pass over the chain. After a finding it goes on from what is stored, so
    that one change is one finding and not a cascade."""

    key: bytes
    n: int = 0
    link: bytes = b""
    count: int = 0
    chain: bytes = b""
    head: tuple[int, bytes] | None = None
    erases: dict[int, str] = field(default_factory=dict[int, str])
    anchor_line: tuple[int, bytes] | None = None
    problems: list[AuditProblem] = field(default_factory=list[AuditProblem])

    def report(self, n: int | None, fault: Fault, reason: str) -> None:
        self.problems.append(AuditProblem(n, fault, reason))

    def meta(self, execute: Execute) -> None:
        stored: dict[str, bytes] = dict(execute(_META, ()))
        self.chain = stored.get("audit_chain", b"")
        if len(self.chain) != 16:
            self.report(None, Fault.META, "the chain's id is missing or cut")
        self.link = genesis(self.chain)
        self._check_key(stored.get("audit_key"), stored.get("audit_key_id"))
        self._check_head(stored.get("audit_head", b""))

    def _check_key(self, held: bytes | None, fingerprint: bytes | None) -> None:
        if (held is None) == (fingerprint is None):
            self.report(None, Fault.META, "the file must hold its key or the key's fingerprint")
        if held not in (None, self.key) or fingerprint not in (None, key_id(self.key)):
            self.report(None, Fault.META, "the key in the file is not the key of this check")

    def _check_head(self, stored: bytes) -> None:
        if len(stored) != HEAD.size:
            self.report(None, Fault.HEAD, "the head is missing or cut")
            return
        n, link, mac = HEAD.unpack(stored)
        self.head = (n, link)
        if not hmac.compare_digest(mac, seal(self.key, n, link)):
            self.report(None, Fault.HEAD, "the head was not sealed with this key")

    def line(self, row: Sequence[Any], anchor: Mapping[str, object] | None) -> None:
        n, at, action, outcome, detail, prev, link, types = row[:8]
        if n != self.n + 1:
            self.report(n, Fault.GAP, f"lines {self.n + 1} to {n - 1} are missing")
        if prev != self.link:
            self.report(n, Fault.LINK, "it does not link to the line before it")
        if types != _ROW_TYPES or row_hash(n, at, (action, outcome, detail, prev)) != link:
            self.report(n, Fault.ROW, "the line was changed")
        self._check_detail(n, detail, row[8:])
        if action.startswith(ERASE_ACTION.encode()):
            self.erases[n] = action.decode(errors="replace")
        if anchor is not None and anchor.get("n") == n:
            self.anchor_line = (at, link)
        self.n, self.link, self.count = n, link, self.count + 1

    def _check_detail(self, n: int, detail: bytes, stored: Sequence[Any]) -> None:
        held, tenant, actor, body, types, erased = stored
        if held is None:
            if erased is None:
                self.report(n, Fault.DETAIL, "its names are gone without an erase")
            return
        if erased is not None:
            self.report(n, Fault.ERASE, "it is listed as erased, but its names are there")
        if types != _DETAIL_TYPES or hmac.digest(self.key, body, "sha256") != detail:
            self.report(n, Fault.DETAIL, "its names or reason were changed")
        elif _names(body) != (tenant, actor):
            self.report(n, Fault.DETAIL, "tenant or actor differ from what was logged")

    def end(self, execute: Execute) -> None:
        for (n,) in execute(_ORPHANS, ()):
            self.report(n, Fault.ORPHAN, "names or an erase are kept for a line that is not there")
        self._check_erases(execute)
        if self.head is not None and self.head != (self.n, self.link):
            self.report(None, Fault.HEAD, "the head is not the last line")

    def _check_erases(self, execute: Execute) -> None:
        listed: dict[int, list[int]] = {}
        for n, by, kind in execute(_ERASED, ()):
            if kind == "integer":
                listed.setdefault(by, []).append(n)
            else:
                self.report(n, Fault.ERASE, f"the line of its erase is stored as {kind}")
        for by in sorted(listed.keys() | self.erases.keys()):
            if self.erases.get(by) != erase_action(listed.get(by, ())):
                self.report(by, Fault.ERASE, "the erased lines are not those this line logged")

    def anchored(self, anchor: Mapping[str, object]) -> None:
        n = anchor.get("n")
        if not isinstance(n, int) or anchor.get("chain") != self.chain.hex():
            self.report(None, Fault.ANCHOR, "the anchor is of another chain")
            return
        at, link = (0, genesis(self.chain)) if n == 0 else self.anchor_line or (None, b"")
        if (anchor.get("at"), anchor.get("hash")) != (at, link.hex()):
            self.report(n, Fault.ANCHOR, "the chain does not hold the anchored line")
        elif anchor.get("mac") != seal(self.key, n, link).hex():
            self.report(n, Fault.ANCHOR, "the anchor was not sealed with this key")


def _names(body: bytes) -> tuple[bytes, bytes] | None:
    try:
        told = json.loads(body)
        return told["tenant"].encode(), told["actor"].encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
