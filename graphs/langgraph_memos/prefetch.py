"""``PrefetchNode``: looks memories up while the model is still answering.

Put it beside the node that calls the model, in the same superstep: its time is hidden behind the
model's. Called by LangGraph, calls the facade.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_memos.asking import asker_of
from langgraph_memos.lines import Cubes, place_of
from langgraph_memos.recall import RecallNode, question_of
from langgraph_memos.state import MemoryState, Prefetched, Recalled
from langgraph_memos.trace import Trace
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import Where

Predict = Callable[[MemoryState], Sequence[str]]
_MOST: Final = 3


def expected_questions(state: MemoryState) -> list[str]:
    """What memory will be asked next, as far as the state tells: what the tools were called with;
    else what the best memories found so far are about, one step further."""
    messages = state["messages"]
    last = messages[-1] if messages else None
    if isinstance(last, AIMessage) and last.tool_calls:
        given = (value for call in last.tool_calls for value in call["args"].values())
        return [value for value in given if isinstance(value, str) and value.strip()][:_MOST]
    return [each["text"] for each in state.get("recalled", [])[:_MOST]] or [question_of(messages)]


class PrefetchNode:
    """Looks up what ``predict`` expects to be asked next: ``{"prefetched": [...]}``.

    ``RecallNode`` takes an exact match without searching again; the prebuilt agent gives the rest
    to the next call of its model. Nothing is used once memory has moved on.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        predict: Predict = expected_questions,
        cube: Cubes = None,
        limit: int = 4,
        filter: Where = None,  # noqa: A002  -- the field's word
        agent: str | None = None,
    ) -> None:
        self._mos, self._predict, self._cube, self._agent = mos, predict, cube, agent
        self._recall = RecallNode(mos, cube=cube, limit=limit, filter=filter, agent=agent)

    def __call__(
        self, state: MemoryState, config: RunnableConfig, runtime: Runtime[Any] | None = None
    ) -> dict[str, Any]:
        asker = asker_of(config, runtime, agent=self._agent)
        place = place_of(self._mos, asker, state.get("memory_version"), config, runtime)
        seq = place.version(self._cube)
        questions = [q for q in dict.fromkeys(self._predict(state)) if q.strip()][:_MOST]
        found = [
            Prefetched(question=q, seq=seq, recalled=self._recall.find(place, q)) for q in questions
        ]
        trace = Trace(config, runtime)
        for each in found:
            ids = [memory["id"] for memory in each["recalled"]]
            trace.tell("prefetched", each["question"], ids=ids, seq=seq)
        return {"prefetched": found}


def memories_at_hand(state: MemoryState, *, limit: int) -> list[Recalled]:
    """What was recalled, then what was prefetched beside it, each once."""
    ahead = (memory for each in state.get("prefetched") or () for memory in each["recalled"])
    found = {memory["id"]: memory for memory in [*ahead, *reversed(state.get("recalled", []))]}
    ranked = [memory["id"] for memory in state.get("recalled", [])]
    rest = sorted(found.keys() - set(ranked), key=lambda n: -found[n]["score"])
    return [found[n] for n in [*ranked, *rest]][:limit]
