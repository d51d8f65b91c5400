"""What there is of each cube for the hosted models, and what it costs: what the loop is closed by.

Made by the composition root. The scheduler asks it for prices and standings and hands placements
back; a program that hosts no model has none, and the scheduler then moves no forms.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from memos_integrations.cube.errors import MemosError
from memos_integrations.cube.usage import Form
from memos_integrations.infrastructure.queue.worker import Handler
from memos_integrations.infrastructure.vault import cube_forms
from memos_integrations.infrastructure.vault.cube_forms import Decided, Made
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.scheduler.placement import (
    NOWHERE,
    Asks,
    CubeFormExecutor,
    Held,
    Host,
    Key,
    Placement,
    Standing,
)
from memos_integrations.operation.transform import activation_executor, parametric_executor
from memos_integrations.operation.transform.activation_executor import ActivateStage
from memos_integrations.operation.transform.caches import Caches
from memos_integrations.operation.transform.cube_reading import WriteMemory
from memos_integrations.operation.transform.form_prices import Known, known_of, prices_of
from memos_integrations.operation.transform.hosted import Hosted, Hosts
from memos_integrations.operation.transform.parametric_executor import LearnStage
from memos_integrations.operation.transform.teaching import Teaching
from memos_integrations.operation.transform.teaching import kind_of as training_of

_log = logging.getLogger(__name__)


class FormLoop:
    """Prices, standings and executors of the models that this program hosts. Thread-safe."""

    def __init__(
        self,
        vault: MemVault,
        hosts: Hosts,
        executors: Sequence[CubeFormExecutor],
        *,
        notify: Callable[[], None],
    ) -> None:
        """``notify`` is called when something was queued."""
        self._hosts = hosts
        self._vault = vault
        self._executors = {each.form: each for each in executors}
        self._notify = notify
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Hosted, Known]] = {}

    def models(self) -> Sequence[str]:
        return self._hosts.names()

    def get_ready(self) -> None:
        """Look at models that are new: hashing one's weights takes a while, so no snapshot is
        open meanwhile."""
        for name in self._hosts.names():
            self._known_of(name)

    def hosts(self, connection: sqlite3.Connection) -> list[Host]:
        """The hosted models with the prices measured for each so far."""
        found: list[Host] = []
        for name in self._hosts.names():
            known = self._known_of(name)
            if known is not None:
                host = prices_of(connection, name, known)
                mine = {form: p for form, p in host.prices.items() if form in self._executors}
                found.append(replace(host, prices=mine))
        return found

    def asks(self, connection: sqlite3.Connection) -> dict[int, Asks]:
        """How often each cube was asked."""
        return {cid: Asks(*each) for cid, each in cube_forms.asks(connection).items()}

    def standings(self, connection: sqlite3.Connection) -> Mapping[Key, Standing]:
        """What there is and what was decided, for each cube and model that anything is known of."""
        models = list(self._hosts.names())
        found: dict[Key, Standing] = {}
        for each in cube_forms.decided(connection, models):
            key = (each.cid, each.model)
            found[key] = _with_decision(found.get(key, NOWHERE), each)
        for part in cube_forms.made(connection, models):
            known = self._known_of(part.model)
            if known is None or part.identity != known.identity:
                continue  # of another model that had this name
            key = (part.cid, part.model)
            found[key] = _with_part(found.get(key, NOWHERE), part)
        for key, (times, when) in cube_forms.discarded(connection, models).items():
            standing = found.get(key, NOWHERE)
            failures, moved = standing.failures + times, max(standing.moved or 0, when)
            found[key] = replace(standing, failures=failures, moved=moved)
        for cid, kind in sorted(cube_forms.waiting(connection, _kinds(models))):
            what, _, model = kind.partition(":")
            form: Form = "activation" if what == "activate" else "parametric"
            found[cid, model] = replace(found.get((cid, model), NOWHERE), waiting=form)
        return found

    def migrate(self, placements: Sequence[Placement]) -> None:
        """Hand each placement to the executor of the form that it enters or leaves."""
        for form, executor in self._executors.items():
            mine = tuple(each for each in placements if _carrier(each) == form)
            if mine:
                executor.migrate(mine)
        if placements:
            self._notify()

    def _known_of(self, name: str) -> Known | None:
        hosted = self._hosts.get(name)
        with self._lock:
            there = self._known.get(name)
        if there is not None and there[0] is hosted:
            return there[1]
        try:
            known = known_of(hosted)
        except MemosError as error:
            _log.warning("no form is made for model %s: %s", name, type(error).__name__)
            return None
        with self._lock:
            self._known[name] = hosted, known
        return known


@dataclass(frozen=True, slots=True)
class FormWork:
    """What carrying out forms needs besides the model."""

    vault: MemVault
    caches: Caches
    write: WriteMemory
    stable_seconds: float
    """Since when a memory must have stood to be learnt."""
    train_seconds: float
    """What one training may take."""
    withdraw: Callable[[str, str], None]
    """Ends an adapter, with a reason."""

    def handlers(self, teaching: Teaching) -> Mapping[str, Handler[Transaction]]:
        """The handlers of a hosted model's tasks, by kind."""
        name = teaching.hosted.name
        learn = LearnStage(
            self.vault,
            teaching,
            stable_seconds=self.stable_seconds,
            seconds=self.train_seconds,
            withdraw=self.withdraw,
        )
        activate = ActivateStage(self.vault, self.caches, teaching.hosted, self.write)
        return {
            activation_executor.kind_of(name): activate,
            parametric_executor.kind_of(name): learn,
        }


def _kinds(models: Sequence[str]) -> list[str]:
    makers = (activation_executor.kind_of, parametric_executor.kind_of, training_of)
    return [kind_of(model) for model in models for kind_of in makers]


def _carrier(placement: Placement) -> Form:
    return placement.from_form if placement.step == "demote" else placement.form


def _with_decision(standing: Standing, each: Decided) -> Standing:
    decided = standing.decided | {each.form} if each.promoted else standing.decided
    return replace(
        standing,
        decided=decided,
        moved=max(standing.moved or 0, each.moved),
        failures=standing.failures + each.failures,
    )


def _with_part(standing: Standing, part: Made) -> Standing:
    """The parts of a form together: its items, its bytes, and when its newest part was built."""
    there = standing.held.get(part.form, Held(part.form, frozenset(), 0.0, 0))
    held = Held(
        part.form,
        there.items | part.items,
        there.bytes + part.bytes,
        max(there.built, part.built),
    )
    return replace(standing, held={**standing.held, part.form: held})
