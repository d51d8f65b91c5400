"""Consolidation: clusters of related memories get a summary; the sources stay as they are.

Handles the tasks ``consolidate`` (a whole cube) and ``rebuild`` (summaries whose sources changed).
Reading, clustering and writing words happen outside any transaction; the effect checks that every
source still stands as it was read, and leaves the cluster for the next run where it does not.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from memos_integrations.cube.draft import Draft, fold
from memos_integrations.cube.errors import LLMUnavailable
from memos_integrations.cube.header import SEARCHABLE, Relation, State
from memos_integrations.cube.ids import CubePath, from_micros
from memos_integrations.cube.ports import LLM, Task, TaskSpec
from memos_integrations.infrastructure.governance.redaction import (
    mask,
    scan,
    spans_from_json,
    spans_to_json,
)
from memos_integrations.infrastructure.vault.rows import Stored, dumps, dumps_or_none
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.operation.fine_task import queue_fine_stage
from memos_integrations.operation.lifecycle.states import Event, next_state
from memos_integrations.operation.lifecycle.truth import REBUILD, SUMMARY_MODELS, mark_stale
from memos_integrations.operation.operator.clusters import Card, Limits, clusters
from memos_integrations.operation.operator.summaries import (
    EXTRACTIVE,
    SCHEMA,
    SYSTEM,
    Summary,
    Ungrounded,
    extract,
    grounded,
    prompt,
)

CONSOLIDATE = "consolidate"
"""The kind of task that clusters a cube."""
TAG = "summary"

Effect = Callable[[Transaction], str | None]
_LATEST = 2**63 - 2
_KINDS = ("long_term", "user", "preference", "event")
"""What is summed up. Working memory passes; tools, skills and documents have structures of
their own."""
_MIN_SOURCES = 2


@dataclass(frozen=True, slots=True)
class Known:
    """A summary as it stands, with the memories it was made of."""

    item: int
    version: int
    stale: bool
    by_hand: bool
    """Whether somebody corrected its words: then they are no longer ours to change."""
    rights: tuple[object, ...]
    sources: frozenset[int]
    versions: frozenset[tuple[int, int]]

    def fits(self, rights: tuple[object, ...]) -> bool:
        """Whether memories under these rights may still stand behind it. Trust is compared when
        a new one is made: it never changes afterwards."""
        return self.rights[:3] == rights[:3] and self.rights[4] == rights[4]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to do: words for these sources, in a new summary or in one that stands."""

    sources: tuple[Card, ...]
    summary: Summary
    known: Known | None = None


@dataclass(slots=True)
class Plan:
    """Everything a task will do, and what it leaves with the reason."""

    proposals: list[Proposal] = field(default_factory=list[Proposal])
    withdraw: list[Known] = field(default_factory=list[Known])
    unchanged: int = 0
    left: dict[str, int] = field(default_factory=dict[str, int])

    def leave(self, reason: str) -> None:
        self.left[reason] = self.left.get(reason, 0) + 1


class ConsolidateStage:
    """Handles ``consolidate`` and ``rebuild`` tasks, with a language model or without."""

    def __init__(self, vault: MemVault, *, llm: LLM | None = None) -> None:
        self._vault = vault
        self._llm = llm

    def prepare(self, task: Task) -> Effect:
        """Find the clusters and their words; the effect writes what still fits."""
        with self._vault.readers.snapshot() as connection:
            if task.kind == REBUILD:
                plan, waiting = self._rebuilding(connection, task)
            else:
                plan, waiting = self._consolidating(connection, task)
        for group, known in waiting:
            self._propose(plan, group, known)
        cube = task.cube

        def effect(tx: Transaction) -> str:
            return _apply(tx, cube, replace(plan, left=dict(plan.left)))

        return effect

    def _consolidating(
        self, connection: sqlite3.Connection, task: Task
    ) -> tuple[Plan, list[tuple[tuple[Card, ...], Known | None]]]:
        least = int(json.loads(task.payload).get("min_cluster", 3))
        plan = Plan()
        cards = read_cards(connection, cube=task.cube, model=self._vault.model)
        known = _known(connection, cube=task.cube)
        waiting: list[tuple[tuple[Card, ...], Known | None]] = []
        rights = {card.item: card.rights for card in cards}
        for each in known:
            if not all(each.fits(rights[n]) for n in each.sources if n in rights):
                plan.withdraw.append(each)  # its sources are shared with others than it is
        kept = [each for each in known if each not in plan.withdraw]
        for group, summary in matched(clusters(cards, Limits(least=least)), kept):
            if summary is not None and summary.by_hand:
                plan.leave("its words were corrected by hand")
            elif summary is not None and not summary.stale and _same(group, summary):
                plan.unchanged += 1
            else:
                waiting.append((group, summary))
        return plan, waiting

    def _rebuilding(
        self, connection: sqlite3.Connection, task: Task
    ) -> tuple[Plan, list[tuple[tuple[Card, ...], Known | None]]]:
        plan = Plan()
        items = [int(n) for n in json.loads(task.payload)["items"]]
        waiting: list[tuple[tuple[Card, ...], Known | None]] = []
        for summary in _known(connection, items=items):
            cards = read_cards(connection, items=sorted(summary.sources), model=self._vault.model)
            group = tuple(card for card in cards if summary.fits(card.rights))
            if not summary.stale:
                plan.unchanged += 1
            elif summary.by_hand:
                plan.leave("its words were corrected by hand")
            elif len(group) < _MIN_SOURCES:
                plan.withdraw.append(summary)
            else:
                waiting.append((group, summary))
        return plan, waiting

    def _propose(self, plan: Plan, group: tuple[Card, ...], known: Known | None) -> None:
        try:
            summary = extract(group) if self._llm is None else _written(self._llm, group)
        except Ungrounded as reason:
            plan.leave(str(reason))
            return
        if not summary.text:
            plan.leave("its sources hold no sentence")
            return
        plan.proposals.append(Proposal(group, summary, known))


def _written(llm: LLM, group: Sequence[Card]) -> Summary:
    try:
        answer = llm.complete(prompt(group), system=SYSTEM, schema=SCHEMA)
    except LLMUnavailable:
        raise  # the queue tries again later, and tells why in the task's status
    if answer.truncated:
        raise Ungrounded("the answer was cut off")
    if not answer.text.strip():
        raise Ungrounded("the answer is empty")
    return grounded(answer.text, group, model=llm.name)


# -- reading --------------------------------------------------------------------------------------

_CARDS = """
SELECT v.iid, v.version, t.text, t.spans, coalesce(v.speaker, v.role, 'memory'), v.time,
       v.conversation, i.owner, i.visibility, i.labels, i.trust, i.expires, p.vec,
       (SELECT group_concat(hex(m.entity)) FROM mention m WHERE m.iid = v.iid)
FROM version v
JOIN item i ON i.iid = v.iid
JOIN content t ON t.tid = v.tid
LEFT JOIN part_vector p ON p.tid = v.tid AND p.part = 0 AND p.model = :model
WHERE v.seq_to > :latest AND {which}
  AND v.state IN ('generated', 'activated', 'frozen') AND v.stale = 0
  AND v.valid_to IS NULL AND v.kind = 'plaintext' AND i.quarantined = 0
  AND i.drawn_from IS NULL AND (v.model IS NULL OR substr(v.model, 1, :size) <> :made)
  AND v.memory_type IN (SELECT value FROM json_each(:kinds))
  AND NOT EXISTS (SELECT 1 FROM entry n WHERE n.iid = v.iid)
ORDER BY v.iid
"""
_OF_CUBE = "v.cid = :cube"
_OF_ITEMS = "v.iid IN (SELECT value FROM json_each(:items))"

_KNOWN = """
SELECT v.iid, v.version, v.stale, v.speaker, v.role, v.info, t.text, e.target, e.target_version,
       i.owner, i.visibility, i.labels, i.trust, i.expires
FROM version v
JOIN item i ON i.iid = v.iid
JOIN content t ON t.tid = v.tid
LEFT JOIN edge e ON e.source = v.iid AND e.relation = 'derived_from' AND e.seq_to > :latest
WHERE v.seq_to > :latest AND {which} AND v.state IN ('generated', 'activated')
  AND substr(v.model, 1, :size) = :made AND v.origin = 'inference'
ORDER BY v.iid, e.target
"""


def read_cards(
    connection: sqlite3.Connection,
    *,
    model: str | None,
    cube: int | None = None,
    items: Sequence[int] | None = None,
) -> list[Card]:
    """What may be summed up of a cube, or of these items, with masked words."""
    which = _OF_CUBE if items is None else _OF_ITEMS
    bound = _bound(cube, items) | {"model": model, "kinds": json.dumps(_KINDS)}
    return [_card(row) for row in connection.execute(_CARDS.format(which=which), bound)]


def _bound(cube: int | None, items: Sequence[int] | None) -> dict[str, object]:
    listed = None if items is None else json.dumps([int(n) for n in items])
    return {
        "cube": cube,
        "items": listed,
        "latest": _LATEST,
        "made": SUMMARY_MODELS,
        "size": len(SUMMARY_MODELS),
    }


def _card(row: Sequence[object]) -> Card:
    (item, version, text, spans, who, time, session, *rights, vec, names) = row
    shown = str(text)
    if spans is not None:
        shown = mask(shown, spans_from_json(str(spans)), keep=frozenset())
    return Card(
        item=int(str(item)),
        version=int(str(version)),
        text=shown,
        who=str(who),
        time=int(str(time)),
        session=None if session is None else str(session),
        rights=tuple(rights),
        names=frozenset(bytes.fromhex(n) for n in str(names).split(",")) if names else frozenset(),
        vector=np.frombuffer(vec, dtype="<f4") if isinstance(vec, bytes) else None,
    )


def _known(
    connection: sqlite3.Connection,
    *,
    cube: int | None = None,
    items: Sequence[int] | None = None,
) -> list[Known]:
    which = _OF_CUBE if items is None else _OF_ITEMS
    found: dict[int, Known] = {}
    for row in connection.execute(_KNOWN.format(which=which), _bound(cube, items)):
        item, version, stale, speaker, role, info, text, target, target_version, *rights = row
        old = found.get(item)
        pair = frozenset() if target is None else frozenset({(target, target_version)})
        versions = pair if old is None else old.versions | pair
        by_hand = _seal(info) != fold(speaker or role, text).hex()
        sources = frozenset(target for target, _ in versions)
        found[item] = Known(item, version, bool(stale), by_hand, tuple(rights), sources, versions)
    return list(found.values())


def _seal(info: str | None) -> str | None:
    """The hash of the words as they were written; other words came from somebody else."""
    made = json.loads(info).get("summary") if info else None
    return made.get("seal") if isinstance(made, dict) else None


def _same(group: Sequence[Card], known: Known) -> bool:
    return frozenset((card.item, card.version) for card in group) == known.versions


def matched(
    groups: Iterable[tuple[Card, ...]], known: Sequence[Known]
) -> list[tuple[tuple[Card, ...], Known | None]]:
    """Each cluster with the summary that holds most of it, if that holds mostly it."""
    groups = list(groups)
    by_source: dict[int, list[Known]] = {}
    for each in known:
        for source in each.sources:
            by_source.setdefault(source, []).append(each)
    pairs: list[tuple[int, int, int]] = []
    for place, group in enumerate(groups):
        near = {k.item: k for card in group for k in by_source.get(card.item, ())}
        for each in near.values():
            shared = len(each.sources & {card.item for card in group})
            if each.fits(group[0].rights) and 2 * shared >= min(len(each.sources), len(group)):
                pairs.append((-shared, place, each.item))
    taken: dict[int, Known] = {}
    used: set[int] = set()
    by_item = {each.item: each for each in known}
    for _, place, item in sorted(pairs):
        if place not in taken and item not in used:
            taken[place] = by_item[item]
            used.add(item)
    return [(group, taken.get(place)) for place, group in enumerate(groups)]


# -- writing --------------------------------------------------------------------------------------


def _apply(tx: Transaction, cube: int | None, plan: Plan) -> str:
    """Write the plan as far as it still fits; what was done, as JSON of ids and counts."""
    made: list[str] = []
    renewed: list[str] = []
    for each in plan.proposals:
        rows = _standing(tx, each)
        if rows is None:
            plan.leave("a source changed meanwhile")
        elif each.known is None:
            made.append(_insert(tx, rows, each.summary))
        else:
            done = _renew(tx, rows, each.known, each.summary)
            renewed += done
            if not done:
                plan.leave("the summary changed meanwhile")
    gone = [each for known in plan.withdraw for each in _withdraw(tx, known)]
    _tell(tx, cube, [*made, *renewed, *gone])
    return json.dumps(
        {
            "made": made,
            "renewed": renewed,
            "withdrawn": gone,
            "unchanged": plan.unchanged,
            "left": plan.left,
        }
    )


def _tell(tx: Transaction, cube: int | None, ids: Sequence[str]) -> None:
    row = tx.execute("SELECT tenant, path FROM cube WHERE cid = ?", (cube,)).fetchone()
    if ids and row is not None:
        tx.audit(CONSOLIDATE, cube=row[1], items=ids, reason="consolidated", tenant=row[0])


def _standing(tx: Transaction, proposal: Proposal) -> list[Stored] | None:
    """The sources, if each still is what was read."""
    rows = {row.iid: row for row in current(tx, [card.item for card in proposal.sources])}
    live = {state.value for state in SEARCHABLE}
    for card in proposal.sources:
        row = rows.get(card.item)
        if row is None or row.version != card.version or row.state not in live:
            return None
        if row.stale or row.quarantined or _rights(row) != card.rights:
            return None
    return [rows[card.item] for card in proposal.sources]


def _rights(row: Stored) -> tuple[object, ...]:
    return (row.owner, row.visibility, row.labels, row.trust, row.expires)


def _insert(tx: Transaction, rows: Sequence[Stored], summary: Summary) -> str:
    cube = tx.find_cube(CubePath(rows[0].path), tenant=rows[0].tenant)
    assert cube is not None  # noqa: S101  -- it holds the rows just read
    (new,) = tx.insert(cube, [_draft(tx, rows, summary)], reason="consolidated")
    _draw(tx, cube.cid, new.iid, rows)
    queue_fine_stage(tx, cube.cid, [new.iid])
    return new.id


def _renew(tx: Transaction, rows: Sequence[Stored], known: Known, summary: Summary) -> list[str]:
    """The summary's next version on these sources; nothing when it is no longer as it was read."""
    old = next(iter(current(tx, [known.item])), None)
    if old is None or old.version != known.version:
        return []
    draft = _draft(tx, rows, summary)
    draft.speaker, draft.role = old.speaker, old.role
    state = next_state(State(old.state), Event.REVISE, item=old.id)
    tx.revise(
        old,
        reason="consolidated anew",
        words=draft,
        state=state.value,
        stale=0,
        time=draft.time,
        model=draft.model,
        conversation=draft.conversation,
        info=dumps_or_none(draft.info),
        provenance=draft.provenance,
    )
    for target in current(tx, sorted(known.sources)):
        tx.unlink(old, Relation.DERIVED_FROM, target)
    _draw(tx, old.cid, old.iid, rows)
    mark_stale(tx, old, reason="was consolidated anew")
    queue_fine_stage(tx, old.cid, [old.iid])
    return [old.id]


def _withdraw(tx: Transaction, known: Known) -> list[str]:
    old = next(iter(current(tx, [known.item])), None)
    if old is None or old.version != known.version:
        return []
    state = next_state(State(old.state), Event.DELETE, item=old.id)
    tx.revise(old, reason="too few of its sources are left", tombstone=True, state=state.value)
    mark_stale(tx, old, reason="was withdrawn")
    return [old.id]


def _draw(tx: Transaction, cid: int, item: int, rows: Sequence[Stored]) -> None:
    for row in rows:
        tx.link_rows(cid, item, Relation.DERIVED_FROM, row.iid, row.version)
        tx.keep_hidden(row, item)


def _draft(tx: Transaction, rows: Sequence[Stored], summary: Summary) -> Draft:
    first = rows[0]
    sessions = {row.conversation for row in rows}
    agents = {row.agent for row in rows}
    spans = scan(summary.text)
    made = "from a language model, held to its sources"
    if summary.model == EXTRACTIVE:
        made = "the most central sentences of its sources, verbatim"
    return Draft(
        text=summary.text,
        time=max(row.time for row in rows),
        valid_from=min(row.valid_from for row in rows),
        role=None,
        speaker=None,
        conversation=sessions.pop() if len(sessions) == 1 else None,
        agent=agents.pop() if len(agents) == 1 else None,
        memory_type="long_term",
        origin="inference",
        trust=_trust(first.trust, summary),
        visibility=first.visibility,
        owner=first.owner,
        labels=tuple(json.loads(first.labels or "[]")),
        expires=first.expires,
        tags=(TAG,),
        model=summary.model,
        spans=spans_to_json(spans),
        info={
            "summary": {
                "made": made,
                "sources": len(rows),
                "sentences": summary.sentences,
                "seal": fold(None, summary.text).hex(),
            }
        },
        provenance=dumps([_step(tx, row) for row in rows]),
    )


def _trust(trust: str, summary: Summary) -> str:
    """That of the sources; a model's words are never more than an inference."""
    return "inference" if trust == "user" and summary.model != EXTRACTIVE else trust


def _step(tx: Transaction, row: Stored) -> dict[str, object]:
    return {
        "source_kind": "memory",
        "source": row.id,
        "actor": tx.principal.name,
        "action": f"summed up at version {row.version}",
        "at": from_micros(tx.at).isoformat(),
    }


def queue_consolidation(tx: Transaction, cube: CubeRow, *, min_cluster: int) -> str:
    """Queue the consolidation of a cube; the task's id."""
    payload = dumps({"min_cluster": min_cluster})
    return tx.enqueue(TaskSpec(CONSOLIDATE, cube=cube.cid, payload=payload, priority=-1))
