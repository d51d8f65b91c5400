"""Carries cubes over into KV-caches of a hosted model, and back out of them, in the background.

Called by the scheduler (``migrate`` queues durable tasks) and by the worker of a program that
hosts the model (``ActivateStage`` carries one out). Computing a cache twice does no harm: the same
memories give the same key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from memos_integrations.cube.errors import InvalidInput, NotFound
from memos_integrations.cube.ports import Task, TaskSpec
from memos_integrations.cube.usage import Form
from memos_integrations.infrastructure.activation.errors import CacheRefused
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.vault import artifacts, cube_forms
from memos_integrations.infrastructure.vault.rows import dumps
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.scheduler.placement import Placement
from memos_integrations.operation.transform.caches import Caches
from memos_integrations.operation.transform.cube_reading import (
    Memories,
    WriteMemory,
    audit_form,
    cube_row,
    find_cube,
    memories_of,
)
from memos_integrations.operation.transform.hosted import Hosted
from memos_integrations.operation.transform.prompt import prompt_of

if TYPE_CHECKING:
    from memos_integrations.operation.transform.prefill import At

_PRIORITY = -1


def kind_of(model: str) -> str:
    """The kind of task that fills caches of a model: only a program that hosts it takes it up."""
    return f"activate:{model}"


class ActivationExecutor:
    """Queues the tasks that compute, keep and let go of the caches of whole cubes."""

    form: Form = "activation"

    def __init__(self, vault: MemVault) -> None:
        self._vault = vault

    def migrate(self, placements: tuple[Placement, ...]) -> None:
        """Note what was decided and queue it, in one transaction, but what is queued already."""
        self._vault.maintain(lambda tx: _queue(tx, placements))


class ActivateStage:
    """Handles the tasks of one hosted model."""

    def __init__(self, vault: MemVault, caches: Caches, hosted: Hosted, write: WriteMemory) -> None:
        self._vault, self._caches, self._hosted, self._write = vault, caches, hosted, write

    def prepare(self, task: Task) -> Callable[[Transaction], str | None]:
        """Compute and pin the cube's cache, or let it go; the effect notes what came of it. A
        build that is refused is noted too, so that it is not asked for again at once."""
        if json.loads(task.payload)["step"] == "demote":
            return self._demoted(task)
        before = self._key(task)
        key: Digest | None = None
        told: Mapping[str, object]
        try:
            key, told = self._built(cube_row(self._vault, task.cube))
        except (CacheRefused, InvalidInput, NotFound) as refusal:
            told = {"kept": False, "why": f"{type(refusal).__name__}: {refusal}"}
        if before is not None and before != key:
            self._let_go(before)
        return lambda tx: self._noted(tx, task, key, told)

    def _noted(
        self, tx: Transaction, task: Task, key: Digest | None, told: Mapping[str, object]
    ) -> str:
        if task.cube is not None:
            name = self._hosted.name
            cube_forms.built(
                tx, cid=task.cube, model=name, form="activation", kept=key is not None, key=key
            )
        return dumps(dict(told))

    def _built(self, cube: CubeRow) -> tuple[Digest | None, dict[str, object]]:
        """The key of the pinned cache, or ``None`` where none could be kept; and what to tell."""
        from memos_integrations.operation.transform import prefill  # noqa: PLC0415

        memories = memories_of(self._vault, cube)
        with self._hosted.lock:
            here = self._at(cube, memories)
            text = self._write(memories.items, self._hosted.tokenizer)
            rendering = self._hosted.rendering
            prompt = prompt_of(self._hosted.tokenizer, text, "", rendering=rendering)
            keeper = self._caches.keeper()
            blocks = prefill.blocks_of(here, prompt)
            if not memories.items or not blocks:
                return None, {"kept": False, "why": "too short for a cache"}
            done = prefill.prefill(keeper, here, prompt, memories.sources)
            kept = keeper.pin(blocks[-1])
        told = {"kept": kept, "tokens": done.cached_tokens + done.computed_tokens}
        return blocks[-1] if kept else None, {**told, "computed": done.computed_tokens}

    def _at(self, cube: CubeRow, memories: Memories) -> At:
        from memos_integrations.operation.transform import prefill  # noqa: PLC0415

        secret = self._vault.maintain(lambda tx: artifacts.make_salt(tx, cube.tenant))
        here = prefill.at(
            self._hosted.model, self._hosted.tokenizer, tenant=cube.tenant, secret=secret
        )
        return here.over(memories)

    def _demoted(self, task: Task) -> Callable[[Transaction], str | None]:
        key = self._key(task)
        if key is not None:
            self._let_go(key)
        return lambda tx: dumps({"let go": key is not None})

    def _let_go(self, key: Digest) -> None:
        self._caches.unpin(key)
        self._caches.evict([key])

    def _key(self, task: Task) -> Digest | None:
        """Of the cache that was built before, if there was one."""
        if task.cube is None:
            return None
        with self._vault.readers.snapshot() as connection:
            return cube_forms.key_of(connection, cid=task.cube, model=self._hosted.name)


def _queue(tx: Transaction, placements: tuple[Placement, ...]) -> None:
    there = cube_forms.waiting(tx.connection, {kind_of(each.model) for each in placements})
    for each in placements:
        kind = kind_of(each.model)
        cube = find_cube(tx.connection, each.cube)
        if cube is None or (each.cube, kind) in there:
            continue
        if each.step != "refresh":
            promoted = each.step == "promote"
            cube_forms.decide(
                tx, cid=each.cube, model=each.model, form="activation", promoted=promoted
            )
        audit_form(tx, cube, model=each.model, step=f"{each.step} activation")
        tx.enqueue(
            TaskSpec(kind, cube=each.cube, payload=dumps({"step": each.step}), priority=_PRIORITY)
        )
