"""What the middleware keeps in an agent's state: ids and counts, never the words of a memory.

Checkpoints hold this state. A memory that is erased must not live on in them, so the words that
were recalled are read anew for every call of the model.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from langchain.agents.middleware.types import AgentState, PrivateStateAttr
from typing_extensions import TypedDict


class Turn(TypedDict):
    """What was recalled for one question."""

    question: str
    """The id of the message that asked."""
    shown: list[str]
    """The ids of the memories that stand in its block."""


class MemOSAgentState(AgentState[Any]):
    """The agent's state with what the middleware adds; private, but routers may read it."""

    memos_turn: NotRequired[Annotated[Turn, PrivateStateAttr]]
    memos_spent_tokens: NotRequired[Annotated[int, PrivateStateAttr]]
    """What the blocks of this thread have cost so far."""
    memos_first: NotRequired[Annotated[str, PrivateStateAttr]]
    """The first message of this thread that was remembered."""
    memos_last: NotRequired[Annotated[str, PrivateStateAttr]]
    """The last one."""
