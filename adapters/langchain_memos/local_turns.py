"""Messages of LangChain as the turns that chat templates take. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_memos.local_tools import telling, written
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.interface.activation_verbs import parted
from memos_integrations.operation.transform.prompt import Turn

_ROLES: Final[dict[type[BaseMessage], str]] = {
    SystemMessage: "system",
    HumanMessage: "user",
    AIMessage: "assistant",
    ToolMessage: "tool",
}
_NO_TOKEN = re.compile(r"(?!)")


def turns_of(
    messages: Sequence[BaseMessage],
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    control: re.Pattern[str] = _NO_TOKEN,
) -> list[Turn]:
    """The conversation as chat templates take it, its tools told in the system turn.

    What ``control`` finds in the words of people and tools is parted by a joiner that is not seen:
    they must not be able to end their own turn. Raises ``InvalidInput`` for other kinds.
    """
    turns = [Turn(role=_role(each), content=_content(each, control)) for each in messages]
    if not tools:
        return turns
    leading = turns[:1] if turns and turns[0]["role"] == "system" else []
    system = "\n\n".join([*(each["content"] for each in leading), telling(tools)])
    return [Turn(role="system", content=system), *turns[len(leading) :]]


def _content(message: BaseMessage, control: re.Pattern[str]) -> str:
    if isinstance(message, AIMessage):
        return written(message)
    text = str(message.text)
    return text if isinstance(message, SystemMessage) else control.sub(parted, text)


def _role(message: BaseMessage) -> str:
    for kind, role in _ROLES.items():
        if isinstance(message, kind):
            return role
    raise InvalidInput(f"a local model takes no {type(message).__name__}")
