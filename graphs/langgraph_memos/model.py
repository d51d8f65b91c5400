"""``ModelNode``: asks a model that may use tools, with memories before the conversation.

Called by LangGraph, calls the model. It touches no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.runtime import Runtime

from langgraph_memos.answer import load_model
from langgraph_memos.basis import with_basis
from langgraph_memos.budget import NOTHING, MemoryBudget, Offer, budget_left, tokens_used
from langgraph_memos.forms import HEADING, as_injected, injection
from langgraph_memos.prefetch import memories_at_hand
from langgraph_memos.state import Answer, MemoryState
from langgraph_memos.trace import Trace
from langgraph_memos.weights import given_by, looks_up_itself


class ModelNode:
    """Calls the model once, with what memory has at hand in the form the budget allows.

    Memories stand in a system message that is not written into the thread. What the model says
    last is noted as resting on them, so that it turns stale with them. A ``MemOSChatModel`` with
    ``parametric`` looks up its memories itself: it is given none, and its answer says in which form
    it had them, in weights or as text; the budget is debited, and does not narrow that.
    """

    def __init__(
        self,
        model: BaseChatModel | str,
        *,
        tools: Sequence[BaseTool] = (),
        prompt: str = "",
        limit: int = 12,
        budget_tokens: int | None = None,
        name: str | None = None,
    ) -> None:
        chat = load_model(model) if isinstance(model, str) else model
        self._model: Runnable[Any, Any] = chat.bind_tools(list(tools)) if tools else chat
        self._looks_up = looks_up_itself(chat)
        self._prompt, self._limit, self._budget = prompt, limit, budget_tokens
        self._name = name

    def __call__(
        self, state: MemoryState, config: RunnableConfig, runtime: Runtime[Any] | None = None
    ) -> dict[str, Any]:
        left = budget_left(state, limit_tokens=self._budget)
        trace, offer = Trace(config, runtime), NOTHING
        if not self._looks_up:
            offer = injection(memories_at_hand(state, limit=self._limit), left_tokens=left)
            trace.tell("injected", **as_injected(offer), left_tokens=left)
        reply: AIMessage = self._model.invoke(self._asked(state["messages"], offer), config)
        if self._looks_up:
            offer = given_by(reply)
            trace.tell("injected", **as_injected(offer), left_tokens=left)
        reply = reply.model_copy(update={"id": reply.id or str(uuid4()), "name": self._name})
        answer = _answer(reply, offer)
        return {
            "messages": [reply if answer is None else with_basis(reply, answer)],
            "answer": answer,
            "injected": as_injected(offer),
            "memory_budget": MemoryBudget(debit=tokens_used(reply) or offer.tokens),
        }

    def _asked(self, messages: Sequence[AnyMessage], offer: Offer) -> list[AnyMessage]:
        told = [self._prompt, f"{HEADING}\n{offer.text}" if offer.text else ""]
        system = "\n\n".join(part for part in told if part)
        return [*([SystemMessage(system)] if system else []), *messages]


def _answer(reply: AIMessage, offer: Offer) -> Answer | None:
    if reply.tool_calls:
        return None
    return Answer(
        text=str(reply.text),
        rests_on=list(offer.ids),
        by="model",
        message_id=str(reply.id),
    )
