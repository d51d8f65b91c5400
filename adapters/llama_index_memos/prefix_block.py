"""Memory for LlamaIndex with a model served elsewhere: the same bytes first, and who shares them.

``Memory.from_defaults(memory_blocks=[MemOSPrefixBlock(mos, user="ann")])``
"""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory.memory import BaseMemoryBlock
from pydantic import Field, PrivateAttr

from llama_index_memos.asker import checked
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.served_prompt import (
    Provider,
    SharedBy,
    checked_provider,
    request_options,
)


class MemOSPrefixBlock(BaseMemoryBlock[str]):
    """Trusted, lasting memories, the same bytes in every turn, new ones behind the others.

    Put it first among the blocks; it is never cut shorter, ``budget_tokens`` bounds it. What fits a
    question comes from a ``MemOSMemoryBlock`` behind it. What is said is not remembered here.
    """

    name: str = "memos_prefix"
    priority: int = 0
    budget_tokens: int = Field(default=4_000, gt=0)
    user: str | None = None
    agent: str | None = None
    cube: str | None = None
    _mos: MOS = PrivateAttr()

    def __init__(
        self,
        mos: MOS,
        *,
        name: str = "memos_prefix",
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        budget_tokens: int = 4_000,
    ) -> None:
        scope: dict[str, Any] = {"user": user, "agent": agent, "cube": cube}
        told: dict[str, Any] = {"name": name, "priority": 0, "budget_tokens": budget_tokens}
        super().__init__(**told, **scope)
        self._mos = checked(mos)

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        """The memories as text; empty where there are none."""
        return await asyncio.to_thread(self._text)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        """Nothing: what leaves the queue is another block's to remember."""

    def _text(self) -> str:
        prefix = self._mos.stable_prefix(
            user=self.user,
            agent=self.agent,
            cube=self.cube,
            budget_tokens=self.budget_tokens,
        )
        return prefix.text


def served_options(
    mos: MOS,
    provider: Provider,
    *,
    user: str | None = None,
    agent: str | None = None,
    shared_by: SharedBy = "asker",
) -> dict[str, Any]:
    """What a served LLM takes as ``additional_kwargs``, so that only who may shares its cache.

    For ``"openai"`` a ``prompt_cache_key``, for ``"vllm"`` a ``cache_salt``, for ``"anthropic"``
    nothing. An LLM with these is that asker's. Raises ``UsageError`` for another provider.
    """
    prefix = checked(mos).stable_prefix(user=user, agent=agent, budget_tokens=1)
    return request_options(checked_provider(provider), prefix.salts[shared_by])
