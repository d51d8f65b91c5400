"""A language and vision model behind an endpoint that speaks OpenAI's chat completions.

Ollama, vLLM, llama.cpp and many services do. Called through ``as_llm`` and ``as_vision``. What
the server says is only ever read as an answer: its error texts, which may repeat a prompt or a
key, reach no log and no error of ours.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, TypeAlias

from memos_integrations.cube.errors import LLMUnavailable, UsageError
from memos_integrations.cube.ports import Completion
from memos_integrations.infrastructure.backends.llm.http_exchange import (
    Limits,
    Place,
    Reply,
    bearer,
    post_json,
)
from memos_integrations.infrastructure.backends.llm.pictures import seen_with

Mode: TypeAlias = Literal["json_schema", "json_object", "plain"]
_MODES: Final[tuple[Mode, ...]] = ("json_schema", "json_object", "plain")
_REFUSALS = frozenset({400, 404, 415, 422, 501})
"""Statuses an endpoint gives to a field it does not know."""
_MAX_REST_SECONDS = 3_600.0
_CUT_OFF = frozenset({"length", "max_tokens", "content_filter"})


class OpenAICompatible:
    """An ``LLM`` and ``VisionModel``: one model of one endpoint. Thread-safe.

    ``OpenAICompatible(base_url="http://localhost:11434/v1", model="qwen2.5:7b")``. How JSON is
    asked for (``json_schema``, ``json_object``, in words only) is found out on first use and
    remembered. An endpoint that asked for rest is left alone until then. A key is only sent over
    HTTPS, or to this machine or a private network.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: str | None = None,
        limits: Limits | None = None,
        temperature: float | None = 0.0,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        if not model or not isinstance(model, str):
            raise UsageError("model must be the name of a model of that endpoint")
        self._place = Place.of(base_url)
        self._model = model
        self._headers = bearer(api_key, self._place)
        self._limits = limits or Limits()
        self._fields = {**(extra or {}), "model": model, "stream": False}
        if temperature is not None:
            self._fields["temperature"] = temperature
        self._mode: Mode = "json_schema"
        self._rest_until = 0.0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"OpenAICompatible(model={self._model!r}, at={self._place.shown!r})"

    @property
    def name(self) -> str:
        return self._model

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
        body = {**self._fields, "messages": messages, "max_tokens": max_tokens}
        return self._answer(body if schema is None else self._held_to(body, schema), body, schema)

    def describe(self, image: bytes, *, media_type: str, prompt: str) -> Completion:
        """See ``VisionModel.describe``. Raises ``InvalidInput`` for what is no such picture."""
        content = seen_with(prompt, image, media_type)
        body = {**self._fields, "messages": [{"role": "user", "content": content}]}
        return self._answer(body, body, None)

    def _answer(
        self,
        asked: Mapping[str, object],
        body: Mapping[str, object],
        schema: Mapping[str, object] | None,
    ) -> Completion:
        """The answer; where the way of asking for JSON is refused, the next one is tried."""
        reply = self._post(asked)
        mode = self._mode
        while schema is not None and reply.status in _REFUSALS and mode != "plain":
            mode = _MODES[_MODES.index(mode) + 1]
            reply = self._post({**body, **_format(mode, schema)})
            if reply.status == 200:
                self._mode = mode
        self._raise_unless_answered(reply)
        return _completion(reply.body, self._place.shown)

    def _held_to(
        self, body: Mapping[str, object], schema: Mapping[str, object]
    ) -> Mapping[str, object]:
        return {**body, **_format(self._mode, schema)}

    def _post(self, body: Mapping[str, object]) -> Reply:
        with self._lock:
            left = self._rest_until - time.monotonic()
        if left > 0:
            raise _unavailable(f"{self._place.shown} asked for rest", left)
        return post_json(self._place, "/chat/completions", body, self._headers, self._limits)

    def _raise_unless_answered(self, reply: Reply) -> None:
        if reply.status == 200:
            return
        rest = _retry_after(reply.headers.get("retry-after"))
        if rest is not None:
            with self._lock:
                self._rest_until = time.monotonic() + rest
        raise _unavailable(f"{self._place.shown} {_said(reply.status)}", rest)


def _format(mode: Mode, schema: Mapping[str, object]) -> dict[str, object]:
    match mode:
        case "json_schema":
            shape = {"name": "answer", "schema": schema, "strict": False}
            return {"response_format": {"type": "json_schema", "json_schema": shape}}
        case "json_object":
            return {"response_format": {"type": "json_object"}}
        case "plain":
            return {}


def _completion(raw: bytes, where: str) -> Completion:
    try:
        reply: Any = json.loads(raw)
        choice: Any = reply["choices"][0]
        text: Any = choice["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise LLMUnavailable(f"{where} answered something other than a chat completion") from error
    if text is not None and not isinstance(text, str):
        raise LLMUnavailable(f"{where} answered something other than text")
    usage = reply.get("usage")
    return Completion(
        text or "",
        truncated=choice.get("finish_reason") in _CUT_OFF,
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
    )


def _count(usage: Any, name: str) -> int | None:
    found = usage.get(name) if isinstance(usage, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def _said(status: int) -> str:
    if status in (401, 403):
        return f"refused the key (HTTP {status}): check api_key"
    if status == 404:
        return "knows no such model or path (HTTP 404): check base_url and model"
    if status == 429:
        return "is asked too often (HTTP 429)"
    if 300 <= status < 400:
        return f"sends elsewhere (HTTP {status}), which is not followed: check base_url"
    return f"failed (HTTP {status})"


def _unavailable(text: str, rest: float | None) -> LLMUnavailable:
    error = LLMUnavailable(text if rest is None else f"{text}; again in {math.ceil(rest)} s")
    error.retry_after_seconds = rest
    return error


def _retry_after(given: str | None) -> float | None:
    """Seconds from a ``Retry-After`` header, in either of its forms; ``None`` for another."""
    if given is None:
        return None
    if given.strip().isdecimal():
        return min(float(given), _MAX_REST_SECONDS)
    try:
        until = parsedate_to_datetime(given)
    except (ValueError, TypeError, OverflowError):
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max(0.0, (aware - datetime.now(UTC)).total_seconds()), _MAX_REST_SECONDS)
