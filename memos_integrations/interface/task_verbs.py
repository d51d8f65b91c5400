"""The verbs of background work: how far it is, waiting for it, running it, keeping house."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.documents import Ingested
from memos_integrations.cube.errors import InvalidInput, NotFound, TaskFailed, TaskTimeout
from memos_integrations.cube.outcomes import AddResult, Changed
from memos_integrations.infrastructure.queue.sqlite import TaskStatus
from memos_integrations.infrastructure.vault.check import CheckReport
from memos_integrations.infrastructure.vault.records import sweep as sweep_records
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.interface.base import Verbs
from memos_integrations.interface.importing.report import ImportReport
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.interface.time_verbs import require_cube
from memos_integrations.operation.fine_task import reembed_cube
from memos_integrations.operation.scheduler.upkeep import prune

_PAUSE_SECONDS = 0.005
_ENDED = ("completed", "failed", "cancelled")


class TaskVerbs(Verbs):
    """Looking after the durable queue and the file."""

    def task_status(
        self,
        task: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> TaskStatus:
        """How far a task is. Raises ``NotFound`` for one of a cube the asker may not read."""
        scope = self._scope(user, agent, session, cube)
        with self._reading(scope, action="task_status") as reading:
            found = self._rooms.queue.status(reading.connection, task)
            gates = reading.governed.gates([found.cube]) if found and found.cube else []
            if found is None or not any(gate.open for gate in gates):
                raise _unknown_task(scope, task, found)
            return found

    def cancel_task(
        self,
        task: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> bool:
        """End a waiting or running task; whether it was still to be ended."""
        scope = self._scope(user, agent, session, cube)

        def work(tx: Transaction) -> bool:
            found = self._rooms.queue.status(tx, task)
            gates = tx.governed(Permission.WRITE).gates([found.cube or 0]) if found else []
            if not any(gate.open for gate in gates):
                raise _unknown_task(scope, task, found)
            done = self._rooms.queue.cancel(tx, task, now=tx.now)
            tx.audit("cancel_task", reason=task)
            return done

        return self._write(scope, work, action="cancel_task")

    def wait(
        self,
        what: AddResult | Changed | Ingested | ImportReport | str | None = None,
        *,
        timeout_seconds: float = 60.0,
        progress: Callable[[float], None] | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> None:
        """Return once the fine stage of a result, one task, or (``None``) everything is done.

        The id of a task is looked up as the asker, as by ``task_status``.

        Works the queue itself where no worker thread runs. Raises ``TaskFailed`` with the
        reason, or ``TaskTimeout``; the tasks go on all the same.
        """
        if not isinstance(what, AddResult | Changed | Ingested | ImportReport | str | None):
            raise InvalidInput("wait takes the result of a write, the id of a task, or nothing")
        if isinstance(what, str):  # the id of somebody else's task tells nothing
            self.task_status(what, user=user, agent=agent, session=session, cube=cube)
        deadline = time.monotonic() + timeout_seconds
        while True:
            found = self._statuses(what)
            _raise_failed(found if what is not None else ())
            open_ = [s for s in found if s.state not in _ENDED]
            if progress is not None and found:
                progress(sum(_share(s) for s in found) / len(found))
            if not open_:
                return
            if time.monotonic() > deadline:
                raise TaskTimeout(f"{len(open_)} tasks were still open after {timeout_seconds} s")
            if self._rooms.settings.worker or not self._run_once():
                time.sleep(_PAUSE_SECONDS)

    def work(self, *, timeout_seconds: float = 3600.0) -> int:
        """Work the queue in this thread until nothing is due; how many attempts were made."""
        self.expire_due()
        self.prune_tasks()
        done = self._rooms.worker.run_until_idle(timeout_seconds)
        return done + self._rooms.adapters.run_until_idle(timeout_seconds)

    def expire_due(self) -> int:
        """Turn memories whose time has run out into tombstones; how many. Records that have
        expired are removed.

        Reads hide them from the instant they expire; this is the housekeeping after it.
        """

        def work(tx: Transaction) -> int:
            rows = tx.execute(
                "SELECT i.iid FROM item i JOIN version v ON v.iid = i.iid AND v.seq_to > ? "
                "WHERE i.expires IS NOT NULL AND i.expires <= ? AND i.legal_hold = 0 "
                "AND v.state NOT IN ('expired', 'deleted', 'frozen') "
                "ORDER BY i.expires, i.iid LIMIT 1000",
                (2**63 - 2, tx.now),
            ).fetchall()
            gone: dict[tuple[str, str], list[str]] = {}
            for (iid,) in rows:
                # Read one by one: the one before may have marked this one stale.
                (row,) = current(tx, [iid])
                self._rooms.lifecycle.expire(tx, row, reason="time to live ran out")
                gone.setdefault((row.tenant, row.path), []).append(row.id)
            for (tenant, path), ids in sorted(gone.items()):
                reason = "time to live ran out"
                tx.audit("expire", cube=path, items=ids, reason=reason, tenant=tenant)
            return sum(map(len, gone.values()))

        total = 0
        while done := self._rooms.vault.maintain(work):
            total += done
        while self._rooms.vault.maintain(sweep_records):
            pass
        return total

    def prune_tasks(self) -> int:
        """Remove the records of tasks that ended longer ago than the settings keep them; how
        many. Waiting and running tasks are never touched."""
        kept = self._rooms.settings

        def work(tx: Transaction) -> int:
            return prune(
                tx,
                self._rooms.queue,
                ended_seconds=kept.keep_ended_tasks_seconds,
                failed_seconds=kept.keep_failed_tasks_seconds,
            )

        return self._rooms.vault.maintain(work)

    def reembed(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> tuple[str, ...]:
        """Make a cube's vectors anew with the present embedder, online; the tasks doing it.

        Until they are done the cube is searched by words where vectors are missing.
        """
        scope = self._scope(user, agent, session, cube)

        def work(tx: Transaction) -> tuple[str, ...]:
            row = require_cube(tx, scope, Permission.ADMIN)
            tx.gate(row, Permission.ADMIN)
            return reembed_cube(tx, row)

        return self._write(scope, work, action="reembed")

    def check(self, *, progress: Callable[[str], None] | None = None) -> CheckReport:
        """Prove the vault's six invariants on the file as it stands now."""
        return self._rooms.vault.check(progress=progress)

    def flush(self) -> None:
        """Write the waiting read traces (usage and audit of reads) now."""
        self._rooms.vault.flush_reads()

    def _run_once(self) -> int:
        return self._rooms.worker.run_once() or self._rooms.adapters.run_once()

    def _statuses(
        self, what: AddResult | Changed | Ingested | ImportReport | str | None
    ) -> list[TaskStatus]:
        with self._rooms.vault.readers.snapshot() as connection:
            if what is None:
                rows = connection.execute(
                    "SELECT id FROM task WHERE state IN ('waiting', 'running')"
                ).fetchall()
                ids: Iterable[str] = [row[0] for row in rows]
            else:
                ids = (what,) if isinstance(what, str) else what.task_ids
            found = [self._rooms.queue.status(connection, task) for task in ids]
        return [status for status in found if status is not None]


def _unknown_task(scope: Scope, task: str, found: TaskStatus | None) -> NotFound:
    missing = NotFound(f"no task {task} is visible to {scope.principal.name}")
    missing.hidden = found is not None
    return missing


def _share(status: TaskStatus) -> float:
    return 1.0 if status.state in _ENDED else status.progress


def _raise_failed(found: Iterable[TaskStatus]) -> None:
    for status in found:
        if status.state in ("failed", "cancelled"):
            raise TaskFailed(f"task {status.id} {status.state}: {status.error or 'no reason'}")
