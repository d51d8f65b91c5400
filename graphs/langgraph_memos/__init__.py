"""Memory inside a LangGraph graph: nodes that recall, answer and remember over a ``MOS``.

``memory_graph(mos).compile()`` is the whole of it; the nodes fit into any graph of your own. Who
asks comes from ``config["configurable"]``: ``user_id``, ``agent_id`` and ``thread_id``.
"""

from memos_integrations.cube.errors import MissingExtra

try:
    from langgraph_memos.nodes import AnswerNode, RecallNode, RememberNode, memory_graph
    from langgraph_memos.quotes import quote
    from langgraph_memos.state import Answer, MemoryState, Recalled, Written
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("langgraph", "langchain_core"):
        raise
    raise MissingExtra("memory for LangGraph", "langgraph") from error

__all__ = [
    "Answer",
    "AnswerNode",
    "MemoryState",
    "RecallNode",
    "Recalled",
    "RememberNode",
    "Written",
    "memory_graph",
    "quote",
]
