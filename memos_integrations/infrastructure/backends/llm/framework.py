"""What the adapters of foreign models share: reading their answers, and naming their failures."""

from __future__ import annotations

from typing import Any, NoReturn

from memos_integrations.cube.errors import LLMUnavailable

_MODEL_NAMES = ("model_name", "model", "model_id", "deployment_name")
_REASONS = ("finish_reason", "stop_reason", "done_reason")
_CUT_OFF = frozenset({"length", "max_tokens", "content_filter", "max_output_tokens"})
_REFUSED_STATUS = frozenset({400, 404, 415, 422, 501})


def model_name(model: object) -> str:
    """The model's own name where it tells one, else its class's."""
    for attribute in _MODEL_NAMES:
        found = getattr(model, attribute, None)
        if isinstance(found, str) and found:
            return found
    return type(model).__name__


def was_cut_off(*told: object) -> bool:
    """Whether any of these mappings or objects says that the answer ran into a limit."""
    return any(str(_at(one, key)).lower() in _CUT_OFF for one in told for key in _REASONS)


def raise_unavailable(name: str, error: Exception) -> NoReturn:
    """Raise ``LLMUnavailable`` for a framework's error, with its class and never its words.

    Their texts may repeat the prompt or a key.
    """
    if isinstance(error, LLMUnavailable):
        raise error
    status = status_of(error)
    code = f", HTTP {status}" if status else ""
    unavailable = LLMUnavailable(f"{name} did not answer ({type(error).__name__}{code})")
    unavailable.retry_after_seconds = _rest(error)
    raise unavailable from error


def refuses_format(error: Exception) -> bool:
    """Whether the error can come from an argument the model does not take."""
    return isinstance(error, TypeError | ValueError | NotImplementedError) or (
        status_of(error) in _REFUSED_STATUS
    )


def status_of(error: Exception) -> int | None:
    """The HTTP status that an error of a client library carries."""
    for holder in (error, getattr(error, "response", None)):
        found = getattr(holder, "status_code", None)
        if isinstance(found, int):
            return found
    return None


def _rest(error: Exception) -> float | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", None)
    given = headers.get("retry-after") if hasattr(headers, "get") else None
    return float(given) if isinstance(given, str) and given.isdecimal() else None


def _at(holder: Any, key: str) -> object:
    return holder.get(key) if isinstance(holder, dict) else getattr(holder, key, None)


def counted(holder: Any, *keys: str) -> int | None:
    """The first of these entries that is a count."""
    for key in keys:
        found = _at(holder, key)
        if isinstance(found, int) and not isinstance(found, bool) and found >= 0:
            return found
    return None
