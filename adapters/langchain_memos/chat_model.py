"""A local model as a LangChain chat model that has memory for its context, and not to read again.

Called by chains and agents, calls ``MOS.activated``: the memories of whoever asks stand before the
conversation, from a KV-cache where they were computed before. Or ``MOS.adapted``: what was learnt
of them answers from the weights.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ToolMessage,
)
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field

from langchain_memos.asker import Asker, asker_of
from langchain_memos.local_tools import Said, read
from langchain_memos.local_turns import turns_of
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.activation.generation import Pieces, generate
from memos_integrations.interface.activation_verbs import Activated
from memos_integrations.interface.local_prompt import LocalPrompt, adapted_prompt, of_cache
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.one_thread import in_one_thread
from memos_integrations.interface.scope import CubeName


class MemOSChatModel(BaseChatModel):
    """A transformers model with chat template, answering over the memories of whoever asks.

    ``cube`` names whose memories; without one it is the asker's own cube (``user_id`` and
    ``agent_id`` of the run, or ``user`` and ``agent`` here). ``usage_metadata`` counts the tokens
    that came from the cache as ``cache_read``. Tools are told and called in the form of the Hermes
    models. With ``keep_turns`` a thread (``thread_id`` of the run) goes on where its last turn
    ended; what it has written to memory itself is left out then, as its turns are in the prompt.

    ``parametric`` is the name under which the model is hosted (``MOS.host_model``): for each call
    the memories found for the last question then decide whether an adapter that has learnt them
    answers, they stand in the prompt as text, or the base answers alone. ``response_metadata`` says
    which (``memory_form``, ``memory_adapter``, ``memory_why``) and which memories were text.

    Needs the extra ``activation``, or ``parametric``. Raises what ``MOS.activated`` raises, or
    ``MOS.adapted``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    mos: MOS
    model: Any
    tokenizer: Any
    user: str | None = None
    agent: str | None = None
    cube: CubeName | Sequence[CubeName] | None = None
    keep_turns: bool = False
    parametric: str | None = None
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

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with these tools. Raises ``InvalidInput`` where it must call one: it may."""
        if tool_choice not in (None, "auto"):
            raise InvalidInput("a local model chooses by itself whether it calls a tool")
        return self.bind(tools=[convert_to_openai_tool(each) for each in tools], **kwargs)

    def prefill(
        self,
        messages: Sequence[BaseMessage],
        config: RunnableConfig | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        """Compute what a call with these messages and a tool's answer behind them begins with.

        For the time in which the tool runs. Returns how many tokens are ready; what the call finds
        is never wrong, as what it needs is compared with what is there.
        """
        if self.parametric is not None:  # which memories, is known when it is asked
            return 0
        waiting = [*messages, ToolMessage("", tool_call_id="")]
        with self._activated(waiting, self._asker(config), tools) as given:
            return given.cached_tokens + given.computed_tokens

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        asker: Asker | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        **kwargs: Any,
    ) -> ChatResult:
        with self._prompted(messages, asker or self._asker(None), tools) as given:
            done = generate(given.model, self.tokenizer, given.inputs, self._options(stop, kwargs))
            given.keep(done.ids)
        said = read(done.text) if tools else Said(done.text)
        message = said.message(
            usage_metadata=_usage(given, len(done.ids)), response_metadata=given.told
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        asker: Asker | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if tools:  # whether a tool is called is known at the end only
            done = self._generate(messages, stop, None, asker=asker, tools=tools, **kwargs)
            yield _whole(done, run_manager)
            return
        who, options = asker or self._asker(None), self._options(stop, kwargs)
        said = self._said(messages, who, options)
        if self.parametric is not None:  # a hosted model is held by one thread
            said = in_one_thread(lambda: self._said(messages, who, options))
        with closing(said):
            for chunk in said:
                if run_manager is not None and chunk.text:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _said(
        self, messages: Sequence[BaseMessage], who: Asker, options: Mapping[str, Any]
    ) -> Generator[ChatGenerationChunk]:
        """The answer piece by piece; the last chunk tells of the call."""
        with (
            self._prompted(messages, who, ()) as given,
            closing(Pieces(given.model, self.tokenizer, given.inputs, options)) as said,
        ):
            for piece in said:
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
            given.keep(said.ids)
        usage = _usage(given, len(said.ids))
        last = AIMessageChunk(content="", usage_metadata=usage, response_metadata=given.told)
        yield ChatGenerationChunk(message=last)

    @contextmanager
    def _prompted(
        self, messages: Sequence[BaseMessage], who: Asker, tools: Sequence[Mapping[str, Any]]
    ) -> Generator[LocalPrompt]:
        if self.parametric is None:
            with self._activated(messages, who, tools) as given:
                yield of_cache(self.model, given)
            return
        turns = turns_of(messages, tools=tools, tokenizer=self.tokenizer)
        with adapted_prompt(
            self.mos,
            self.parametric,
            turns,
            asker=who,
            cube=self.cube,
            conversation=who.thread if self.keep_turns else None,
        ) as prompted:
            yield prompted

    def _activated(
        self, messages: Sequence[BaseMessage], who: Asker, tools: Sequence[Mapping[str, Any]]
    ) -> AbstractContextManager[Activated]:
        thread = who.thread if self.keep_turns else None
        return self.mos.activated(
            self.model,
            self.tokenizer,
            query=turns_of(messages, tools=tools, tokenizer=self.tokenizer),
            cube=self.cube,
            filter=None if thread is None else {"conversation": {"!=": thread}},
            conversation=thread,
            **who.keywords(),
        )

    def _options(self, stop: list[str] | None, given: dict[str, Any]) -> dict[str, Any]:
        options = {"max_new_tokens": self.max_new_tokens, **self.options, **given}
        if stop:
            options |= {"stop_strings": stop, "tokenizer": self.tokenizer}
        return options


def _whole(done: ChatResult, run_manager: CallbackManagerForLLMRun | None) -> ChatGenerationChunk:
    """An answer as the only chunk of its stream."""
    message = done.generations[0].message
    chunk = ChatGenerationChunk(message=AIMessageChunk(**message.model_dump(exclude={"type"})))
    if run_manager is not None:
        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
    return chunk


def _usage(given: LocalPrompt, answered: int) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=given.prompt_tokens,
        output_tokens=answered,
        total_tokens=given.prompt_tokens + answered,
        input_token_details=InputTokenDetails(
            cache_read=given.cached_tokens, cache_creation=given.computed_tokens
        ),
    )
