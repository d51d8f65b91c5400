"""The nodes of a memory graph, each in a module of its own."""

from __future__ import annotations

from langgraph_memos.answer import UNKNOWN, AnswerNode
from langgraph_memos.consolidate import ConsolidateNode
from langgraph_memos.distil import DistilNode
from langgraph_memos.graphs import memory_graph
from langgraph_memos.model import ModelNode
from langgraph_memos.prefetch import PrefetchNode
from langgraph_memos.recall import RecallNode
from langgraph_memos.remember import RememberNode
from langgraph_memos.schedule import ScheduleNode

__all__ = [
    "UNKNOWN",
    "AnswerNode",
    "ConsolidateNode",
    "DistilNode",
    "ModelNode",
    "PrefetchNode",
    "RecallNode",
    "RememberNode",
    "ScheduleNode",
    "memory_graph",
]
