"""Where the block of memories stands among the messages of one call of the model.

Pure. Providers reuse what they have computed for a prompt as long as it begins as an earlier one
did. So the block stands in the last question by default: instructions, tools and every earlier
message are in front of it, and nothing of them differs from the turn before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from langchain.agents.middleware.types import ModelRequest
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_memos.said import question_of

Place: TypeAlias = Literal["question", "system"]


def with_block(request: ModelRequest[Any], block: str, place: Place) -> ModelRequest[Any]:
    """The request with the block in it. The messages of the thread stay as they are."""
    if place == "system":
        return request.override(system_message=_after(request.system_message, block))
    asked = question_of(request.messages)
    messages: list[AnyMessage] = [
        _before(m, block) if m is asked and isinstance(m, HumanMessage) else m
        for m in request.messages
    ]
    return request.override(messages=messages)


def _before(question: HumanMessage, block: str) -> HumanMessage:
    said = question.content
    content = f"{block}\n\n{said}" if isinstance(said, str) else [_text(block), *said]
    return question.model_copy(update={"content": content})


def _after(system: SystemMessage | None, block: str) -> SystemMessage:
    """Behind the instructions, as a part of its own where they come in parts."""
    if system is None:
        return SystemMessage(block)
    said = system.content
    content = f"{said}\n\n{block}" if isinstance(said, str) else [*said, _text(block)]
    return system.model_copy(update={"content": content})


def _text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def cost_of(
    block: str, estimate: int, request: ModelRequest[Any], answers: Sequence[BaseMessage]
) -> int:
    """Tokens that the block took: its share of what the provider counted, else the estimate.

    By characters, without what the tools' schemas take, so rather too much than too little.
    """
    counted = sum(
        m.usage_metadata.get("input_tokens", 0)  # a hit of LangChain's cache has costs alone
        for m in answers
        if isinstance(m, AIMessage) and m.usage_metadata
    )
    if not counted:
        return estimate
    system = [request.system_message] if request.system_message else []
    whole = sum(len(str(m.text)) for m in (*system, *request.messages))
    return round(counted * len(block) / max(whole, len(block), 1))
