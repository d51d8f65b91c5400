"""Whole graphs, ready to compile: a memory graph, a memory agent, a consolidation graph.

Each gives a builder: compile it with the checkpointer you like, or build on. Called by
applications, calls the nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypedDict

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import ToolCall
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallWithContext
from langgraph.types import Send

from langgraph_memos.answer import AnswerNode
from langgraph_memos.approval import Hold
from langgraph_memos.consolidate import ConsolidateNode
from langgraph_memos.lines import Cubes
from langgraph_memos.model import ModelNode
from langgraph_memos.prefetch import PrefetchNode
from langgraph_memos.recall import RecallNode
from langgraph_memos.remember import RememberNode
from langgraph_memos.schedule import ScheduleNode
from langgraph_memos.state import Consolidation, MemoryState
from langgraph_memos.tools import memory_tools
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import CubeName

MemoryGraph = StateGraph[MemoryState, None, MemoryState, MemoryState]
_AGENT: Final = "agent"


class ConsolidationState(TypedDict, total=False):
    """What a consolidation graph is asked, and what it did."""

    reason: str
    consolidation: Consolidation | None
    scheduled: dict[str, Any]


def memory_graph(mos: MOS, *, model: BaseChatModel | str | None = None) -> MemoryGraph:
    """A graph that recalls, answers and remembers; compile it with the checkpointer you like."""
    graph = StateGraph(MemoryState)
    graph.add_node("recall", RecallNode(mos))
    graph.add_node("answer", AnswerNode(model))
    graph.add_node("remember", RememberNode(mos))
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "answer")
    graph.add_edge("answer", "remember")
    graph.add_edge("remember", END)
    return graph


def memory_agent(
    mos: MOS,
    model: BaseChatModel | str,
    *,
    tools: Sequence[BaseTool] | None = None,
    prompt: str = "",
    cube: CubeName | None = None,
    read: Cubes = None,
    limit: int = 8,
    budget_tokens: int | None = None,
    hold: Hold | None = None,
) -> MemoryGraph:
    """An agent that recalls before it thinks, uses tools, and remembers what was said.

    ``tools`` are its tools; by default those of ``memory_tools``, ``[]`` for none. While the model
    is first called, memory looks up what stands near (``PrefetchNode``, in the same superstep), for
    the calls after it. ``budget_tokens`` and ``hold`` as in ``AnswerNode`` and ``RememberNode``.
    """
    shown = cube if read is None else read
    given = memory_tools(mos, cube=cube, read=read, hold=hold) if tools is None else list(tools)
    graph = StateGraph(MemoryState)
    graph.add_node("recall", RecallNode(mos, cube=shown, limit=limit))
    graph.add_node("prefetch", PrefetchNode(mos, cube=shown))
    graph.add_node(
        _AGENT, ModelNode(model, tools=given, prompt=prompt, budget_tokens=budget_tokens)
    )
    graph.add_node("remember", RememberNode(mos, cube=cube, hold=hold))
    graph.add_edge(START, "recall")
    graph.add_edge("recall", _AGENT)
    graph.add_edge("recall", "prefetch")
    if given:
        graph.add_node("tools", ToolNode(given))
        graph.add_edge("tools", _AGENT)
    graph.add_conditional_edges(_AGENT, _after_model, ["tools", "remember"][not given :])
    graph.add_edge("remember", END)
    return graph


def consolidation_graph(
    mos: MOS,
    *,
    cube: CubeName | None = None,
    min_cluster: int = 3,
    wait_seconds: float = 60.0,
) -> StateGraph[ConsolidationState, None, ConsolidationState, ConsolidationState]:
    """A graph for quiet hours: sums up what belongs together, then lets the scheduler move
    memories. Run it with ``{"reason": "nightly"}`` and the ``user_id`` whose memory it is."""
    graph = StateGraph(ConsolidationState)
    node = ConsolidateNode(mos, cube=cube, min_cluster=min_cluster, wait_seconds=wait_seconds)
    graph.add_node("consolidate", node)
    graph.add_node("schedule", ScheduleNode(mos, cube=cube))
    graph.add_edge(START, "consolidate")
    graph.add_edge("consolidate", "schedule")
    graph.add_edge("schedule", END)
    return graph


def _after_model(state: MemoryState) -> list[Send] | str:
    """Each call of a tool as a task of its own: then each waits for its own approval."""
    calls = getattr(state["messages"][-1], "tool_calls", None) or []
    return [Send("tools", _called(call, state)) for call in calls] or "remember"


def _called(call: ToolCall, state: MemoryState) -> ToolCallWithContext:
    return ToolCallWithContext(__type="tool_call_with_context", tool_call=call, state={**state})
