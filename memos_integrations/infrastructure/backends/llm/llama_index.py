"""A LlamaIndex language model as an ``LLM``. LlamaIndex is imported only once one was given."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from memos_integrations.cube.ports import Completion
from memos_integrations.infrastructure.backends.llm.framework import (
    counted,
    model_name,
    raise_unavailable,
    was_cut_off,
)


class LlamaIndexLLM:
    """Any ``llama_index.core.llms.LLM`` (anything with its ``chat``, ``complete``, ``metadata``).

    The token limit and the way to JSON are the model's own: its interface has no common words
    for them, so the prompt alone asks for JSON.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def __repr__(self) -> str:
        return f"LlamaIndexLLM({self.name!r})"

    @property
    def name(self) -> str:
        told = getattr(self._model.metadata, "model_name", None)
        known = isinstance(told, str) and told and told != "unknown"
        return str(told) if known else model_name(self._model)

    def complete(
        self,
        prompt: str,
        *,
        system: str | None = None,
        schema: Mapping[str, object] | None = None,
        max_tokens: int = 1024,
    ) -> Completion:
        """See ``LLM.complete``."""
        try:
            if getattr(self._model.metadata, "is_chat_model", False):
                return _chatted(self._model.chat(_messages(prompt, system)))
            words = prompt if system is None else f"{system}\n\n{prompt}"
            return _completed(self._model.complete(words))
        except Exception as error:  # noqa: BLE001  each provider raises its own
            raise_unavailable(self.name, error)


def _messages(prompt: str, system: str | None) -> list[Any]:
    message: Any = importlib.import_module("llama_index.core.llms").ChatMessage
    asked = [message(role="user", content=prompt)]
    return asked if system is None else [message(role="system", content=system), *asked]


def _chatted(response: Any) -> Completion:
    return _with_usage(response.message.content, response)


def _completed(response: Any) -> Completion:
    return _with_usage(response.text, response)


def _with_usage(text: object, response: Any) -> Completion:
    raw, more = getattr(response, "raw", None), getattr(response, "additional_kwargs", None)
    usage = _at(raw, "usage")
    choices = _at(raw, "choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return Completion(
        text if isinstance(text, str) else "",
        truncated=was_cut_off(raw, more, first),
        prompt_tokens=counted(more, "prompt_tokens") or counted(usage, "prompt_tokens"),
        completion_tokens=counted(more, "completion_tokens") or counted(usage, "completion_tokens"),
    )


def _at(holder: Any, key: str) -> Any:
    return holder.get(key) if isinstance(holder, dict) else getattr(holder, key, None)
