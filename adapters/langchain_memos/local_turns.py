"""Messages of LangChain as the turns that chat templates take. Pure."""

from __future__ import annotations

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
from memos_integrations.interface.harmless_turns import harmless_turns
from memos_integrations.operation.transform.prompt import Turn

_ROLES: Final[dict[type[BaseMessage], str]] = {
    SystemMessage: "system",
    HumanMessage: "user",
    AIMessage: "assistant",
    ToolMessage: "tool",
}


def turns_of(
    messages: Sequence[BaseMessage],
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    tokenizer: Any = None,
) -> list[Turn]:
    """The conversation as chat templates take it, its tools told in the system turn.

    Control tokens of the ``tokenizer`` are parted by a joiner that is not seen, whoever said them:
    nobody must be able to end their own turn. Raises ``InvalidInput`` for other kinds.
    """
    turns = [Turn(role=_role(each), content=_content(each)) for each in messages]
    if tools:
        leading = turns[:1] if turns and turns[0]["role"] == "system" else []
        system = "\n\n".join([*(each["content"] for each in leading), telling(tools)])
        turns = [Turn(role="system", content=system), *turns[len(leading) :]]
    return turns if tokenizer is None else harmless_turns(turns, tokenizer)


def _content(message: BaseMessage) -> str:
    return written(message) if isinstance(message, AIMessage) else str(message.text)


def _role(message: BaseMessage) -> str:
    for kind, role in _ROLES.items():
        if isinstance(message, kind):
            return role
    raise InvalidInput(f"a local model takes no {type(message).__name__}")
