"""Tools of a local model: told in its prompt, and read back from what it writes. Pure.

In the form of the Hermes models, which Qwen and others were taught too: a call is a JSON object
between ``<tool_call>`` and ``</tool_call>``. What a model writes is material: a call that cannot be
read is told as an invalid one, and never guessed at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall
from langchain_core.messages.tool import invalid_tool_call, tool_call

from memos_integrations.interface.activation_verbs import parted

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_TAG = re.compile(r"</?tool_call>")
_TELLING = (
    "You may call tools. For each call write a JSON object with the name of the tool and its "
    'arguments between tags: <tool_call>{"name": ..., "arguments": {...}}</tool_call>\nTools:'
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a model wrote, apart: its words and its calls."""

    text: str
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    invalid: list[InvalidToolCall] = field(default_factory=list[InvalidToolCall])

    def message(self, **more: Any) -> AIMessage:
        """As LangChain's message."""
        return AIMessage(self.text, tool_calls=self.calls, invalid_tool_calls=self.invalid, **more)


def telling(tools: Sequence[Mapping[str, Any]]) -> str:
    """The tools as a part of the system turn; each is in OpenAI's form, as ``bind_tools`` makes."""
    return "\n".join([_TELLING, *(json.dumps(each, sort_keys=True) for each in tools)])


def written(message: AIMessage) -> str:
    """A message of the model as it wrote it, its calls included.

    A tag inside of one is parted by a joiner that is not seen: it must not end the call.
    """
    calls = (
        _untagged(json.dumps({"name": each["name"], "arguments": each["args"]}))
        for each in message.tool_calls
    )
    text = _untagged(str(message.text))
    return "\n".join(
        [*([text] if text else []), *(f"<tool_call>\n{each}\n</tool_call>" for each in calls)]
    )


def _untagged(text: str) -> str:
    return _TAG.sub(parted, text)


def read(text: str) -> Said:
    """Words and calls of an answer. A call that is no JSON object with a name is an invalid one."""
    said = Said(_CALL.sub("", text).strip())
    for found in _CALL.finditer(text):
        name, arguments = _call(found[1])
        key = f"call_{uuid4().hex}"
        if name is None:
            problem = "no JSON object with a name and arguments"
            said.invalid.append(invalid_tool_call(args=found[1], id=key, error=problem))
        else:
            said.calls.append(tool_call(name=name, args=arguments, id=key))
    return said


def _call(written: str) -> tuple[str | None, dict[str, Any]]:
    try:
        told: Any = json.loads(written)
    except (ValueError, RecursionError):
        return None, {}
    match told:
        case {"name": str() as name, "arguments": dict() as arguments} if name:
            return name, arguments
        case _:
            return None, {}
