"""Carries out the repairs of a checkup, inside one transaction and as the one who asked.

Called by the facade. Every step is checked again first: a memory that changed since it was
examined, or that the asker may not change, is left alone and told of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.errors import ItemFrozen
from memos_integrations.cube.header import State
from memos_integrations.cube.ids import CubePath
from memos_integrations.cube.ops import ActivateOp, ArchiveOp, UpdateOp
from memos_integrations.cube.ports import TaskSpec
from memos_integrations.infrastructure.governance.detection import SECRET
from memos_integrations.infrastructure.governance.redaction import mask, scan
from memos_integrations.infrastructure.queue.sqlite import SqliteQueue
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.infrastructure.vault.vault import PROJECT
from memos_integrations.operation.analytics.findings import (
    Ailment,
    Expire,
    Fold,
    Mask,
    Project,
    Reembed,
    Refine,
    Repair,
    Requeue,
    Step,
)
from memos_integrations.operation.executor import Executor
from memos_integrations.operation.fine_task import queue_items, reembed_cube
from memos_integrations.operation.lifecycle.lifecycle import MemLifecycle


@dataclass(slots=True)
class Mended:
    """What became of a plan."""

    done: list[Repair] = field(default_factory=list[Repair])
    left: dict[str, str] = field(default_factory=dict[str, str])
    """Memory, task or cube -> why it was left alone."""


class Mender:
    """Runs repairs through the same operations as everybody else."""

    def __init__(self, executor: Executor, lifecycle: MemLifecycle, queue: SqliteQueue) -> None:
        self._executor = executor
        self._lifecycle = lifecycle
        self._queue = queue

    def mend(self, tx: Transaction, kind: Ailment, steps: Sequence[Step]) -> Mended:
        """Carry out the steps that still fit. All of them commit together, with an audit line."""
        done = Mended()
        rows = _rows(tx, [item for step in steps for item, _ in step.versions])
        rough: dict[int, list[int]] = {}
        touched: dict[str, list[str]] = {}
        for step in steps:
            why = _changed(step, rows)
            if why is not None:
                done.left[_name(step.repair)] = why
                continue
            if isinstance(step.repair, Refine):
                row = rows[step.repair.item]
                rough.setdefault(row.cid, []).append(row.iid)
                refusal = None
            else:
                refusal = self._run(tx, step.repair, rows)
            if refusal is None:
                done.done.append(step.repair)
                for item, _ in step.versions:
                    touched.setdefault(rows[item].path, []).append(item)
            else:
                done.left[_name(step.repair)] = refusal
        _refine(tx, rough)
        for path, items in touched.items():
            tx.audit("doctor", cube=path, items=items, reason=f"fix {kind.value}")
        return done

    def _run(self, tx: Transaction, repair: Repair, rows: dict[str, Stored]) -> str | None:
        """Why it could not be done, or ``None`` where it was."""
        match repair:
            case ArchiveOp() | ActivateOp():
                self._executor.execute(tx, [repair])
            case Fold():
                return self._fold(tx, rows[repair.item], rows[repair.kept])
            case Mask():
                return self._mask(tx, rows[repair.item])
            case Expire():
                self._lifecycle.expire(tx, rows[repair.item], reason="time to live ran out")
            case Requeue():
                return self._requeue(tx, repair.task)
            case Reembed():
                return _on_cube(tx, repair.cube, Permission.ADMIN, reembed_cube)
            case Project():
                return _on_cube(tx, repair.cube, Permission.WRITE, _project)
            case Refine():
                pass  # collected, so that one task takes many
            case _:
                assert_never(repair)
        return None

    def _fold(self, tx: Transaction, copy: Stored, kept: Stored) -> str | None:
        if kept.expires is not None and (copy.expires is None or kept.expires < copy.expires):
            return "what would stand for it expires earlier"
        self._lifecycle.fold(tx, copy, kept, reason=f"repeats {kept.id}")
        tx.audit("merge", cube=kept.path, items=[kept.id, copy.id], reason="checkup: duplicate")
        return None

    def _mask(self, tx: Transaction, row: Stored) -> str | None:
        text = row.text or ""
        hidden = mask(text, [s for s in scan(text) if s.label == SECRET], keep=frozenset())
        if hidden == text:
            return "no secret is in its words any more"
        op = UpdateOp(row.id, hidden, expected_version=row.version, reason="checkup: masked")
        self._executor.execute(tx, [op])
        return None

    def _requeue(self, tx: Transaction, task: str) -> str | None:
        found = self._queue.status(tx, task)
        gates = tx.governed(Permission.WRITE).gates([found.cube or 0]) if found else []
        if not any(gate.open for gate in gates):
            return "it is gone, or its cube may not be written to"
        if not self._queue.requeue(tx, task, now=tx.now):
            return "it went on by itself"
        tx.audit("requeue_task", cube=gates[0].path, reason=task)
        return None


def _rows(tx: Transaction, ids: Sequence[str]) -> dict[str, Stored]:
    """The memories named, as far as the asker may change them; expired ones too."""
    numbers = tx.numbers(list(dict.fromkeys(ids)))
    iids, cids = [n[0] for n in numbers.values()], {n[1] for n in numbers.values()}
    if not iids:
        return {}
    may = tx.governed(Permission.WRITE)
    found = may.items(iids, cids=cids, pick="kept") + may.items(iids, cids=cids, pick="due")
    return {row.id: row for row in found}


def _changed(step: Step, rows: dict[str, Stored]) -> str | None:
    for item, version in step.versions:
        row = rows.get(item)
        if row is None:
            return "it is gone, or may not be changed"
        if row.version != version:
            return "it changed since it was examined"
        if (row.state == State.FROZEN or row.legal_hold) and not _is_kept(step.repair, item):
            return str(ItemFrozen("fix", item))
    return None


def _is_kept(repair: Repair, item: str) -> bool:
    """Whether the repair only points at the memory."""
    return isinstance(repair, Fold) and repair.kept == item


def _name(repair: Repair) -> str:
    match repair:
        case Requeue():
            return repair.task
        case Reembed() | Project():
            return repair.cube
        case _:
            return repair.item


def _refine(tx: Transaction, rough: dict[int, list[int]]) -> None:
    for cid, items in rough.items():
        queue_items(tx, cid, items)


def _on_cube(
    tx: Transaction, path: str, need: Permission, work: Callable[[Transaction, CubeRow], object]
) -> str | None:
    cube = tx.find_cube(CubePath(path))
    if cube is None or not tx.governed(need).gates([cube.cid])[0].open:
        return f"needs {str(need.name).lower()} rights on the cube"
    work(tx, cube)
    return None


def _project(tx: Transaction, cube: CubeRow) -> None:
    tx.enqueue(TaskSpec(PROJECT, cube=cube.cid, priority=-1))
