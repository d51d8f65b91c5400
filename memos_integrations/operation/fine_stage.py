"""The fine stage of a write: what a rough memory becomes, through the durable queue.

Here: exact duplicates are folded into the memory they repeat, words are embedded, the item is
activated, and the facts its words state become memories of their own. Runs at any time after the
write, and again when the words change; until then the memory is found by its words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from memos_integrations.cube.errors import EmbedderMismatch
from memos_integrations.cube.events import EventKind
from memos_integrations.cube.facts import Extractor
from memos_integrations.cube.header import Relation, State
from memos_integrations.cube.ports import Embedder, Task
from memos_integrations.infrastructure.governance.redaction import RedactionPolicy
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.embedding import Made, Wording, embed, keep, wordings
from memos_integrations.operation.facts.keeping import FactKeeper, Kept
from memos_integrations.operation.facts.sources import Read, read_turns, turn_texts
from memos_integrations.operation.fine_task import FINE, queue_items
from memos_integrations.operation.lifecycle.lifecycle import MemLifecycle
from memos_integrations.operation.near import Near, nearest, sketch

__all__ = ["FINE", "FineStage"]

Effect = Callable[[Transaction], str | None]


class FineStage:
    """Handles ``fine`` tasks. Embedding and extraction happen outside any transaction."""

    def __init__(
        self,
        vault: MemVault,
        lifecycle: MemLifecycle,
        embedder: Embedder | None,
        *,
        extractor: Extractor | None = None,
        redaction: RedactionPolicy | None = None,
    ) -> None:
        self._vault = vault
        self._lifecycle = lifecycle
        self._embedder = embedder
        self._extractor = extractor
        policy = redaction or RedactionPolicy()
        self._facts = FactKeeper(policy, extractor="" if extractor is None else extractor.name)
        self._progress: dict[str, float] = {}

    def progress(self, task: Task) -> float | None:
        """The share of the task's words that are embedded."""
        return self._progress.get(task.id)

    def prepare(self, task: Task) -> Effect:
        """Embed and read what the task names; the effect folds, activates and keeps."""
        return self.prepare_many([task])[0]

    def prepare_many(self, tasks: Sequence[Task]) -> list[Effect]:
        """As ``prepare``, with one pass of the model over all tasks."""
        words = {task.id: self._wordings(task) for task in tasks}
        vectors: Made = {}
        if self._embedder is not None:
            vectors = embed(self._embedder, words, progress=self._progress)
        read = self._read(tasks)
        for task in tasks:
            self._progress.pop(task.id, None)
        return [self._effect(task, words[task.id], vectors, read) for task in tasks]

    def _read(self, tasks: Sequence[Task]) -> dict[int, Read]:
        """What the words of these tasks' items state, as far as somebody said them."""
        if self._extractor is None:
            return {}
        # Several tasks that fail together are prepared one by one, each with its own last try.
        last_try = len(tasks) == 1 and tasks[0].attempt >= tasks[0].max_attempts
        by_cube: dict[int | None, list[int]] = {}
        for task in tasks:
            by_cube.setdefault(task.cube, []).extend(_items(task))
        read: dict[int, Read] = {}
        # Cube by cube: a model that reads several turns at once is never shown those of one
        # cube beside those of another, whose words could try to talk it into something.
        for items in by_cube.values():
            with self._vault.readers.snapshot() as connection:
                turns = turn_texts(connection, items)
            read |= read_turns(self._extractor, turns, last_try=last_try)
        return read

    def _wordings(self, task: Task) -> list[Wording]:
        if self._embedder is None:
            return []
        return wordings(self._vault, _items(task), model=self._embedder.fingerprint)

    def _effect(
        self,
        task: Task,
        words: Sequence[Wording],
        vectors: Made,
        read: dict[int, Read],
    ) -> Effect:
        items = _items(task)

        def effect(tx: Transaction) -> str:
            rows = current(tx, items)
            embedded = self._keep_vectors(tx, rows, words, vectors)
            folded, near = self._settle(tx, rows, read)
            kept = self._keep_facts(tx, items, read)
            return json.dumps(
                {
                    "items": len(rows),
                    "folded": folded,
                    "near": near,
                    "embedded": embedded,
                    "facts": kept.added,
                    "withdrawn": kept.withdrawn,
                    **({"notes": kept.notes} if kept.notes else {}),
                }
            )

        return effect

    def _keep_facts(self, tx: Transaction, items: Sequence[int], read: dict[int, Read]) -> Kept:
        """Bring the facts of what was told in line with it, as it stands after folding."""
        told = _told(tx, items)
        kept = self._facts.keep(tx, told, read)
        if kept.new and self._embedder is not None:
            queue_items(tx, told[0].cid, kept.new)
        return kept

    def _keep_vectors(
        self, tx: Transaction, rows: Sequence[Stored], words: Sequence[Wording], vectors: Made
    ) -> int:
        if not rows or not words or not vectors or self._embedder is None:
            return 0
        cid, model = rows[0].cid, self._embedder.fingerprint
        _claim_cube(tx, cid, model)
        told = {row.tid for row in rows}
        tids = set(keep(tx, cid, words, vectors, told=told, model=model))
        for row in rows:
            if row.tid in tids and row.state != State.GENERATED:
                tx.emit(EventKind.EMBEDDED, cid, row.iid, version=row.version)
        return len(tids)

    def _settle(
        self, tx: Transaction, rows: Iterable[Stored], read: dict[int, Read]
    ) -> tuple[int, int]:
        """Fold duplicates, activate the rest, link near ones; how many were folded and linked."""
        folded = linked = 0
        for row in rows:
            if row.state != State.GENERATED:
                continue
            kept = _original(tx, row)
            near = None if kept is not None else self._near(tx, row, read.get(row.iid))
            if near is not None and near.same:
                kept = near.row
            if kept is None:
                tx.revise(row, reason="fine stage", state=State.ACTIVATED.value)
            else:
                self._lifecycle.fold(tx, row, kept, reason=f"repeats {kept.id}")
                folded += 1
            if near is not None:
                tx.link(row, Relation.RELATES_TO, near.row)
                linked += 1
        return folded, linked

    def _near(self, tx: Transaction, row: Stored, read: Read | None) -> Near | None:
        """The earlier message that is nearly the same; unread words tell no dates, so none."""
        if read is None or read.tid != row.tid:
            return None
        return nearest(tx, row, sketch(tx, row), read.found.times)


def _told(tx: Transaction, items: Sequence[int]) -> list[Stored]:
    """The present versions of these item rows without facts, which stand behind their source."""
    rows = tx.execute(
        "SELECT iid FROM item WHERE drawn_from IS NULL "
        "AND iid IN (SELECT value FROM json_each(?)) ORDER BY iid",
        (json.dumps(list(items)),),
    ).fetchall()
    return current(tx, [iid for (iid,) in rows])


def _items(task: Task) -> list[int]:
    return [int(n) for n in json.loads(task.payload)["items"]]


def _claim_cube(tx: Transaction, cid: int, fingerprint: str) -> None:
    tx.execute(
        "UPDATE cube SET embedding = ? WHERE cid = ? AND embedding IS NULL", (fingerprint, cid)
    )
    row = tx.execute("SELECT embedding, path FROM cube WHERE cid = ?", (cid,)).fetchone()
    if row is not None and row[0] != fingerprint:
        raise EmbedderMismatch(
            f"cube {row[1]} was embedded by {row[0]}, not {fingerprint}: re-embed it"
        )


def _original(tx: Transaction, row: Stored) -> Stored | None:
    """The earlier live memory that says exactly the same under the same rights, if any."""
    found = tx.execute(
        "SELECT v.iid FROM content t CROSS JOIN content o ON o.cid = t.cid AND o.fold = t.fold "
        "CROSS JOIN version v ON v.iid = o.iid AND v.tid = o.tid "
        "CROSS JOIN item i ON i.iid = v.iid CROSS JOIN item m ON m.iid = ? "
        "WHERE t.tid = ? AND v.iid < ? AND v.seq_to > ? AND v.stale = 0 AND o.data IS t.data "
        "AND v.state IN ('generated', 'activated', 'frozen') AND i.owner = m.owner "
        "AND i.visibility = m.visibility AND i.labels IS m.labels AND i.trust = m.trust "
        "AND i.expires IS m.expires AND i.quarantined = 0 AND i.drawn_from IS NULL "
        "AND v.memory_type = ? AND v.valid_to IS ? "
        # What a name holds may be another thing tomorrow, so nothing else is folded into it.
        "AND NOT EXISTS (SELECT 1 FROM entry n WHERE n.iid = o.iid) ORDER BY o.tid LIMIT 1",
        (row.iid, row.tid, row.iid, 2**63 - 2, row.memory_type, row.valid_to),
    ).fetchone()
    return None if found is None else next(iter(current(tx, [found[0]])), None)
