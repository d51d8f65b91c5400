"""Any language or vision model as ours, known by its methods: no framework is imported to look.

``MOS`` calls these once on what it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.ports import LLM, VisionModel
from memos_integrations.infrastructure.backends.llm.langchain import LangChainLLM
from memos_integrations.infrastructure.backends.llm.llama_index import LlamaIndexLLM

if TYPE_CHECKING:
    from memos_integrations.infrastructure.backends.llm.openai_compatible import OpenAICompatible

_PREFIX = "openai:"
_EXAMPLE = '"openai:qwen2.5:7b@http://localhost:11434/v1"'


def as_llm(given: object) -> LLM:
    """``given`` as a language model.

    Taken: anything with our ``LLM`` methods, a LangChain chat model, a LlamaIndex LLM,
    ``"openai:MODEL@URL"``, or a mapping of the arguments of ``OpenAICompatible``. Raises
    ``UsageError`` for anything else.
    """
    if isinstance(given, str | Mapping):
        return _endpoint(given)
    if _is_llama_index(given):
        return LlamaIndexLLM(given)
    if _is_langchain(given):
        return LangChainLLM(given)
    if isinstance(given, LLM):
        return given
    raise UsageError(
        f"{type(given).__name__} is no language model: give a LangChain chat model, a LlamaIndex "
        f"LLM, an object with `name` and `complete`, or an endpoint such as {_EXAMPLE}"
    )


def as_vision(given: object) -> VisionModel:
    """``given`` as a model that reads pictures: as ``as_llm``, without LlamaIndex."""
    if isinstance(given, str | Mapping):
        return _endpoint(given)
    if _is_langchain(given):
        return LangChainLLM(given)
    if isinstance(given, VisionModel):
        return given
    raise UsageError(
        f"{type(given).__name__} reads no pictures: give a LangChain chat model, an object with "
        f"`name` and `describe`, or an endpoint such as {_EXAMPLE}"
    )


def _endpoint(given: str | Mapping[Any, Any]) -> OpenAICompatible:
    # Here, as HTTP and TLS take 40 ms to import and most programs give no endpoint.
    from memos_integrations.infrastructure.backends.llm.openai_compatible import (  # noqa: PLC0415
        OpenAICompatible,
    )

    if isinstance(given, str):
        model, _, url = given.removeprefix(_PREFIX).rpartition("@")
        if not given.startswith(_PREFIX) or not model:
            raise UsageError(f"an endpoint is written {_EXAMPLE}")
        return OpenAICompatible(base_url=url, model=model)
    try:
        return OpenAICompatible(**given)
    except TypeError:
        # The error's own text could hold a key given under a wrong name.
        raise UsageError(
            "an endpoint takes base_url, model and optionally api_key, limits, temperature, extra"
        ) from None


def _is_langchain(given: object) -> bool:
    return all(callable(getattr(given, verb, None)) for verb in ("invoke", "bind", "stream"))


def _is_llama_index(given: object) -> bool:
    verbs = ("chat", "complete", "class_name")
    return hasattr(given, "metadata") and all(callable(getattr(given, v, None)) for v in verbs)
