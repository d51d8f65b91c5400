"""The contract of a ``BaseMemory`` that an agent talks to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock
from llama_index.core.memory.types import BaseMemory

from memos_integrations.testing.llama_index.chat_store import rich_messages, said
from memos_integrations.testing.llama_index.halves import HALVES, Half, Through, at_once

USER, ASSISTANT, TOOL = MessageRole.USER, MessageRole.ASSISTANT, MessageRole.TOOL


def words(text: str) -> list[str]:
    """The tokenizer of the suite: a token is a word."""
    return text.split()


def conversation(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The messages without what a memory put in front of them."""
    return [m for m in messages if m.role is not MessageRole.SYSTEM]


class MemoryTests(ABC):
    """Inherit, write ``make``, and name the class ``Test...``.

    ``get`` may put system messages in front of the conversation; ``get_all`` may not.
    """

    @abstractmethod
    def make(self, session_id: str, *, token_limit: int = 3_000) -> BaseMemory:
        """The memory of this session, with ``words`` as its tokenizer; equal names, one history."""

    @pytest.fixture
    def inner(self) -> BaseMemory:
        return self.make("s1")

    @pytest.fixture(params=HALVES)
    def half(self, request: pytest.FixtureRequest) -> Half:
        half: Half = request.param
        return half

    @pytest.fixture
    def memory(self, half: Half, inner: BaseMemory) -> Through:
        return Through(inner, half)

    def test_an_empty_memory_has_nothing_to_say(self, memory: Through) -> None:
        assert memory.get() == []
        assert memory.get("a question") == []
        assert memory.get_all() == []

    def test_messages_come_back_in_order(self, memory: Through) -> None:
        messages = [said(f"m{n}", (USER, ASSISTANT)[n % 2]) for n in range(12)]
        for message in messages:
            memory.put(message)
        assert memory.get_all() == messages
        assert conversation(memory.get()) == messages
        assert conversation(memory.get("an input is not put")) == messages
        assert memory.get_all() == messages

    def test_several_are_put_at_once(self, memory: Through) -> None:
        memory.put_messages([said("a"), said("b", ASSISTANT)])
        memory.put_messages([])
        assert memory.get_all() == [said("a"), said("b", ASSISTANT)]

    def test_everything_in_a_message_comes_back(self, memory: Through) -> None:
        memory.put_messages(rich_messages())
        assert memory.get_all() == rich_messages()

    def test_setting_replaces_the_history(self, memory: Through) -> None:
        memory.put(said("old"))
        memory.set([said("a"), said("b", ASSISTANT)])
        memory.put(said("c"))
        assert [m.content for m in memory.get_all()] == ["a", "b", "c"]
        memory.set([])
        assert memory.get_all() == []

    def test_a_reset_ends_the_history(self, memory: Through) -> None:
        memory.put_messages([said("a"), said("b", ASSISTANT)])
        memory.reset()
        assert memory.get_all() == []
        memory.put(said("c"))
        assert memory.get_all() == [said("c")]

    def test_what_is_given_and_given_back_are_copies(self, memory: Through) -> None:
        message = said("a")
        memory.put(message)
        message.blocks.append(TextBlock(text="later"))
        for read in (memory.get, memory.get_all):
            read()[-1].blocks.append(TextBlock(text="changed"))
            read()[-1].additional_kwargs["x"] = 1
            read().append(said("b"))
        assert memory.get_all() == [said("a")]
        assert conversation(memory.get()) == [said("a")]

    def test_sessions_have_histories_of_their_own(self, half: Half) -> None:
        one, two = (Through(self.make(name), half) for name in ("s1", "s2"))
        one.put(said("in one"))
        two.put(said("in two"))
        assert (one.get_all(), two.get_all()) == ([said("in one")], [said("in two")])
        two.reset()
        assert one.get_all() == [said("in one")]

    def test_the_newest_fit_into_the_limit_and_begin_with_a_person(self, half: Half) -> None:
        memory = Through(self.make("s1", token_limit=100), half)
        for n in range(20):
            memory.put(said(f"question {n} " + "x " * 8))
            memory.put(said(f"answer {n} " + "y " * 8, ASSISTANT))
        shown = memory.get()
        assert sum(len(words(m.content or "")) for m in shown) <= 100
        told = conversation(shown)
        assert told[0].role is USER
        assert (told[-1].content or "").startswith("answer 19")
        assert len(told) >= 2

    def test_the_last_turn_stays_whole_however_long_it_is(self, half: Half) -> None:
        memory = Through(self.make("s1", token_limit=60), half)
        call = ToolCallBlock(tool_call_id="c1", tool_name="t", tool_kwargs={})
        memory.put_messages([said("before"), said("yes", ASSISTANT)])
        memory.put_messages(
            [
                said("x " * 50),
                ChatMessage(role=ASSISTANT, blocks=[call]),
                ChatMessage(role=TOOL, content="y " * 50, additional_kwargs={"tool_call_id": "c1"}),
            ]
        )
        told = conversation(memory.get())
        assert [m.role for m in told] == [USER, ASSISTANT, TOOL]

    def test_no_tool_result_stands_without_its_call(self, half: Half) -> None:
        memory = Through(self.make("s1", token_limit=80), half)
        for n in range(6):
            call = ToolCallBlock(tool_call_id=f"c{n}", tool_name="t", tool_kwargs={})
            memory.put_messages(
                [
                    said("x " * 10),
                    ChatMessage(role=ASSISTANT, blocks=[call]),
                    ChatMessage(
                        role=TOOL, content="y " * 10, additional_kwargs={"tool_call_id": f"c{n}"}
                    ),
                    said("z " * 5, ASSISTANT),
                ]
            )
            told = conversation(memory.get())
            assert told[0].role is USER
            for before, after in pairwise(told):
                assert after.role is not TOOL or before.role in (ASSISTANT, TOOL)

    def test_nothing_is_lost_by_what_does_not_fit(self, half: Half) -> None:
        memory = Through(self.make("s1", token_limit=40), half)
        messages = [said(f"m{n} " + "x " * 10, (USER, ASSISTANT)[n % 2]) for n in range(10)]
        for message in messages:
            memory.put(message)
        memory.get()
        assert memory.get_all() == messages

    def test_a_bad_message_is_refused_and_nothing_lost(self, memory: Through) -> None:
        memory.put(said("a"))
        bad = ChatMessage(role="user", content="b", additional_kwargs={"x": object()})
        with pytest.raises((TypeError, ValueError)):
            memory.put_messages([said("c"), bad])
        assert memory.get_all() == [said("a")]

    def test_threads_lose_nothing(self, inner: BaseMemory) -> None:
        def put(n: int) -> None:
            inner.put(said(f"{n}"))

        at_once(put, 24)
        assert sorted(int(m.content or "") for m in inner.get_all()) == list(range(24))
