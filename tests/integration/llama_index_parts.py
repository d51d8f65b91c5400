"""Deterministic models for the LlamaIndex tests: an embedding of words, and scripted answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.llms import MockFunctionCallingLLM

DIM = 128
_WORD = re.compile(r"\w+")


class WordEmbedding(BaseEmbedding):
    """How often each word occurs, hashed into a few numbers: texts that share words are near."""

    def _get_text_embedding(self, text: str) -> list[float]:
        vector = [0.01] * DIM
        for word in _WORD.findall(text.lower()):
            vector[hashlib.sha256(word.encode()).digest()[0] % DIM] += 1.0
        return vector

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


class Script:
    """Answers one after another, and keeps what the model was asked."""

    def __init__(self, *answers: ChatMessage | Callable[[Sequence[ChatMessage]], ChatMessage]):
        self._answers = list(answers)
        self.asked: list[list[ChatMessage]] = []

    def __call__(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatMessage:
        self.asked.append([m.model_copy(deep=True) for m in messages])
        answer = self._answers.pop(0)
        return answer if isinstance(answer, ChatMessage) else answer(messages)

    def llm(self) -> MockFunctionCallingLLM:
        return MockFunctionCallingLLM(response_generator=self, is_chat_model=True)

    def seen(self, call: int) -> str:
        """All words the model read in one call."""
        return "\n".join(m.content or "" for m in self.asked[call])


def says(text: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text=text)])


def calls(tool: str, **arguments: Any) -> ChatMessage:
    block = ToolCallBlock(tool_call_id=f"call {tool}", tool_name=tool, tool_kwargs=arguments)
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])
