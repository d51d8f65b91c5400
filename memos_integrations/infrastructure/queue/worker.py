"""Does the queued work: prepares outside of any transaction, then commits effect and end at once.

Called by the composition root (a thread beside the caller) and by ``memos worker`` (a process of
its own); calls the queue and the vault's ``write``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from memos_integrations.cube.errors import (
    BackendUnavailable,
    MemosError,
    StaleLease,
    TaskTimeout,
    UsageError,
)
from memos_integrations.cube.ids import to_micros
from memos_integrations.cube.ports import Clock, Statement, Task, TaskQueue
from memos_integrations.infrastructure.queue.sqlite import SupportsBatch

log = logging.getLogger(__name__)

T = TypeVar("T")
TxT = TypeVar("TxT", bound=Statement)
TxT_co = TypeVar("TxT_co", bound=Statement, covariant=True)
TxT_contra = TypeVar("TxT_contra", bound=Statement, contravariant=True)

Effect: TypeAlias = Callable[[TxT], str | None]
"""What a task changes, as a function of the open transaction; returns its result as JSON.

It touches nothing but the transaction: a group commit may call it from another thread, and after
a rollback it may be called once more.
"""

Prepared: TypeAlias = tuple[Task, Effect[TxT]]

_MAX_ERROR_CHARS = 500
_FIRST_PAUSE_SECONDS = 0.01
_GROUP_SECONDS = 0.5  # cheap tasks share a commit, dear ones are not kept waiting for it
_COMMIT_SECONDS = 0.04
_STAND_BACK_SECONDS = 0.005  # long enough for another process to find the store free
_MICROS = 1_000_000


class Run(Protocol[TxT_co]):
    """Runs ``work`` in one durable, serialised transaction and returns what it returned.

    It rolls back when ``work`` raises, and raises ``BackendUnavailable`` when the store is locked.
    """

    def __call__(self, work: Callable[[TxT_co], T], /) -> T: ...


@runtime_checkable
class Handler(Protocol[TxT_contra]):
    """Knows one kind of task. No transaction is open while it prepares, so it may be slow."""

    def prepare(self, task: Task, /) -> Effect[TxT_contra]:
        """Do the long part and return the short one, which commits together with the task."""
        ...


@runtime_checkable
class BatchHandler(Handler[TxT_contra], Protocol[TxT_contra]):
    """A handler that is cheaper by the dozen (an embedder, say)."""

    def prepare_many(self, tasks: Sequence[Task], /) -> Sequence[Effect[TxT_contra]]:
        """One effect per task, in order. If it raises, each task is prepared on its own."""
        ...


@runtime_checkable
class SupportsProgress(Protocol):
    """A handler that can say, from another thread, how far it is."""

    def progress(self, task: Task, /) -> float | None:
        """The share of ``task`` that is done, from 0 to 1, or ``None`` when unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failed task rests: doubling from ``base_seconds`` up to ``cap_seconds``."""

    base_seconds: float = 1.0
    cap_seconds: float = 300.0

    def micros(self, task: Task, asked_seconds: float = 0.0) -> int:
        """The rest after this attempt: between half and all of its span, fixed by id and attempt.

        The spread keeps tasks that failed together from coming back together. ``asked_seconds``
        is what an engine asked for: the rest is no shorter, up to ``cap_seconds``.
        """
        span = min(self.cap_seconds, self.base_seconds * 2.0 ** min(task.attempt - 1, 60))
        share = zlib.crc32(f"{task.id}:{task.attempt}".encode()) / 2**32
        asked = min(self.cap_seconds, asked_seconds) * (1 + share / 10)
        return int(max(span * (0.5 + share / 2), asked) * _MICROS)


class Worker(Generic[TxT]):
    """Claims due tasks of the kinds it has handlers for, and sees each to its end.

    The effect of a task and its completion are one transaction, so the effect happens exactly
    once however often workers die; only preparation is repeated. Several workers, in threads or
    in processes, may share a queue.
    """

    def __init__(
        self,
        run: Run[TxT],
        queue: TaskQueue,
        handlers: Mapping[str, Handler[TxT]],
        *,
        clock: Clock,
        name: str,
        lease_seconds: float = 60.0,
        poll_seconds: float = 1.0,
        batch_limit: int = 16,
        commit_seconds: float = _COMMIT_SECONDS,
        backoff: Backoff | None = None,
    ) -> None:
        """``poll_seconds`` is the longest nap, for tasks that other processes enqueue.

        ``commit_seconds`` is how long effects share one transaction: once it is over, the task in
        hand is the last one, and who writes in the foreground gets a turn.
        ``lease_seconds`` is how long a dead worker's task waits for another one, and how long a
        locked store is waited for before ``BackendUnavailable`` comes through.
        """
        if lease_seconds <= 0 or poll_seconds <= 0 or batch_limit < 1:
            raise UsageError("lease_seconds and poll_seconds must be positive, batch_limit >= 1")
        self._run = run
        self._queue = queue
        self._handlers = dict(handlers)
        self._clock = clock
        self._name = name
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._batch_limit = batch_limit
        self._commit_seconds = commit_seconds
        self._backoff = backoff or Backoff()
        self._wake = threading.Condition()
        self._notified = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Work in a daemon thread until ``stop``."""
        with self._wake:
            if self._thread is not None:
                raise UsageError(f"worker {self._name!r} is already started")
            self._stopping = False
            self._thread = threading.Thread(
                target=self._loop, name=f"memos-worker-{self._name}", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Finish the tasks in hand, then end the thread. Harmless when it is not started."""
        with self._wake:
            thread, self._thread = self._thread, None
            self._stopping = True
            self._wake.notify_all()
        if thread is not None:
            thread.join()

    def notify(self) -> None:
        """Wake the worker at once; call it after a commit that enqueued something."""
        with self._wake:
            self._notified = True
            self._wake.notify_all()

    def run_until_idle(self, timeout_seconds: float = 60.0) -> int:
        """Work until nothing is due; returns how many attempts were made.

        Tasks that rest after a failure are not waited for. Raises ``TaskTimeout`` when there
        still was something to do after ``timeout_seconds``.
        """
        deadline = time.monotonic() + timeout_seconds
        total = 0
        while handled := self.run_once():
            total += handled
            if time.monotonic() > deadline:
                raise TaskTimeout(f"tasks were still due after {timeout_seconds} s; ask again")
        return total

    def run_once(self) -> int:
        """Claim what is due, at most one batch, and see it through; returns how many tasks."""
        return self._see_through(self._patiently(self._claim))

    def _see_through(self, tasks: Sequence[Task]) -> int:
        if tasks:
            with _Heartbeat(lambda: self._extend(tasks), every_seconds=self._lease_seconds / 3):
                for prepared in self._prepare(tasks):
                    self._settle(prepared)
        return len(tasks)

    def _loop(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopping:
            if self._survive() or self._nap(pause):
                pause = _FIRST_PAUSE_SECONDS
            else:
                pause = min(pause * 2, self._poll_seconds)

    def _survive(self) -> int:
        try:
            return self._see_through(self._run(self._claim))
        except Exception as error:  # noqa: BLE001  a dead thread would leave the queue to rot
            log.warning("worker %s pauses after %s", self._name, type(error).__name__)
            return 0

    def _nap(self, seconds: float) -> bool:
        with self._wake:
            self._wake.wait_for(lambda: self._notified or self._stopping, seconds)
            woken, self._notified = self._notified, False
            return woken

    def _claim(self, tx: TxT) -> list[Task]:
        kinds = list(self._handlers)
        lease, now = self._lease_micros(), self._now()
        if isinstance(self._queue, SupportsBatch):
            return self._queue.claim_batch(
                tx,
                limit=self._batch_limit,
                worker=self._name,
                now=now,
                lease_micros=lease,
                kinds=kinds,
            )
        task = self._queue.claim(tx, worker=self._name, now=now, lease_micros=lease, kinds=kinds)
        return [task] if task else []

    def _prepare(self, tasks: Sequence[Task]) -> Iterator[list[Prepared[TxT]]]:
        """Groups to commit: the whole batch when prepared at once, else what a while brings."""
        handler = self._handlers[tasks[0].kind]
        if len(tasks) > 1 and isinstance(handler, BatchHandler):
            try:
                together = list(zip(tasks, handler.prepare_many(tasks), strict=True))
            except Exception as error:  # noqa: BLE001  the culprit is found one by one below
                log.warning("%d tasks go one by one after %s", len(tasks), type(error).__name__)
            else:
                yield together
                return
        yield from self._prepare_each(handler, tasks)

    def _prepare_each(
        self, handler: Handler[TxT], tasks: Sequence[Task]
    ) -> Iterator[list[Prepared[TxT]]]:
        ready: list[Prepared[TxT]] = []
        since = time.monotonic()
        for task in tasks:
            effect = self._prepare_one(handler, task)
            if effect is not None:
                ready.append((task, effect))
            if ready and time.monotonic() - since > _GROUP_SECONDS:
                yield ready
                ready, since = [], time.monotonic()
        if ready:
            yield ready

    def _prepare_one(self, handler: Handler[TxT], task: Task) -> Effect[TxT] | None:
        try:
            return handler.prepare(task)
        except Exception as error:  # noqa: BLE001  whatever it is, the task keeps the record
            self._fail(task, error)
            return None

    def _settle(self, prepared: Sequence[Prepared[TxT]]) -> None:
        """Commit a few at a time; where that fails, each in its own to find the culprit."""
        while prepared:
            try:
                done = self._patiently(partial(self._apply, prepared))
            except BackendUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, the task keeps the record
                self._settle_each(prepared, error)
                return
            prepared = prepared[done:]
            if prepared:
                time.sleep(_STAND_BACK_SECONDS)

    def _settle_each(self, prepared: Sequence[Prepared[TxT]], error: Exception) -> None:
        if len(prepared) == 1:
            self._fail(prepared[0][0], error)
            return
        log.info("%d tasks commit one by one: %s", len(prepared), type(error).__name__)
        for one in prepared:
            self._settle([one])

    def _apply(self, prepared: Sequence[Prepared[TxT]], tx: TxT) -> int:
        """Run effects while the transaction may stay open; how many ended in it."""
        until = time.monotonic() + self._commit_seconds
        for done, (task, effect) in enumerate(prepared, 1):
            result = effect(tx)
            self._queue.finish(tx, task, now=self._now(), result=result)
            if time.monotonic() >= until:
                return done
        return len(prepared)

    def _fail(self, task: Task, error: Exception) -> None:
        log.warning("task %s: attempt %d: %s", task.id, task.attempt, type(error).__name__)
        text, rest = describe(error), self._backoff.micros(task, asked_rest(error))

        def work(tx: TxT) -> None:
            self._queue.fail(tx, task, now=self._now(), error=text, retry_micros=rest)

        # A lost lease means that the task is cancelled or another worker's: its end is theirs.
        with contextlib.suppress(StaleLease):
            self._patiently(work)

    def _extend(self, tasks: Sequence[Task]) -> None:
        handler = self._handlers[tasks[0].kind]
        says = handler.progress if isinstance(handler, SupportsProgress) else _unknown
        shares = [says(task) for task in tasks]

        def work(tx: TxT) -> None:
            lease, now = self._lease_micros(), self._now()
            for task, share in zip(tasks, shares, strict=True):
                with contextlib.suppress(StaleLease):  # one that ended early; the others go on
                    self._queue.extend(tx, task, now=now, lease_micros=lease, progress=share)

        self._run(work)

    def _patiently(self, work: Callable[[TxT], T]) -> T:
        """Run ``work``, waiting for a locked store as long as a lease lasts."""
        deadline = time.monotonic() + self._lease_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._run(work)
            except BackendUnavailable:
                if time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, self._poll_seconds)

    def _now(self) -> int:
        return to_micros(self._clock.now())

    def _lease_micros(self) -> int:
        return int(self._lease_seconds * _MICROS)


class _Heartbeat:
    """Calls ``beat`` every so often in a thread of its own, for as long as it is entered."""

    def __init__(self, beat: Callable[[], None], *, every_seconds: float) -> None:
        self._beat = beat
        self._every_seconds = every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="memos-heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._over.wait(self._every_seconds):
            try:
                self._beat()
            except Exception as error:  # noqa: BLE001  a missed beat costs the lease, never the task
                log.warning("heartbeat missed: %s", type(error).__name__)


def _unknown(_: Task) -> float | None:
    return None


def asked_rest(error: Exception) -> float:
    """The seconds for which an engine asked to be left alone; 0 where it did not."""
    asked = error.retry_after_seconds if isinstance(error, BackendUnavailable) else None
    return max(0.0, asked or 0.0)


def describe(error: Exception) -> str:
    """What may be kept of an error: our own texts hold ids, others may quote a memory's words."""
    name = type(error).__name__
    text = f"{name}: {error}" if isinstance(error, MemosError) else name
    return text[:_MAX_ERROR_CHARS]
