"""``BaseMemory`` over a ``MOS``, for chains that are still built on ``langchain_classic``."""

from __future__ import annotations

from typing import Any

from langchain_classic.base_memory import BaseMemory
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import ConfigDict

from langchain_memos.asker import Asker
from langchain_memos.remembering import portions, write
from memos_integrations.cube.errors import UsageError
from memos_integrations.interface.mos import MOS


class MemOSClassicMemory(BaseMemory):
    """What fits the question goes into the prompt under ``memory_key``; each turn is remembered.

    ``input_key`` and ``output_key`` name the texts of a turn where a chain has several. Deprecated
    with the interface it stands in for: new code has ``MemOSMiddleware``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    mos: MOS
    user: str | None = None
    agent: str | None = None
    session: str | None = None
    cube: str | None = None
    memory_key: str = "memory"
    input_key: str | None = None
    output_key: str | None = None
    budget_tokens: int = 1000

    @property
    def memory_variables(self) -> list[str]:
        """The one variable that a prompt may name."""
        return [self.memory_key]

    def load_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The block of memories for the question in ``inputs``; empty where there is none."""
        question = self._text(inputs, self.input_key, "input")
        if not question.strip():
            return {self.memory_key: ""}
        asked = self._asker.keywords()
        block = self.mos.context(
            question, budget_tokens=self.budget_tokens, cube=self.cube, **asked
        )
        return {self.memory_key: block.text}

    def save_context(self, inputs: dict[str, Any], outputs: dict[str, str]) -> None:
        """Remember both halves of a turn, durably."""
        asked = HumanMessage(self._text(inputs, self.input_key, "input"))
        answered = AIMessage(self._text(outputs, self.output_key, "output"))
        for portion in portions([asked, answered], ("human", "ai")):
            write(self.mos, portion, self._asker, cube=self.cube, shown=())

    def clear(self) -> None:
        """Delete what this session said; history keeps it. Raises ``UsageError`` without one."""
        if self.session is None:
            raise UsageError("name a session to clear, or use mos.erase to forget more than that")
        found = self.mos.list(
            session=self.session, cube=self.cube, limit=2**31, **self._asker.keywords()
        )
        if found:
            with self.mos.pipeline(cube=self.cube, **self._asker.keywords()) as pipeline:
                for item in found:
                    pipeline.delete(item.id)

    @property
    def _asker(self) -> Asker:
        return Asker(self.user, self.agent, self.session)

    def _text(self, values: dict[str, Any], key: str | None, what: str) -> str:
        names = [name for name in values if name not in (self.memory_key, "stop")]
        if key is None and len(names) != 1:
            raise UsageError(f"{what}_key must say which of {names} is the {what}")
        return str(values[key if key is not None else names[0]])
