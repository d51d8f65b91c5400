"""What one call of an agent's model is given from memory, within which budget.

Called by the middleware for each call of the model; calls ``MOS.context``. Keeps nothing of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_memos.asker import Asker
from langchain_memos.middleware_state import Turn
from langchain_memos.prompts import Place, cost_of, with_block
from langchain_memos.said import question_of, searchable
from memos_integrations.interface.context import Context, SectionName
from memos_integrations.interface.home import home_of
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import CubeName


@dataclass(frozen=True, slots=True)
class Recall:
    """What one call of the model is given."""

    request: ModelRequest[Any]
    turn: Turn
    block: Context | None
    asker: Asker
    told: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the answer is to say of memory in its ``response_metadata``."""

    def marked(self, response: ModelResponse[Any]) -> ModelResponse[Any]:
        """The response, its answers saying what is told of this call."""
        if not self.told:
            return response
        return replace(response, result=[self._marked(each) for each in response.result])

    def _marked(self, message: BaseMessage) -> BaseMessage:
        if not isinstance(message, AIMessage):
            return message
        metadata = {**message.response_metadata, **self.told}
        return message.model_copy(update={"response_metadata": metadata})

    def update(self, answers: Sequence[BaseMessage]) -> dict[str, Any]:
        """What the state is to know of the call, once the model has answered."""
        before: Any = self.request.state.get("memos_spent_tokens")
        spent = int(before or 0)
        if self.block is not None:
            spent += cost_of(self.block.text, self.block.tokens, self.request, answers)
        return {"memos_turn": self.turn, "memos_spent_tokens": spent}


@dataclass(frozen=True, slots=True)
class Recalling:
    """From where, how much and into which place of the prompt."""

    mos: MOS
    cube: str | None
    also: tuple[CubeName, ...]
    filter: Mapping[str, Any] | None
    sections: Sequence[SectionName] | None
    limit: int
    budget_tokens: int
    thread_budget_tokens: int | None
    place: Place

    def recall(self, request: ModelRequest[Any], asker: Asker) -> Recall | None:
        """What fits the last question; ``None`` where nobody asked anything."""
        asked = question_of(request.messages)
        words = "" if asked is None else str(asked.text).strip()
        if asked is None or not words:
            return None
        known, left = shown_before(request.state, asked), self._left(request.state)
        turn = Turn(question=asked.id or "", shown=known or [])
        if left < 1 or known == []:
            return Recall(request, turn, None, asker)
        block = self.mos.context(
            searchable(words),
            budget_tokens=left,
            limit=self.limit,
            sections=self.sections,
            cube=self.cubes(asker),
            filter=self._where(request, asker, known),
            **asker.keywords(),
        )
        return self._placed(request, turn, block, asker)

    def _placed(
        self, request: ModelRequest[Any], turn: Turn, block: Context, asker: Asker
    ) -> Recall:
        if not block.text:
            return Recall(request, turn, None, asker)
        ids = [item.id for section in block.sections for item in section.items]
        turn = Turn(question=turn["question"], shown=turn["shown"] or ids)
        return Recall(with_block(request, block.text, self.place), turn, block, asker)

    def _where(
        self, request: ModelRequest[Any], asker: Asker, known: Sequence[str] | None
    ) -> Mapping[str, Any] | None:
        """The filter. What this thread said is left out while the prompt holds all of it."""
        parts: list[Mapping[str, Any]] = [] if self.filter is None else [self.filter]
        first: Any = request.state.get("memos_first")
        if known is not None:
            parts.append({"id": {"in": list(known)}})
        elif asker.thread and first and any(m.id == first for m in request.messages):
            parts.append({"conversation": {"!=": asker.thread}})
        return {"and": parts} if parts else None

    def cubes(self, asker: Asker) -> list[CubeName] | str | None:
        """Where to look, for a verb that takes it."""
        if not self.also:
            return self.cube
        return [self.cube or home_of(self.mos, **asker.keywords()), *self.also]

    def _left(self, state: Mapping[str, Any]) -> int:
        if self.thread_budget_tokens is None:
            return self.budget_tokens
        spent = int(state.get("memos_spent_tokens") or 0)
        return min(self.budget_tokens, self.thread_budget_tokens - spent)


def shown_before(state: Mapping[str, Any], question: HumanMessage) -> list[str] | None:
    """What an earlier call of this turn was shown, so that the prompt begins as it did then.

    ``None`` for the first call of a turn.
    """
    turn: Any = state.get("memos_turn")
    same = turn and question.id and turn["question"] == question.id
    return list(turn["shown"]) if same else None
