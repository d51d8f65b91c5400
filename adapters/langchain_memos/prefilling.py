"""A local model's next prompt, computed while a tool runs: the agent waits for one of them only.

Called by LangChain around models and tools, calls ``MemOSChatModel.prefill``. What is computed
ahead is a beginning of the next prompt, kept like any other: the call finds it where it fits, token
by token, and computes what it needs where it does not. Nothing is handed from one run to another.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ModelRequest,
    ModelResponse,
    ToolCallRequest,
)
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, run_in_executor
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.types import Command

from langchain_memos.chat_model import MemOSChatModel
from memos_integrations.cube.errors import UsageError

_log = logging.getLogger(__name__)
_MOST_NOTED = 64
"""Calls that a model has asked for and that have not begun: in a run that is stopped they never
do."""

_Call: TypeAlias = tuple[str | None, ...]
"""Whose, in which thread, of which agent there, and the call's own id: many models count their
calls from nought."""


@dataclass(frozen=True, slots=True)
class _Next:
    """What a model's next prompt begins with, once it has called these tools."""

    calls: tuple[_Call, ...]
    model: MemOSChatModel
    messages: tuple[BaseMessage, ...]
    tools: tuple[BaseTool | dict[str, Any], ...]

    def prefill(self, config: RunnableConfig) -> None:
        tools = [convert_to_openai_tool(each) for each in self.tools]
        self.model.prefill(self.messages, config, tools=tools)


class MemOSPrefillMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Prefills a ``MemOSChatModel`` beside its tools; put it last, where the prompt is whole.

    When a tool that the model asked for begins, the memories are read and the prompt up to the
    tool's answer is computed in a thread; the next call of the model waits for that, at most
    ``wait_seconds``, and goes on behind it. It pays where the turn before was not kept: with
    ``model``, where another one called the tool; for sliding windows; for models whose answers are
    not read back as they were written; and where memory has changed. With ``keep_turns`` the
    conversation is computed too, otherwise the memories alone. Other models are left alone, and so
    are runs without a ``thread_id``: calls are told apart by it. At most ``at_once`` of these run;
    what comes beside them is not computed ahead. A failure is logged, and the call computes its
    prompt itself.
    """

    def __init__(
        self, model: MemOSChatModel | None = None, *, wait_seconds: float = 30.0, at_once: int = 2
    ) -> None:
        super().__init__()
        if at_once < 1 or not wait_seconds >= 0:
            raise UsageError("at_once must be at least 1, and wait_seconds at least 0")
        self._model, self._wait_seconds = model, wait_seconds
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(at_once)
        self._noted: OrderedDict[_Call, _Next] = OrderedDict()
        self._running: dict[_Call, threading.Event] = {}

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """The model's answer, once what was begun for it is there."""
        self._join(request.messages)
        response = handler(request)
        self._note(request, response)
        return response

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """As ``wrap_model_call``; the waiting is done in a thread."""
        await run_in_executor(None, self._join, request.messages)
        response = await handler(request)
        self._note(request, response)
        return response

    def wrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]],
    ) -> ToolMessage | Command[Any]:
        """What the tool answers; the model's next prompt is begun beside it."""
        self._begin(request.tool_call["id"])
        return handler(request)

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """As ``wrap_tool_call``."""
        self._begin(request.tool_call["id"])
        return await handler(request)

    def _note(self, request: ModelRequest[Any], response: ModelResponse[Any]) -> None:
        """Keep in mind what the model was given, until one of the tools that it calls begins."""
        model: BaseChatModel = self._model or request.model
        answers = [each for each in response.result if isinstance(each, AIMessage)]
        calls = _keys(_calls(answers))
        if not calls or not isinstance(model, MemOSChatModel):
            return
        given = [request.system_message] if request.system_message else []
        messages = (*given, *request.messages, *answers)
        following = _Next(calls, model, messages, tuple(request.tools))
        with self._lock:
            self._noted.update(dict.fromkeys(calls, following))
            while len(self._noted) > _MOST_NOTED:
                self._noted.popitem(last=False)

    def _begin(self, call: str | None) -> None:
        with self._lock:
            following = next((self._noted.get(each) for each in _keys([call])), None)
            if following is None:  # begun already, by another tool of the same answer
                return
            for each in following.calls:
                self._noted.pop(each, None)
            if not self._free.acquire(blocking=False):
                return
            done = threading.Event()
            self._running.update(dict.fromkeys(following.calls, done))
        config: RunnableConfig = {"configurable": ensure_config().get("configurable", {})}
        work = threading.Thread(
            target=self._compute, args=(following, config, done), name="memos-prefill", daemon=True
        )
        work.start()

    def _compute(self, following: _Next, config: RunnableConfig, done: threading.Event) -> None:
        try:
            following.prefill(config)
        except Exception as error:  # noqa: BLE001  -- the turn goes on without it, whatever it was
            _log.warning("a prompt was not computed ahead: %s", type(error).__name__)
        finally:
            self._free.release()
            with self._lock:
                for each in following.calls:
                    self._running.pop(each, None)
            done.set()

    def _join(self, messages: Sequence[BaseMessage]) -> None:
        """Wait for what was begun when the last answer's tools were."""
        last = next((each for each in reversed(messages) if isinstance(each, AIMessage)), None)
        with self._lock:
            begun = {self._running.get(each) for each in _keys(_calls([last] if last else []))}
        for each in begun - {None}:
            if each is not None and not each.wait(self._wait_seconds):
                _log.info("what is computed ahead takes longer than the tools did")


def _calls(answers: Iterable[AIMessage]) -> tuple[str, ...]:
    return tuple(each["id"] for answer in answers for each in answer.tool_calls if each["id"])


def _keys(calls: Iterable[str | None]) -> tuple[_Call, ...]:
    """These calls as they are noted in this run; none where it has no thread."""
    named: dict[str, Any] = ensure_config().get("configurable", {})
    if named.get("thread_id") is None:
        return ()
    agent = str(named.get("checkpoint_ns") or "").rpartition("|")[0]
    place = (named.get("user_id"), named.get("agent_id"), str(named["thread_id"]), agent)
    return tuple((*place, each) for each in calls if each)
