"""A local model as a LlamaIndex LLM that has memory for its context, and not to read again.

Called by query engines and agents, calls ``MOS.activated``: the memories of whoever it was made
for stand before the question, from a KV-cache where they were computed before.
"""

# LlamaIndex's decorators for callbacks are not typed.
# pyright: reportUntypedFunctionDecorator=false

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Final

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
from pydantic import Field, PrivateAttr

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.activation.generation import Pieces, generate
from memos_integrations.interface.activation_verbs import Activated
from memos_integrations.interface.asker import Asker
from memos_integrations.interface.harmless_turns import harmless_turns
from memos_integrations.interface.local_prompt import LocalPrompt, adapted_prompt, of_cache
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.one_thread import in_one_thread
from memos_integrations.interface.scope import CubeName
from memos_integrations.operation.transform.prompt import Question, Turn

_ROLES: Final = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}


class MemOSLLM(CustomLLM):
    """A transformers model that answers over the memories of ``user`` or ``agent``.

    ``cube`` names whose memories; without one it is their own cube. ``conversation`` names the one
    that ``chat`` leads: it goes on where its last turn ended, and what it has written to memory
    itself is left out, as its turns are in the prompt. ``additional_kwargs`` of an answer counts
    the prompt's tokens and those that came from the cache.

    ``parametric`` is the name under which the model is hosted (``MOS.host_model``): for each call
    the memories found for the last question then decide whether an adapter that has learnt them
    answers, they stand in the prompt as text, or the base answers alone. ``additional_kwargs`` says
    which (``memory_form``, ``memory_adapter``, ``memory_why``) and which memories were text.

    Needs the extra ``activation``, or ``parametric``. Raises what ``MOS.activated`` raises, or
    ``MOS.adapted``.
    """

    max_new_tokens: int = Field(default=256, ge=1)
    context_window: int = Field(default=8_192, ge=1)
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Further ones of ``model.generate``, such as ``temperature``."""

    _mos: MOS = PrivateAttr()
    _model: Any = PrivateAttr()
    _tokenizer: Any = PrivateAttr()
    _asker: Asker = PrivateAttr()
    _cube: CubeName | Sequence[CubeName] | None = PrivateAttr()
    _conversation: str | None = PrivateAttr()
    _parametric: str | None = PrivateAttr()

    def __init__(
        self,
        mos: MOS,
        model: Any,
        tokenizer: Any,
        *,
        user: str | None = None,
        agent: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        conversation: str | None = None,
        parametric: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._mos, self._model, self._tokenizer = mos, model, tokenizer
        self._asker, self._cube = Asker(user, agent), cube
        self._conversation, self._parametric = conversation, parametric

    @classmethod
    def class_name(cls) -> str:
        return "MemOSLLM"

    @property
    def metadata(self) -> LLMMetadata:
        name = getattr(self._model.config, "_name_or_path", "") or type(self._model).__name__
        return LLMMetadata(
            context_window=self.context_window,
            num_output=self.max_new_tokens,
            is_chat_model=bool(getattr(self._tokenizer, "chat_template", None)),
            model_name=name,
        )

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The answer to a prompt that stands behind the memories."""
        text, told = self._answer(self._asked(prompt), kwargs)
        return CompletionResponse(text=text, additional_kwargs=told)

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """The same, piece by piece."""
        return (
            CompletionResponse(text=text, delta=piece, additional_kwargs=told)
            for text, piece, told in self._pieces(self._asked(prompt), kwargs)
        )

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The answer to a conversation that stands behind the memories."""
        text, told = self._answer(_turns(messages, self._tokenizer), kwargs)
        return ChatResponse(message=_assistant(text), additional_kwargs=told)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """The same, piece by piece."""
        return (
            ChatResponse(message=_assistant(text), delta=piece, additional_kwargs=told)
            for text, piece, told in self._pieces(_turns(messages, self._tokenizer), kwargs)
        )

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """As ``complete``, in a thread: a model at work must not hold up the event loop."""
        return await asyncio.to_thread(self.complete, prompt, formatted=formatted, **kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As ``chat``, in a thread."""
        return await asyncio.to_thread(self.chat, messages, **kwargs)

    def _asked(self, prompt: str) -> str:
        """A prompt that becomes a turn of the chat template must not end it."""
        if not getattr(self._tokenizer, "chat_template", None):
            return prompt
        [turn] = harmless_turns([Turn(role="user", content=prompt)], self._tokenizer)
        return turn["content"]

    def _answer(self, asked: Question, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        with self._prompted(asked) as prompt:
            done = generate(prompt.model, self._tokenizer, prompt.inputs, self._options(given))
            prompt.keep(done.ids)
        return done.text, _told(prompt)

    def _pieces(
        self, asked: Question, given: dict[str, Any]
    ) -> Generator[tuple[str, str, dict[str, Any]]]:
        if self._parametric is None:
            return self._said(asked, given)
        return in_one_thread(lambda: self._said(asked, given))  # a hosted model is held by one

    def _said(
        self, asked: Question, given: dict[str, Any]
    ) -> Generator[tuple[str, str, dict[str, Any]]]:
        text, options = "", self._options(given)
        with (
            self._prompted(asked) as prompt,
            closing(Pieces(prompt.model, self._tokenizer, prompt.inputs, options)) as said,
        ):
            told = _told(prompt)
            for piece in said:
                text += piece
                yield text, piece, told
            prompt.keep(said.ids)

    @contextmanager
    def _prompted(self, asked: Question) -> Generator[LocalPrompt]:
        if self._parametric is None:
            with self._activated(asked) as given:
                yield of_cache(self._model, given)
            return
        with adapted_prompt(
            self._mos,
            self._parametric,
            asked,
            asker=self._asker,
            cube=self._cube,
            conversation=None if isinstance(asked, str) else self._conversation,
        ) as prompted:
            yield prompted

    def _activated(self, asked: Question) -> AbstractContextManager[Activated]:
        talk = None if isinstance(asked, str) else self._conversation
        return self._mos.activated(
            self._model,
            self._tokenizer,
            query=asked,
            user=self._asker.user,
            agent=self._asker.agent,
            cube=self._cube,
            filter=None if talk is None else {"conversation": {"!=": talk}},
            conversation=talk,
        )

    def _options(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"max_new_tokens": self.max_new_tokens, **self.options, **given}


def _turns(messages: Sequence[ChatMessage], tokenizer: Any) -> list[Turn]:
    said = [Turn(role=_role(each), content=each.content or "") for each in messages]
    return harmless_turns(said, tokenizer)


def _role(message: ChatMessage) -> str:
    if message.role not in _ROLES:
        raise InvalidInput(f"a local model takes no turn of role {message.role!r}")
    return _ROLES[message.role]


def _assistant(text: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.ASSISTANT, content=text)


def _told(prompt: LocalPrompt) -> dict[str, Any]:
    counted = {"prompt_tokens": prompt.prompt_tokens, "cached_tokens": prompt.cached_tokens}
    return {**counted, **prompt.told}
