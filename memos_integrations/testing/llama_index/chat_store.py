"""The contract of a ``BaseChatStore``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.storage.chat_store.base import BaseChatStore

from memos_integrations.testing.llama_index.halves import HALVES, Half, Through, at_once

_ASYNC_NAMES: Final = {"add_message": "async_add_message"}


def said(text: str, role: MessageRole = MessageRole.USER) -> ChatMessage:
    """A message of plain text."""
    return ChatMessage(role=role, content=text)


def rich_messages() -> list[ChatMessage]:
    """Messages with everything a conversation with tools and pictures has."""
    call = ToolCallBlock(tool_call_id="c1", tool_name="search", tool_kwargs={"q": ["a", 1, None]})
    return [
        said("naïve 我喜欢 🎉\n\n  spaces  "),
        ChatMessage(role=MessageRole.ASSISTANT, blocks=[ThinkingBlock(content="hm"), call]),
        ChatMessage(
            role=MessageRole.TOOL,
            content="42",
            additional_kwargs={"tool_call_id": "c1", "nested": {"deep": [1.5, True]}},
        ),
        ChatMessage(
            role=MessageRole.USER,
            blocks=[TextBlock(text="see"), ImageBlock(url="https://example.com/a.png")],
        ),
        said("", MessageRole.ASSISTANT),
        said("be brief", MessageRole.SYSTEM),
    ]


class ChatStoreTests(ABC):
    """Inherit, write ``make``, and name the class ``Test...``."""

    @abstractmethod
    def make(self) -> BaseChatStore:
        """A new, empty store."""

    @pytest.fixture
    def inner(self) -> BaseChatStore:
        return self.make()

    @pytest.fixture(params=HALVES)
    def store(self, request: pytest.FixtureRequest, inner: BaseChatStore) -> Through:
        half: Half = request.param
        return Through(inner, half, _ASYNC_NAMES)

    def test_messages_come_back_in_the_order_in_which_they_were_added(self, store: Through) -> None:
        messages = [said(f"message {n}") for n in range(30)]
        for message in messages:
            store.add_message("user1", message)
        assert store.get_messages("user1") == messages

    def test_everything_in_a_message_comes_back(self, store: Through) -> None:
        for message in rich_messages():
            store.add_message("user1", message)
        assert store.get_messages("user1") == rich_messages()
        store.set_messages("user2", rich_messages())
        assert store.get_messages("user2") == rich_messages()

    def test_an_unknown_conversation_is_empty(self, store: Through) -> None:
        assert store.get_messages("nobody") == []
        assert store.delete_messages("nobody") is None
        assert store.delete_message("nobody", 0) is None
        assert store.delete_last_message("nobody") is None
        assert store.get_keys() == []

    def test_conversations_are_apart_also_where_names_look_alike(self, store: Through) -> None:
        keys = ["a", "a/b", "a%2Fb", "A", "a/", "ä", "a'b", "_", "%", "a b"]
        for key in keys:
            store.add_message(key, said(f"in {key}"))
        for key in keys:
            assert store.get_messages(key) == [said(f"in {key}")], key
        assert sorted(store.get_keys()) == sorted(keys)
        store.delete_messages("a")
        assert sorted(store.get_keys()) == sorted(keys[1:])
        assert store.get_messages("a/b") == [said("in a/b")]

    @pytest.mark.parametrize("idx", [0, 1, 2, -1])
    def test_a_message_can_be_put_at_a_place(self, store: Through, idx: int) -> None:
        expected = [said("a"), said("b")]
        for message in expected:
            store.add_message("user1", message)
        store.add_message("user1", said("new"), idx=idx)
        expected.insert(idx, said("new"))
        assert store.get_messages("user1") == expected

    def test_setting_replaces_what_was_there(self, store: Through) -> None:
        store.add_message("user1", said("old"))
        store.set_messages("user1", [said("x"), said("y")])
        store.add_message("user1", said("z"))
        assert store.get_messages("user1") == [said("x"), said("y"), said("z")]
        store.set_messages("user1", [])
        assert store.get_messages("user1") == []

    def test_deleting_a_conversation_gives_back_what_it_held(self, store: Through) -> None:
        store.set_messages("user1", [said("a"), said("b")])
        store.set_messages("user2", [said("c")])
        assert store.delete_messages("user1") == [said("a"), said("b")]
        assert store.get_messages("user1") == []
        assert store.get_messages("user2") == [said("c")]

    @pytest.mark.parametrize(("idx", "left"), [(0, ["b", "c"]), (1, ["a", "c"]), (-1, ["a", "b"])])
    def test_one_message_is_deleted_by_its_place(
        self, store: Through, idx: int, left: list[str]
    ) -> None:
        store.set_messages("user1", [said("a"), said("b"), said("c")])
        assert store.delete_message("user1", idx) == said("abc"[idx])
        assert store.get_messages("user1") == [said(text) for text in left]

    @pytest.mark.parametrize("idx", [1, 7, -2, -9])
    def test_a_place_without_a_message_deletes_nothing(self, store: Through, idx: int) -> None:
        store.add_message("user1", said("a"))
        assert store.delete_message("user1", idx) is None
        assert store.get_messages("user1") == [said("a")]

    def test_the_last_message_is_taken_back(self, store: Through) -> None:
        store.set_messages("user1", [said("a"), said("b")])
        assert store.delete_last_message("user1") == said("b")
        assert store.delete_last_message("user1") == said("a")
        assert store.delete_last_message("user1") is None

    def test_what_is_given_back_is_a_copy(self, store: Through) -> None:
        message = said("a")
        store.add_message("user1", message)
        message.blocks.append(TextBlock(text="later"))
        store.get_messages("user1")[0].additional_kwargs["x"] = 1
        store.get_messages("user1").append(said("b"))
        assert store.get_messages("user1") == [said("a")]

    def test_the_list_that_was_set_is_copied(self, store: Through) -> None:
        given = [said("a")]
        store.set_messages("user1", given)
        given.append(said("b"))
        assert store.get_messages("user1") == [said("a")]

    def test_what_json_cannot_carry_is_refused_and_nothing_lost(self, store: Through) -> None:
        store.add_message("user1", said("a"))
        bad = ChatMessage(role="user", content="b", additional_kwargs={"x": object()})
        with pytest.raises((TypeError, ValueError)):
            store.add_message("user1", bad)
        with pytest.raises((TypeError, ValueError)):
            store.set_messages("user1", [said("c"), bad])
        assert store.get_messages("user1") == [said("a")]

    def test_threads_lose_nothing(self, inner: BaseChatStore) -> None:
        def add(n: int) -> None:
            inner.add_message("user1", said(f"{n}"))

        at_once(add, 48)
        found = sorted(int(m.content or "") for m in inner.get_messages("user1"))
        assert found == list(range(48))
