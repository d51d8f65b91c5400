"""Who asks, where, and what a write is called: read from the run, never from what a model says.

Called by every node and tool here; calls nothing.
"""

from __future__ import annotations

import hashlib
import json

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import ExecutionInfo

from memos_integrations.interface.asker import Asker, asker_in

__all__ = ["Asker", "asker_of", "info_of", "task_key"]


def asker_of(config: RunnableConfig, runtime: object = None, *, agent: str | None = None) -> Asker:
    """Who asks in this run: whoever LangGraph's server authenticated, and ``user_id`` of the run's
    context or of ``config["configurable"]``. ``agent`` is the node's own name as an agent.

    Raises ``AccessDenied`` where a run names another user than the one who is logged in, or two,
    and ``UsageError`` on a server in which nobody is: the default user would be everybody's.
    """
    return asker_in(
        config.get("configurable", {}),
        context=getattr(runtime, "context", None),
        server=getattr(runtime, "server_info", None),
        bound=Asker(agent=agent),
    )


def info_of(runtime: object) -> ExecutionInfo | None:
    """What LangGraph says of the running task; ``None`` outside a graph."""
    found = getattr(runtime, "execution_info", None)
    return found if isinstance(found, ExecutionInfo) else None


def task_key(config: RunnableConfig, runtime: object, write: str) -> str | None:
    """The idempotency key of one write of the running task; ``None`` outside a graph.

    The same for every attempt at the task and after an interrupt or a crash, another for every
    other task: a node that runs at least once writes exactly once.
    """
    info = info_of(runtime)
    thread = config.get("configurable", {}).get("thread_id")
    if info is not None:
        parts = [info.thread_id, info.checkpoint_ns, info.task_id]
    elif (run := config.get("run_id")) is not None:
        parts = [thread, str(run)]
    else:
        return None
    return f"langgraph:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}:{write}"
