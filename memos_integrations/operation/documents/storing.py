"""A document into the vault: the plan carried out, all of it in one transaction.

Called by the verbs of documents inside the transaction; runs operations through the executor, so
that history, audit, staleness of what was derived and the fine stage come as with any write.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.documents import Ingested
from memos_integrations.cube.draft import Draft
from memos_integrations.cube.errors import Conflict
from memos_integrations.cube.filters import And, Comparison
from memos_integrations.cube.header import SEARCHABLE, Relation
from memos_integrations.cube.ids import CubePath, from_micros
from memos_integrations.cube.ops import (
    ActivateOp,
    AddOp,
    ArchiveOp,
    Operation,
    Replayable,
    UpdateOp,
)
from memos_integrations.cube.outcomes import AddResult, Changed, Outcome, Status
from memos_integrations.infrastructure.vault.governed import Governed
from memos_integrations.infrastructure.vault.rows import Stored, dumps, dumps_or_none
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.operation.documents.chunking import Chunk
from memos_integrations.operation.documents.planning import Plan, Standing, plan
from memos_integrations.operation.executor import Executor
from memos_integrations.operation.lifecycle.lifecycle import with_step

SOURCE = "document:"
"""Begins the ``source`` of a document and its chunks; ``erase`` and ``quarantine`` go by it."""
_LIVE = frozenset(state.value for state in SEARCHABLE)


@dataclass(frozen=True, slots=True)
class Given:
    """What the call said of governance; ``None`` leaves it to the document that stands."""

    tags: bool
    info: bool
    labels: bool
    visibility: bool
    trust: bool
    expires: bool


@dataclass(frozen=True, slots=True)
class Ingestion:
    """A document as it is to be stored."""

    name: str
    cube: CubePath
    facts: Mapping[str, Any]
    """Title, media type, sha256, counts: what stands in the document's own payload."""
    document: Replayable
    chunks: tuple[Chunk, ...]
    drafts: tuple[Replayable, ...]
    """One per chunk."""
    given: Given


def source_of(name: str) -> str:
    """What stands in ``header.source`` of a document and of each of its chunks."""
    return SOURCE + name


def rows_of(governed: Governed, cid: int, name: str) -> tuple[Stored | None, list[Stored]]:
    """The document's own memory and its chunks, archived ones too, oldest first."""
    where = And(
        (
            Comparison("source", "=", source_of(name)),
            Comparison("memory_type", "=", "document"),
        )
    )
    found = governed.listing(cids=[cid], pick="kept", where=where)
    whole = [row for row in found if part_of(row) == "document"]
    chunks = sorted((row for row in found if part_of(row) == "chunk"), key=lambda row: row.iid)
    return (whole[0] if whole else None), chunks


def part_of(row: Stored) -> str | None:
    """Whether a memory is a ``document`` or a ``chunk`` of one."""
    payload: dict[str, Any] = json.loads(row.data) if row.data else {}
    # Anybody may store a payload of another shape under these names.
    parts = (part for part in ("document", "chunk") if isinstance(payload.get(part), dict))
    return next(parts, None)


def facts_of(row: Stored) -> dict[str, Any]:
    """The document's own payload."""
    found: dict[str, Any] = json.loads(row.data or "{}").get("document", {})
    return found


def is_live(row: Stored) -> bool:
    return row.state in _LIVE


def store(tx: Transaction, executor: Executor, new: Ingestion) -> Ingested:
    """Bring the vault from the version that stands to the new one. Raises as any write."""
    cube = executor.cube_for_writing(tx, new.cube)
    whole, standing = rows_of(tx.governed(), cube.cid, new.name)
    if whole is None:
        return _Storing(tx, executor, cube, new, None, ()).run()
    tx.item(whole.id)  # it may be readable and not writable
    new = _inheriting(new, whole)
    if is_live(whole) and not whole.stale and _same(new, whole):
        chunks = facts_of(whole).get("chunks", ())
        return _answer(new, cube, whole.id, whole.version, unchanged=True, kept=tuple(chunks))
    return _Storing(tx, executor, cube, new, whole, standing).run()


def _same(new: Ingestion, whole: Stored) -> bool:
    facts = facts_of(whole)
    known = {name: facts.get(name) for name in new.facts}
    draft = new.document.draft
    told = (dumps_or_none(draft.info), dumps_or_none(draft.tags))
    return known == dict(new.facts) and told == (whole.info, whole.tags)


def _inheriting(new: Ingestion, whole: Stored) -> Ingestion:
    """The same, governed as the document that stands. A change of that is not slipped in here."""
    given, draft = new.given, new.document.draft
    labels = tuple(json.loads(whole.labels or "[]"))
    asked = (
        ("labels", given.labels, sorted(draft.labels), sorted(labels)),
        ("visibility", given.visibility, draft.visibility, whole.visibility),
        ("trust", given.trust, draft.trust, whole.trust),
    )
    for what, said, wanted, stands in asked:
        if said and wanted != stands:
            raise Conflict(
                f"document {new.name} was stored with {what} {stands}; leave {what} out, or erase "
                "it and ingest it anew"
            )
    for each in (new.document, *new.drafts):
        each.draft.labels, each.draft.visibility = labels, whole.visibility
        each.draft.trust = whole.trust
        if not given.expires:
            each.draft.expires = whole.expires
        if not given.tags:
            each.draft.tags = tuple(json.loads(whole.tags or "[]"))
        if not given.info:
            each.draft.info = {**_own_info(whole), **(each.draft.info or {})}
    return new


def _own_info(whole: Stored) -> dict[str, Any]:
    """What callers said of the document, without what is written here."""
    known: dict[str, Any] = json.loads(whole.info or "{}")
    return {key: value for key, value in known.items() if key not in ("document", "part")}


class _Storing:
    """One ingestion under way. Lives as long as its transaction."""

    def __init__(
        self,
        tx: Transaction,
        executor: Executor,
        cube: CubeRow,
        new: Ingestion,
        whole: Stored | None,
        standing: Sequence[Stored],
    ) -> None:
        self._tx = tx
        self._executor = executor
        self._cube = cube
        self._new = new
        self._whole = whole
        self._rows = {row.id: row for row in standing}
        self._standing = standing
        self._tasks: list[str] = []
        self._stale: list[str] = []
        self._ids: dict[int, str] = {}
        self._outcomes: dict[int, Outcome] = {}

    def run(self) -> Ingested:
        todo = plan([_standing(row) for row in self._standing], self._new.chunks)
        for item in todo.removed:
            self._change(ArchiveOp(item, f"no longer in {self._new.name}"))
        for item, place in todo.kept:
            self._keep(item, place)
        for item, place in todo.restored:
            self._change(ActivateOp(item, f"again in {self._new.name}"))
            self._told(place, item, "stored", "brought back from an earlier version")
        for item, place in todo.revised:
            self._change(self._revision(item, place))
            self._told(place, item, "stored", "revised")
        self._add(todo)
        item, version = self._document()
        self._link(todo, item)
        return _answer(
            self._new,
            self._cube,
            item,
            version,
            added=tuple(self._ids[n] for n in todo.added) + tuple(i for i, _ in todo.restored),
            kept=tuple(item for item, _ in todo.kept),
            changed=tuple(item for item, _ in todo.revised),
            removed=todo.removed,
            stale=tuple(dict.fromkeys(self._stale)),
            outcomes=tuple(self._outcomes[n] for n in sorted(self._outcomes)),
            task_ids=tuple(self._tasks),
        )

    def _told(self, place: int, item: str, status: Status, reason: str) -> None:
        self._ids[place] = item
        masked = self._new.drafts[place].masked
        self._outcomes[place] = Outcome(status, item, reason, masked)

    def _run(self, op: Operation) -> AddResult | Changed:
        (done,) = self._executor.execute(self._tx, [op])
        self._tasks += done.task_ids
        return done

    def _change(self, op: Operation) -> Changed:
        done = self._run(op)
        assert isinstance(done, Changed)  # noqa: S101  -- what every op but AddOp gives
        self._stale += done.stale
        return done

    def _keep(self, item: str, place: int) -> None:
        """Nothing for the same words; a header only where page, tags or info are new."""
        row, draft = self._rows[item], self._new.drafts[place].draft
        columns = {"info": dumps_or_none(draft.info), "tags": dumps_or_none(draft.tags)}
        if columns != {"info": row.info, "tags": row.tags}:
            self._change(UpdateOp(item, columns=columns, reason="its place or marks changed"))
        self._told(place, item, "duplicate", "unchanged")

    def _revision(self, item: str, place: int) -> UpdateOp:
        row, draft = self._rows[item], self._new.drafts[place].draft
        return UpdateOp(
            item,
            text=draft.text,
            data=draft.data,
            columns={
                "info": dumps_or_none(draft.info),
                "tags": dumps_or_none(draft.tags),
                "provenance": with_step(row.provenance, self._step(draft, "revised")),
                "time": draft.time,
            },
            reason=f"{self._new.name} was ingested anew",
        )

    def _add(self, todo: Plan) -> None:
        if not todo.added:
            return
        drafts = [self._new.drafts[place] for place in todo.added]
        for each in drafts:
            each.draft.provenance = dumps([self._step(each.draft, "ingested")])
        done = self._run(AddOp(self._cube_path, tuple(drafts), reason="ingested"))
        assert isinstance(done, AddResult)  # noqa: S101  -- what an AddOp gives
        for place, item in zip(todo.added, done.ids, strict=True):
            self._told(place, item, "stored", "added")

    def _document(self) -> tuple[str, int]:
        """Write the memory of the document as a whole; its id and version."""
        draft = self._new.document.draft
        chunks = [self._ids[n] for n in range(len(self._new.chunks))]
        draft.data = {"document": {**self._new.facts, "chunks": chunks}}
        if self._whole is None:
            draft.provenance = dumps([self._step(draft, "ingested")])
            done = self._run(AddOp(self._cube_path, (self._new.document,), reason="ingested"))
            assert isinstance(done, AddResult)  # noqa: S101  -- what an AddOp gives
            return done.id, 1
        if not is_live(self._whole):
            self._change(ActivateOp(self._whole.id, "ingested again"))
        step = self._step(draft, "revised")
        columns = {
            "info": dumps_or_none(draft.info),
            "tags": dumps_or_none(draft.tags),
            "provenance": with_step(self._whole.provenance, step),
            "time": draft.time,
        }
        op = UpdateOp(
            self._whole.id,
            text=draft.text,
            data=draft.data,
            blobs=draft.blobs,
            columns=columns,
            reason="ingested anew",
        )
        changed = self._change(op)
        return changed.id, changed.version

    def _link(self, todo: Plan, document: str) -> None:
        """Draw ``part_of`` from the new chunks to the document."""
        numbers = self._tx.numbers([document, *(self._ids[n] for n in todo.added)])
        target = numbers.pop(document)[0]
        for iid, _ in numbers.values():
            self._tx.link_rows(self._cube.cid, iid, Relation.PART_OF, target, None)

    @property
    def _cube_path(self) -> CubePath:
        return CubePath(self._cube.path)

    def _step(self, draft: Draft, action: str) -> dict[str, str]:
        return {
            "source_kind": "document",
            "source": self._new.name,
            "actor": self._tx.principal.name,
            "action": action,
            "at": from_micros(self._tx.at).isoformat(),
            "content_hash": hashlib.sha256(draft.text.encode()).hexdigest(),
        }


def _standing(row: Stored) -> Standing:
    facts = json.loads(row.data or "{}")["chunk"]
    heading = str(facts.get("heading", ""))
    body = (row.text or "").removeprefix(f"{heading}\n\n")
    return Standing(row.id, heading, str(facts.get("digest", "")), body, is_live(row))


def _answer(new: Ingestion, cube: CubeRow, item: str, version: int, **more: Any) -> Ingested:
    return Ingested(
        name=new.name,
        id=item,
        version=version,
        cube=cube.path,
        media_type=str(new.facts["media_type"]),
        title=new.facts.get("title"),
        **more,
    )


def forget(
    tx: Transaction, executor: Executor, cube: CubeRow, name: str, *, reason: str
) -> Changed | None:
    """Archive a document and its chunks; ``None`` where there is no such document."""
    whole, chunks = rows_of(tx.governed(), cube.cid, name)
    if whole is None:
        return None
    stale: list[str] = []
    for row in [*chunks, whole]:
        if is_live(row):
            (done,) = executor.execute(tx, [ArchiveOp(row.id, reason)])
            assert isinstance(done, Changed)  # noqa: S101  -- what an ArchiveOp gives
            stale += done.stale
    version = tx.item(whole.id, Permission.READ).version
    return Changed(whole.id, version, tuple(dict.fromkeys(stale)))


def with_notes(done: Ingested, notes: Sequence[str]) -> Ingested:
    """The same answer with remarks for its reader."""
    return replace(done, notes=(*done.notes, *notes))
