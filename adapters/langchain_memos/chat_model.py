"""A local model as a LangChain chat model that has memory for its context, and not to read again.

Called by chains and agents, calls ``MOS.activated``: the memories of whoever asks stand before the
conversation, from a KV-cache where they were computed before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from pydantic import ConfigDict, Field

from langchain_memos.asker import Asker, asker_of
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.activation.generation import generate, pieces
from memos_integrations.interface.activation_verbs import Activated
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import CubeName
from memos_integrations.operation.transform.prompt import Turn

_ROLES: dict[type[BaseMessage], str] = {
    SystemMessage: "system",
    HumanMessage: "user",
    AIMessage: "assistant",
    ToolMessage: "tool",
}


class MemOSChatModel(BaseChatModel):
    """A transformers model with chat template, answering over the memories of whoever asks.

    ``cube`` names whose memories; without one it is the asker's own cube (``user_id`` and
    ``agent_id`` of the run, or ``user`` and ``agent`` here). ``usage_metadata`` counts the tokens
    that came from the cache as ``cache_read``. Needs the extra ``activation``. Raises what
    ``MOS.activated`` raises.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    mos: MOS
    model: Any
    tokenizer: Any
    user: str | None = None
    agent: str | None = None
    cube: CubeName | Sequence[CubeName] | None = None
    max_new_tokens: int = Field(default=256, ge=1)
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Further ones of ``model.generate``, such as ``temperature``."""

    @property
    def _llm_type(self) -> str:
        return "memos-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        name = getattr(self.model.config, "_name_or_path", "") or type(self.model).__name__
        return {"model_name": name, "max_new_tokens": self.max_new_tokens, **self.options}

    # A config tells who asks, and does not reach ``_generate``: so it is read here.

    def invoke(
        self,
        input: LanguageModelInput,  # noqa: A002  -- LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """The answer to a conversation; the config says who asks."""
        return super().invoke(input, config, **self._asking(config, kwargs))

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002  -- LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """As ``invoke``, in a thread."""
        return await super().ainvoke(input, config, **self._asking(config, kwargs))

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002  -- LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """The answer piece by piece; usage comes with the last one."""
        yield from super().stream(input, config, **self._asking(config, kwargs))

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002  -- LangChain's word
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """As ``stream``, in a thread."""
        async for chunk in super().astream(input, config, **self._asking(config, kwargs)):
            yield chunk

    def _asking(self, config: RunnableConfig | None, given: dict[str, Any]) -> dict[str, Any]:
        return {"asker": self._asker(config), **given}

    def _asker(self, config: RunnableConfig | None) -> Asker:
        return asker_of(ensure_config(config), bound=Asker(self.user, self.agent))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        asker: Asker | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        who = asker or self._asker(None)
        with self.mos.activated(
            self.model, self.tokenizer, query=turns_of(messages), cube=self.cube, **who.keywords()
        ) as given:
            done = generate(self.model, self.tokenizer, given.inputs, self._options(stop, kwargs))
        usage = _usage(given, done.tokens)
        message = AIMessage(done.text, usage_metadata=usage, response_metadata=_told(given))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        asker: Asker | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        who, text = asker or self._asker(None), ""
        with self.mos.activated(
            self.model, self.tokenizer, query=turns_of(messages), cube=self.cube, **who.keywords()
        ) as given:
            options = self._options(stop, kwargs)
            for piece in pieces(self.model, self.tokenizer, given.inputs, options):
                text += piece
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
                if run_manager is not None:
                    run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
        usage = _usage(given, len(self.tokenizer(text, add_special_tokens=False)["input_ids"]))
        yield ChatGenerationChunk(
            message=AIMessageChunk(content="", usage_metadata=usage, response_metadata=_told(given))
        )

    def _options(self, stop: list[str] | None, given: dict[str, Any]) -> dict[str, Any]:
        options = {"max_new_tokens": self.max_new_tokens, **self.options, **given}
        if stop:
            options |= {"stop_strings": stop, "tokenizer": self.tokenizer}
        return options


def turns_of(messages: Sequence[BaseMessage]) -> list[Turn]:
    """The conversation as chat templates take it. Raises ``InvalidInput`` for other kinds."""
    return [Turn(role=_role(each), content=str(each.text)) for each in messages]


def _role(message: BaseMessage) -> str:
    for kind, role in _ROLES.items():
        if isinstance(message, kind):
            return role
    raise InvalidInput(f"a local model takes no {type(message).__name__}")


def _usage(given: Activated, answered: int) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=given.prompt_tokens,
        output_tokens=answered,
        total_tokens=given.prompt_tokens + answered,
        input_token_details=InputTokenDetails(
            cache_read=given.cached_tokens, cache_creation=given.computed_tokens
        ),
    )


def _told(given: Activated) -> dict[str, Any]:
    return {"memory_ids": [item.id for item in given.items], "memory_cache": given.why}
