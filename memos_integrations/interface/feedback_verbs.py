"""The verb that takes feedback: "that is wrong", "outdated", "keep this", in words or by id.

Reads the words by rules, finds out which memory is meant, and acts in one transaction as the
asker: a memory that the asker may not write is never touched, whatever the words say. Where it
is not clear what is asked or of which memory, nothing changes and the result says what it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from memos_integrations.cube.header import Relation, State
from memos_integrations.cube.ids import from_micros
from memos_integrations.cube.item import Hit, MemoryItem
from memos_integrations.cube.ops import (
    ActivateOp,
    AddOp,
    ArchiveOp,
    LinkOp,
    Operation,
    UpdateOp,
)
from memos_integrations.cube.outcomes import AddResult, Changed
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.interface.arguments import texts
from memos_integrations.interface.hidden_as import hide_as
from memos_integrations.interface.reader import About, Turn
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.operation.feedback import Asked, Verdict, meant, read_feedback
from memos_integrations.operation.lifecycle.lifecycle import with_step

Did: TypeAlias = Literal["corrected", "superseded", "ended", "confirmed", "archived"]
TAG = "feedback"
_CANDIDATES = 10
_CLEARLY = 1.25
"""How much better the best must fit than the next, to be what is meant."""
_PRIORITY_STEP = 1.0
_CONFIDENCE_STEP = 0.1


@dataclass(frozen=True, slots=True)
class FeedbackAction:
    """What was done to a memory, and why."""

    did: Did
    item: str
    old_version: int
    new_version: int
    why: str
    successor: str | None = None
    """The memory that holds now, where this one was superseded."""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """What could not be done, what is needed for it, and which memories might be meant."""

    reason: str
    needs: str
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """What feedback did. Without actions nothing was changed and nothing was stored."""

    actions: tuple[FeedbackAction, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()
    feedback: str | None = None
    """The memory that holds the feedback itself."""
    task_ids: tuple[str, ...] = ()


class FeedbackVerbs(Reads):
    """Being told what memory gets wrong, and what it gets right."""

    def feedback(
        self,
        text: str,
        *,
        about: str | Sequence[str] | None = None,
        hits: Sequence[Hit | MemoryItem] | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> FeedbackResult:
        """Correct, supersede, confirm or archive what the words are about.

        ``about`` names memories by id; ``hits`` are those shown last, of which the words pick
        one; without either the words themselves must say which memory is meant. "Wrong" with
        what is right corrects, without it archives; "outdated" ends the time in which a memory
        holds, and what holds now stands beside it; "keep" confirms; "forget" archives (``erase``
        removes for good). The feedback is kept as a memory and linked to what it changed.
        Raises ``AccessDenied`` or ``NotFound`` for a memory the asker may not change or see.
        """
        self._rooms.reader.require_text(text)
        scope = self._scope(user, agent, session, cube)
        asked = read_feedback(text)
        if asked is None:
            needs = 'say that it is wrong, outdated, to be kept or to be forgotten, or "X, not Y"'
            return _nothing("the words are no feedback that a rule knows", needs)
        if about is not None:
            named = (about,) if isinstance(about, str) else texts(about, "about")
            items = [self.get(n, user=user, agent=agent, cube=cube) for n in dict.fromkeys(named)]
            found = _of_named(asked, items)
        elif hits is not None:
            found = _of_shown(asked, [h.item if isinstance(h, Hit) else h for h in hits])
        else:
            found = self._of_words(scope, asked, cube)
        if isinstance(found, FeedbackResult):
            return found
        return self._act(scope, text, asked, found)

    def _of_words(
        self, scope: Scope, asked: Asked, cube: CubeName | None
    ) -> list[MemoryItem] | FeedbackResult:
        """The one memory that the words themselves point at."""
        query = asked.subject or (asked.swap.old if asked.swap else "")
        if not query:
            return _nothing("the words do not say which memory is meant", _WHICH)
        who = scope.principal
        hits = self.search(
            query,
            user=who.user,
            agent=who.agent if who.user is None else None,
            cube=cube,
            filter={"not": {"tags": {"contains": TAG}}},
            limit=_CANDIDATES,
        )
        items = [hit.item for hit in hits]
        places = meant(asked, [item.text for item in items])
        clear = len(places) == 1 or (
            len(places) > 1 and hits[places[0]].score >= _CLEARLY * hits[places[1]].score
        )
        if not clear:
            return _ambiguous([items[place] for place in places])
        return [items[places[0]]]

    def _act(
        self, scope: Scope, text: str, asked: Asked, items: Sequence[MemoryItem]
    ) -> FeedbackResult:
        rooms = self._rooms
        said, _ = rooms.reader.read(
            [Turn(text)], About.of(tags=(TAG,)), scope.principal, now=rooms.vault.now()
        )
        news = None
        if asked.verdict is Verdict.OUTDATED and asked.new:
            told = About.of(memory_type=items[0].header.memory_type, tags=items[0].header.tags)
            drafts, _ = rooms.reader.read(
                [Turn(asked.new)], told, scope.principal, now=rooms.vault.now()
            )
            news = tuple(drafts)

        def work(tx: Transaction) -> FeedbackResult:
            olds = tx.items([item.id for item in items])
            if asked.swap is not None:
                # What was handed in may be old or made up; only what stands, as the asker is
                # shown it, says whether the words to be replaced are there.
                shown = [to_item(old, scope.principal) for old in olds]
                if not all(asked.swap.applied(item.text) for item in shown):
                    return _words_not_there(shown)
            hide_as(olds, [*said, *(news or ())], scope)
            deed = _Deed(self, tx, scope, asked)
            kept = deed.add(AddOp(scope.cube, tuple(said), reason="feedback"))
            successor = None
            if news is not None:
                reason = f"told by feedback {kept}"
                successor = deed.add(AddOp(scope.cube, news, (kept,), reason))
            actions = tuple(deed.done(old, kept, successor) for old in olds)
            for old in olds:
                deed.run(LinkOp(kept, Relation.RELATES_TO, old.id))
            return FeedbackResult(actions, (), kept, tuple(deed.tasks))

        return self._write(scope, work, action="feedback")

    def _execute_in(self, tx: Transaction, op: Operation) -> AddResult | Changed:
        return self._rooms.executor.execute(tx, [op])[0]


class _Deed:
    """Carries out feedback inside one transaction."""

    def __init__(self, verbs: FeedbackVerbs, tx: Transaction, scope: Scope, asked: Asked) -> None:
        self._verbs = verbs
        self._tx = tx
        self._scope = scope
        self._asked = asked
        self.tasks: list[str] = []

    def run(self, op: Operation) -> AddResult | Changed:
        done = self._verbs._execute_in(self._tx, op)  # pyright: ignore[reportPrivateUsage]
        self.tasks += done.task_ids
        return done

    def add(self, op: AddOp) -> str:
        done = self.run(op)
        assert isinstance(done, AddResult)  # noqa: S101  -- what an AddOp gives
        return done.id

    def done(self, old: Stored, kept: str, successor: str | None) -> FeedbackAction:
        """Do to one memory what is asked, and say what it was."""
        match self._asked.verdict:
            case Verdict.WRONG:
                return self._wrong(old, kept)
            case Verdict.OUTDATED:
                return self._outdated(old, kept, successor)
            case Verdict.KEEP:
                return self._confirmed(old, kept)
            case Verdict.FORGET:
                why = f"feedback {kept} asks to forget it; erase removes it for good"
                return self._archived(old, why)

    def _wrong(self, old: Stored, kept: str) -> FeedbackAction:
        asked = self._asked
        right = asked.swap.applied(old.text or "") if asked.swap else asked.new
        if right is None:
            return self._archived(old, f"feedback {kept} says it is wrong, not what is right")
        step = {
            "source_kind": "message",
            "source": kept,
            "actor": self._tx.principal.name,
            "action": "corrected by feedback",
            "at": from_micros(self._tx.at).isoformat(),
            "quote": asked.swap.new if asked.swap else right,
        }
        columns = {"provenance": with_step(old.provenance, step)}
        why = f"feedback {kept} says what is right"
        self.run(UpdateOp(old.id, right, columns, reason=why))
        return self._action("corrected", old, why)

    def _outdated(self, old: Stored, kept: str, successor: str | None) -> FeedbackAction:
        now = self._tx.now
        if old.valid_from >= now and successor is None:
            return self._archived(old, f"feedback {kept} says it is outdated before it holds")
        why = f"feedback {kept} says it no longer holds"
        ends = max(now, old.valid_from)
        self.run(UpdateOp(old.id, None, {"valid_to": ends}, reason=why))
        if successor is None:
            return self._action("ended", old, why)
        self.run(LinkOp(successor, Relation.SUPERSEDES, old.id))
        return self._action("superseded", old, why, successor)

    def _confirmed(self, old: Stored, kept: str) -> FeedbackAction:
        why = f"feedback {kept} confirms it"
        if old.state == State.ARCHIVED:
            self.run(ActivateOp(old.id, why))
        columns = {
            "priority": old.priority + _PRIORITY_STEP,
            "confidence": max(old.confidence, min(1.0, old.confidence + _CONFIDENCE_STEP)),
        }
        self.run(UpdateOp(old.id, None, columns, reason=why))
        return self._action("confirmed", old, why)

    def _archived(self, old: Stored, why: str) -> FeedbackAction:
        if old.state != State.ARCHIVED:
            self.run(ArchiveOp(old.id, why))
        return self._action("archived", old, why)

    def _action(
        self, did: Did, old: Stored, why: str, successor: str | None = None
    ) -> FeedbackAction:
        version = self._tx.item(old.id).version
        return FeedbackAction(did, old.id, old.version, version, why, successor)


_WHICH = "name the memory with about=..., or pass the hits that were shown with hits=..."


def _of_named(asked: Asked, items: Sequence[MemoryItem]) -> list[MemoryItem] | FeedbackResult:
    """The memories named by id: all of them, unless the words cannot fit them."""
    if not items:
        return _nothing("no memory was named", _WHICH)
    if asked.swap is not None and not all(asked.swap.applied(item.text) for item in items):
        return _words_not_there([item for item in items if not asked.swap.applied(item.text)])
    return _tellable(asked, items)


def _of_shown(asked: Asked, items: Sequence[MemoryItem]) -> list[MemoryItem] | FeedbackResult:
    """The one of the memories shown that the words mean."""
    places = meant(asked, [item.text for item in items])
    if len(places) != 1:
        return _ambiguous([items[place] for place in places] or items)
    return _tellable(asked, [items[places[0]]])


def _tellable(asked: Asked, items: Sequence[MemoryItem]) -> list[MemoryItem] | FeedbackResult:
    if asked.verdict is Verdict.WRONG and asked.new is not None:
        if len(items) > 1:
            needs = "correct one memory at a time"
            return _nothing("one statement cannot be right in place of several", needs, items)
        if len(asked.new.split()) < 2 and asked.new.isascii():
            needs = 'say the whole statement, or "X, not Y"'
            return _nothing("one word does not say what is right", needs, items)
    return list(items)


def _words_not_there(items: Sequence[MemoryItem]) -> FeedbackResult:
    needs = "say the whole of what is right, or name memories that hold the old words"
    return _nothing("the words to be replaced are not in the memory", needs, items)


def _ambiguous(items: Sequence[MemoryItem]) -> FeedbackResult:
    reason = "several memories may be meant" if items else "no memory fits the words"
    return _nothing(reason, _WHICH, items)


def _nothing(reason: str, needs: str, items: Sequence[MemoryItem] = ()) -> FeedbackResult:
    return FeedbackResult((), (Unresolved(reason, needs, tuple(item.id for item in items)),))
