"""Carries the long-stable memories of cubes over into adapters of a hosted model, and back.

Called by the scheduler (``migrate`` queues durable tasks) and by the worker of a program that
hosts the model (``LearnStage`` plans the shards and queues their trainings, or ends adapters). What
is learnt, by which gates it is published and what withdraws it is the registry's to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from memos_integrations.cube.errors import InvalidInput, NotFound
from memos_integrations.cube.ports import Task, TaskSpec
from memos_integrations.cube.usage import Form
from memos_integrations.infrastructure.parametric.recipe import Gates, Recipe
from memos_integrations.infrastructure.vault import adapters, cube_forms
from memos_integrations.infrastructure.vault.rows import dumps
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.scheduler.placement import Placement
from memos_integrations.operation.transform.cube_reading import (
    audit_form,
    cube_row,
    find_cube,
    owner_of,
)
from memos_integrations.operation.transform.lesson_plan import Shard, planned
from memos_integrations.operation.transform.shards import MOST_FACTS
from memos_integrations.operation.transform.teaching import Order, Teaching, queue_shard
from memos_integrations.operation.transform.teaching import kind_of as training_of

_PRIORITY = -2


def kind_of(model: str) -> str:
    """The kind of task that plans what a model learns; its trainings are tasks of their own."""
    return f"learn:{model}"


class ParametricExecutor:
    """Queues the tasks that have memories learnt, and adapters withdrawn."""

    form: Form = "parametric"

    def __init__(self, vault: MemVault) -> None:
        self._vault = vault

    def migrate(self, placements: tuple[Placement, ...]) -> None:
        """Note what was decided and queue it, in one transaction, but what is queued already."""
        self._vault.maintain(lambda tx: _queue(tx, placements))


class LearnStage:
    """Handles the tasks of one hosted model."""

    def __init__(
        self,
        vault: MemVault,
        teaching: Teaching,
        *,
        stable_seconds: float,
        seconds: float,
        withdraw: Callable[[str, str], None],
    ) -> None:
        """``withdraw(adapter, why)`` ends one for good; ``seconds`` is what a training may take."""
        self._vault, self._teaching, self._withdraw = vault, teaching, withdraw
        self._stable_seconds = stable_seconds
        self._order = Order(Recipe(), Gates(), seconds, stable_seconds=stable_seconds)

    def prepare(self, task: Task) -> Callable[[Transaction], str | None]:
        """Plan the shards of the cube's long-stable memories; the effect queues their trainings.
        Or end what the cube's adapters are."""
        try:
            cube = cube_row(self._vault, task.cube)
            if json.loads(task.payload)["step"] == "demote":
                return self._demoted(cube)
            shards = self._shards(cube)
        except (InvalidInput, NotFound) as refusal:
            why = f"{type(refusal).__name__}: {refusal}"
            return lambda tx: self._noted(tx, task, 0, kept=False, why=why)
        if not shards:
            why = "no memory of it may be learnt"
            return lambda tx: self._noted(tx, task, 0, kept=False, why=why)
        return lambda tx: self._noted(tx, task, self._queued(tx, cube, shards), kept=True)

    def _noted(self, tx: Transaction, task: Task, queued: int, *, kept: bool, why: str = "") -> str:
        """A plan that comes to nothing is noted, so that it is not asked for again at once."""
        if task.cube is not None:
            name = self._teaching.hosted.name
            cube_forms.built(tx, cid=task.cube, model=name, form="parametric", kept=kept)
        return dumps({"queued": queued, "why": why})

    def _shards(self, cube: CubeRow) -> Sequence[Shard]:
        who = owner_of(cube)
        with self._vault.reading(who, action="distil") as reading:
            plan = planned(
                reading,
                cube,
                self._teaching,
                self._teaching.forms,
                principal=who,
                where=None,
                order=self._order,
                most=MOST_FACTS,
                stable_seconds=self._stable_seconds,
            )
        rows = [row for shard in plan.shards for row in shard.rows]
        paths = [cube.path]
        self._vault.shown(who, "distil", rows, cubes=paths, reason="scheduler", used=False)
        return plan.shards

    def _queued(self, tx: Transaction, cube: CubeRow, shards: Sequence[Shard]) -> int:
        """How many trainings were queued. A shard whose memories changed meanwhile is left to the
        next plan."""
        model = self._teaching.hosted.name
        queued = 0
        for shard in shards:
            adapters.join_shards(tx, shard.joins, cid=cube.cid, model=model)
            if not shard.unchanged:
                done = queue_shard(
                    tx,
                    shard.rows,
                    model=model,
                    shard=shard.number,
                    order=self._order,
                    rebuild=True,
                )
                queued += done is not None
        return queued

    def _demoted(self, cube: CubeRow) -> Callable[[Transaction], str | None]:
        model = self._teaching.hosted.name
        with self._vault.readers.snapshot() as connection:
            rows = adapters.of_cubes(connection, [cube.cid], model=model)
        ended = [row.id for row in rows if row.state in ("candidate", "published", "stale")]
        for adapter in ended:
            self._withdraw(adapter, "the scheduler left this form")
        return lambda _: dumps({"withdrawn": len(ended)})


def _queue(tx: Transaction, placements: tuple[Placement, ...]) -> None:
    kinds = {kind for each in placements for kind in (kind_of(each.model), training_of(each.model))}
    there = {
        (cid, kind.partition(":")[2]) for cid, kind in cube_forms.waiting(tx.connection, kinds)
    }
    for each in placements:
        cube = find_cube(tx.connection, each.cube)
        if cube is None or (each.cube, each.model) in there:
            continue
        if each.step != "refresh":
            promoted = each.step == "promote"
            cube_forms.decide(
                tx, cid=each.cube, model=each.model, form="parametric", promoted=promoted
            )
        audit_form(tx, cube, model=each.model, step=f"{each.step} parametric")
        payload = dumps({"step": each.step})
        tx.enqueue(
            TaskSpec(kind_of(each.model), cube=each.cube, payload=payload, priority=_PRIORITY)
        )
