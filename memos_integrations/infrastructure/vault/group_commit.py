"""One writer, shared commits: concurrent writers ride on one fsync.

Leader and followers: whoever gets the writer lock commits everything that queued up meanwhile,
each unit of work in its own savepoint, so that one failing unit never takes another with it.
Units of the background stand back: whoever waits in the foreground comes first.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from memos_integrations.cube.errors import BackendUnavailable, UsageError
from memos_integrations.infrastructure.vault.connection import DRIVER_ERRORS, map_errors, translate

T = TypeVar("T")

_MAX_BATCH = 256
_ASK_AGAIN_SECONDS = 0.002
_MAX_PASSED = 8
"""Commits that may come before a waiting unit of the background, so that it comes at all."""


class _Ticket(Generic[T]):
    """A unit of work in the queue and, later, how it ended."""

    __slots__ = ("background", "done", "error", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], T], *, background: bool) -> None:
        self.work = work
        self.background = background
        self.done = False
        self.result: T | None = None
        self.error: BaseException | None = None

    def settle(self) -> T:
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # set whenever error is not


class GroupCommit:
    """Runs units of work in durable transactions on the one write connection."""

    def __init__(
        self, connection: sqlite3.Connection, path: str, *, lock_seconds: float = 60.0
    ) -> None:
        self._connection = connection
        self._path = path
        self._lock_seconds = lock_seconds
        self._writer = threading.Lock()
        self._turn = threading.Condition()
        self._leading = False
        self._queue: list[_Ticket[Any]] = []
        self._passed = 0
        self._leader: int | None = None
        self._pid = os.getpid()
        self.commits = 0
        """Commits so far; fewer than units of work when writers shared them."""

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of ``work``, once it is durable. Its exception, with nothing kept."""
        return self._run(_Ticket(work, background=False))

    def run_behind(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As ``run``, in a commit of its own, after what waits in the foreground: nobody there
        waits for more than the one unit that is at it already."""
        return self._run(_Ticket(work, background=True))

    def _run(self, ticket: _Ticket[T]) -> T:
        self._ensure_own_process()
        if self._leader == threading.get_ident():
            raise UsageError("a write was started inside another write; use the open one")
        with self._turn:
            self._queue.append(ticket)
        while self._must_lead(ticket):
            self._lead()
        return ticket.settle()

    def _must_lead(self, ticket: _Ticket[Any]) -> bool:
        """Wait until the unit was done by another thread, or until nobody else is at it.

        A follower whose unit is done never waits for the writer again: it is free to bring the
        next unit to the commit after this one.
        """
        with self._turn:
            while self._leading and not ticket.done:
                self._turn.wait()
            if not ticket.done:
                self._leading = True
            return not ticket.done

    def exclusively(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` between transactions (checkpoints, VACUUM)."""
        self._ensure_own_process()
        with self._writer, map_errors(self._path):
            return work(self._connection)

    def _ensure_own_process(self) -> None:
        # SQLite's locks do not pass a fork: two processes on one connection damage the file.
        if self.forked:
            raise UsageError("a vault cannot be used across fork(); open MOS in the child process")

    @property
    def forked(self) -> bool:
        """Whether this is the copy of it in a forked child, which must leave the file alone."""
        return self._pid != os.getpid()

    def _lead(self) -> None:
        batch: list[_Ticket[Any]] = []
        try:
            with self._writer:
                with self._turn:
                    batch = self._next_batch()
                self._leader = threading.get_ident()
                try:
                    self._commit(batch)
                finally:
                    self._leader = None
        except BaseException as error:
            shown = translate(error, self._path) if isinstance(error, DRIVER_ERRORS) else error
            for ticket in batch:
                ticket.result, ticket.error = None, ticket.error or shown
            if not isinstance(error, Exception):
                raise
        finally:
            with self._turn:
                for ticket in batch:
                    ticket.done = True
                self._leading = False
                self._turn.notify_all()

    def _next_batch(self) -> list[_Ticket[Any]]:
        """Take the units of the next commit from the queue: the foreground, or one behind it."""
        behind = next((ticket for ticket in self._queue if ticket.background), None)
        batch = [ticket for ticket in self._queue if not ticket.background][:_MAX_BATCH]
        self._passed = 0 if behind is None else self._passed + 1
        if behind is not None and (not batch or self._passed > _MAX_PASSED):
            batch, self._passed = [behind], 0
        taken = set(map(id, batch))
        self._queue = [ticket for ticket in self._queue if id(ticket) not in taken]
        return batch

    def _commit(self, batch: list[_Ticket[Any]]) -> None:
        self._begin()
        try:
            for ticket in batch:
                self._run_one(ticket, alone=len(batch) == 1)
            self._connection.execute("COMMIT")
            self.commits += 1
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _run_one(self, ticket: _Ticket[Any], *, alone: bool) -> None:
        if not alone:
            self._connection.execute("SAVEPOINT unit")
        try:
            ticket.result = ticket.work(self._connection)
        except Exception as error:
            ticket.error = (
                translate(error, self._path) if isinstance(error, DRIVER_ERRORS) else error
            )
            if alone or not self._connection.in_transaction:
                raise  # SQLite rolled the whole transaction back: nobody's unit was kept
            self._connection.execute("ROLLBACK TO unit")
        if not alone:
            self._connection.execute("RELEASE unit")

    def _begin(self) -> None:
        # SQLite's own busy wait sleeps longer and longer, up to 100 ms: too long to notice that
        # another process left the file free for a moment. So it is asked again and again instead.
        deadline = time.monotonic() + self._lock_seconds
        (patience,) = self._connection.execute("PRAGMA busy_timeout").fetchone()
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            while not self._has_begun(deadline):
                time.sleep(_ASK_AGAIN_SECONDS)
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {int(patience)}")

    def _has_begun(self, deadline: float) -> bool:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            shown = translate(error, self._path)
            if not isinstance(shown, BackendUnavailable) or time.monotonic() > deadline:
                raise
            return False
        return True
