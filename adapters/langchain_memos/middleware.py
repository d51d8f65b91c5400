"""Memory for ``create_agent``: recalled for each call of the model, written as turns end.

Called by LangChain, calls the facade. What is recalled goes into the request alone, so the
stored thread never holds it. An instance keeps nothing of a run and serves any number at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from langchain.agents.middleware.types import (
    AgentMiddleware,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
)
from langchain_core.runnables.config import ensure_config, run_in_executor
from langchain_core.tools import BaseTool
from langgraph.runtime import Runtime
from langgraph.types import Command

from langchain_memos.asker import Asker, asker_of, has_checkpointer
from langchain_memos.middleware_state import MemOSAgentState
from langchain_memos.prompts import Place
from langchain_memos.recalling import Recall, Recalling, shown_before
from langchain_memos.remembering import NOTHING_WRITTEN, Kind, Remembered, Remembering
from langchain_memos.said import question_of
from langchain_memos.trace import injected, tell, written
from memos_integrations.cube.errors import UsageError
from memos_integrations.interface.context import SectionName
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import CubeName


@dataclass(frozen=True, slots=True)
class _Call:
    """What memory does for one call of the model."""

    recall: Recall
    remembered: Remembered


class MemOSMiddleware(AgentMiddleware[MemOSAgentState, Any, Any]):
    """Gives an agent a memory: ``create_agent(model, tools, middleware=[MemOSMiddleware(mos)])``.

    Before each call of the model the memories that fit the last question are put into the
    request, at most ``budget_tokens`` long and ``thread_budget_tokens`` over a thread; what was
    not said by a person is quoted as unverified. Within a turn the block stays the same. Where
    it stands (``place``) keeps the beginning of the prompt stable, so that providers can reuse
    it. Messages of the kinds in ``remember`` are written when the run ends, in a long turn also
    between the model's calls: durable at once, once per message under retries, resumes and
    replays, read for facts in the background.

    ``user`` and ``agent`` fix who asks; otherwise the run says it, by its context or by
    ``config["configurable"]`` (``user_id``, ``agent_id``, ``thread_id``). A run that names nobody
    has the facade's default user, which is safe in a program of one person; on a LangGraph
    server it is refused. ``cube`` and ``also`` name further places to recall from; writes go to
    ``cube`` or to the user's own. ``tools`` may be ``memory_tools(mos)``. Asking a person before
    a tool runs is left to ``HumanInTheLoopMiddleware``.

    ``stream_mode="custom"`` shows ``{"memory": "injected", ...}`` and ``"written"``: ids, versions,
    scores and counts, and words only where the run asks for them (``langchain_memos.trace``).
    """

    state_schema = MemOSAgentState

    def __init__(
        self,
        mos: MOS,
        *,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        also: Sequence[CubeName] = (),
        filter: Mapping[str, Any] | None = None,  # noqa: A002  -- the field's word
        sections: Sequence[SectionName] | None = None,
        limit: int = 20,
        budget_tokens: int = 1000,
        thread_budget_tokens: int | None = None,
        place: Place = "question",
        remember: Collection[Kind] = ("human", "ai"),
        tools: Sequence[BaseTool] = (),
    ) -> None:
        super().__init__()
        self.tools = list(tools)
        self._bound = Asker(user, agent)
        self._recalling = Recalling(
            mos,
            cube=cube,
            also=tuple(also),
            filter=filter,
            sections=sections,
            limit=limit,
            budget_tokens=_at_least_one(budget_tokens, "budget_tokens"),
            thread_budget_tokens=thread_budget_tokens,
            place=_one_of(place, get_args(Place), "place"),
        )
        kinds = tuple(_one_of(each, get_args(Kind), "remember") for each in remember)
        self._remembering = Remembering(mos, cube, kinds)

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """The model's answer to the request with what was recalled for it."""
        call = self._prepare(request)
        if call is None:
            return handler(request)
        _show(request.runtime, call)
        return _settled(call, handler(call.recall.request))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """As ``wrap_model_call``; memory is asked in a thread."""
        call = await run_in_executor(None, self._prepare, request)
        if call is None:
            return await handler(request)
        _show(request.runtime, call)
        return _settled(call, await handler(call.recall.request))

    def _prepare(self, request: ModelRequest[Any]) -> _Call | None:
        """Recall, and write what a long turn has brought so far.

        The first call of a turn writes nothing: its question must not be found as a memory. After
        that a summary may take messages out of the thread before the run ends.
        """
        asker = self._asker(request.runtime)
        recall = self._recall(request, asker)
        if recall is None:
            return None
        question = question_of(request.messages)
        if question is None or shown_before(request.state, question) is None:
            return _Call(recall, NOTHING_WRITTEN)
        return _Call(
            recall, self._remembering.remember(request.state, asker, kept=has_checkpointer())
        )

    def _recall(self, request: ModelRequest[Any], asker: Asker) -> Recall | None:
        """What one call is given; ``None`` where nobody asked anything."""
        return self._recalling.recall(request, asker)

    def after_agent(self, state: MemOSAgentState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Write what is new in the thread; the state then says up to where it is written."""
        return _told(runtime, self._remember(state, runtime))

    async def aafter_agent(
        self, state: MemOSAgentState, runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        """As ``after_agent``, in a thread."""
        return _told(runtime, await run_in_executor(None, self._remember, state, runtime))

    def _remember(self, state: MemOSAgentState, runtime: Runtime[Any]) -> Remembered:
        return self._remembering.remember(state, self._asker(runtime), kept=has_checkpointer())

    def _asker(self, runtime: Runtime[Any] | None) -> Asker:
        return asker_of(
            ensure_config(),
            context=None if runtime is None else runtime.context,
            server=None if runtime is None else runtime.server_info,
            bound=self._bound,
        )


def _show(runtime: Runtime[Any] | None, call: _Call) -> None:
    """Tell the custom stream what this call of the model was given, and what was written."""
    _told(runtime, call.remembered)
    recall = call.recall
    if recall.block is not None or recall.told:
        words = "" if recall.block is None else recall.block.text
        tell(runtime, {**injected(recall.block, recall.asker), **recall.told}, words=words)


def _settled(call: _Call, response: ModelResponse[Any]) -> ExtendedModelResponse[Any]:
    """The response, and what the state is to know of this call."""
    update = call.recall.update(response.result) | (call.remembered.update or {})
    return ExtendedModelResponse(call.recall.marked(response), Command(update=update))


def _told(runtime: Runtime[Any] | None, done: Remembered) -> dict[str, Any] | None:
    if done.outcomes:
        tell(runtime, written(done.outcomes))
    return done.update


def _one_of(value: Any, legal: Sequence[str], what: str) -> Any:
    if value not in legal:
        raise UsageError(f"{what} takes {' or '.join(map(repr, legal))}, not {value!r}")
    return value


def _at_least_one(tokens: int, what: str) -> int:
    if tokens < 1:
        raise UsageError(f"{what} must be at least 1")
    return tokens
