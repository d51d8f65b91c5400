"""Answers of models as JSON and back, by a fixed table of types.

What is read may have been written by anyone with rights on the cube. LangChain's own ``loads``
revives objects that the text names; here nothing is made but generations and messages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
)

_PLAIN: dict[str, type[Generation]] = {
    "Generation": Generation,
    "GenerationChunk": GenerationChunk,
}
_CHAT: dict[str, type[ChatGeneration]] = {
    "ChatGeneration": ChatGeneration,
    "ChatGenerationChunk": ChatGenerationChunk,
}


def dumped(generations: Sequence[Generation]) -> bytes:
    """As JSON. Raises ``TypeError`` or ``ValueError`` for what JSON has no form for."""
    return json.dumps([_to_dict(each) for each in generations], allow_nan=False).encode()


def loaded(data: bytes) -> list[Generation]:
    """The inverse. Raises ``ValueError`` for anything that ``dumped`` did not write."""
    try:
        told = json.loads(data)
        if not isinstance(told, list) or not told:
            raise ValueError("these are no generations")
        return [_from_dict(each) for each in told]
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("these are no generations") from error


def _to_dict(generation: Generation) -> dict[str, Any]:
    kind = type(generation).__name__
    if kind not in _PLAIN and kind not in _CHAT:
        raise TypeError(f"a {kind} cannot be kept")
    told = {"kind": kind, "info": generation.generation_info}
    if isinstance(generation, ChatGeneration):
        return {**told, "message": message_to_dict(generation.message)}
    return {**told, "text": generation.text}


def _from_dict(told: dict[str, Any]) -> Generation:
    info = told["info"]
    if told["kind"] in _CHAT:
        message: BaseMessage = messages_from_dict([told["message"]])[0]
        return _CHAT[told["kind"]].model_validate({"message": message, "generation_info": info})
    return _PLAIN[told["kind"]](text=told["text"], generation_info=info)
