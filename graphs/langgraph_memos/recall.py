"""``RecallNode``: finds the memories that fit what was asked. LangGraph runs it sync and async.

Called by LangGraph, calls the facade. A node keeps nothing between runs, so one instance serves
every thread; LangGraph offloads it to a thread in an asynchronous run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_memos.asking import Asker, asker_of
from langgraph_memos.lines import Cubes, Place, place_of
from langgraph_memos.state import MemoryState, Prefetched, Recalled
from langgraph_memos.trace import Trace
from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.item import Hit
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import Where


class RecallNode:
    """Finds the memories that fit the last thing a person said: ``{"recalled": [...]}``.

    ``memory`` is a ``MOS``, or ``mos.as_of(...)`` for a graph that remembers the past. A thread
    that is taken back to an earlier checkpoint recalls what was known there. What was looked up
    ahead for this very question is taken as it is while memory has not moved since.
    """

    def __init__(
        self,
        memory: Reads,
        *,
        cube: Cubes = None,
        limit: int = 8,
        filter: Where = None,  # noqa: A002  -- the field's word
        agent: str | None = None,
    ) -> None:
        if not isinstance(memory, Reads):
            raise UsageError(f"RecallNode takes a MOS or a view of it, not {type(memory).__name__}")
        self._memory, self._cube, self._agent = memory, cube, agent
        self._limit, self._filter = limit, filter

    def __call__(
        self, state: MemoryState, config: RunnableConfig, runtime: Runtime[Any] | None = None
    ) -> dict[str, Any]:
        question = question_of(state["messages"])
        if not question.strip():
            return {"recalled": [], "prefetched": []}
        asker = asker_of(config, runtime, agent=self._agent)
        trace = Trace(config, runtime)
        if not isinstance(self._memory, MOS):
            hits = self._search(self._memory, question, asker, self._cube)
            found = [recalled_of(hit) for hit in hits]
            trace.recalled(found)
            return {"recalled": found, "prefetched": []}
        place = place_of(self._memory, asker, state.get("memory_version"), config, runtime)
        return self._recall(place, question, state.get("prefetched") or (), trace)

    def _recall(
        self, place: Place, question: str, prefetched: Sequence[Prefetched], trace: Trace
    ) -> dict[str, Any]:
        seq = place.version(self._cube)
        ahead = looked_up_ahead(prefetched, question, seq)
        found = self.find(place, question) if ahead is None else ahead
        if place.rewound:
            trace.tell("forked", line=place.mark["line"], known=place.mark["known"])
        trace.recalled(found, seq=seq, line=place.mark["line"], prefetched=ahead is not None)
        mark = place.left(found=seq, seq=seq)
        return {"recalled": found, "prefetched": [], "memory_version": mark}

    def find(self, place: Place, question: str) -> list[Recalled]:
        """The memories that fit the question, as they are to be known at this place."""
        hits = [
            hit
            for memory, cubes in place.readings(self._cube)
            for hit in self._search(memory, question, place.asker, cubes)
        ]
        hits.sort(key=lambda hit: -hit.score)
        return [recalled_of(hit) for hit in hits[: self._limit]]

    def _search(self, memory: Reads, question: str, asker: Asker, cubes: Cubes) -> list[Hit]:
        return memory.search(
            question,
            cube=cubes,
            limit=self._limit,
            filter=self._filter,
            explain=True,
            **asker.keywords(),
        )


def question_of(messages: Sequence[AnyMessage]) -> str:
    """The words of the last person who spoke."""
    asked = (str(m.text) for m in reversed(messages) if isinstance(m, HumanMessage))
    return next(asked, "")


def looked_up_ahead(
    prefetched: Sequence[Prefetched], question: str, seq: int
) -> list[Recalled] | None:
    """What was prefetched for this question while memory stood where it stands now."""
    for each in prefetched:
        if each["question"] == question and each["seq"] == seq:
            return each["recalled"]
    return None


def recalled_of(hit: Hit) -> Recalled:
    """A hit as plain state."""
    header = hit.item.header
    return Recalled(
        id=hit.id,
        version=header.version,
        text=hit.text,
        score=hit.score,
        signals={signal.name: signal.value for signal in hit.signals},
        why=hit.why(),
        speaker=header.speaker or header.role or "memory",
        time=header.time.isoformat(),
        source=header.source,
        trust=header.trust.value,
    )
