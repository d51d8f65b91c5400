"""Which messages of a thread are written, in which calls, and under which keys.

Called by the middleware when an agent's run ends; calls ``MOS.add``. A message is known by its
thread, id and words, so it is written once however often a node is retried, a run resumed or a
checkpoint replayed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from langchain_memos.asker import Asker, outer_task
from langchain_memos.said import is_said
from memos_integrations.cube.errors import IdempotencyConflict, InvalidInput, NotFound
from memos_integrations.cube.header import Origin
from memos_integrations.cube.outcomes import Outcome
from memos_integrations.interface.mos import MOS

_log = logging.getLogger(__name__)
Kind: TypeAlias = Literal["human", "ai", "tool"]


@dataclass(frozen=True, slots=True)
class Portion:
    """Messages that are written together: one, or the call of a tool with its answers."""

    messages: tuple[BaseMessage, ...]
    derived: bool
    """Whether a model said it, having seen what was recalled."""

    def key(self, thread: str | None) -> str:
        """The same for the same messages of a thread, and for no others.

        An agent that is a node and is retried asks its model anew: then the task tells whether it
        is the same answer, not its id.
        """
        task, inner = outer_task()
        made = task if inner and self.derived else None
        told = [thread, *([made or m.id, m.type, m.content] for m in self.messages)]
        words = json.dumps(told, sort_keys=True, default=str)
        return "langchain:" + hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()


def unwritten(
    messages: Sequence[BaseMessage], last: str | None, *, kept: bool
) -> list[BaseMessage]:
    """The messages after the last one written.

    Without a checkpointer no run knows of an earlier one, and callers hand in the whole
    conversation again: then only what belongs to the last question is new.
    """
    places = [n for n, m in enumerate(messages, 1) if last is not None and m.id == last]
    if places or kept:
        return list(messages[places[-1] if places else 0 :])
    asked = [n for n, m in enumerate(messages) if is_said(m)]
    return list(messages[asked[-1] :]) if asked else []


def portions(messages: Sequence[BaseMessage], kinds: Collection[Kind]) -> Iterator[Portion]:
    """What is written of these, in order. Messages without words are not."""
    for message in messages:
        if is_said(message) and "human" in kinds and _worded(message):
            yield Portion((message,), derived=False)
        if isinstance(message, AIMessage):
            answers = _answers(message, messages) if "tool" in kinds else ()
            if answers:
                yield Portion((message, *answers), derived=True)
            elif "ai" in kinds and _worded(message):
                yield Portion((message,), derived=True)


def _answers(message: AIMessage, messages: Sequence[BaseMessage]) -> tuple[ToolMessage, ...]:
    calls = {call["id"] for call in message.tool_calls}
    return tuple(m for m in messages if isinstance(m, ToolMessage) and m.tool_call_id in calls)


def _worded(message: BaseMessage) -> bool:
    return bool(str(message.text).strip())


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a write did, and what the state is to know of it."""

    update: dict[str, Any] | None
    outcomes: tuple[Outcome, ...]


NOTHING_WRITTEN = Remembered(None, ())


@dataclass(frozen=True, slots=True)
class Remembering:
    """Where messages of which kinds are written."""

    mos: MOS
    cube: str | None
    kinds: tuple[Kind, ...]

    def remember(self, state: Mapping[str, Any], asker: Asker, *, kept: bool) -> Remembered:
        """Write what is new in the thread. ``kept``: whether a checkpointer keeps it."""
        new = unwritten(state["messages"], state.get("memos_last"), kept=kept)
        outcomes: list[Outcome] = []
        for portion in portions(new, self.kinds):
            shown = _shown(state, portion)
            outcomes += write(self.mos, portion, asker, cube=self.cube, shown=shown)
        if not new or new[-1].id is None:
            return Remembered(None, tuple(outcomes))
        update = {"memos_last": new[-1].id, "memos_first": state.get("memos_first") or new[0].id}
        return Remembered(update, tuple(outcomes))


def _shown(state: Mapping[str, Any], portion: Portion) -> list[str]:
    """What stood before the model when it said this, as far as the state still knows."""
    turn: Any = state.get("memos_turn")
    if not turn or not portion.derived:
        return []
    ids = [message.id for message in state["messages"]]
    asked, said = turn["question"], portion.messages[0].id
    earlier = asked in ids and said in ids and ids.index(said) < ids.index(asked)
    return [] if earlier else list(turn["shown"])


def write(
    mos: MOS, portion: Portion, asker: Asker, *, cube: str | None, shown: Sequence[str]
) -> tuple[Outcome, ...]:
    """Remember a portion, durably; reading it for facts follows in the background.

    What a model said is kept as derived from the memories it was shown: when one of them is
    corrected or erased, it goes the same way. Words that cannot be stored (NUL, more than the
    vault takes) are rejected with the reason and logged: they must not hold up their thread.
    """
    try:
        return _added(mos, portion, asker, cube=cube, shown=shown)
    except IdempotencyConflict:
        # The same message, of which another run knows less: what it was shown, say.
        return (Outcome("duplicate", reason="remembered by an earlier run"),)
    except InvalidInput as error:
        _log.warning("a message of thread %s was not remembered: %s", asker.thread, error)
        return (Outcome("rejected", reason=str(error)),)


def _added(
    mos: MOS, portion: Portion, asker: Asker, *, cube: str | None, shown: Sequence[str]
) -> tuple[Outcome, ...]:
    about: dict[str, Any] = {
        "session": asker.thread,
        "cube": cube,
        "idempotency_key": portion.key(asker.thread),
        **asker.keywords(),
    }
    said = [_plain(m) if len(portion.messages) == 1 else m for m in portion.messages]
    if not portion.derived or len(said) > 1:
        return mos.add(said, **about).outcomes
    about["origin"] = Origin.INFERENCE
    try:
        return mos.add(said, derived_from=shown, **about).outcomes
    except NotFound:  # one of them was erased since
        left = _still_there(mos, shown, asker)
        return mos.add(said, derived_from=left, **about).outcomes


def _still_there(mos: MOS, shown: Sequence[str], asker: Asker) -> list[str]:
    found: list[str] = []
    for item in shown:
        try:
            found.append(mos.get(item, **asker.keywords()).id)
        except NotFound:
            continue
    return found


def _plain(message: BaseMessage) -> dict[str, Any]:
    """A message may bring its own time in ``additional_kwargs["time"]``."""
    return {
        "role": message.type,
        "content": message.content,
        "name": message.name,
        "id": message.id,
        "time": message.additional_kwargs.get("time"),
    }
