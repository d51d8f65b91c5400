"""``add_memory``: recall before and remember after, in a graph you have, in one line.

Called while a graph is built; calls only LangGraph's builder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypedDict, cast, get_type_hints

from langchain_core.messages import SystemMessage
from langchain_core.runnables import Runnable, RunnableLambda, RunnableSequence
from langgraph.graph import START, StateGraph

from langgraph_memos.approval import Hold
from langgraph_memos.budget import budget_left
from langgraph_memos.forms import HEADING, injection
from langgraph_memos.lines import Cubes
from langgraph_memos.recall import RecallNode
from langgraph_memos.remember import RememberNode
from langgraph_memos.state import MemoryState
from memos_integrations.cube.errors import UsageError
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import CubeName, Where

Builder = StateGraph[Any, Any, Any, Any]
RECALL: Final = "recall"
REMEMBER: Final = "remember"


def add_memory(
    builder: Builder,
    mos: MOS,
    *,
    into: str | Sequence[str] = (),
    cube: CubeName | None = None,
    read: Cubes = None,
    limit: int = 8,
    filter: Where = None,  # noqa: A002  -- the field's word
    hold: Hold | None = None,
    budget_tokens: int | None = None,
) -> Builder:
    """The same builder with memory: ``recall`` before its first nodes, ``remember`` after all.

    The graph's state needs ``messages``. Memories are in ``state["recalled"]`` for nodes whose
    schema asks for it; the nodes named in ``into`` see them as a system message before the others,
    which is never written into the thread. ``remember`` is a deferred node, so it runs whichever
    way the graph ends. Call it once, before ``compile``, when the graph is built. Raises
    ``UsageError`` for a graph that it cannot wire, and changes nothing then.
    """
    names = [into] if isinstance(into, str) else list(into)
    _ensure_wirable(builder, names)
    shown = cube if read is None else read
    starts = sorted(end for start, end in builder.edges if start == START)
    builder.add_node(RECALL, RecallNode(mos, cube=shown, limit=limit, filter=filter))
    builder.add_node(REMEMBER, RememberNode(mos, cube=cube, hold=hold), defer=True)
    builder.edges -= {(START, end) for end in starts}
    for end in starts:
        builder.add_edge(RECALL, end)
    if (branches := builder.branches.pop(START, None)) is not None:
        builder.branches[RECALL] = branches
    builder.add_edge(START, RECALL)
    builder.add_edge(START, REMEMBER)
    for name in names:
        _show_memories(builder, name, budget_tokens)
    return builder


def memory_message(state: Any, *, budget_tokens: int | None = None) -> SystemMessage | None:
    """What was recalled as a system message, in the form the budget allows; ``None`` for nothing.

    Put it before the messages that you give to a model; do not return it from a node.
    """
    left = budget_left(state, limit_tokens=budget_tokens)
    offer = injection(state.get("recalled") or [], left_tokens=left)
    return SystemMessage(f"{HEADING}\n{offer.text}") if offer.text else None


def _ensure_wirable(builder: Builder, into: Sequence[str]) -> None:
    if not isinstance(builder, StateGraph):
        raise UsageError(f"add_memory takes a StateGraph, not {type(builder).__name__}")
    if builder.compiled:
        raise UsageError("this graph is compiled already: add memory to its builder before compile")
    if "messages" not in builder.channels:
        raise UsageError("memory needs a state with messages, such as MessagesState")
    taken = sorted({RECALL, REMEMBER} & builder.nodes.keys())
    if taken:
        raise UsageError(f"this graph has a node {taken[0]!r} already; memory is added once")
    if not any(start == START for start, _ in builder.edges) and START not in builder.branches:
        raise UsageError("this graph has no edge from START yet: build it, then add memory")
    for starts, end in builder.waiting_edges:
        if START in starts:
            raise UsageError(f"node {end!r} waits for START beside others; give it its own edge")
    for name in into:
        _ensure_shows(builder, name)


def _ensure_shows(builder: Builder, name: str) -> None:
    if name not in builder.nodes:
        raise UsageError(f"this graph has no node {name!r} to show memories to")
    if not issubclass(builder.nodes[name].input_schema, dict):
        raise UsageError(
            f"node {name!r} takes no dict: give it a TypedDict state, or read state['recalled']"
        )


def _show_memories(builder: Builder, name: str, budget_tokens: int | None) -> None:
    """Let this node see memories before its messages; what it returns stays as it is."""
    spec = builder.nodes.pop(name)
    schema = _seeing(spec.input_schema)

    def show(state: dict[str, Any]) -> dict[str, Any]:
        message = memory_message(state, budget_tokens=budget_tokens)
        if message is None:
            return state
        return {**state, "messages": [message, *state["messages"]]}

    inner = cast(Runnable[Any, Any], spec.runnable)
    shown: Runnable[Any, Any] = RunnableSequence(RunnableLambda(show, name="memories"), inner)
    builder.add_node(name, shown, input_schema=schema)
    builder.nodes[name] = replace(spec, runnable=builder.nodes[name].runnable, input_schema=schema)


def _seeing(schema: type[Any]) -> type[Any]:
    """The node's schema together with the keys memory is read from."""
    ours = get_type_hints(MemoryState, include_extras=True)
    keys = get_type_hints(schema, include_extras=True)
    keys |= {name: ours[name] for name in ("recalled", "memory_budget")}
    make = cast(Callable[..., type[Any]], TypedDict)  # its names are only known now
    return make(f"{schema.__name__}WithMemory", keys, total=False)
