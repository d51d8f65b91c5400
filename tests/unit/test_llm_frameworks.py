"""Language models of LangChain, of LlamaIndex, and of one's own, taken by their methods."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core import globals as globals_of_langchain
from langchain_core.caches import InMemoryCache
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from memos_integrations.cube.errors import LLMUnavailable, UsageError
from memos_integrations.cube.ports import LLM, Completion, VisionModel
from memos_integrations.infrastructure.backends.llm.as_llm import as_llm, as_vision
from memos_integrations.infrastructure.backends.llm.langchain import LangChainLLM
from memos_integrations.infrastructure.backends.llm.llama_index import LlamaIndexLLM
from memos_integrations.infrastructure.backends.llm.openai_compatible import OpenAICompatible
from memos_integrations.testing.llm import ChatServer, Says, ScriptedLLM

SCHEMA = {"type": "object"}


class Provider(BaseChatModel):
    """A chat model as providers write them, that keeps what it was asked."""

    model_name: str = "provider/1"
    max_tokens: int | None = None
    refuses: type[Exception] | None = None
    reply: AIMessage = AIMessage("hello")
    error: Exception | None = None
    asked: list[tuple[list[BaseMessage], dict[str, Any]]]

    @property
    def _llm_type(self) -> str:
        return "provider"

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.asked.append((messages, kwargs))
        if self.error is not None:
            raise self.error
        if self.refuses is not None and "response_format" in kwargs:
            raise self.refuses("response_format: sk-secret")
        return ChatResult(generations=[ChatGeneration(message=self.reply)])


class StatusError(Exception):
    def __init__(self, text: str, status: int = 400, retry_after: str | None = None) -> None:
        super().__init__(text)
        headers = {} if retry_after is None else {"retry-after": retry_after}
        self.response = type("Response", (), {"status_code": status, "headers": headers})()


def chat(*messages: AIMessage) -> GenericFakeChatModel:
    def said() -> Iterator[AIMessage]:
        yield from messages

    return GenericFakeChatModel(messages=said())


def test_a_langchain_model_answers_with_its_tokens_and_says_when_it_was_cut_off() -> None:
    whole = AIMessage(
        "hello",
        usage_metadata={"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
        response_metadata={"finish_reason": "stop"},
    )
    cut = [
        AIMessage("half", response_metadata={key: value})
        for key, value in (
            ("finish_reason", "length"),
            ("finish_reason", "MAX_TOKENS"),
            ("stop_reason", "max_tokens"),
            ("done_reason", "length"),
        )
    ]
    model = as_llm(chat(whole, *cut))
    assert isinstance(model, LangChainLLM)
    assert model.complete("Hi") == Completion("hello", prompt_tokens=5, completion_tokens=2)
    assert [model.complete("Hi").truncated for _ in cut] == [True] * 4


def test_a_langchain_message_of_blocks_gives_its_words_only() -> None:
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "hel"}, "lo"]
    assert as_llm(chat(AIMessage(blocks))).complete("Hi").text == "hello"  # type: ignore[arg-type]


def test_a_langchain_model_is_asked_with_system_schema_and_its_own_token_limit() -> None:
    provider = Provider(asked=[])
    as_llm(provider).complete("Hi", system="Be brief", schema=SCHEMA, max_tokens=33)
    ((messages, options),) = provider.asked
    assert [(m.type, m.content) for m in messages] == [("system", "Be brief"), ("human", "Hi")]
    assert options["max_tokens"] == 33
    assert options["response_format"]["json_schema"]["schema"] == SCHEMA


def _itself(model: Provider) -> Any:
    return model


def _bound(model: Provider) -> Any:
    return model.bind(temperature=0)


def _retried(model: Provider) -> Any:
    return model.with_retry(stop_after_attempt=1)


def _with_fallback(model: Provider) -> Any:
    return Provider(asked=[], error=RuntimeError("away")).with_fallbacks([model])


@pytest.mark.parametrize("wrapped", [_itself, _bound, _retried, _with_fallback])
@pytest.mark.parametrize("own", [False, True])
def test_no_answer_is_left_in_a_cache_of_langchain(
    wrapped: Any, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = InMemoryCache()
    monkeypatch.setattr(globals_of_langchain, "_llm_cache", None if own else cache)
    provider = Provider(asked=[], cache=cache if own else None)
    model = as_llm(wrapped(provider))
    assert [model.complete("Hi").text for _ in range(2)] == ["hello", "hello"]
    assert len(provider.asked) == 2
    assert cache._cache == {}
    provider.invoke("Hi")  # the user's own calls are cached as before
    provider.invoke("Hi")
    assert (len(provider.asked), len(cache._cache)) == (3, 1)


@pytest.mark.parametrize("refuses", [TypeError, ValueError, NotImplementedError, StatusError])
def test_a_langchain_model_that_takes_no_format_is_asked_in_words_from_then_on(
    refuses: type[Exception],
) -> None:
    provider = Provider(asked=[], refuses=refuses)
    model = as_llm(provider)
    for _ in range(2):
        assert model.complete("Hi", schema=SCHEMA).text == "hello"
    assert ["response_format" in options for _, options in provider.asked] == [True, False, False]


@pytest.mark.parametrize(
    ("error", "says", "rest"),
    [
        (RuntimeError("sk-secret: my diary"), "RuntimeError", None),
        (TimeoutError("sk-secret"), "TimeoutError", None),
        (StatusError("sk-secret", 429, "7"), "HTTP 429", 7.0),
        (StatusError("sk-secret", 500, "soon"), "HTTP 500", None),
    ],
)
def test_a_failing_langchain_model_is_unavailable_and_quotes_nothing(
    error: Exception, says: str, rest: float | None
) -> None:
    model = as_llm(Provider(asked=[], error=error))
    for schema in (None, SCHEMA):
        with pytest.raises(LLMUnavailable, match=says) as caught:
            model.complete("my diary", schema=schema)
        assert "secret" not in str(caught.value)
        assert "diary" not in str(caught.value)
        assert caught.value.retry_after_seconds == rest


def test_a_langchain_model_reads_pictures() -> None:
    provider = Provider(asked=[], reply=AIMessage("a cat"))
    vision = as_vision(provider)
    assert isinstance(vision, VisionModel)
    found = vision.describe(b"\x89PNG", media_type="image/png", prompt="What is it?")
    assert found.text == "a cat"
    words, picture = provider.asked[0][0][0].content
    assert words == {"type": "text", "text": "What is it?"}
    assert picture["image_url"]["url"] == "data:image/png;base64,iVBORw=="  # type: ignore[index, call-overload]


@dataclass
class Metadata:
    is_chat_model: bool = False
    model_name: str = "llama-3"


@dataclass
class Answer:
    text: str
    raw: Any = None
    additional_kwargs: dict[str, Any] = field(default_factory=dict)


class CompletionModel:
    """As a LlamaIndex LLM without chat looks from outside."""

    metadata = Metadata()

    def __init__(self, answer: Answer | Exception) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def class_name(self) -> str:
        return "CompletionModel"

    def chat(self, messages: Sequence[Any]) -> Any:
        raise AssertionError("this one only completes")

    def complete(self, prompt: str) -> Answer:
        self.asked.append(prompt)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_llama_index_model_answers() -> None:
    usage = {"prompt_tokens": 4, "completion_tokens": 1}
    raw = {"usage": usage, "choices": [{"finish_reason": "length"}]}
    given = CompletionModel(Answer("hello", raw))
    model = as_llm(given)
    assert isinstance(model, LlamaIndexLLM)
    assert model.name == "llama-3"
    assert model.complete("Hi", system="Be brief", schema=SCHEMA) == Completion("hello", True, 4, 1)
    assert given.asked == ["Be brief\n\nHi"]


def test_a_failing_llama_index_model_is_unavailable() -> None:
    with pytest.raises(LLMUnavailable, match=r"llama-3 did not answer \(KeyError\)"):
        as_llm(CompletionModel(KeyError("diary"))).complete("Hi")


def test_a_real_llama_index_chat_model_answers() -> None:
    llms = pytest.importorskip("llama_index.core.llms", reason="llama-index-core is not installed")
    mock = llms.MockLLM()
    model = as_llm(mock)
    assert isinstance(model, LlamaIndexLLM)
    assert "Hi" in model.complete("Hi", system="Be brief").text


def test_an_endpoint_is_given_as_text_or_as_a_mapping() -> None:
    with ChatServer(Says("hello")) as server:
        for given in (f"openai:qwen@2:7b@{server.base_url}",
                      {"base_url": server.base_url, "model": "qwen@2:7b"}):  # fmt: skip
            model = as_llm(given)
            assert isinstance(model, OpenAICompatible)
            assert isinstance(as_vision(given), OpenAICompatible)
            assert (model.name, model.complete("Hi").text) == ("qwen@2:7b", "hello")


def test_ones_own_model_is_taken_as_it_is() -> None:
    own = ScriptedLLM("hello")
    assert as_llm(own) is own
    assert isinstance(own, LLM)


@pytest.mark.parametrize(
    "given",
    [None, 7, object(), "gpt-4", "openai:@http://x/v1", "openai:m@", {}, {"model": "m"},
     {"base_url": "http://x/v1", "model": "m", "apikey": "sk-secret"}],
)  # fmt: skip
def test_what_is_no_model_is_refused_with_what_to_give_instead(given: object) -> None:
    for take in (as_llm, as_vision):
        with pytest.raises(UsageError) as caught:
            take(given)
        assert "sk-secret" not in str(caught.value)


def test_looking_at_a_model_imports_no_framework() -> None:
    code = (
        "import sys; from memos_integrations.infrastructure.backends.llm.as_llm import as_llm; "
        "as_llm({'base_url': 'http://localhost/v1', 'model': 'm'}); "
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('langchain_core', 'llama_index', 'httpx', 'requests', 'openai')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
