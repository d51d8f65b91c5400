"""Memory inside a LangGraph graph: nodes, tools, store and checkpointer over a ``MOS``.

``add_memory(builder, mos)`` gives it to a graph you have; ``memory_graph``, ``memory_agent`` and
``memory_team`` are whole ones, and the nodes fit into any graph of your own. Who asks comes from
``config["configurable"]``: ``user_id``, ``agent_id`` and ``thread_id``.
"""

from memos_integrations.cube.errors import MissingExtra

try:
    from langgraph_memos.answer import AnswerNode
    from langgraph_memos.approval import Hold
    from langgraph_memos.budget import MemoryBudget, Offer, budget_left, choose
    from langgraph_memos.consolidate import ConsolidateNode
    from langgraph_memos.distil import DistilNode
    from langgraph_memos.drain import MemoryDrain, flush_memory
    from langgraph_memos.forms import injection, text_offers
    from langgraph_memos.graphs import consolidation_graph, memory_agent, memory_graph
    from langgraph_memos.lines import standing
    from langgraph_memos.merging import merge_fork
    from langgraph_memos.model import ModelNode
    from langgraph_memos.node_cache import MemOSNodeCache
    from langgraph_memos.prefetch import PrefetchNode
    from langgraph_memos.prefill import PrefillNode
    from langgraph_memos.quotes import quote
    from langgraph_memos.recall import RecallNode
    from langgraph_memos.remember import RememberNode
    from langgraph_memos.saver import MemOSSaver
    from langgraph_memos.schedule import ScheduleNode
    from langgraph_memos.side_by_side import StepList
    from langgraph_memos.state import Answer, MemoryState, Recalled, Written
    from langgraph_memos.store import MemOSStore, MemOSStoreView, user_of_first_segment
    from langgraph_memos.store_index import IndexEmbedder
    from langgraph_memos.strict import StrictSerializer, UnreadableBytes
    from langgraph_memos.team import Member, MemberNode, memory_team
    from langgraph_memos.ticking import TickingSaver
    from langgraph_memos.tools import memory_tools
    from langgraph_memos.version import Mark, MemoryVersion, first_mark
    from langgraph_memos.weights import adapter_offer
    from langgraph_memos.wiring import add_memory, memory_message
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("langgraph", "langchain_core"):
        raise
    raise MissingExtra("memory for LangGraph", "langgraph") from error

__all__ = [
    "Answer",
    "AnswerNode",
    "ConsolidateNode",
    "DistilNode",
    "Hold",
    "IndexEmbedder",
    "Mark",
    "MemOSNodeCache",
    "MemOSSaver",
    "MemOSStore",
    "MemOSStoreView",
    "Member",
    "MemberNode",
    "MemoryBudget",
    "MemoryDrain",
    "MemoryState",
    "MemoryVersion",
    "ModelNode",
    "Offer",
    "PrefetchNode",
    "PrefillNode",
    "RecallNode",
    "Recalled",
    "RememberNode",
    "ScheduleNode",
    "StepList",
    "StrictSerializer",
    "TickingSaver",
    "UnreadableBytes",
    "Written",
    "adapter_offer",
    "add_memory",
    "budget_left",
    "choose",
    "consolidation_graph",
    "first_mark",
    "flush_memory",
    "injection",
    "memory_agent",
    "memory_graph",
    "memory_message",
    "memory_team",
    "memory_tools",
    "merge_fork",
    "quote",
    "standing",
    "text_offers",
    "user_of_first_segment",
]
