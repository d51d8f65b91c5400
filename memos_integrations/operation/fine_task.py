"""The task that has memories looked at again in the background.

Called by whoever writes or changes words; carried out by ``fine_stage``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memos_integrations.cube.embedded import is_given
from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.ports import TaskSpec
from memos_integrations.infrastructure.vault.borrowed_words import answering
from memos_integrations.infrastructure.vault.rows import Stored, dumps
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction

FINE = "fine"
"""The kind of task that carries the fine stage."""
_ITEMS_PER_TASK = 32
"""A task's effect is one transaction at most, for which whoever writes meanwhile waits."""


def queue_fine_stage(tx: Transaction, cid: int, items: Sequence[int]) -> str:
    """Queue the fine stage of these item rows; the task's id."""
    return tx.enqueue(TaskSpec(FINE, cube=cid, payload=dumps({"items": list(items)})))


def queue_items(tx: Transaction, cid: int, items: Sequence[int]) -> tuple[str, ...]:
    """As ``queue_fine_stage``, in as many tasks as it takes."""
    return tuple(
        queue_fine_stage(tx, cid, items[start : start + _ITEMS_PER_TASK])
        for start in range(0, len(items), _ITEMS_PER_TASK)
    )


def review_facts(tx: Transaction, turns: Iterable[Stored]) -> None:
    """Have the facts of these memories brought in line with how the memories stand now.

    For memories without facts there is nothing to do, and no task.
    """
    drawn = "SELECT 1 FROM item WHERE drawn_from = ? LIMIT 1"
    _review(tx, [(t.cid, t.iid) for t in turns if tx.execute(drawn, (t.iid,)).fetchone()])


def review_answers(tx: Transaction, turns: Iterable[Stored]) -> None:
    """As ``review_facts``, for what answers the questions among these memories."""
    _review(tx, answering(tx, [turn.iid for turn in turns]))


def _review(tx: Transaction, found: Iterable[tuple[int, int]]) -> None:
    by_cube: dict[int, list[int]] = {}
    for cid, iid in found:
        by_cube.setdefault(cid, []).append(iid)
    for cid, items in by_cube.items():
        queue_items(tx, cid, items)


def queue_cube(tx: Transaction, cid: int) -> None:
    """Have the fine stage look again at what a cube was told, after words came in as copies.

    What is still rough keeps the task it has.
    """
    rows = tx.execute(
        "SELECT v.iid FROM version v JOIN item i ON i.iid = v.iid WHERE v.cid = ? "
        "AND v.seq_to > ? AND v.tid IS NOT NULL AND v.state <> 'generated' "
        "AND i.drawn_from IS NULL ORDER BY v.iid",
        (cid, 2**63 - 2),
    ).fetchall()
    queue_items(tx, cid, [iid for (iid,) in rows])


def reembed_cube(tx: Transaction, cube: CubeRow) -> tuple[str, ...]:
    """Drop a cube's vectors and queue their making anew by the present model; the tasks.

    Raises ``UsageError`` where the vectors came with the texts: nothing here could make them again.
    """
    if is_given(cube.embedding):
        raise UsageError(
            f"the vectors of cube {cube.path} came with its texts; put the texts again, into "
            "another cube for another model"
        )
    tx.execute("DELETE FROM embedding WHERE cid = ?", (cube.cid,))
    tx.execute("DELETE FROM part_vector WHERE cid = ?", (cube.cid,))
    tx.execute("UPDATE cube SET embedding = NULL WHERE cid = ?", (cube.cid,))
    found = tx.execute(
        "SELECT iid FROM version WHERE cid = ? AND seq_to > ? AND tid IS NOT NULL ORDER BY iid",
        (cube.cid, 2**63 - 2),
    ).fetchall()
    tx.audit("reembed", cube=cube.path)
    return queue_items(tx, cube.cid, [iid for (iid,) in found])
