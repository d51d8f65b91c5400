"""Who asks: read from what LangChain hands to a run, the same way for every surface here.

In this order: whoever is logged in at LangGraph's server, who the object was made for, the run's
context, and ``config["configurable"]`` with ``user_id``, ``agent_id`` and ``thread_id``. Nothing
that a model writes is ever asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from memos_integrations.cube.errors import AccessDenied, UsageError

# LangGraph has no public word for it. The name in the config of every node is tested for.
_CHECKPOINTER = "__pregel_checkpointer"


class Keywords(TypedDict):
    """Who asks, as every verb of ``MOS`` takes it."""

    user: str | None
    agent: str | None


@dataclass(frozen=True, slots=True)
class Asker:
    """The scoping keywords of one run."""

    user: str | None = None
    agent: str | None = None
    thread: str | None = None

    def keywords(self) -> Keywords:
        """For ``**`` in a call of a verb."""
        return {"user": self.user, "agent": self.agent}


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
    made_for = bound or Asker()
    user = _the_one(
        _identity(named, server),
        made_for.user,
        _told(context, "user_id"),
        _told(named, "user_id"),
    )
    agent = made_for.agent or _told(context, "agent_id") or _told(named, "agent_id")
    if user is None and agent is None and _on_server(named, server):
        raise UsageError(
            "on a server every run must say whose memory it is: set up authentication, or pass "
            "config={'configurable': {'user_id': ...}}"
        )
    return Asker(user, agent, made_for.thread or _told(named, "thread_id"))


def _the_one(*names: str | None) -> str | None:
    """The user that all of these name who name one. Raises ``AccessDenied`` for two."""
    said = list(dict.fromkeys(name for name in names if name is not None))
    if len(said) > 1:
        raise AccessDenied(f"this run names user {said[1]!r}, and is one of user {said[0]!r}")
    return said[0] if said else None


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


def _identity(named: Mapping[str, Any], server: object) -> str | None:
    """Whoever LangGraph's server has authenticated."""
    user = getattr(server, "user", None) or named.get("langgraph_auth_user")
    return _told(user, "identity")


def _on_server(named: Mapping[str, Any], server: object) -> bool:
    return server is not None or "langgraph_auth_user" in named


def _told(where: object, name: str) -> str | None:
    """A name out of a mapping or an object, whichever a program keeps its context in."""
    found = where.get(name) if isinstance(where, Mapping) else getattr(where, name, None)
    if found is None or isinstance(found, str):
        return found or None
    return str(found)
