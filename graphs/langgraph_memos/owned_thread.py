"""Whose a thread is, read from the config of a call. Called by the saver and the node cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.runnables import RunnableConfig

from langgraph_memos.asking import Asker, asker_of
from memos_integrations.interface.asker import LOGGED_IN

_IDENTITY: Final = ("user_id", "agent_id")
_RUNTIME: Final = "__pregel_runtime"
"""Where LangGraph keeps the runtime in a config; a test holds that it is there."""


class OwnedThread(str):
    """The name of a thread that knows who asked for it.

    LangGraph looks into subgraphs with a config of its own, of which only the thread's name comes
    from the one it was given.
    """

    __slots__ = ("identity",)

    def __new__(cls, thread: str, identity: Mapping[str, Any]) -> OwnedThread:
        made = super().__new__(cls, thread)
        made.identity = identity
        return made

    identity: Mapping[str, Any]


def owner_of(config: RunnableConfig) -> Asker:
    """Who asks: what the run knows, else what the config names, else what the thread's name does
    that was taken from one of ours.

    Whoever is logged in goes along: a look at a state has no runtime that would know of it.
    """
    named = config.get("configurable", {})
    thread = named.get("thread_id")
    known = thread.identity if isinstance(thread, OwnedThread) else {}
    said = {key: named[key] for key in _IDENTITY if named.get(key) is not None}
    if LOGGED_IN in named:
        said[LOGGED_IN] = named[LOGGED_IN]
    return asker_of({"configurable": {**known, **said}}, named.get(_RUNTIME))
