"""Trains one shard in the background: from memories to an adapter, published or not.

Handles the tasks that ``teaching.queue_shard`` queues; calls the training, the blobs and the rows
of adapters. Needs torch and peft (extra ``parametric``). Whatever ends it, nothing half-made is
ever used: a candidate becomes an adapter in one transaction that looks at every source once more.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.errors import BackendUnavailable, Conflict, MemosError, StaleLease
from memos_integrations.cube.ports import Task, TaskQueue
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.vault import adapter_orders, adapters
from memos_integrations.infrastructure.vault.adapters import AdapterRow, Made
from memos_integrations.infrastructure.vault.rows import dumps, to_item
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.transform.adapter_bytes import wipe_noted, writing
from memos_integrations.operation.transform.lesson import Lesson, QuestionForms
from memos_integrations.operation.transform.shards import why_not
from memos_integrations.operation.transform.teaching import Order, Teaching, lesson_of

if TYPE_CHECKING:
    from memos_integrations.operation.transform.distil import Distilled

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
"""How often a training looks whether it still is wanted, and says how far it is."""
_CHANGED = "a memory it was made of has changed"
_NO_RIGHT = "whoever ordered it may no longer write to its cube, or read all it is made of"
_NOBODY = Principal(tenant="system", agent="memos")


class DistilStage:
    """Handles the trainings of one hosted model."""

    def __init__(
        self,
        vault: MemVault,
        queue: TaskQueue,
        teaching: Teaching,
        *,
        forms_of: Callable[[str | None], QuestionForms],
        lease_seconds: float,
        disk_bytes: int,
    ) -> None:
        """``forms_of`` finds question forms by the name in an order; ``None``: the model's own."""
        self._vault = vault
        self._queue = queue
        self._teaching = teaching
        self._forms_of = forms_of
        self._lease_micros = int(lease_seconds * 1e6)
        self._disk_bytes = disk_bytes
        self._closing = threading.Event()

    def close(self) -> None:
        """Have the training in hand end at its next step; it goes on where it was later."""
        self._closing.set()

    def prepare(self, task: Task) -> Callable[[Transaction], str]:
        """Train and publish, or discard; the effect only tells what became of it."""
        adapter = str(json.loads(task.payload)["adapter"])
        told = self._done(task, adapter)
        self._vault.checkpoints.drop(adapter)
        return lambda tx: told

    def _done(self, task: Task, adapter: str) -> str:
        with self._vault.readers.snapshot() as connection:
            row = adapters.get(connection, adapter)
        if row is None or row.state != "candidate":  # it was carried out, or is not wanted
            return _told(adapter, "gone" if row is None else row.state, "")
        try:
            return self._carried_out(task, row)
        except _Unwanted as why:
            return self._discarded(row, None, str(why))

    def _carried_out(self, task: Task, row: AdapterRow) -> str:
        order = Order.from_json(row.recipe)
        lessons = self._lessons(row, order)
        watch = _Watch(
            self._vault,
            self._queue,
            task,
            row.id,
            self._lease_micros,
            self._closing,
            seconds=order.seconds,
        )
        made = self._trained(lessons, order, row, watch)
        if not made.manifest.verdict.published:
            why = "; ".join(made.manifest.verdict.why)
            return self._discarded(row, _figures(made), why)
        return self._published(row, made)

    # -- reading ------------------------------------------------------------------------------

    def _lessons(self, row: AdapterRow, order: Order) -> list[Lesson]:
        """The memories as they stand, each with its question forms. Raises ``_Unwanted``."""
        forms = self._forms_of(order.forms)

        def work(tx: Transaction) -> list[Lesson | None]:
            if not adapters.standing(tx.connection, row.id, now=tx.now):
                raise _Unwanted("a memory it was to be made of has changed")
            if not _may(tx, row):
                raise _Unwanted(_NO_RIGHT)
            wanted = adapters.source_rows(tx.connection, [row.id])[row.id]
            rows = [
                each
                for each in current(tx, sorted(wanted))
                if why_not(each, now=tx.now, stable_seconds=0) is None
            ]
            if len(rows) < row.facts:
                raise _Unwanted("a memory it was to be made of may not be learnt any more")
            return [lesson_of(to_item(r, _NOBODY), self._teaching, forms) for r in rows]

        lessons = [each for each in self._vault.maintain(work) if each is not None]
        if len(lessons) < row.facts:
            raise _Unwanted(f"{row.facts - len(lessons)} memories have too few question forms")
        return lessons

    # -- training -----------------------------------------------------------------------------

    def _trained(
        self, lessons: list[Lesson], order: Order, row: AdapterRow, watch: _Watch
    ) -> Distilled:
        """As the order says, from the checkpoint where there is one. Raises ``_Unwanted``, and
        ``BackendUnavailable`` where the program closes: the task goes on later."""
        from memos_integrations.infrastructure.parametric.errors import (  # noqa: PLC0415
            TrainingStopped,
        )
        from memos_integrations.operation.transform.distil import distil  # noqa: PLC0415

        # Of the shard alone: words of other memories would be in weights that do not go with them.
        others = tuple(each.statement for each in lessons)
        while True:
            folder = self._vault.checkpoints.folder(row.id)
            try:
                return distil(
                    self._teaching.hosted,
                    lessons,
                    order.recipe,
                    order.gates,
                    distractors=others,
                    checkpoint=folder / "checkpoint",
                    progress=watch.reached,
                    should_stop=watch.should_stop,
                    seconds=order.seconds,
                )
            except TrainingStopped:
                watch.look()
            except OSError:
                watch.look()
                if self._vault.checkpoints.is_there(row.id):
                    raise  # it was not an erase that took its folder away
            except MemosError as error:
                raise _Unwanted(str(error)) from error

    # -- ending -------------------------------------------------------------------------------

    def _published(self, row: AdapterRow, made: Distilled) -> str:
        """Name the file, write it, and let it serve. An erase that comes between takes the name,
        not the note: whatever dies meanwhile, an erase or the next look wipes the file."""
        with self._vault.readers.snapshot() as connection:
            free = self._disk_bytes - adapters.bytes_held(connection)
        size = len(made.file)
        if size > free:
            why = f"its {size} bytes do not fit into the {max(0, free)} left for adapters"
            return self._discarded(row, _figures(made), why)
        sha256 = hashlib.sha256(made.file).hexdigest()
        new = Made(made.manifest.base, sha256, size, made.build_seconds)
        with writing(self._vault):
            refused = self._refused(row, made, new)
            if refused is not None:
                self._end(row, None, refused)
        wipe_noted(self._vault)
        if refused is not None:
            return _told(row.id, "discarded", refused)
        return _told(row.id, "published", "; ".join(made.manifest.verdict.why))

    def _refused(self, row: AdapterRow, made: Distilled, new: Made) -> str | None:
        """Why it does not serve; ``None`` where it does."""
        if not self._vault.maintain(lambda tx: adapters.name_bytes(tx, row.id, new)):
            return _CHANGED
        told, data = _figures(made), made.manifest.data
        with self._vault.readers.snapshot() as connection:
            if not adapters.standing(connection, row.id, now=self._vault.now()):
                return _CHANGED
        # Outside of any transaction: others may write to the vault meanwhile.
        self._vault.blobs.put(made.file)
        return self._vault.maintain(lambda tx: self._serving(tx, row, figures=told, data=data))

    def _serving(
        self, tx: Transaction, row: AdapterRow, *, figures: str, data: Digest
    ) -> str | None:
        """Publish it; else why not."""
        if not adapters.standing(tx.connection, row.id, now=tx.now):
            return _CHANGED
        if not _may(tx, row):
            return _NO_RIGHT
        adapters.publish(tx, row.id, figures=figures, data=data)
        if not row.rebuild:
            adapter_orders.drop(tx, row.id)
        items = [each.item for each in adapters.sources(tx.connection, row.id)]
        tx.audit("distil", cube=row.cube, items=items, reason=row.id, tenant=row.tenant)
        return None

    def _discarded(self, row: AdapterRow, figures: str | None, why: str) -> str:
        self._end(row, figures, why)
        wipe_noted(self._vault)
        return _told(row.id, "discarded", why)

    def _end(self, row: AdapterRow, figures: str | None, why: str) -> None:
        self._vault.maintain(lambda tx: adapters.discard(tx, row.id, figures=figures, why=why))


class _Unwanted(Exception):
    """The training is not to be gone on with; the message says why."""


class _Watch:
    """Looks now and then whether a training is wanted, and says how far it is."""

    def __init__(
        self,
        vault: MemVault,
        queue: TaskQueue,
        task: Task,
        adapter: str,
        lease_micros: int,
        closing: threading.Event,
        *,
        seconds: float,
    ) -> None:
        self._vault, self._queue, self._task = vault, queue, task
        self._adapter, self._lease_micros, self._closing = adapter, lease_micros, closing
        self._seconds = seconds
        with vault.readers.snapshot() as connection:
            self._before = adapters.spent(connection, adapter)
        self._began = time.process_time()
        self._share = 0.0
        self._next = 0.0
        self._stops = False

    def reached(self, share: float, _phase: str) -> None:
        """Called by the training with the share that is done."""
        self._share = max(self._share, min(1.0, share))

    def should_stop(self) -> bool:
        """Called by the training between its steps; looks twice a second."""
        if self._stops or self._closing.is_set() or self._spent() > self._seconds:
            return True
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _LOOK_SECONDS
        self._stops = not (self._told() and self._stands())
        return self._stops

    def look(self) -> None:
        """Return where the training is to begin anew. Raises ``_Unwanted`` or
        ``BackendUnavailable``."""
        if self._closing.is_set():
            raise BackendUnavailable("the program that trains it closes; it goes on later")
        with self._vault.readers.snapshot() as connection:
            now = self._vault.now()
            if not adapters.standing(connection, self._adapter, now=now):
                raise _Unwanted("a memory it was to be made of has changed")
        if not self._told():
            raise StaleLease("the task was cancelled, or another worker has it")
        if self._spent() > self._seconds:
            raise _Unwanted(f"{self._seconds:.0f} processor seconds were not enough")
        self._stops = False

    def _spent(self) -> float:
        """Processor seconds, those of earlier attempts included: what was wiped was paid for."""
        return self._before + time.process_time() - self._began

    def _stands(self) -> bool:
        with self._vault.readers.snapshot() as connection:
            wanted = adapters.standing(connection, self._adapter, now=self._vault.now())
        return wanted and self._vault.checkpoints.is_there(self._adapter)

    def _told(self) -> bool:
        """Say how far it is; whether the task is still this worker's."""

        def work(tx: Transaction) -> None:
            adapters.spend(tx, self._adapter, self._spent())
            lease, now = self._lease_micros, tx.now
            self._queue.extend(tx, self._task, now=now, lease_micros=lease, progress=self._share)

        try:
            self._vault.maintain(work)
        except StaleLease:
            return False
        except (BackendUnavailable, Conflict) as error:  # the next look tells it
            _log.info("progress of %s waits: %s", self._task.id, type(error).__name__)
        return True


def _may(tx: Transaction, row: AdapterRow) -> bool:
    """Whether whoever ordered it may do so still; the scheduler's orders are the owner's."""
    if not Order.from_json(row.recipe).ordered:
        return True
    items = adapters.source_rows(tx.connection, [row.id])[row.id]
    return adapter_orders.stands(tx.connection, row.id, cid=row.cid, items=items, now=tx.now)


def _figures(made: Distilled) -> str:
    told = made.manifest
    return dumps(
        {
            "figures": asdict(told.figures),
            "verdict": asdict(told.verdict),
            "invocation": list(told.invocation),
            "seconds": made.build_seconds,
        }
    )


def _told(adapter: str, state: str, why: str) -> str:
    return dumps({"adapter": adapter, "state": state, "why": why})
