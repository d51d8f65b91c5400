"""Who asks, where, and what a write is called: read from the run, never from what a model says.

Called by every node and tool here; calls nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import ExecutionInfo

from memos_integrations.cube.errors import AccessDenied, UsageError


@dataclass(frozen=True, slots=True)
class Asker:
    """The scoping keywords of one run. A missing user is the facade's default one."""

    user: str | None
    agent: str | None
    thread: str | None

    def keywords(self) -> dict[str, Any]:
        """``user`` and ``agent``, as every verb of ``MOS`` takes them."""
        return {"user": self.user, "agent": self.agent}


def asker_of(config: RunnableConfig, runtime: object = None, *, agent: str | None = None) -> Asker:
    """Who asks in this run: whoever LangGraph's server authenticated; else ``user_id`` of the
    run's context, else of ``config["configurable"]``. ``agent`` is the node's own name as an agent.

    Raises ``AccessDenied`` where a run names another user than the one who is logged in, and
    ``UsageError`` on a server in which nobody is: the default user would be everybody's.
    """
    named: Mapping[str, Any] = config.get("configurable", {})
    context = getattr(runtime, "context", None)
    server = getattr(runtime, "server_info", None)
    user = _told(context, "user_id") or _told(named, "user_id")
    known = _told(getattr(server, "user", None), "identity")
    if known is not None and user is not None and user != known:
        raise AccessDenied(f"this run names user {user!r}, and is one of user {known!r}")
    agent = agent or _told(context, "agent_id") or _told(named, "agent_id")
    if server is not None and not (known or user or agent):
        raise UsageError(
            "on a server every run must say whose memory it is: set up authentication, or pass "
            "config={'configurable': {'user_id': ...}}"
        )
    return Asker(known or user, agent, _told(named, "thread_id"))


def _told(where: object, name: str) -> str | None:
    """A name out of a mapping or an object, whichever a program keeps its context in."""
    found = where.get(name) if isinstance(where, Mapping) else getattr(where, name, None)
    return None if found is None or found == "" else str(found)


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
