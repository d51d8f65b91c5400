"""The chat store behind LlamaIndex's ``Memory``: active and archived messages, all awaited."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from pydantic import PrivateAttr

from llama_index_memos.chat_records import ChatRecords, Put, Status
from memos_integrations.interface.mos import MOS


class MemOSAsyncChatStore(AsyncDBChatStore):
    """``Memory.from_defaults(chat_store=MemOSAsyncChatStore(mos, user=...))``: a durable queue.

    The body of every method is ``ChatRecords``, run in a thread.
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
        return "MemOSAsyncChatStore"

    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = MessageStatus.ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """The messages with this status, oldest first; of every status for ``None``."""
        found = await self._found(key, status)
        start = offset or 0
        stop = None if limit is None else start + limit
        return [put.message for put in found[start:stop]]

    async def count_messages(
        self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE
    ) -> int:
        """How many messages have this status."""
        return len(await self._found(key, status))

    async def add_message(
        self, key: str, message: ChatMessage, status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Put a message at the end."""
        await self.add_messages(key, [message], status)

    async def add_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Put these at the end, all of them or none."""
        placed = await asyncio.to_thread(self._chats.placed, key, messages, _status(status))
        await asyncio.to_thread(self._chats.keep, key, placed)

    async def set_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """These in place of everything the conversation held, archived messages too."""
        placed = await asyncio.to_thread(self._chats.placed, key, messages, _status(status))
        await asyncio.to_thread(self._chats.replace, key, placed)

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Remove one active message by its place; ``None`` where there is none at it."""
        found = await self._found(key, MessageStatus.ACTIVE)
        if not -len(found) <= idx < len(found):
            return None
        await asyncio.to_thread(self._chats.delete, key, [found[idx]])
        return found[idx].message

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Remove what has this status; everything for ``None``."""
        await asyncio.to_thread(self._chats.clear, key, None if status is None else _status(status))

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Remove the oldest active messages, and give them back."""
        oldest = (await self._found(key, MessageStatus.ACTIVE))[: max(n, 0)]
        await asyncio.to_thread(self._chats.delete, key, oldest)
        return [put.message for put in oldest]

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Take the oldest active messages out of the queue, and give them back."""
        moved = await asyncio.to_thread(self._chats.archive, key, n)
        return [put.message for put in moved]

    async def get_keys(self) -> list[str]:
        """The conversations that hold messages."""
        return await asyncio.to_thread(self._chats.chats)

    async def _found(self, key: str, status: MessageStatus | None) -> list[Put]:
        wanted = None if status is None else _status(status)
        return await asyncio.to_thread(self._chats.messages, key, wanted)


def _status(status: MessageStatus) -> Status:
    return "archived" if MessageStatus(status) is MessageStatus.ARCHIVED else "active"
