"""The six invariants of the vault, proved on demand.

1. No projection holds a hit that the truth does not.      4. A task's effect happened once.
2. After catching up, projections equal the truth.          5. The audit chain is unbroken.
3. The log rebuilds the present; versions have no holes.    6. No referenced blob is missing.

Read-only, over one snapshot. Works on ids and numbers; findings never hold content.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from memos_integrations.infrastructure.blobs import BlobStore
from memos_integrations.infrastructure.governance.audit import AuditLog
from memos_integrations.infrastructure.vault.projections import Change, Feed

_MAX_FINDINGS = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be."""

    invariant: int
    text: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was looked at and what is wrong; sound when ``findings`` is empty."""

    items: int
    versions: int
    events: int
    tasks: int
    audit_lines: int
    blobs: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        return not self.findings


class Held(Protocol):
    """What the proof needs of a projection."""

    name: str

    def takes(self, change: Change) -> bool:
        """Whether a live item belongs into it."""
        ...

    def versions(self, cube: int) -> dict[int, int]:
        """Item -> version held."""
        ...


def check(
    connection: sqlite3.Connection,
    *,
    projections: Iterable[Held],
    model: str | None,
    audit: AuditLog,
    blobs: BlobStore,
    progress: Callable[[str], None] | None = None,
) -> CheckReport:
    """Prove the invariants over this snapshot. Projections must have been caught up to it."""
    say = progress or _quietly
    findings: list[Finding] = []
    say("file")
    findings += _file(connection)
    say("projections")
    findings += _projections(connection, list(projections), model)
    say("log")
    findings += _log(connection)
    say("tasks")
    findings += _tasks(connection)
    say("audit")
    report = audit.verify(connection.execute)
    findings += [Finding(5, f"audit line {p.n}: {p.reason}") for p in report.problems]
    say("blobs")
    findings += _blobs(connection, blobs)
    return CheckReport(
        items=_count(connection, "SELECT count(*) FROM item"),
        versions=_count(connection, "SELECT count(*) FROM version"),
        events=_count(connection, "SELECT count(*) FROM outbox"),
        tasks=_count(connection, "SELECT count(*) FROM task"),
        audit_lines=_count(connection, "SELECT count(*) FROM audit"),
        blobs=_count(connection, "SELECT count(*) FROM blob"),
        findings=tuple(findings[:_MAX_FINDINGS]),
    )


def _quietly(_: str) -> None:
    return None


def _count(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])


def _file(connection: sqlite3.Connection) -> Iterator[Finding]:
    for (line,) in connection.execute("PRAGMA quick_check(10)"):
        if line != "ok":
            yield Finding(3, f"the database file: {line}")


def _projections(
    connection: sqlite3.Connection, projections: list[Held], model: str | None
) -> Iterator[Finding]:
    feed = Feed(connection, model=model)
    cubes = [row[0] for row in connection.execute("SELECT cid FROM cube ORDER BY cid")]
    for cube in cubes:
        live = feed.everything(cube)
        known = {c.item for c in live}
        for projection in projections:
            truth = {c.item: c.version for c in live if projection.takes(c)}
            yield from _compare(projection, cube, truth, known)


def _compare(
    projection: Held, cube: int, truth: dict[int, int], known: set[int]
) -> Iterator[Finding]:
    # A live item may have a vector in memory before its fine stage has kept one.
    held = projection.versions(cube)
    for item in sorted(held.keys() - known):
        yield Finding(1, f"{projection.name} still holds item {item} of cube {cube}")
    for item in sorted(truth.keys() - held.keys()):
        yield Finding(2, f"{projection.name} lacks item {item} of cube {cube}")
    for item in sorted(truth.keys() & held.keys()):
        if truth[item] != held[item]:
            yield Finding(2, f"{projection.name} has item {item} at version {held[item]}")


_LOG_RULES = (
    (
        "version without its event in the log",
        "SELECT v.iid FROM version v LEFT JOIN outbox o ON o.seq = v.seq AND o.kind = 'put' "
        "AND o.iid = v.iid AND o.version = v.version WHERE o.seq IS NULL",
    ),
    (
        "event of a version that is neither there nor erased",
        "SELECT o.iid FROM outbox o LEFT JOIN version v ON v.seq = o.seq WHERE o.kind = 'put' "
        "AND v.seq IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM outbox e WHERE e.iid = o.iid AND e.kind = 'erased')",
    ),
    (
        "hole or overlap between two versions",
        "SELECT a.iid FROM version a JOIN version b ON b.iid = a.iid AND b.version = a.version + 1 "
        "WHERE a.seq_to <> b.seq",
    ),
    (
        "missing version in the chain",
        "SELECT v.iid FROM version v WHERE v.version > 1 AND NOT EXISTS "
        "(SELECT 1 FROM version p WHERE p.iid = v.iid AND p.version = v.version - 1)",
    ),
    (
        "item without exactly one present version",
        "SELECT i.iid FROM item i WHERE 1 <> (SELECT count(*) FROM version v WHERE v.iid = i.iid "
        "AND v.seq_to = 9223372036854775807)",
    ),
    (
        "version whose words are gone",
        "SELECT v.iid FROM version v LEFT JOIN content t ON t.tid = v.tid "
        "WHERE v.tid IS NOT NULL AND t.tid IS NULL",
    ),
    (
        "words that no version tells",
        "SELECT t.iid FROM content t WHERE NOT EXISTS "
        "(SELECT 1 FROM version v WHERE v.iid = t.iid AND v.tid = t.tid)",
    ),
    (
        "vector of words that are gone",
        "SELECT e.tid FROM embedding e LEFT JOIN content t ON t.tid = e.tid WHERE t.tid IS NULL",
    ),
    (
        "link to an item that is gone",
        "SELECT e.source FROM edge e WHERE NOT EXISTS (SELECT 1 FROM item i WHERE i.iid = e.source)"
        " OR NOT EXISTS (SELECT 1 FROM item i WHERE i.iid = e.target)",
    ),
    *(
        (
            f"row of {table} without its memory",
            f"SELECT d.iid FROM {table} d LEFT JOIN item i ON i.iid = d.iid "  # noqa: S608
            "WHERE i.iid IS NULL",
        )
        for table in ("entry", "fact", "heat", "mention", "sketch", "spoken_time")
    ),
    (
        "record without its cube",
        "SELECT r.rid FROM record r LEFT JOIN cube c ON c.cid = r.cid WHERE c.cid IS NULL",
    ),
    (
        "record without its value",
        "SELECT r.rid FROM record r LEFT JOIN record_value v ON v.vid = r.vid WHERE v.vid IS NULL",
    ),
    (
        "value without its record",
        "SELECT v.vid FROM record_value v WHERE NOT EXISTS "
        "(SELECT 1 FROM record r WHERE r.vid = v.vid)",
    ),
    (
        "fact and the memory it restates that do not know each other",
        "SELECT i.iid FROM item i LEFT JOIN fact f ON f.iid = i.iid "
        "LEFT JOIN item s ON s.iid = i.drawn_from "
        "WHERE i.drawn_from IS NOT NULL AND (f.iid IS NULL OR s.iid IS NULL) "
        "UNION ALL SELECT f.iid FROM fact f JOIN item i ON i.iid = f.iid "
        "WHERE i.drawn_from IS NULL",
    ),
    (
        "name in another cube than its memory",
        "SELECT n.iid FROM entry n JOIN item i ON i.iid = n.iid WHERE i.cid <> n.cid",
    ),
    (
        "time that runs backwards in the log",
        "SELECT b.seq FROM outbox a JOIN outbox b ON b.seq = a.seq + 1 WHERE b.at < a.at",
    ),
)


def _log(connection: sqlite3.Connection) -> Iterator[Finding]:
    for text, sql in _LOG_RULES:
        for (number,) in connection.execute(sql + " LIMIT 10"):
            yield Finding(3, f"{text}: {number}")


_TASK_RULES = (
    (
        "task that is completed without an attempt",
        "SELECT id FROM task WHERE state = 'completed' AND attempt = 0 LIMIT 10",
    ),
    (
        "running task without a lease",
        "SELECT id FROM task WHERE state = 'running' AND lease_until IS NULL LIMIT 10",
    ),
    (
        "task with more attempts than allowed",
        "SELECT id FROM task WHERE attempt > max_attempts LIMIT 10",
    ),
    (
        "task in an unknown state",
        "SELECT id FROM task WHERE state NOT IN "
        "('waiting', 'running', 'completed', 'failed', 'cancelled') LIMIT 10",
    ),
)


def _tasks(connection: sqlite3.Connection) -> Iterator[Finding]:
    for text, sql in _TASK_RULES:
        for (task,) in connection.execute(sql):
            yield Finding(4, f"{text}: {task}")


def _blobs(connection: sqlite3.Connection, blobs: BlobStore) -> Iterator[Finding]:
    for (sha256,) in connection.execute(
        "SELECT sha256 FROM blob UNION SELECT sha256 FROM blob_use ORDER BY 1"
    ):
        if not blobs.exists(sha256):
            yield Finding(6, f"blob {sha256} is missing")
        elif not blobs.verify(sha256):
            yield Finding(6, f"blob {sha256} does not have its hash")
