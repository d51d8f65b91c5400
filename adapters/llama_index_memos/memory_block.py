"""A block of LlamaIndex's ``Memory`` that is backed by a ``MOS``.

``Memory.from_defaults(memory_blocks=[MemOSMemoryBlock(mos, user="ann")])``
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.memory.memory import BaseMemoryBlock
from pydantic import Field, PrivateAttr

from llama_index_memos.asker import Room, checked, in_a_cube
from llama_index_memos.messages import Count, asked, words_of
from llama_index_memos.recalling import Recalling
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.tokens import EstimatedTokens

_ENTRY, _QUOTED = "- ", "  "
"""How a memory begins in a block, and how a line of it goes on; all else is a heading."""
_SAID = {MessageRole.USER: "user", MessageRole.ASSISTANT: "assistant"}


class MemOSMemoryBlock(BaseMemoryBlock[str]):
    """Recalls what fits the last thing a person said, and remembers what leaves the queue.

    It recalls from every session of the user; a session is noted on what it remembers and never
    narrows what later ones recall. Cut shorter, it loses its least fitting lines first.
    """

    name: str = "memos"
    priority: int = 1
    budget_tokens: int = Field(default=1_000, gt=0)
    user: str | None = None
    agent: str | None = None
    cube: str | None = None
    _mos: MOS = PrivateAttr()
    _recalling: Recalling = PrivateAttr()
    _count: Count = PrivateAttr()

    def __init__(
        self,
        mos: MOS,
        *,
        name: str = "memos",
        priority: int = 1,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        budget_tokens: int = 1_000,
        tokenizer_fn: Callable[[str], Sequence[Any]] | None = None,
        **fields: Any,
    ) -> None:
        asker = Room(user, agent)
        checked(mos)
        if cube is not None:
            asker = in_a_cube(mos, "memory", user=user, agent=agent, cube=cube)
        told: dict[str, Any] = {"name": name, "priority": priority, "budget_tokens": budget_tokens}
        scope: dict[str, Any] = {"user": user, "agent": agent, "cube": cube}
        super().__init__(**told, **scope, **fields)
        self._mos = mos
        self._recalling = Recalling(mos, asker)
        self._count = EstimatedTokens().count
        if tokenizer_fn is not None:
            tokenize = tokenizer_fn
            self._count = lambda text: len(tokenize(text))

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        """The memories that fit, as text; empty where there are none. One retrieval a turn."""
        said = messages or []
        turn = (block_kwargs.get("session_id"), _turns(said))
        return await asyncio.to_thread(
            self._recalling.block, asked(said), turn=turn, budget_tokens=self.budget_tokens
        )

    async def _aput(self, messages: list[ChatMessage]) -> None:
        """Remember what was said in these messages."""
        await asyncio.to_thread(self._remember, messages)

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """The content without at least so many tokens, whole memories, the best ones kept.

        A heading goes with the last memory under it. ``None`` where nothing is left.
        """
        left = self._count(content) - max(tokens_to_truncate, 0)
        lines = content.splitlines()
        while lines and self._count("\n".join(lines)) > left:
            while lines and not lines.pop().startswith(_ENTRY):
                pass
            while lines and not lines[-1].startswith((_ENTRY, _QUOTED)):
                lines.pop()
        return "\n".join(lines) or None

    def _remember(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            words, role = words_of(message), _SAID.get(message.role)
            if role is None or not words:
                continue
            session = message.additional_kwargs.get("session_id")
            self._mos.add(
                {"role": role, "content": words},
                user=self.user,
                agent=self.agent,
                cube=self.cube,
                session=session if isinstance(session, str) else None,
            )


def _turns(messages: Sequence[ChatMessage]) -> int:
    """How often a person spoke. An agent's input stands twice: put already, and given again."""
    said = [words_of(m) for m in messages if m.role is MessageRole.USER]
    return sum(1 for n, words in enumerate(said) if n == 0 or words != said[n - 1])
