"""The contract of an ``AsyncDBChatStore``: what LlamaIndex's ``Memory`` keeps its queue in."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus

from memos_integrations.testing.llama_index.chat_store import rich_messages, said

ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED


def texts(messages: list[ChatMessage]) -> list[str | None]:
    return [message.content for message in messages]


class AsyncChatStoreTests(ABC):
    """Inherit, write ``make``, and name the class ``Test...``. Needs pytest-asyncio."""

    @abstractmethod
    def make(self) -> AsyncDBChatStore:
        """A new, empty store."""

    @pytest.fixture
    def store(self) -> AsyncDBChatStore:
        return self.make()

    async def filled(self, store: AsyncDBChatStore, count: int = 5, key: str = "k") -> None:
        """Put ``count`` messages into the store."""
        await store.add_messages(key, [said(f"m{n}") for n in range(count)])

    @pytest.mark.asyncio
    async def test_messages_come_back_in_order(self, store: AsyncDBChatStore) -> None:
        await store.add_message("k", said("one"))
        await store.add_messages("k", [said("two"), said("three")])
        assert texts(await store.get_messages("k")) == ["one", "two", "three"]
        assert await store.get_messages("other") == []

    @pytest.mark.asyncio
    async def test_everything_in_a_message_comes_back(self, store: AsyncDBChatStore) -> None:
        await store.add_messages("k", rich_messages())
        assert await store.get_messages("k") == rich_messages()

    @pytest.mark.asyncio
    async def test_messages_are_counted_by_status(self, store: AsyncDBChatStore) -> None:
        await self.filled(store, 3)
        await store.archive_oldest_messages("k", 1)
        assert await store.count_messages("k") == 2
        assert await store.count_messages("k", status=ARCHIVED) == 1
        assert await store.count_messages("k", status=None) == 3
        assert await store.count_messages("other") == 0

    @pytest.mark.asyncio
    @pytest.mark.parametrize(
        ("limit", "offset", "expected"),
        [(2, None, [0, 1]), (None, 2, [2, 3, 4]), (2, 1, [1, 2]), (9, 4, [4]), (0, None, [])],
    )
    async def test_pages(
        self, store: AsyncDBChatStore, limit: int | None, offset: int | None, expected: list[int]
    ) -> None:
        await self.filled(store)
        found = await store.get_messages("k", limit=limit, offset=offset)
        assert texts(found) == [f"m{n}" for n in expected]

    @pytest.mark.asyncio
    async def test_setting_replaces_active_and_archived(self, store: AsyncDBChatStore) -> None:
        await self.filled(store, 3)
        await store.archive_oldest_messages("k", 1)
        await store.set_messages("k", [said("x"), said("y")])
        assert texts(await store.get_messages("k", status=None)) == ["x", "y"]

    @pytest.mark.asyncio
    async def test_the_archive_keeps_the_order_and_stays_out_of_the_queue(
        self, store: AsyncDBChatStore
    ) -> None:
        await self.filled(store)
        assert texts(await store.archive_oldest_messages("k", 2)) == ["m0", "m1"]
        assert texts(await store.archive_oldest_messages("k", 1)) == ["m2"]
        assert texts(await store.get_messages("k")) == ["m3", "m4"]
        assert texts(await store.get_messages("k", status=ARCHIVED)) == ["m0", "m1", "m2"]
        assert texts(await store.get_messages("k", status=None)) == [f"m{n}" for n in range(5)]
        assert texts(await store.archive_oldest_messages("k", 9)) == ["m3", "m4"]
        assert await store.archive_oldest_messages("k", 9) == []

    @pytest.mark.asyncio
    async def test_the_oldest_are_deleted_for_good(self, store: AsyncDBChatStore) -> None:
        await self.filled(store, 3)
        assert texts(await store.delete_oldest_messages("k", 2)) == ["m0", "m1"]
        assert texts(await store.get_messages("k", status=None)) == ["m2"]
        assert await store.delete_oldest_messages("other", 2) == []

    @pytest.mark.asyncio
    async def test_deleting_by_status_leaves_the_other(self, store: AsyncDBChatStore) -> None:
        await self.filled(store, 3)
        await store.archive_oldest_messages("k", 1)
        await store.delete_messages("k", status=ACTIVE)
        assert texts(await store.get_messages("k", status=None)) == ["m0"]
        await store.delete_messages("k")
        assert await store.get_messages("k", status=None) == []

    @pytest.mark.asyncio
    async def test_conversations_are_apart(self, store: AsyncDBChatStore) -> None:
        for key in ("a", "a/b", "a%2Fb", "ä"):
            await store.add_message(key, said(key))
        await store.delete_messages("a")
        assert sorted(await store.get_keys()) == sorted(["a/b", "a%2Fb", "ä"])
        assert texts(await store.get_messages("a/b")) == ["a/b"]

    @pytest.mark.asyncio
    async def test_an_archived_message_can_be_added(self, store: AsyncDBChatStore) -> None:
        await store.add_message("k", said("old"), status=ARCHIVED)
        await store.add_message("k", said("new"))
        assert texts(await store.get_messages("k")) == ["new"]
        assert texts(await store.get_messages("k", status=None)) == ["old", "new"]

    @pytest.mark.asyncio
    async def test_tasks_lose_nothing(self, store: AsyncDBChatStore) -> None:
        await store.add_message("k", said("first"))
        await asyncio.gather(*(store.add_message("k", said(f"{n}")) for n in range(40)))
        found = texts(await store.get_messages("k"))
        assert found[0] == "first"
        assert sorted(found[1:], key=str) == sorted((f"{n}" for n in range(40)), key=str)
