"""Memory for those still on interfaces that LangChain has deprecated (removal in 2.0).

New code has ``MemOSMiddleware`` and a checkpointer instead.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from langchain_memos.asker import Asker
from langchain_memos.remembering import Kind, portions, write
from memos_integrations.cube.clock import SystemClock
from memos_integrations.cube.errors import InvalidInput, MissingExtra
from memos_integrations.cube.ids import new_item_id, to_micros
from memos_integrations.interface.mos import MOS

if TYPE_CHECKING:
    from langchain_memos.classic_memory import MemOSClassicMemory

__all__ = ["MemOSChatMessageHistory", "MemOSClassicMemory"]


class MemOSChatMessageHistory(BaseChatMessageHistory):
    """The messages of one session, whole and in order, for ``RunnableWithMessageHistory``.

    The transcript lies in governed records of the session, so it goes when the session is erased.
    Messages of the kinds in ``remember`` become memories as well, found from every other session;
    ``clear`` leaves those, ``mos.erase`` does not.
    """

    def __init__(
        self,
        session_id: str,
        *,
        mos: MOS,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        remember: Collection[Kind] = ("human", "ai"),
    ) -> None:
        super().__init__()
        self._mos = mos
        self._asker = Asker(user, agent, session_id)
        self._cube = cube
        self._kinds = tuple(remember)
        self._records = mos.records(
            "langchain.history", session=session_id, cube=cube, **self._asker.keywords()
        )

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # the base has a field
        """Every message of the session, oldest first."""
        return messages_from_dict([json.loads(value) for _, value in self._records.items()])

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Keep these at the end, in one transaction, and remember them.

        Raises ``InvalidInput`` for a message that JSON has no form for; then none is kept.
        """
        values = {_place(): _dumped(message) for message in messages}
        for portion in portions(messages, self._kinds):
            write(self._mos, portion, self._asker, cube=self._cube, shown=())
        self._records.put(values)

    def clear(self) -> None:
        """Empty the transcript. What was remembered of it stays."""
        self._records.clear()


def _place() -> str:
    """A key that sorts behind every key made before it."""
    return str(new_item_id(to_micros(SystemClock().now())))


def _dumped(message: BaseMessage) -> bytes:
    try:
        return json.dumps(message_to_dict(message), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput("a message holds what JSON has no form for; leave it out") from error


def __getattr__(name: str) -> object:
    if name != "MemOSClassicMemory":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module("langchain_memos.classic_memory").MemOSClassicMemory
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "langchain_classic":
            raise
        raise MissingExtra("MemOSClassicMemory for LangChain's BaseMemory", "classic") from error
