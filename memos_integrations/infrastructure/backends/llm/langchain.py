"""A LangChain chat model as an ``LLM`` and a ``VisionModel``. LangChain is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memos_integrations.cube.ports import Completion
from memos_integrations.infrastructure.backends.llm.framework import (
    counted,
    model_name,
    raise_unavailable,
    refuses_format,
    was_cut_off,
)
from memos_integrations.infrastructure.backends.llm.pictures import seen_with

_CACHE = "cache"
_PARTS = ("bound", "runnable", "fallbacks", "first", "middle", "last")
"""Where the runnables that wrap others keep them."""


class LangChainLLM:
    """Any ``BaseChatModel`` (anything with its ``invoke`` and ``bind``).

    A schema is bound as ``response_format`` until the model refuses it once; the prompt holds it
    in any case. A token limit is bound where the model has a ``max_tokens`` of its own. What is
    asked is made of memories, so no answer is kept in LangChain's cache, where no erasure would
    reach it: a copy of the model is asked, the one that was given stays as it is.
    """

    def __init__(self, model: Any) -> None:
        self._model = _uncached(model)
        self._takes_format = True

    def __repr__(self) -> str:
        return f"LangChainLLM({self.name!r})"  # the model's own repr may show a key

    @property
    def name(self) -> str:
        return model_name(self._model)

    def complete(
        self,
        prompt: str,
        *,
        system: str | None = None,
        schema: Mapping[str, object] | None = None,
        max_tokens: int = 1024,
    ) -> Completion:
        """See ``LLM.complete``."""
        messages: list[dict[str, object]] = [{"role": "user", "content": prompt}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        options: dict[str, object] = {}
        if hasattr(self._model, "max_tokens"):
            options["max_tokens"] = max_tokens
        if schema is None or not self._takes_format:
            return self._asked(messages, options)
        return self._asked_for(schema, messages, options)

    def describe(self, image: bytes, *, media_type: str, prompt: str) -> Completion:
        """See ``VisionModel.describe``."""
        content = seen_with(prompt, image, media_type)
        return self._asked([{"role": "user", "content": content}], {})

    def _asked_for(
        self,
        schema: Mapping[str, object],
        messages: list[dict[str, object]],
        options: Mapping[str, object],
    ) -> Completion:
        shape = {"name": "answer", "schema": schema, "strict": False}
        held = {**options, "response_format": {"type": "json_schema", "json_schema": shape}}
        try:
            return _completion(self._model.bind(**held).invoke(messages))
        except Exception as error:  # noqa: BLE001  each provider raises its own
            if not refuses_format(error):
                raise_unavailable(self.name, error)
        answer = self._asked(messages, options)
        self._takes_format = False  # only now is it known that the format was what it refused
        return answer

    def _asked(
        self, messages: list[dict[str, object]], options: Mapping[str, object]
    ) -> Completion:
        try:
            model = self._model.bind(**options) if options else self._model
            return _completion(model.invoke(messages))
        except Exception as error:  # noqa: BLE001  each provider raises its own
            raise_unavailable(self.name, error)


def _uncached(part: Any) -> Any:
    """A copy that asks no cache and fills none, also inside of bindings, fallbacks and chains;
    what is no model of pydantic's is given back as it is."""
    if isinstance(part, list | tuple):
        return type(part)(_uncached(each) for each in part)
    fields: Mapping[str, object] = getattr(type(part), "model_fields", {})
    if not hasattr(part, "model_copy"):
        return part
    changes = {name: _uncached(getattr(part, name)) for name in _PARTS if name in fields}
    if _CACHE in fields:
        changes[_CACHE] = False
    return part.model_copy(update=changes) if changes else part


def _completion(message: Any) -> Completion:
    usage = getattr(message, "usage_metadata", None)
    return Completion(
        _text(getattr(message, "content", message)),
        truncated=was_cut_off(getattr(message, "response_metadata", None)),
        prompt_tokens=counted(usage, "input_tokens"),
        completion_tokens=counted(usage, "output_tokens"),
    )


def _text(content: object) -> str:
    """The words of a message; blocks of other kinds (thoughts, tool calls) are left out."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    words = (
        block if isinstance(block, str) else block.get("text", "")
        for block in blocks
        if isinstance(block, str) or (isinstance(block, dict) and block.get("type") == "text")
    )
    return "".join(word for word in words if isinstance(word, str))
