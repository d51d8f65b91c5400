"""Replaying a recorded conversation through a memory graph, on the conversation's own clock.

Called by ``demo.py``. Two rules of this demo, not of the package, act on what people ask for:
a turn that asks for a correction corrects the closest earlier memory of the same speaker, and a
turn that asks to forget something names the speaker's memory just before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_memos import Written, memory_graph
from memos_integrations import MOS, Hit
from memos_integrations.cube.ids import home_path
from memos_integrations.interface.conversations import Session, Turn

CORRECTS = re.compile(r"\b(please correct|correct (that|this)|correction:)", re.IGNORECASE)
FORGETS = re.compile(r"\bplease forget\b|(^|[.!?]\s+)forget (that|this|what)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


class ReplayClock:
    """A clock that follows the conversation; it never runs backwards."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def follow(self, moment: datetime | None) -> None:
        """Go on to ``moment``; a turn without a time, or an earlier one, leaves it standing."""
        if moment is not None and moment > self._now:
            self._now = moment

    def advance(self, *, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Fate:
    """One turn of the file and what became of it."""

    number: int
    turn: Turn
    written: Written


@dataclass(frozen=True, slots=True)
class Correction:
    """A memory that was corrected: when, by which words, and what that made stale."""

    item: str
    at: datetime
    before: str
    after: str
    stale: tuple[str, ...]
    asked_by: Fate | None = None
    """The turn that asked for it; ``None`` when the demo took the step itself."""


@dataclass(slots=True)
class Replay:
    """What the replay left behind."""

    fates: list[Fate] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    forgets: list[tuple[Fate, Fate]] = field(default_factory=list)
    """The turn that asks, and the turn it asks to forget."""
    digests: list[str] = field(default_factory=list)


def start_of(sessions: Iterable[Session]) -> datetime:
    """When the conversation begins; now, when its turns carry no time."""
    times = [turn.time for session in sessions for turn in session.turns if turn.time]
    return min(times, default=datetime.now(UTC))


def replay(
    mos: MOS,
    sessions: Sequence[Session],
    *,
    user: str,
    clock: ReplayClock,
    progress: Callable[[Session, int], None],
) -> Replay:
    """Run recall -> answer -> remember over every exchange; a digest ends each session."""
    graph = memory_graph(mos).compile(checkpointer=InMemorySaver())
    done = Replay()
    for session in sessions:
        first = len(done.fates)
        for exchange in _exchanges(session.turns):
            _run(graph, exchange, session, user, clock, done)
            mos.wait()
            _act_on_requests(mos, done, len(exchange), user, clock)
            progress(session, len(exchange))
        _digest(mos, session.name, done.fates[first:], user, done)
    mos.wait()
    return done


def _exchanges(turns: Sequence[Turn]) -> Iterator[list[Turn]]:
    """What a person said and the recorded replies to it, until the person speaks again."""
    exchange: list[Turn] = []
    for turn in turns:
        if turn.role == "system":
            continue
        if turn.role == "user" and exchange and exchange[-1].role != "user":
            yield exchange
            exchange = []
        exchange.append(turn)
    if exchange:
        yield exchange


def _run(
    graph: Any,
    exchange: Sequence[Turn],
    session: Session,
    user: str,
    clock: ReplayClock,
    done: Replay,
) -> None:
    clock.follow(exchange[-1].time)
    number = len(done.fates) + 1
    messages = [_message(t, f"{session.name}:{n}") for n, t in enumerate(exchange, number)]
    config = {"configurable": {"thread_id": session.name, "user_id": user}}
    state = graph.invoke({"messages": messages, "recorded": True}, config, durability="exit")
    done.fates += [
        Fate(number + n, turn, written)
        for n, (turn, written) in enumerate(zip(exchange, state["written"], strict=True))
    ]


def _message(turn: Turn, fallback: str) -> AnyMessage:
    about: dict[str, Any] = {
        "id": turn.id or fallback,
        "name": turn.name,
        "additional_kwargs": {"time": turn.time.isoformat()} if turn.time else {},
    }
    if turn.role == "assistant":
        return AIMessage(turn.content, **about)
    if turn.role == "tool":
        return ToolMessage(turn.content, tool_call_id="recorded", **about)
    return HumanMessage(turn.content, **about)


def _act_on_requests(mos: MOS, done: Replay, new: int, user: str, clock: ReplayClock) -> None:
    for place in range(len(done.fates) - new, len(done.fates)):
        fate = done.fates[place]
        if fate.turn.role != "user" or fate.written["id"] is None:
            continue
        if CORRECTS.search(fate.turn.content):
            _correct(mos, done, fate, user, clock)
        if FORGETS.search(fate.turn.content):
            done.forgets += [(fate, each) for each in _said_before(done.fates[:place], fate)]


def _correct(mos: MOS, done: Replay, fate: Fate, user: str, clock: ReplayClock) -> None:
    """Correct the closest memory of the same speaker that does not come from this turn."""
    where = {"speaker": fate.turn.name} if fate.turn.name else {"role": "user"}
    hits = mos.search(fate.turn.content, user=user, filter=where, limit=10, explain=True)
    others = [hit for hit in hits if hit.id != fate.written["id"]]
    if others:
        old = max(others, key=_closeness)
        done.corrections.append(correct(mos, old.id, fate.turn.content, user, clock, by=fate))


def _closeness(hit: Hit) -> float:
    """By meaning and words alone: what was said just before is near, but not what is meant."""
    return sum(signal.value for signal in hit.signals if signal.name in ("cosine", "words"))


def correct(
    mos: MOS, item: str, text: str, user: str, clock: ReplayClock, *, by: Fate | None = None
) -> Correction:
    """Write the new words as the memory's next version."""
    before = mos.get(item, user=user).text
    changed = mos.update(item, text, user=user, reason="corrected")
    return Correction(item, clock.now(), before, text, changed.stale, by)


def _said_before(fates: Sequence[Fate], asking: Fate) -> list[Fate]:
    """What the same speaker said last before ``asking`` in that session, if it was stored."""
    turn = asking.turn
    said = [f for f in fates if f.turn.session == turn.session and f.turn.name == turn.name]
    return [f for f in said[-1:] if f.written["id"] is not None]


def _digest(mos: MOS, session: str, fates: Sequence[Fate], user: str, done: Replay) -> None:
    """The longest sentence of everything people told in a session, as one derived memory."""
    told: dict[str, str] = {}
    for fate in fates:
        item = fate.written["id"]
        if fate.turn.role == "user" and item is not None:
            longest = max(_SENTENCE.split(mos.get(item, user=user).text.strip()), key=len)
            told |= {} if longest.endswith("?") else {item: longest}
    if told:
        added = mos.add(
            f"Session {session}: " + " ".join(told.values()),
            user=user,
            cube=digest_cube(user),
            origin="inference",
            source=f"digest:{session}",
            derived_from=list(told),
        )
        done.digests.append(added.id)


def digest_cube(user: str) -> str:
    """Digests live beside the memories, so that searches for memories do not find them."""
    return f"{home(user)}/digests"


def home(user: str) -> str:
    """The path of the user's own cube."""
    return str(home_path(user=user, agent=None))
