"""Governed writes: what is held back waits for a decision by ``interrupt``.

Called by ``RememberNode`` and the tools. What waits lies in the thread's checkpoint, not in
memory: rejected, it leaves nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from langchain_core.messages import AnyMessage
from langgraph.types import interrupt

from memos_integrations.cube.errors import InvalidInput

Hold: TypeAlias = Callable[[AnyMessage], str | None]
"""The reason why a message must be approved before it is remembered, or ``None``."""


def approved(held: Sequence[tuple[AnyMessage, str]]) -> set[str | None]:
    """The ids of the messages that were approved. Interrupts the run until somebody has decided.

    Resume with ``Command(resume=True)`` (all), ``False`` (none) or a list of ids. The interrupt's
    value is ``{"memory": "held", "writes": [{"id", "role", "text", "reason"}, ...]}``.
    """
    writes = [
        {"id": message.id, "role": message.type, "text": str(message.text), "reason": reason}
        for message, reason in held
    ]
    return set(ask({"memory": "held", "writes": writes}, [message.id for message, _ in held]))


def ask(question: Mapping[str, Any], ids: Sequence[str | None]) -> list[str | None]:
    """Of these ids the approved ones. An answer that is none is asked for again, saying why."""
    asked = dict(question)
    while True:
        try:
            return decided(interrupt(asked), ids)
        except InvalidInput as error:
            asked = {**question, "error": str(error)}


def decided(decision: Any, ids: Sequence[str | None]) -> list[str | None]:
    """Of these ids the ones a decision approves. Raises ``InvalidInput`` for what is none."""
    if isinstance(decision, Mapping) and set(decision) == {"approve"}:
        decision = decision["approve"]
    if isinstance(decision, bool):
        return list(ids) if decision else []
    if isinstance(decision, Sequence) and not isinstance(decision, str):
        unknown = [each for each in decision if each not in ids]
        if not unknown:
            return [each for each in ids if each in decision]
    raise InvalidInput("approve with True, False or a list of the ids that were held back")


def refused_reason(reason: str) -> str:
    """What an outcome says about a write that was not approved."""
    return f"held back ({reason}) and not approved"
