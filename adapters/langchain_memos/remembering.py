"""Which messages of a thread are written, in which calls, and under which keys.

Called by the middleware when an agent's run ends; calls ``MOS.add``. A message is known by its
thread, id and words, so it is written once however often a node is retried, a run resumed or a
checkpoint replayed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_memos.asker import Asker
from memos_integrations.cube.errors import InvalidInput, NotFound
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
        """The same for the same messages of a thread, and for no others."""
        told = [thread, *([m.id, m.type, m.content] for m in self.messages)]
        words = json.dumps(told, sort_keys=True, default=str)
        return "langchain:" + hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()


def unwritten(
    messages: Sequence[BaseMessage], last: str | None, *, kept: bool
) -> list[BaseMessage]:
    """The messages after the last one written.

    Without a checkpointer no run knows of an earlier one, and callers hand in the whole
    conversation again: then only what belongs to the last question is new.
    """
    if not kept:
        asked = [n for n, m in enumerate(messages) if isinstance(m, HumanMessage)]
        return list(messages[asked[-1] :]) if asked else []
    places = [n for n, m in enumerate(messages, 1) if last is not None and m.id == last]
    return list(messages[places[-1] if places else 0 :])


def portions(messages: Sequence[BaseMessage], kinds: Collection[Kind]) -> Iterator[Portion]:
    """What is written of these, in order. Messages without words are not."""
    for message in messages:
        if isinstance(message, HumanMessage) and "human" in kinds and _worded(message):
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
