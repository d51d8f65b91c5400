"""Who asks in a run of LangChain or LangGraph, as a rule over plain data: one for every surface.

Called by the adapters with what their framework hands to a run. Nothing that a model writes is
ever asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from memos_integrations.cube.errors import AccessDenied, UsageError

LOGGED_IN: Final = "langgraph_auth_user"
"""Where LangGraph's server puts the user that it has authenticated: an object or a mapping with
``identity``. It is there in every call, also where a call has no runtime (``get_state``)."""


class Keywords(TypedDict):
    """Who asks, as every verb of ``MOS`` takes it."""

    user: str | None
    agent: str | None


@dataclass(frozen=True, slots=True)
class Asker:
    """The scoping keywords of one run. A missing user is the facade's default one."""

    user: str | None = None
    agent: str | None = None
    thread: str | None = None

    def keywords(self) -> Keywords:
        """``user`` and ``agent``, for ``**`` in a call of a verb."""
        return {"user": self.user, "agent": self.agent}


def asker_in(
    named: Mapping[str, Any],
    *,
    context: object = None,
    server: object = None,
    bound: Asker | None = None,
) -> Asker:
    """Who asks: whoever is logged in at the server, whom the caller was made for (``bound``), the
    run's context, and ``named`` (``config["configurable"]``) with ``user_id`` and ``agent_id``.

    Raises ``AccessDenied`` where these name two users, and ``UsageError`` for a run on a server
    in which nobody is logged in and nobody named: the default user would then be everybody.
    """
    made_for = bound or Asker()
    user = _the_one(
        _identity(named, server),
        made_for.user,
        _told(context, "user_id"),
        _told(named, "user_id"),
    )
    agent = made_for.agent or _told(context, "agent_id") or _told(named, "agent_id")
    if user is None and agent is None and (server is not None or LOGGED_IN in named):
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


def _identity(named: Mapping[str, Any], server: object) -> str | None:
    """Whoever the server has authenticated, by the runtime and by the config: they agree."""
    return _the_one(
        _told(getattr(server, "user", None), "identity"),
        _told(named.get(LOGGED_IN), "identity"),
    )


def _told(where: object, name: str) -> str | None:
    """A name out of a mapping or an object, whichever a program keeps its context in."""
    found = where.get(name) if isinstance(where, Mapping) else getattr(where, name, None)
    return None if found is None or found == "" else str(found)
