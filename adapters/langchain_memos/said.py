"""What people said among the messages of a thread. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from langchain_core.messages import BaseMessage, HumanMessage

_MOST_CHARS = 20_000
_BAD = re.compile("[\x00\ud800-\udfff]")


def is_said(message: BaseMessage) -> bool:
    """Whether a person said it. LangChain's summaries come in the same class, but for a mark."""
    return isinstance(message, HumanMessage) and "lc_source" not in message.additional_kwargs


def question_of(messages: Sequence[BaseMessage]) -> HumanMessage | None:
    """The last thing a person said."""
    said = (m for m in reversed(messages) if isinstance(m, HumanMessage) and is_said(m))
    return next(said, None)


def searchable(words: str) -> str:
    """A question as it can be searched with: not endless, and of valid characters only."""
    return _BAD.sub(" ", words[:_MOST_CHARS])
