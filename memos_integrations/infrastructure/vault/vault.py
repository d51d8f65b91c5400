"""MemVault, the system of record: one truth, many projections, every read governed.

Called by the operation layer and the facade. Everything that belongs together is written in one
transaction; whatever an index proposes is checked against the truth before anyone sees it.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from memos_integrations.cube.acl import Permission, Principal
from memos_integrations.cube.errors import (
    AccessDenied,
    BackendUnavailable,
    NotFound,
    UsageError,
)
from memos_integrations.cube.filters import Filter
from memos_integrations.cube.ids import LATEST, to_micros
from memos_integrations.cube.ports import (
    Clock,
    DurableVectorIndex,
    TaskQueue,
    TaskSpec,
    TextIndex,
    VectorIndex,
)
from memos_integrations.cube.usage import HALF_LIFE_SECONDS
from memos_integrations.infrastructure.backends.columns import ColumnIndex, plain_marks
from memos_integrations.infrastructure.backends.part_vectors import PartVectors
from memos_integrations.infrastructure.blobs import BlobStore
from memos_integrations.infrastructure.checkpoints import Checkpoints
from memos_integrations.infrastructure.governance.audit import AuditEntry, AuditLog, is_fresh
from memos_integrations.infrastructure.vault import adapters
from memos_integrations.infrastructure.vault.check import CheckReport, check
from memos_integrations.infrastructure.vault.connection import (
    Readers,
    connect,
    map_errors,
    migrate,
    private_file,
)
from memos_integrations.infrastructure.vault.cube_forms import warm_cube
from memos_integrations.infrastructure.vault.erase import PENDING, Taken
from memos_integrations.infrastructure.vault.governed import NOW, Asking, Instant
from memos_integrations.infrastructure.vault.group_commit import GroupCommit
from memos_integrations.infrastructure.vault.outside import OutsideVectors
from memos_integrations.infrastructure.vault.packing import see_words
from memos_integrations.infrastructure.vault.projections import (
    ColumnProjection,
    Follower,
    PartProjection,
    Projection,
    TextProjection,
    VectorProjection,
)
from memos_integrations.infrastructure.vault.read_log import ReadLog, Traces
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.scrub import TRAINING, Scan, cut_log, scrub
from memos_integrations.infrastructure.vault.search_space import Indexes, Past, Space, open_space
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.infrastructure.vault.usage_records import warm_up

T = TypeVar("T")
_log = logging.getLogger(__name__)
_TURNS = 6
_PURGE_TRIES = 50
_PURGE_PAUSE_SECONDS = 0.1
PROJECT = "project"
"""The kind of task that feeds an outside vector engine."""


class MemVault:
    """One embedded file: memories, rights, log, tasks and audit, with its projections."""

    def __init__(
        self,
        path: str,
        *,
        clock: Clock,
        queue: TaskQueue,
        text: TextIndex,
        vectors: VectorIndex | None,
        model: str | None,
        synchronous: str = "full",
        busy_seconds: float = 10.0,
        audit_key: bytes | None = None,
        audit_reads: bool = True,
        half_life_seconds: float = HALF_LIFE_SECONDS,
        marks: Callable[[str], int] = plain_marks,
    ) -> None:
        self.path = path
        self.clock = clock
        self.queue = queue
        self.model = model
        """Fingerprint of the embedder whose vectors are searched; ``None`` without one."""
        private_file(path)
        with map_errors(path):
            connection = connect(path, synchronous=synchronous, busy_seconds=busy_seconds)
            try:
                migrate(connection, path)
                see_words(connection)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        # SQLite's busy wait is unfair under load, so a writer gets several turns at it.
        self._commits = GroupCommit(connection, path, lock_seconds=_TURNS * busy_seconds)
        self.readers = Readers(path, busy_seconds=busy_seconds)
        try:
            self.audit_log: AuditLog = self._open_audit_log(audit_key)
        except BaseException:
            connection.close()
            raise
        self.blobs = BlobStore(_blob_root(path))
        self.checkpoints = Checkpoints(Path(path + TRAINING))
        self.text = TextProjection(text)
        self._vectors = vectors
        self.outside: OutsideVectors | None = None
        self.columns = ColumnProjection(ColumnIndex(), marks=marks)
        self.parts = PartProjection(PartVectors())
        self.projections: list[Projection] = [self.text, self.columns, self.parts]
        if isinstance(vectors, DurableVectorIndex) and model is not None:
            worker = f"{os.getpid()}-{id(self):x}"
            self.outside = OutsideVectors(vectors, model=model, worker=worker)
        elif vectors is not None:
            self.projections.append(VectorProjection(vectors))
        self.follower = Follower(self.projections, model=model)
        self._past = Past(marks=marks)
        self._traces = ReadLog(self._write_traces)
        self._audit_reads = audit_reads
        self.half_life_seconds = half_life_seconds
        """After how long the heat that a read leaves has halved."""
        self._closed = False
        self._listeners: list[Callable[[], None]] = []
        self._forgetters: list[Callable[[], None]] = []
        atexit.register(_close_if_alive, weakref.ref(self))
        self._finish_erasures()

    def _open_audit_log(self, key: bytes | None) -> AuditLog:
        """The file's chain. Only a fresh file is written to, so readers open beside a writer."""
        with map_errors(self.path):
            if not is_fresh(self._connection.execute):
                return AuditLog.open(self._connection.execute, key=key)
        return self._commits.run(lambda c: AuditLog.of_file(c, key=key))

    # -- writing ------------------------------------------------------------------------------

    def write(self, principal: Principal, work: Callable[[Transaction], T], *, action: str) -> T:
        """The result of ``work``, durable. All of it is kept, or nothing with its error.

        A refusal is audited in a transaction of its own before it is raised again.
        """
        self._ensure_open()
        try:
            result = self._commits.run(lambda c: self._unit(c, principal, work))
        except (AccessDenied, NotFound) as error:
            self.refused(principal, action, error)
            raise
        for listener in self._listeners:
            listener()
        return result

    def maintain(self, work: Callable[[Transaction], T]) -> T:
        """As ``write``, for the vault's own upkeep (tasks, traces), behind everybody who writes;
        audits as ``system``."""
        self._ensure_open()
        return self._commits.run_behind(lambda c: self._unit(c, SYSTEM, work))

    def _unit(
        self,
        connection: sqlite3.Connection,
        principal: Principal,
        work: Callable[[Transaction], T],
    ) -> T:
        tx = self._transaction(connection, principal)
        result = work(tx)
        if self.outside is not None:
            for cube in sorted(tx.changed):
                _queue_projection(tx, cube)
        return result

    def _transaction(self, connection: sqlite3.Connection, principal: Principal) -> Transaction:
        return Transaction(
            connection, principal, now=self.now(), audit=self.audit_log, queue=self.queue
        )

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each durable write of this process (the worker's alarm)."""
        self._listeners.append(listener)

    def on_erase(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when an erase makes the files forget, for what else remembers."""
        self._forgetters.append(listener)

    @property
    def commits(self) -> int:
        """Durable commits so far in this process."""
        return self._commits.commits

    # -- reading ------------------------------------------------------------------------------

    @contextmanager
    def reading(
        self,
        principal: Principal,
        *,
        need: Permission = Permission.READ,
        instant: Instant = NOW,
        action: str = "read",
    ) -> Generator[Reading]:
        """A governed snapshot for this principal. A refusal inside it is audited."""
        self._ensure_open()
        asking = Asking(principal, self.now(), need, instant)
        try:
            with self.readers.snapshot() as connection:
                yield Reading(connection, asking)
        except (AccessDenied, NotFound) as error:
            self.refused(principal, action, error)
            raise

    def space(
        self, reading: Reading, cubes: Sequence[CubeRow], *, where: Filter | None, exact: bool
    ) -> Space:
        """What the arms may propose from: the cubes' indexes and the rows this principal may
        be shown. Raises ``AccessDenied`` for a cube of which it may see nothing."""
        present = reading.asking.instant.seq == LATEST
        if present:
            self.follower.follow(reading.connection, [cube.cid for cube in cubes])
        return open_space(
            reading.connection,
            reading.governed,
            cubes,
            where=where,
            exact=exact,
            present=Indexes(
                self.text.index,
                self._vectors_for(reading, cubes),
                self.columns.index,
                self.parts.index,
            ),
            past=None if present else self._past,
            model=self.model,
        )

    def _vectors_for(self, reading: Reading, cubes: Sequence[CubeRow]) -> VectorIndex | None:
        if self.outside is None:
            return self._vectors
        return self.outside.view(reading.connection, [cube.cid for cube in cubes])

    def resolve(
        self,
        reading: Reading,
        cubes: Iterable[int],
        items: Sequence[int],
        *,
        where: Filter | None = None,
    ) -> list[Stored]:
        """The proposed items that truth and governance let this principal see, as they are.

        ``where`` is the space's filter, where it was decided in memory.
        """
        return reading.governed.items(items, cids=cubes, pick="searchable", where=where)

    # -- upkeep -------------------------------------------------------------------------------

    def check(self, *, progress: Callable[[str], None] | None = None) -> CheckReport:
        """Prove the six invariants on the file as it stands now."""
        self._ensure_open()
        self.flush_reads()
        if self.outside is not None:
            for cube in self._all_cubes():
                self.project(cube)
        with self.readers.snapshot() as connection:
            cubes = [row[0] for row in connection.execute("SELECT cid FROM cube")]
            self.follower.follow(connection, cubes)
            outside = [] if self.outside is None else [self.outside]
            return check(
                connection,
                projections=[*self.projections, *outside],
                model=self.model,
                audit=self.audit_log,
                blobs=self.blobs,
                progress=progress,
            )

    def _all_cubes(self) -> list[int]:
        with self.readers.snapshot() as connection:
            return [row[0] for row in connection.execute("SELECT cid FROM cube")]

    def project(self, cube: int) -> int:
        """Bring an outside vector engine level with the log for one cube.

        Raises ``BackendUnavailable`` while another worker does so. Nothing to do without one.
        """
        if self.outside is None:
            return 0
        return self.outside.project(self.readers.snapshot, self.maintain, cube)

    def scrub(self, taken: Taken) -> Scan:
        """Make the files forget what an erase took, and look whether they did."""
        for cube in taken.cubes:
            self.follower.reset(cube)
        self._past.forget()
        for forget in self._forgetters:
            forget()
        for sha256 in taken.blobs:
            self.blobs.erase(sha256)
        self.checkpoints.keep_only(self._in_training())
        engine = self._purge(taken.cubes)
        scan = self._commits.exclusively(lambda c: scrub(c, self.path, taken.words, taken.packed))
        scan = replace(scan, engine=engine)
        self.maintain(lambda tx: tx.execute("DELETE FROM meta WHERE key = ?", (taken.note,)))
        if taken.blobs:
            self._commits.exclusively(cut_log)  # the note named their hashes
        return scan

    def _in_training(self) -> set[str]:
        """The candidates that stand: one with an erased source does not any more."""
        with self.readers.snapshot() as connection:
            return adapters.candidates(connection)

    def _finish_erasures(self) -> None:
        """Scrub the files for every erase whose process died between its commit and its end."""
        with self.readers.snapshot() as connection:
            notes = connection.execute(
                "SELECT key, value FROM meta WHERE key GLOB ?", (PENDING + "*",)
            ).fetchall()
            named = {name for (name,) in connection.execute("SELECT sha256 FROM blob")}
        for key, value in notes:
            blobs = tuple(name for name in json.loads(value) if name not in named)
            self.scrub(Taken({}, (), blobs, frozenset(), key))

    def _purge(self, cubes: Iterable[int]) -> str | None:
        """Empty an outside engine of what was erased; how that went, for the receipt.

        The rows are gone already, so an engine that cannot follow is told of, not raised: the
        deletions stay in its queue.
        """
        if self.outside is None:
            return None
        try:
            for cube in cubes:
                self._project_patiently(cube)
                self.outside.purge(cube)
        except (BackendUnavailable, UsageError) as error:
            return f"not purged yet: {error}"
        return "purged"

    def _project_patiently(self, cube: int) -> None:
        for _ in range(_PURGE_TRIES):
            try:
                self.project(cube)
            except BackendUnavailable:
                time.sleep(_PURGE_PAUSE_SECONDS)
            else:
                return
        self.project(cube)

    # -- traces of reads ----------------------------------------------------------------------

    def shown(
        self,
        principal: Principal,
        action: str,
        rows: Sequence[Stored],
        *,
        cubes: Sequence[str] = (),
        reason: str = "",
        used: bool = True,
        extra: Mapping[str, str | int] | None = None,
    ) -> None:
        """Record that the principal was shown these items: usage and audit, in a later batch.

        ``used`` is false where they were shown for being used a lot, which must not add to it.

        ``cubes`` are the cubes asked; each gets its line, also when it had nothing to show.
        """
        items: dict[str, list[str]] = {cube: [] for cube in cubes}
        for row in rows:
            items.setdefault(row.path, []).append(row.id)
        entries = [
            _read_entry(principal, action, cube, tuple(shown), reason, extra)
            for cube, shown in (items.items() if self._audit_reads else ())
        ]
        counted = rows if used else ()
        if counted or entries:
            self._traces.note(
                [row.iid for row in counted],
                self.now(),
                cubes={row.cid for row in counted},
                entries=entries,
            )

    def refused(self, principal: Principal, action: str, error: AccessDenied | NotFound) -> None:
        """Audit a denial at once; a lookup of something that never existed is none."""
        if isinstance(error, NotFound) and not error.hidden:
            return
        items = error.items

        def line(connection: sqlite3.Connection) -> int:
            tx = self._transaction(connection, principal)
            cube = error.cube or _home_of(tx, items)
            return tx.audit(
                action, cube=cube, items=items, outcome="denied", reason=type(error).__name__
            )

        self._commits.run(line)

    def flush_reads(self) -> None:
        """Write the waiting read traces now."""
        self._traces.flush()

    def _write_traces(self, traces: Traces) -> None:
        def work(tx: Transaction) -> None:
            sql = queries("writes")["usage"]
            for item, (count, last) in traces.usage.items():
                tx.execute(sql, (item, count, last))
                warm_up(tx, item, reads=count, at=last, half_life_seconds=self.half_life_seconds)
            for cube, (calls, last) in traces.cubes.items():
                warm_cube(tx, cube, calls=calls, at=last, half_life_seconds=self.half_life_seconds)
            if traces.entries:
                self.audit_log.extend(tx, traces.entries, at=tx.at)

        self.maintain(work)

    # -- life ---------------------------------------------------------------------------------

    def now(self) -> int:
        """The clock's instant in microseconds."""
        return to_micros(self.clock.now())

    def _ensure_open(self) -> None:
        if self._closed:
            raise UsageError("this MOS is closed; open the file again")

    def close(self) -> None:
        """Write what waits and close every connection. Closing twice is no error."""
        if self._closed or self._commits.forked:
            return
        try:
            self.flush_reads()
        finally:
            self._closed = True
            self._traces.stop()
            self.readers.close()
            self._commits.exclusively(lambda connection: connection.close())
            self.text.index.close()
            self.columns.index.close()
            self.parts.index.close()
            if self._vectors is not None:
                self._vectors.close()


SYSTEM = Principal(tenant="system", agent="memos", roles=frozenset())
"""The vault's own upkeep; holds no rights on anybody's memories."""


def _queue_projection(tx: Transaction, cube: int) -> None:
    """Have the projector look at this cube, unless it is going to anyway."""
    # The list of states is what lets SQLite use the partial index on due tasks.
    waits = tx.execute(
        "SELECT 1 FROM task WHERE state IN ('waiting', 'running') AND state = 'waiting' "
        "AND kind = ? AND cid = ? LIMIT 1",
        (PROJECT, cube),
    ).fetchone()
    if waits is None:
        tx.enqueue(TaskSpec(PROJECT, cube=cube, priority=-1))


def _home_of(tx: Transaction, items: Sequence[str]) -> str | None:
    """The cube of the first of these memories, where its admins look for who was refused."""
    row = tx.execute(
        "SELECT c.path FROM item i JOIN cube c ON c.cid = i.cid WHERE i.id = ? AND c.tenant = ?",
        (items[0] if items else None, tx.principal.tenant),
    ).fetchone()
    return None if row is None else str(row[0])


def _read_entry(
    principal: Principal,
    action: str,
    cube: str,
    items: tuple[str, ...],
    reason: str,
    extra: Mapping[str, str | int] | None,
) -> AuditEntry:
    return AuditEntry(
        tenant=principal.tenant,
        actor=principal.name,
        action=action,
        outcome="allowed",
        cube=cube,
        items=items,
        reason=reason,
        agent=principal.agent,
        session=principal.session,
        extra=dict(extra or {}),
    )


def _blob_root(path: str) -> Path:
    return Path(path + ".blobs")


def _close_if_alive(ref: weakref.ref[MemVault]) -> None:
    vault = ref()
    if vault is not None:
        vault.close()
