"""Who asks: read from what LangChain hands to a run, the same way for every surface here.

In this order: whoever is logged in at LangGraph's server, who the object was made for, the run's
context, and ``config["configurable"]`` with ``user_id``, ``agent_id`` and ``thread_id``. Nothing
that a model writes is ever asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from memos_integrations.interface.asker import Asker, asker_in

# LangGraph has no public word for it. The name in the config of every node is tested for.
_CHECKPOINTER = "__pregel_checkpointer"

__all__ = ["Asker", "asker_of", "has_checkpointer", "outer_task"]


def asker_of(
    config: RunnableConfig | Mapping[str, Any] | None,
    *,
    context: object = None,
    server: object = None,
    bound: Asker | None = None,
) -> Asker:
    """Who asks in this run; without a user it is the facade's own default one.

    Raises ``AccessDenied`` where a run names two users, or another one than who is logged in or
    than this object was made for, and ``UsageError`` for a run on a server in which nobody is
    logged in and no user named: the default user would then be everybody.
    """
    named: Mapping[str, Any] = (config or {}).get("configurable", {})
    return asker_in(named, context=context, server=server, bound=bound)


def has_checkpointer() -> bool:
    """Whether the graph that is running keeps its threads: then every run sees the one before."""
    return ensure_config().get("configurable", {}).get(_CHECKPOINTER) is not None


def outer_task(config: RunnableConfig | None = None) -> tuple[str | None, bool]:
    """The task of the outermost graph that this runs in, and whether it runs in an inner one.

    Retries and resumes keep that task; an inner graph that is retried gets new ids in it.
    """
    known = ensure_config(config).get("metadata", {})
    task, _, inner = str(known.get("langgraph_checkpoint_ns") or "").partition("|")
    return task or None, bool(inner)
