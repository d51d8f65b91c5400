"""``PrefillNode``: a local model's next prompt, computed while the tools run.

Put it beside the node of the tools, in the same superstep: the model's next call goes on behind
what it computed. Called by LangGraph, calls the model.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.utils.function_calling import convert_to_openai_tool

from langgraph_memos.state import MemoryState

_log = logging.getLogger(__name__)


class Prefills(Protocol):
    """A model that can compute a prompt ahead, as ``MemOSChatModel`` of ``langchain_memos``."""

    def prefill(
        self,
        messages: Sequence[BaseMessage],
        config: RunnableConfig | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        """Compute what a call with these messages and a tool's answer behind them begins with."""
        ...


class PrefillNode:
    """Reads the memories and computes the model's prompt up to the answer of the tools.

    ``before`` is what the model's own node puts before the messages of the state, and ``tools``
    what it binds: the prompt must begin as that one does to be found. Writes nothing into the
    state. A failure is logged, and the model computes its prompt itself.
    """

    def __init__(
        self,
        model: Prefills,
        *,
        before: Sequence[BaseMessage] = (),
        tools: Sequence[Any] = (),
    ) -> None:
        self._model, self._before = model, tuple(before)
        self._tools = [convert_to_openai_tool(each) for each in tools]

    def __call__(self, state: MemoryState, config: RunnableConfig) -> dict[str, Any]:
        messages = [*self._before, *state["messages"]]
        try:
            self._model.prefill(messages, config, tools=self._tools)
        except Exception as error:  # noqa: BLE001  -- the turn goes on without it, whatever it was
            _log.warning("a prompt was not computed ahead: %s", type(error).__name__)
        return {}
