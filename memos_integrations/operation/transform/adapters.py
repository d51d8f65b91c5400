"""The adapters of a program: which models it hosts, what is attached to them, who trains.

Made by the composition root; the verbs and the scheduler call it. Nothing here needs torch until a
model answers with an adapter. The rows in the vault say which adapters there are: what is attached
is held against them before each use, so that what one process withdraws no other goes on using.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from memos_integrations.cube.errors import HostileArchive, MemosError, NotFound, VaultDamaged
from memos_integrations.cube.ports import Clock, TaskQueue
from memos_integrations.infrastructure.queue.worker import Handler, Worker
from memos_integrations.infrastructure.vault import adapter_orders, adapters
from memos_integrations.infrastructure.vault.adapters import AdapterRow, Lost
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.transform.adapter_bytes import wipe_noted
from memos_integrations.operation.transform.distil_task import DistilStage
from memos_integrations.operation.transform.hosted import Hosts
from memos_integrations.operation.transform.lesson import QuestionForms
from memos_integrations.operation.transform.shards import why_not
from memos_integrations.operation.transform.teaching import Order, Teaching, kind_of, queue_shard

if TYPE_CHECKING:
    from memos_integrations.infrastructure.parametric.bank import AdapterBank

T = TypeVar("T")
_log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 1.0


class Adapters:
    """Hosted models with their banks and trainers. Safe for many threads."""

    def __init__(
        self,
        vault: MemVault,
        queue: TaskQueue,
        *,
        clock: Clock,
        lease_seconds: float,
        disk_bytes: int,
        most_resident: int,
        starts: bool,
        also: Callable[[Teaching], Mapping[str, Handler[Transaction]]] | None = None,
    ) -> None:
        """``starts``: train in threads of this process; else ``run_once`` does. ``also`` makes
        the handlers of what else is done for a hosted model, in turn with its trainings."""
        self.hosts = Hosts()
        self._vault, self._queue, self._clock = vault, queue, clock
        self._lease_seconds, self._disk_bytes = lease_seconds, disk_bytes
        self._most_resident, self._starts = most_resident, starts
        self._also = also
        self._lock = threading.Lock()
        self._teachings: dict[str, Teaching] = {}
        self._forms: dict[str, QuestionForms] = {}
        self._banks: dict[str, AdapterBank] = {}
        self._stages: dict[str, DistilStage] = {}
        self._trainers: dict[str, Worker[Transaction]] = {}
        wipe_noted(vault)

    # -- hosting ------------------------------------------------------------------------------

    def host(self, teaching: Teaching) -> None:
        """Host a model, in place of another of that name, and train for it from now on."""
        name = teaching.hosted.name
        self.hosts.add(teaching.hosted)
        stage = DistilStage(
            self._vault,
            self._queue,
            teaching,
            forms_of=lambda key: teaching.forms if key is None else self._kept_forms(key),
            lease_seconds=self._lease_seconds,
            disk_bytes=self._disk_bytes,
        )
        trainer: Worker[Transaction] = Worker(
            self._maintained,
            self._queue,
            {kind_of(name): stage, **({} if self._also is None else self._also(teaching))},
            clock=self._clock,
            name=f"{os.getpid()}-{id(stage):x}",
            lease_seconds=self._lease_seconds,
            batch_limit=1,
        )
        self._end(name)
        with self._lock:
            self._banks.pop(name, None)
            self._teachings[name] = teaching
            self._stages[name], self._trainers[name] = stage, trainer
        self._vault.checkpoints.keep_only(self._candidates())
        if self._starts:
            trainer.start()

    def teaching(self, name: str) -> Teaching:
        """Raises ``NotFound`` for a model that this program does not host."""
        self.hosts.get(name)
        with self._lock:
            return self._teachings[name]

    def keep_forms(self, name: str, forms: QuestionForms) -> None:
        """Keep question forms of one call for the training it queues, while the program runs."""
        with self._lock:
            self._forms[name] = forms

    def _kept_forms(self, name: str) -> QuestionForms:
        with self._lock:
            forms = self._forms.get(name)
        if forms is None:
            raise NotFound(
                "its question forms were given to a call of distil in a program that has ended: "
                "call distil again, or give them to host_model"
            )
        return forms

    # -- using --------------------------------------------------------------------------------

    def bank(self, name: str) -> AdapterBank:
        """What attaches adapters to this model. Raises ``MissingExtra`` without torch and peft."""
        hosted = self.hosts.get(name)
        from memos_integrations.infrastructure.parametric.bank import AdapterBank  # noqa: PLC0415

        with hosted.lock, self._lock:
            if name not in self._banks:
                self._banks[name] = AdapterBank(hosted, most_resident=self._most_resident)
            return self._banks[name]

    def attach(self, name: str, row: AdapterRow) -> bool:
        """Attach a published adapter; whether it serves. One whose file is broken is withdrawn."""
        assert row.key is not None  # noqa: S101  -- a published one has its bytes
        assert row.sha256 is not None  # noqa: S101  -- the same
        bank = self.bank(name)
        try:
            if row.key not in bank.resident():
                if not self._vault.blobs.verify(row.sha256):
                    raise VaultDamaged("its bytes changed on disk")
                bank.attach(row.key, self._vault.blobs.path(row.sha256))
        except (MemosError, HostileArchive) as refusal:
            _log.warning("adapter %s is not used: %s", row.id, type(refusal).__name__)
            self.withdraw(row.id, why="its file is broken or of another model")
            return False
        return True

    def drop_gone(self, name: str, standing: Iterable[AdapterRow]) -> None:
        """Take off the model what no row stands for any more."""
        bank = self._banks.get(name)
        if bank is not None:
            keys = {row.key for row in standing}
            for key in bank.resident():
                if key not in keys:
                    bank.drop(key)

    def forget(self) -> None:
        """Wipe the files that no row names any more, and take off every model what no row stands
        for: something was erased. A model that is answering just now is left to its next use,
        which looks itself."""
        wipe_noted(self._vault)
        self._take_off(patience_seconds=_PATIENCE_SECONDS)

    def _take_off(self, *, patience_seconds: float) -> None:
        if not self._banks:
            return
        with self._vault.readers.snapshot() as connection:
            keys = adapters.published_keys(connection)
        for name, bank in list(self._banks.items()):
            lock = self.hosts.get(name).lock
            if lock.acquire(timeout=patience_seconds):
                try:
                    for key in bank.resident():
                        if key not in keys:
                            bank.drop(key)
                finally:
                    lock.release()

    def withdraw(self, adapter: str, *, why: str) -> None:
        """End an adapter for good and remove its bytes."""
        self._vault.maintain(lambda tx: adapters.end(tx, adapter, why=why))
        self.forget()

    # -- upkeep -------------------------------------------------------------------------------

    def tend(self) -> tuple[str, ...]:
        """Remove the bytes of adapters whose sources changed, and queue shards to be made anew of
        what is left; the tasks. What another process ended is taken off the models here too."""
        self._take_off(patience_seconds=0.0)
        with self._vault.readers.snapshot() as connection:
            if not adapters.to_tend(connection):
                return ()

        def work(tx: Transaction) -> list[str]:
            adapters.take_out_withdrawn(tx)
            adapters.discard_given_up(tx)
            lost = adapters.take_rebuilds(tx, self.hosts.names())
            return [task for each in lost if (task := _queued(tx, each)) is not None]

        tasks = self._vault.maintain(work)
        if wipe_noted(self._vault):
            self._take_off(patience_seconds=_PATIENCE_SECONDS)
        if tasks:
            self.notify()
        return tuple(tasks)

    def _candidates(self) -> set[str]:
        with self._vault.readers.snapshot() as connection:
            return adapters.candidates(connection)

    def after_commit(self) -> None:
        """Tend to adapters after a write of this program that may have withdrawn some."""
        if self._trainers:
            self.tend()

    # -- training -----------------------------------------------------------------------------

    def _maintained(self, work: Callable[[Transaction], T]) -> T:
        """As the vault's, for a trainer, which looks for tasks about once a second: a model must
        not hold longer what another process has erased."""
        self._take_off(patience_seconds=0.0)
        return self._vault.maintain(work)

    def notify(self) -> None:
        """Something was queued."""
        for trainer in list(self._trainers.values()):
            trainer.notify()

    def run_once(self) -> int:
        """Train what is due in this thread, one shard for each model; how many attempts."""
        self.tend()
        return sum(trainer.run_once() for trainer in list(self._trainers.values()))

    def run_until_idle(self, timeout_seconds: float) -> int:
        """Train in this thread until nothing is due; how many attempts. Raises ``TaskTimeout``."""
        deadline, total = time.monotonic() + timeout_seconds, 0
        self.tend()
        for trainer in list(self._trainers.values()):
            total += trainer.run_until_idle(max(0.0, deadline - time.monotonic()))
        return total

    def close(self) -> None:
        """End what trains at its next step; it goes on where it was when a program hosts the
        model again."""
        for name in list(self._trainers):
            self._end(name)

    def _end(self, name: str) -> None:
        with self._lock:
            stage, trainer = self._stages.pop(name, None), self._trainers.pop(name, None)
        if stage is not None and trainer is not None:
            stage.close()
            trainer.stop()


def _queued(tx: Transaction, lost: Lost) -> str | None:
    """The task that makes a shard anew of what may still be learnt of it, for whoever ordered it
    the first time."""
    order = Order.from_json(lost.recipe)
    shards = adapters.members(tx.connection, cid=lost.cid, model=lost.model)
    rows = [
        row
        for row in current(tx, [iid for iid, shard in shards.items() if shard == lost.shard])
        if why_not(row, now=tx.now, stable_seconds=order.stable_seconds) is None
    ]
    if not rows:
        return None
    queued = queue_shard(
        tx,
        rows,
        model=lost.model,
        shard=lost.shard,
        order=order,
        rebuild=True,
    )
    if queued is None:
        return None
    adapter_orders.hand_over(tx, lost.adapter, queued.adapter)
    return queued.task
