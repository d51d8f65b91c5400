"""An agent's memory: this conversation exactly, and from all others what fits the question.

``agent.run("...", memory=MemOSMemory.from_defaults(mos, user="ann", session_id="s1"))``
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self
from uuid import uuid4

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.memory.memory import InsertMethod
from llama_index.core.memory.types import BaseMemory
from pydantic import Field, PrivateAttr

from llama_index_memos.asker import Room, in_a_cube
from llama_index_memos.chat_records import ChatRecords, Put
from llama_index_memos.messages import (
    Count,
    asked,
    at,
    remembered,
    to_bytes,
    tokens_of,
    words_of,
)
from llama_index_memos.recalling import Recalling
from llama_index_memos.window import window
from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.ids import clean_name
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.tokens import EstimatedTokens

DEFAULT_TOKEN_LIMIT = 30_000
DEFAULT_RECALL_TOKENS = 1_000


class MemOSMemory(BaseMemory):
    """The chat history of one session and the long memory of one user, in one ``MOS``.

    What people and the agent say is kept twice: exactly, as this session's history, and as
    memories, which every later session can recall. ``get`` gives the newest of the history and a
    block of memories under ``recall_tokens``; together they cost at most ``token_limit`` (but the
    last turn is always whole). Retrieval runs once a turn. ``reset`` ends the history; memories
    stay until they are deleted or erased. ``mos.erase(source="session:<session_id>", user=...)``
    takes both; with ``cube``, memories lie there and the history at home: erase in each.

    The block stands in the newest user message, before its words: LlamaIndex's ``ReActAgent``
    drops a leading system message unread. ``InsertMethod.SYSTEM`` puts it into one all the same.
    """

    session_id: str
    user: str | None = None
    agent: str | None = None
    cube: str | None = None
    token_limit: int = Field(default=DEFAULT_TOKEN_LIMIT, gt=0)
    recall_tokens: int = Field(default=DEFAULT_RECALL_TOKENS, ge=0)
    insert_method: InsertMethod = InsertMethod.USER
    _mos: MOS = PrivateAttr()
    _asker: Room = PrivateAttr()
    _chats: ChatRecords = PrivateAttr()
    _recalling: Recalling = PrivateAttr()
    _count: Count = PrivateAttr()

    def __init__(
        self,
        mos: MOS,
        *,
        session_id: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        token_limit: int = DEFAULT_TOKEN_LIMIT,
        recall_tokens: int = DEFAULT_RECALL_TOKENS,
        insert_method: InsertMethod = InsertMethod.USER,
        tokenizer_fn: Callable[[str], Sequence[Any]] | None = None,
    ) -> None:
        session = clean_name(str(uuid4()) if session_id is None else session_id, "session_id")
        asker = Room(user, agent)
        if cube is not None:
            asker = in_a_cube(mos, "memory", user=user, agent=agent, cube=cube)
        fields: dict[str, Any] = {
            **asker.of(),
            "session_id": session,
            "token_limit": token_limit,
            "recall_tokens": recall_tokens,
            "insert_method": insert_method,
        }
        fields.pop("session")
        super().__init__(**fields)
        self._mos, self._asker = mos, asker
        self._chats = ChatRecords(mos, user=user, agent=agent, name="memory")
        self._count = _counter(tokenizer_fn)
        self._recalling = Recalling(mos, asker)

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes into what it serialises."""
        return "MemOSMemory"

    @classmethod
    def from_defaults(
        cls, mos: MOS | None = None, *, chat_history: list[ChatMessage] | None = None, **kwargs: Any
    ) -> Self:
        """A memory whose session holds ``chat_history``, where one is given."""
        if mos is None:
            raise UsageError("a memory needs a MOS: MemOSMemory.from_defaults(mos, user=...)")
        made = cls(mos, **kwargs)
        if chat_history is not None:
            made.set(chat_history)
        return made

    def get(
        self,
        input: str | ChatMessage | None = None,  # noqa: A002  -- LlamaIndex's name
        initial_token_count: int = 0,
        **kwargs: Any,
    ) -> list[ChatMessage]:
        """The newest history under the token limit, with what memory recalls; as copies.

        ``input`` is what is asked where it was not put yet; ``initial_token_count`` is what the
        rest of the prompt costs. Raises ``UsageError`` where that alone exceeds the limit, and
        for arguments that mean nothing here.
        """
        if kwargs:
            raise UsageError(f"get knows no argument {sorted(kwargs)[0]!r}")
        limit = self.token_limit - initial_token_count
        if limit < 1:
            raise UsageError(f"initial_token_count {initial_token_count} leaves no token to use")
        puts = self._chats.messages(self.session_id)
        budget = min(self.recall_tokens, limit // 2)
        shown = window(puts, limit=limit - budget, cost=self._cost)
        query = _query(input, shown)
        block = self._recalled(query, shown, budget)
        return _with_memories(block, [put.message for put in shown], self._place(query, shown))

    def get_all(self) -> list[ChatMessage]:
        """The whole history of the session, as copies and without memories."""
        return [put.message for put in self._chats.messages(self.session_id)]

    def put(self, message: ChatMessage) -> None:
        """Keep a message as history and, if somebody said it, as a memory."""
        self.put_messages([message])

    def put_messages(self, messages: list[ChatMessage]) -> None:
        """As ``put``, for several. Raises ``InvalidInput`` for what cannot be stored; then none
        of them is."""
        placed = self._chats.placed(self.session_id, messages)
        self._remember(placed)
        self._chats.keep(self.session_id, placed)

    def set(self, messages: list[ChatMessage]) -> None:
        """This history in place of the session's; what is new in it is remembered."""
        known = [to_bytes(message) for message in self.get_all()]
        placed = self._chats.placed(self.session_id, messages)
        new: list[Put] = []
        for put in placed:
            written = to_bytes(put.message)
            if written in known:
                known.remove(written)
            else:
                new.append(put)
        self._remember(new)
        self._chats.replace(self.session_id, placed)

    def reset(self) -> None:
        """End the history of the session; its memories stay."""
        self._chats.clear(self.session_id)

    def _cost(self, message: ChatMessage) -> int:
        return tokens_of(message, self._count)

    def _remember(self, puts: Sequence[Put]) -> None:
        """Keep what was said as memories; what the agent said is derived from what it was shown,
        so that it goes stale or is erased with it."""
        with self._mos.pipeline(**self._asker.of(session=self.session_id)) as keeping:
            for put in puts:
                to_bytes(put.message)  # what cannot be history is no memory either
                said = remembered(put.message, nanos=put.nanos)
                if put.message.role is MessageRole.USER:
                    self._recalling.forget()
                if said is not None:
                    answers = said["role"] == "assistant"
                    sources = self._recalling.sources() if answers else []
                    keeping.add(said, derived_from=sources)

    def _recalled(self, query: str, shown: Sequence[Put], budget_tokens: int) -> str:
        """What memory says beside the messages that are shown anyway."""
        spoken = [put.key for put in shown if put.message.role is MessageRole.USER]
        where = None
        if shown:
            earlier = {"time": {"lt": at(shown[0].nanos)}}
            where = {"or": [{"not": {"conversation": self.session_id}}, earlier]}
        turn = (spoken[-1:], budget_tokens)
        return self._recalling.block(query, turn=turn, where=where, budget_tokens=budget_tokens)

    def _place(self, query: str, shown: Sequence[Put]) -> int | None:
        """The message the block goes into; ``None`` for one of its own in front."""
        if self.insert_method is InsertMethod.SYSTEM:
            places = [n for n, put in enumerate(shown) if put.message.role is MessageRole.SYSTEM]
            return places[0] if places else None
        places = [n for n, put in enumerate(shown) if put.message.role is MessageRole.USER]
        # What is asked and not put yet is no message here to go into.
        asked_here = bool(places) and words_of(shown[places[-1]].message) == query.strip()
        return places[-1] if asked_here else None


def _query(given: str | ChatMessage | None, shown: Sequence[Put]) -> str:
    said = given.content if isinstance(given, ChatMessage) else given
    return said or asked([put.message for put in shown])


def _counter(tokenize: Callable[[str], Sequence[Any]] | None) -> Count:
    if tokenize is None:
        return EstimatedTokens().count
    return lambda text: len(tokenize(text))


def _with_memories(block: str, messages: list[ChatMessage], place: int | None) -> list[ChatMessage]:
    """The block before the words of the message at that place, or in one of its own in front."""
    if not block:
        return messages
    told = TextBlock(text=block)
    if place is None:
        return [ChatMessage(role=MessageRole.SYSTEM, blocks=[told]), *messages]
    messages[place].blocks = [told, *messages[place].blocks]
    return messages
