"""A chat store of governed records: conversations kept exactly, one durable transaction a call."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base import BaseChatStore
from pydantic import PrivateAttr

from llama_index_memos.chat_records import ChatRecords
from memos_integrations.interface.mos import MOS


class MemOSChatStore(BaseChatStore):
    """Conversations by key, in the home of ``user`` or ``agent``, or in ``cube``.

    Messages come out as copies, with everything they went in with. ``name`` keeps several stores
    in one cube apart. ``MemOSAsyncChatStore`` of the same name sees the same conversations.
    ``mos.erase(source=f"session:{key}", ...)`` erases a conversation down to the bytes.
    """

    user: str | None = None
    agent: str | None = None
    cube: str | None = None
    name: str = "default"
    _chats: ChatRecords = PrivateAttr()

    def __init__(
        self,
        mos: MOS,
        *,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        name: str = "default",
    ) -> None:
        fields: dict[str, Any] = {"user": user, "agent": agent, "cube": cube, "name": name}
        super().__init__(**fields)
        self._chats = ChatRecords(mos, **fields)

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes into what it serialises."""
        return "MemOSChatStore"

    def set_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """These messages in place of the conversation's, in one transaction."""
        self._chats.replace(key, self._chats.placed(key, messages))

    def get_messages(self, key: str) -> list[ChatMessage]:
        """The messages of the conversation, oldest first; none for an unknown one."""
        return [put.message for put in self._chats.messages(key)]

    def add_message(self, key: str, message: ChatMessage, idx: int | None = None) -> None:
        """Put a message at the end, or where ``list.insert`` would put it."""
        if idx is None:
            self._chats.keep(key, self._chats.placed(key, [message]))
            return
        messages = self.get_messages(key)
        messages.insert(idx, message)
        placed = self._chats.placed(key, messages)
        self._chats.replace(key, placed, gone=("active",))

    def delete_messages(self, key: str) -> list[ChatMessage] | None:
        """Remove the conversation; what it held, or ``None`` where there was none."""
        found = self.get_messages(key)
        return found if self._chats.clear(key) else None

    def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Remove one message by its place; ``None`` where there is none at it."""
        found = self._chats.messages(key)
        if not -len(found) <= idx < len(found):
            return None
        self._chats.delete(key, [found[idx]])
        return found[idx].message

    def delete_last_message(self, key: str) -> ChatMessage | None:
        """Remove the newest message; ``None`` where there is none."""
        return self.delete_message(key, -1)

    def get_keys(self) -> list[str]:
        """The conversations that hold messages."""
        return self._chats.chats()

    async def async_add_message(
        self, key: str, message: ChatMessage, idx: int | None = None
    ) -> None:
        """As ``add_message``; the other async methods are LlamaIndex's, and run in a thread too."""
        await asyncio.to_thread(self.add_message, key, message, idx)
