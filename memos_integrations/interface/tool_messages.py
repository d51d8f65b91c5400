"""Lists of messages with calls of tools in them: a call and its answer become one memory.

Called by ``add`` before the reader. Reads LangChain's messages (``tool_calls``, ``tool_call_id``)
and the same in OpenAI's form; every other message is read as ever.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ids import clean_name
from memos_integrations.cube.outcomes import Outcome
from memos_integrations.interface.json_values import clean_json, clean_value
from memos_integrations.interface.reader import Message, Turn, read_turn
from memos_integrations.operation.tool_traces import ToolTrace

_MAX_RESULT_CHARS = 16_000_000


@dataclass(frozen=True, slots=True)
class _Call:
    """What an assistant asked of a tool."""

    place: int
    name: str
    arguments: dict[str, Any]


def read_messages(messages: Sequence[Message]) -> tuple[list[Turn], dict[int, Outcome]]:
    """One turn per message, and the outcome of those that only say which tool to call.

    Such a message is told by the answers to it: it stores nothing of its own. A call that is
    answered nowhere in the list is kept as what the assistant said.
    """
    if not any(_field(m, "tool_calls") or _field(m, "tool_call_id") for m in messages):
        return [read_turn(message, place) for place, message in enumerate(messages)], {}
    calls = _calls(messages)
    answered = {key for m in messages if (key := _field(m, "tool_call_id")) in calls}
    turns: list[Turn] = []
    told: dict[int, Outcome] = {}
    for place, message in enumerate(messages):
        turn = read_turn(_with_content(message), place)
        call = calls.get(str(_field(message, "tool_call_id")))
        if call is not None:
            turn = _answer(turn, call, message)
        own = {key: each for key, each in calls.items() if each.place == place}
        if own and not turn.text.strip():
            open_ = [each for key, each in own.items() if key not in answered]
            if open_:
                turn = replace(turn, text="\n".join(map(_unanswered, open_)))
            else:
                told[place] = Outcome("merged", None, "kept with the answers to its calls")
        turns.append(turn)
    return turns, told


def _calls(messages: Sequence[Message]) -> dict[str, _Call]:
    """Every call of the list by its id. Raises ``InvalidInput`` for one that is malformed."""
    found: dict[str, _Call] = {}
    for place, message in enumerate(messages):
        for call in _field(message, "tool_calls") or ():
            name, arguments, key = _parsed(call, place)
            found[key] = _Call(place, name, arguments)
    return found


def _parsed(call: object, place: int) -> tuple[str, dict[str, Any], str]:
    what = f"a tool call of message {place}"
    if not isinstance(call, Mapping):
        raise InvalidInput(f"{what} must be a mapping with a name, arguments and an id")
    function = call.get("function")
    told: Mapping[str, Any] = function if isinstance(function, Mapping) else call
    arguments: object = told.get("arguments", told.get("args", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"the arguments of {what} are not JSON") from error
    if not isinstance(arguments, Mapping):
        raise InvalidInput(f"the arguments of {what} must be a JSON object")
    name = clean_name(told.get("name"), f"the name of {what}")
    return name, clean_json(arguments, f"the arguments of {what}"), str(call.get("id"))


def _answer(turn: Turn, call: _Call, message: Message) -> Turn:
    """The turn of a tool, told together with the call that it answers."""
    ok = _field(message, "status") != "error"
    result = _value(turn.text)
    at = None if turn.time is None else turn.time.isoformat()
    error = None if ok else turn.text[:10_000]
    trace = ToolTrace(call.name, call.arguments, result, ok, error, None, at)
    head = trace.words() if not turn.text.strip() else _whole(trace, turn.text)
    return replace(turn, text=head, role="tool", name=call.name, trace=trace)


def _whole(trace: ToolTrace, words: str) -> str:
    """The call in front of the tool's own words, none of which is left out."""
    front = replace(trace, result="", ok=True).words().removesuffix(" -> ")
    return f"{front} {'->' if trace.ok else 'failed:'} {words}"


def _unanswered(call: _Call) -> str:
    front = ToolTrace(call.name, call.arguments, "").words().removesuffix(" -> ")
    return f"Called {front}; no answer is among these messages."


def _value(text: str) -> Any:
    """What a tool answered: JSON where it is that and can be stored as such, else its words."""
    try:
        return clean_value(json.loads(text), "the answer", max_chars=_MAX_RESULT_CHARS)
    except (ValueError, RecursionError):
        return text


def _with_content(message: Message) -> Message:
    """OpenAI's form leaves the content of a message that only calls tools empty."""
    if isinstance(message, Mapping) and message.get("tool_calls"):
        return {**message, "content": message.get("content") or ""}
    return message


def _field(message: Message, name: str) -> Any:
    if isinstance(message, Mapping):
        return message.get(name)
    return None if isinstance(message, str) else getattr(message, name, None)
