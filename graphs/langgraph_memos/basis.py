"""What an answer of the graph rests on, told by the message itself.

The state's ``answer`` is of the last turn; a message may be remembered later than that, after a
crash. Called by the nodes that answer and by those that remember. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import AIMessage, AnyMessage

from langgraph_memos.state import Answer

_NOTE: Final = "memos_answer"
"""In ``response_metadata``, which no provider is sent."""


def with_basis(message: AIMessage, answer: Answer) -> AIMessage:
    """The message, saying what it rests on."""
    note = {"by": answer["by"], "rests_on": list(answer["rests_on"])}
    return message.model_copy(
        update={"response_metadata": {**message.response_metadata, _NOTE: note}}
    )


def rests_on(message: AnyMessage, answer: Answer | None = None) -> list[str] | None:
    """The memories that an answer of a model rests on; ``None`` for what is no such answer."""
    note = _note(message, answer)
    if note is None or note.get("by") != "model":
        return None
    ids = note.get("rests_on")
    return [each for each in ids if isinstance(each, str)] if isinstance(ids, list) else []


def is_quote(message: AnyMessage, answer: Answer | None = None) -> bool:
    """Whether it only quotes memories, or says that there are none: nothing new to remember."""
    note = _note(message, answer)
    return note is not None and note.get("by") in ("quotes", "nothing")


def _note(message: AnyMessage, answer: Answer | None) -> Mapping[str, Any] | None:
    if answer is not None and message.id == answer["message_id"]:
        return answer
    note = message.response_metadata.get(_NOTE) if isinstance(message, AIMessage) else None
    return note if isinstance(note, Mapping) else None
