"""Facts as memories of their own: inserted, confirmed, withdrawn, and set against each other.

Called by the fine stage inside its transaction, with what was read outside of it. Idempotent: the
facts of a turn are brought to what its words say, whatever they were before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from memos_integrations.cube.draft import Draft
from memos_integrations.cube.facts import Fact, FactKind, TimeSpan
from memos_integrations.cube.header import Relation, State
from memos_integrations.cube.ids import CubePath, from_micros
from memos_integrations.infrastructure.governance.detection import PERSONAL, SECRET
from memos_integrations.infrastructure.governance.redaction import (
    RedactionPolicy,
    apply_on_write,
    spans_to_json,
)
from memos_integrations.infrastructure.vault.rows import Stored, dumps, masked
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.operation.facts.arranging import Slot, arrange
from memos_integrations.operation.facts.keys import entity_key, slot_key, value_key
from memos_integrations.operation.facts.sources import Read

_STANDS = (State.GENERATED, State.ACTIVATED, State.FROZEN)
_TYPES = {
    FactKind.PREFERENCE: "preference",
    FactKind.PLAN: "event",
    FactKind.EVENT: "event",
    FactKind.ATTRIBUTE: "user",
}
_LASTING = (FactKind.ATTRIBUTE, FactKind.PREFERENCE)
_MOST_FACTS = 200
"""Of one turn; a longer list is no message of a person."""

Claim = tuple[bytes, bytes, int]
"""Slot, value and denial: what makes two facts of a turn the same."""


@dataclass(slots=True)
class Kept:
    """What became of the facts of a task's turns."""

    added: int = 0
    confirmed: int = 0
    withdrawn: int = 0
    new: list[int] = field(default_factory=list[int])
    """Item rows of new facts, to be embedded."""
    changed: set[Slot] = field(default_factory=set[Slot])
    """Slots in which a fact that was there before changed."""
    notes: dict[str, int] = field(default_factory=dict[str, int])
    """What the extractor could not read as asked, with how often."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A fact that was drawn from the turn before."""

    row: Stored
    claim: Claim


class FactKeeper:
    """Keeps the facts of turns."""

    def __init__(self, redaction: RedactionPolicy, *, extractor: str) -> None:
        self._redaction = redaction
        self._extractor = extractor

    def keep(self, tx: Transaction, turns: Sequence[Stored], read: dict[int, Read]) -> Kept:
        """Bring the facts of these turns to what their words say now, and settle contradictions.

        A turn whose words changed since they were read is left to the task of that change.
        """
        done = Kept()
        slots: set[Slot] = set()
        for turn in turns:
            if not stands(turn):
                slots |= self._withdraw(tx, turn, _known(tx, turn), done, reason=_why(turn))
                _forget_marks(tx, turn.iid)
            elif turn.iid in read and read[turn.iid].tid == turn.tid:
                slots |= self._bring(tx, turn, read[turn.iid], done)
        arrange(tx, slots - done.changed)
        arrange(tx, done.changed, thorough=True)
        return done

    def _bring(self, tx: Transaction, turn: Stored, read: Read, done: Kept) -> set[Slot]:
        """The facts of one turn that stands; the slots they touch."""
        if read.found.note is not None:
            done.notes[read.found.note] = done.notes.get(read.found.note, 0) + 1
        said = {_claim(turn, fact): fact for fact in read.found.facts[:_MOST_FACTS]}
        known = _known(tx, turn)
        here = {each.claim: each for each in known if each.row.tid is not None}
        unsaid = [known for claim, known in here.items() if claim not in said]
        gone = [k for k in unsaid if self._owns(k.row) and (read.found.complete or k.row.stale)]
        slots = self._withdraw(tx, turn, gone, done, reason="source corrected")
        for claim, fact in said.items():
            old = here.get(claim)
            if old is None:
                _insert(tx, turn, fact, self._draft(turn, fact, read), claim, done)
            elif self._confirm(tx, turn, old.row, self._draft(turn, fact, read)):
                done.confirmed += 1
                done.changed.add((turn.cid, claim[0]))
            slots.add((turn.cid, claim[0]))
        _mark(tx, turn, read)
        return slots

    def _owns(self, fact: Stored) -> bool:
        """Whether this extractor decides about the fact: its own, or one of words that changed."""
        return fact.model == self._extractor or bool(fact.stale)

    def _confirm(self, tx: Transaction, turn: Stored, old: Stored, draft: Draft) -> bool:
        """Have a fact that is said again rest on the turn as it is now; whether it changed."""
        if old.state == State.FROZEN:
            return False
        tx.execute("UPDATE fact SET until = ? WHERE iid = ?", (draft.valid_to, old.iid))
        rests = _link_is_current(tx, old, turn)
        same = (draft.text, dumps(draft.data)) == (old.text, old.data)
        if same and rests and not old.stale and old.state == State.ACTIVATED:
            return False
        tx.revise(
            old,
            reason=f"still said by {turn.id}",
            words=None if same else draft,
            state=State.ACTIVATED.value,
            stale=0,
            valid_from=draft.valid_from,
            provenance=draft.provenance,
        )
        tx.unlink(old, Relation.DERIVED_FROM, turn)
        tx.link_rows(old.cid, old.iid, Relation.DERIVED_FROM, turn.iid, turn.version)
        return True

    def _withdraw(
        self, tx: Transaction, turn: Stored, facts: Iterable[_Known], done: Kept, *, reason: str
    ) -> set[Slot]:
        """Archive facts that are no longer said; what they had ended comes back."""
        slots: set[Slot] = set()
        for known in facts:
            slots.add((turn.cid, known.claim[0]))
            done.changed.add((turn.cid, known.claim[0]))
            if known.row.state in (State.GENERATED, State.ACTIVATED):
                tx.revise(known.row, reason=reason, state=State.ARCHIVED.value)
                done.withdrawn += 1
        return slots

    def _draft(self, turn: Stored, fact: Fact, read: Read) -> Draft:
        quote = read.words[fact.at : fact.to]
        written = apply_on_write(fact.text, self._redaction)
        keep = frozenset({PERSONAL, SECRET}) - self._redaction.on_write
        lasting = fact.kind in _LASTING and fact.when is not None
        return Draft(
            text=written.text,
            spans=spans_to_json(written.spans),
            data=masked({"fact": _told(fact, quote)}, keep=keep),
            memory_type=_TYPES[fact.kind],
            origin="inference",
            model=read.found.by or self._extractor,
            state=State.ACTIVATED.value,
            valid_from=fact.when.start if lasting and fact.when else turn.valid_from,
            valid_to=turn.valid_to,
            confidence=max(0.0, min(1.0, fact.confidence)) * turn.confidence,
            provenance=dumps([_step(turn, masked(quote, keep=keep))]),
            **_inherited(turn),
        )


def stands(turn: Stored) -> bool:
    """Whether what was drawn from the turn may be shown: it is in use, current and trusted."""
    return turn.state in _STANDS and not turn.stale and not turn.quarantined


def _why(turn: Stored) -> str:
    return f"source {'quarantined' if turn.quarantined else 'stale' if turn.stale else turn.state}"


def _inherited(turn: Stored) -> dict[str, Any]:
    """What a fact has of its turn: who may see it, whose it is, when and where it was said."""
    return {
        "time": turn.time,
        "role": turn.role,
        "speaker": turn.speaker,
        "conversation": turn.conversation,
        "agent": turn.agent,
        "source": turn.source,
        "trust": turn.trust,
        "visibility": turn.visibility,
        "owner": turn.owner,
        "labels": tuple(json.loads(turn.labels or "[]")),
        "priority": turn.priority,
        "expires": turn.expires,
        "drawn_from": turn.iid,
    }


def _told(fact: Fact, quote: str) -> dict[str, Any]:
    return {
        "kind": fact.kind.value,
        "subject": fact.subject,
        "attribute": fact.attribute,
        "value": fact.value,
        "negated": fact.negated,
        "single": fact.single,
        "quote": quote,
        "when": None if fact.when is None else _span(fact.when),
    }


def _span(when: TimeSpan) -> dict[str, Any]:
    # As text: a number of microseconds looks like a card's or a phone's to a detector.
    return {"start": _iso(when.start), "end": _iso(when.end), "grain": when.grain}


def _iso(micros: int) -> str:
    return from_micros(micros).isoformat()


def _step(turn: Stored, quote: str) -> dict[str, Any]:
    return {
        "source_kind": "memory",
        "source": turn.id,
        "actor": "memos",
        "action": "drawn from its words",
        "at": _iso(turn.time),
        "quote": quote,
    }


def _claim(turn: Stored, fact: Fact) -> Claim:
    slot = slot_key(turn.owner, fact.subject, fact.attribute)
    return slot, value_key(fact.value), int(fact.negated)


def _known(tx: Transaction, turn: Stored) -> list[_Known]:
    rows = tx.execute(
        "SELECT f.iid, f.slot, f.value, f.negated FROM item i JOIN fact f ON f.iid = i.iid "
        "WHERE i.drawn_from = ? ORDER BY f.iid",
        (turn.iid,),
    ).fetchall()
    claims = {iid: (slot, value, negated) for iid, slot, value, negated in rows}
    return [_Known(row, claims[row.iid]) for row in current(tx, list(claims))]


def _insert(
    tx: Transaction, turn: Stored, fact: Fact, draft: Draft, claim: Claim, done: Kept
) -> None:
    cube = tx.find_cube(CubePath(turn.path), tenant=turn.tenant)
    assert cube is not None  # noqa: S101  -- it holds the turn
    (new,) = tx.insert(cube, [draft], reason="drawn from its words")
    tx.link_rows(turn.cid, new.iid, Relation.DERIVED_FROM, turn.iid, turn.version)
    tx.keep_hidden(turn, new.iid)
    tx.execute(
        "INSERT INTO fact (iid, cid, slot, value, single, negated, until) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (new.iid, turn.cid, *claim[:2], int(fact.single), claim[2], draft.valid_to),
    )
    _confirm_earlier(tx, turn.cid, new.iid, claim)
    done.added += 1
    done.new.append(new.iid)


def _confirm_earlier(tx: Transaction, cid: int, iid: int, claim: Claim) -> None:
    """Link a fact to the one before that says the same."""
    slot, value, negated = claim
    row = tx.execute(
        "SELECT max(iid) FROM fact WHERE cid = ? AND slot = ? AND negated = ? AND value = ? "
        "AND iid < ?",
        (cid, slot, negated, value, iid),
    ).fetchone()
    if row[0] is not None:
        tx.link_rows(cid, iid, Relation.RELATES_TO, row[0], None)


def _link_is_current(tx: Transaction, fact: Stored, turn: Stored) -> bool:
    row = tx.execute(
        "SELECT e.target_version, v.tid FROM edge e LEFT JOIN version v "
        "ON v.iid = e.target AND v.version = e.target_version "
        "WHERE e.source = ? AND e.relation = 'derived_from' AND e.target = ? AND e.seq_to > ?",
        (fact.iid, turn.iid, 2**63 - 2),
    ).fetchone()
    return row is not None and row[1] == turn.tid


def _mark(tx: Transaction, turn: Stored, read: Read) -> None:
    """Note whom the turn names and which times it speaks of."""
    _forget_marks(tx, turn.iid)
    for mention in read.found.mentions:
        tx.execute(
            "INSERT OR IGNORE INTO mention (cid, entity, iid) VALUES (?, ?, ?)",
            (turn.cid, entity_key(mention.name), turn.iid),
        )
    whens = [fact.when for fact in read.found.facts if fact.when is not None]
    for span in [*read.found.times, *whens]:
        tx.execute(
            "INSERT OR IGNORE INTO spoken_time (iid, starts, ends, grain) VALUES (?, ?, ?, ?)",
            (turn.iid, span.start, span.end, span.grain),
        )


def _forget_marks(tx: Transaction, iid: int) -> None:
    tx.execute("DELETE FROM mention WHERE iid = ?", (iid,))
    tx.execute("DELETE FROM spoken_time WHERE iid = ?", (iid,))
