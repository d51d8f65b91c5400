"""Truth maintenance: when a source changes, everything derived from it is found and marked.

Called inside the transaction that changes the source, so nobody can read a derived memory whose
source is already another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from memos_integrations.cube.header import Relation
from memos_integrations.cube.ids import LATEST
from memos_integrations.cube.ports import TaskSpec
from memos_integrations.infrastructure.backends.sqlite_graph import SqliteGraph
from memos_integrations.infrastructure.vault.borrowed_words import borrowing
from memos_integrations.infrastructure.vault.rows import Stored, dumps
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.operation.fine_task import review_answers, review_facts

REBUILD = "rebuild"
"""The kind of task that writes stale summaries anew from what is left of their sources."""
SUMMARY_MODELS = "consolidation/"
"""What ``header.model`` of every summary begins with."""
_MAX_DEPTH = 1_000_000
"""Beyond any real chain; a walk never comes by a memory twice."""


def dependents(tx: Transaction, items: Sequence[int]) -> list[Stored]:
    """Everything derived from these item rows, directly or over several steps, nearest first."""
    graph = SqliteGraph(tx.connection, at=LATEST)
    reached = graph.walk(
        list(items), relations=[Relation.DERIVED_FROM], depth=_MAX_DEPTH, backwards=True
    )
    return current(tx, [r.item for r in reached])


def mark_stale(
    tx: Transaction, source: Stored, *, reason: str, spare: Collection[int] = ()
) -> list[str]:
    """Mark what rests on ``source`` as stale; the ids of what was marked, as far as the
    principal may see it.

    That is what was derived from it, and facts of answers to what it asked. Frozen memories are
    marked too: a legal hold keeps the words, not their standing. Item rows to ``spare`` go back
    in time together with their source.
    """
    answers = current(tx, borrowing(tx, [source.iid]))
    marked = _mark(tx, source, [*dependents(tx, [source.iid]), *answers], reason, spare)
    review_facts(tx, [source, *marked])
    review_answers(tx, [source])
    return [row.id for row in visible(tx, marked)]


def mark_derived(
    tx: Transaction, source: Stored, *, reason: str, spare: Collection[int] = ()
) -> None:
    """As ``mark_stale`` for what was derived from ``source`` alone: what it asked still stands."""
    marked = _mark(tx, source, dependents(tx, [source.iid]), reason, spare)
    review_facts(tx, [source, *marked])


def _mark(
    tx: Transaction, source: Stored, rows: Iterable[Stored], reason: str, spare: Collection[int]
) -> list[Stored]:
    found = {row.iid: row for row in rows if row.tid is not None and not row.stale}
    marked = [row for iid, row in found.items() if iid not in spare]
    for row in marked:
        tx.revise(row, reason=f"source {source.id} {reason}", stale=1)
    _queue_rebuild(tx, marked)
    return marked


def _queue_rebuild(tx: Transaction, marked: Sequence[Stored]) -> None:
    by_cube: dict[int, list[int]] = {}
    for row in marked:
        if row.model is not None and row.model.startswith(SUMMARY_MODELS):
            by_cube.setdefault(row.cid, []).append(row.iid)
    for cid, items in by_cube.items():
        tx.enqueue(TaskSpec(REBUILD, cube=cid, payload=dumps({"items": items}), priority=-1))


def visible(tx: Transaction, rows: Sequence[Stored]) -> list[Stored]:
    """Those of these rows that the transaction's principal may read."""
    if not rows:
        return []
    cids = {row.cid for row in rows}
    seen = {row.iid for row in tx.governed().items([row.iid for row in rows], cids=cids)}
    return [row for row in rows if row.iid in seen]
