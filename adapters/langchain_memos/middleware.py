"""Memory for ``create_agent``: recalled for each call of the model, written when the run ends.

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
from langchain_memos.middleware_state import MemOSAgentState, Turn
from langchain_memos.prompts import Place, cost_of, question_of, searchable, with_block
from langchain_memos.remembering import Kind, Portion, portions, unwritten, write
from langchain_memos.trace import injected, tell, written
from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.outcomes import Outcome
from memos_integrations.interface.context import Context, SectionName
from memos_integrations.interface.home import home_of
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import CubeName


@dataclass(frozen=True, slots=True)
class _Recall:
    """What one call of the model is given."""

    request: ModelRequest[Any]
    turn: Turn
    block: Context | None
    asker: Asker


class MemOSMiddleware(AgentMiddleware[MemOSAgentState, Any, Any]):
    """Gives an agent a memory: ``create_agent(model, tools, middleware=[MemOSMiddleware(mos)])``.

    Before each call of the model the memories that fit the last question are put into the
    request, at most ``budget_tokens`` long and ``thread_budget_tokens`` over a thread; what was
    not said by a person is quoted as unverified. Within a turn the block stays the same. Where
    it stands (``place``) keeps the beginning of the prompt stable, so that providers can reuse
    it. When the run ends, the messages of the kinds in ``remember`` are written: durable at once,
    once per message under retries, resumes and replays, read for facts in the background.

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
        self._mos = mos
        self._bound = Asker(user, agent)
        self._cube = cube
        self._also = tuple(also)
        self._filter = filter
        self._sections = sections
        self._limit = limit
        self._budget = _at_least_one(budget_tokens, "budget_tokens")
        self._allowance = thread_budget_tokens
        self._place = _one_of(place, get_args(Place), "place")
        self._kinds = tuple(_one_of(each, get_args(Kind), "remember") for each in remember)

    # -- recall -------------------------------------------------------------------------------

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """The model's answer to the request with what was recalled for it."""
        recall = self._recall(request)
        if recall is None:
            return handler(request)
        self._show(request, recall)
        return self._settled(recall, handler(recall.request))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """As ``wrap_model_call``; the memory is searched in a thread."""
        recall = await run_in_executor(None, self._recall, request)
        if recall is None:
            return await handler(request)
        self._show(request, recall)
        return self._settled(recall, await handler(recall.request))

    def _recall(self, request: ModelRequest[Any]) -> _Recall | None:
        """What fits the last question; ``None`` where nobody asked anything."""
        asked = question_of(request.messages)
        words = "" if asked is None else str(asked.text).strip()
        if asked is None or not words:
            return None
        asker = self._asker(request.runtime)
        known = self._known(request, asked.id)
        left = self._left(request.state)
        if left < 1 or (known is not None and not known):
            return _Recall(request, Turn(question=asked.id or "", shown=[]), None, asker)
        block = self._block(words, request, asker, known, left)
        shown = [item.id for section in block.sections for item in section.items]
        turn = Turn(question=asked.id or "", shown=known or shown)
        if not block.text:
            return _Recall(request, turn, None, asker)
        return _Recall(with_block(request, block.text, self._place), turn, block, asker)

    def _block(
        self,
        words: str,
        request: ModelRequest[Any],
        asker: Asker,
        known: Sequence[str] | None,
        left: int,
    ) -> Context:
        return self._mos.context(
            searchable(words),
            budget_tokens=left,
            limit=self._limit,
            sections=self._sections,
            cube=self._cubes(asker),
            filter=self._where(request, asker, known),
            **asker.keywords(),
        )

    def _known(self, request: ModelRequest[Any], question: str | None) -> list[str] | None:
        """What an earlier call of this turn was shown: the prompt is to begin as it did then."""
        turn: Any = request.state.get("memos_turn")
        return list(turn["shown"]) if turn and question and turn["question"] == question else None

    def _where(
        self, request: ModelRequest[Any], asker: Asker, known: Sequence[str] | None
    ) -> Mapping[str, Any] | None:
        """The filter. What this thread said is left out while the prompt holds all of it."""
        parts: list[Mapping[str, Any]] = [] if self._filter is None else [self._filter]
        first: Any = request.state.get("memos_first")
        if known is not None:
            parts.append({"id": {"in": list(known)}})
        elif asker.thread and first and any(m.id == first for m in request.messages):
            parts.append({"conversation": {"!=": asker.thread}})
        return {"and": parts} if parts else None

    def _cubes(self, asker: Asker) -> list[CubeName] | str | None:
        if not self._also:
            return self._cube
        return [self._cube or home_of(self._mos, **asker.keywords()), *self._also]

    def _left(self, state: Mapping[str, Any]) -> int:
        if self._allowance is None:
            return self._budget
        return min(self._budget, self._allowance - int(state.get("memos_spent_tokens") or 0))

    def _settled(self, recall: _Recall, response: ModelResponse[Any]) -> ExtendedModelResponse[Any]:
        """The response, and what the state is to know of this call."""
        spent: Any = recall.request.state.get("memos_spent_tokens") or 0
        if recall.block is not None:
            block = recall.block
            spent += cost_of(block.text, block.tokens, recall.request, response.result)
        update = {"memos_turn": recall.turn, "memos_spent_tokens": spent}
        return ExtendedModelResponse(response, Command(update=update))

    # -- remember -----------------------------------------------------------------------------

    def after_agent(self, state: MemOSAgentState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Write what is new in the thread; the state then says up to where it is written."""
        return self._told(runtime, self._remember(state, runtime))

    async def aafter_agent(
        self, state: MemOSAgentState, runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        """As ``after_agent``, in a thread."""
        return self._told(runtime, await run_in_executor(None, self._remember, state, runtime))

    def _remember(
        self, state: MemOSAgentState, runtime: Runtime[Any]
    ) -> tuple[dict[str, Any] | None, list[Outcome]]:
        asker = self._asker(runtime)
        messages = state["messages"]
        new = unwritten(messages, state.get("memos_last"), kept=has_checkpointer())
        outcomes: list[Outcome] = []
        for portion in portions(new, self._kinds):
            shown = self._shown(state, portion)
            outcomes += write(self._mos, portion, asker, cube=self._cube, shown=shown)
        if not new or new[-1].id is None:
            return None, outcomes
        first = state.get("memos_first") or new[0].id
        return {"memos_last": new[-1].id, "memos_first": first}, outcomes

    def _shown(self, state: MemOSAgentState, portion: Portion) -> list[str]:
        """What stood before the model when it said this, as far as the state still knows."""
        turn = state.get("memos_turn")
        if turn is None or not portion.derived:
            return []
        ids = [message.id for message in state["messages"]]
        asked, said = turn["question"], portion.messages[0].id
        later = asked in ids and said in ids and ids.index(said) > ids.index(asked)
        return list(turn["shown"]) if later else []

    # -- what both need -----------------------------------------------------------------------

    def _asker(self, runtime: Runtime[Any] | None) -> Asker:
        return asker_of(
            ensure_config(),
            context=None if runtime is None else runtime.context,
            server=None if runtime is None else runtime.server_info,
            bound=self._bound,
        )

    def _show(self, request: ModelRequest[Any], recall: _Recall) -> None:
        """Tell the custom stream what this call of the model was given."""
        if recall.block is not None:
            block = recall.block
            tell(request.runtime, injected(block, recall.asker), words=block.text)

    def _told(
        self, runtime: Runtime[Any], done: tuple[dict[str, Any] | None, list[Outcome]]
    ) -> dict[str, Any] | None:
        update, outcomes = done
        if outcomes:
            tell(runtime, written(outcomes))
        return update


def _one_of(value: Any, legal: Sequence[str], what: str) -> Any:
    if value not in legal:
        raise UsageError(f"{what} takes {' or '.join(map(repr, legal))}, not {value!r}")
    return value


def _at_least_one(tokens: int, what: str) -> int:
    if tokens < 1:
        raise UsageError(f"{what} must be at least 1")
    return tokens
