"""JSON values at the border: what callers put into ``info``, ``data``, ``tags`` and ``labels``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ids import clean_name

_BAD = re.compile("[\x00\ud800-\udfff]")
_MAX_DEPTH = 16
_MAX_CHARS = 1_000_000


def clean_json(value: Mapping[str, Any], what: str) -> dict[str, Any]:
    """``value`` as plain JSON data; dates become ISO 8601 text.

    Raises ``InvalidInput`` for keys that are not text, values JSON has no form for, non-finite
    numbers, bad characters, nesting beyond 16 levels or more than a million characters.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{what} must be a mapping, not {type(value).__name__}")
    plain = _plain(value, what, 0)
    if len(json.dumps(plain)) > _MAX_CHARS:
        raise InvalidInput(f"{what} is larger than {_MAX_CHARS} characters of JSON")
    assert isinstance(plain, dict)  # noqa: S101  -- a mapping gives a dict
    return plain


def clean_value(value: object, what: str, *, max_chars: int) -> Any:
    """Any one value as plain JSON data, at most ``max_chars`` long as JSON; as ``clean_json``."""
    plain = _plain(value, what, 0)
    if len(json.dumps(plain)) > max_chars:
        raise InvalidInput(f"{what} is larger than {max_chars} characters of JSON")
    return plain


def _plain(value: object, what: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise InvalidInput(f"{what} is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(k, what): _plain(v, what, depth + 1) for k, v in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        each = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [_plain(v, what, depth + 1) for v in each]
    return _scalar(value, what)


def _scalar(value: object, what: str) -> Any:
    if isinstance(value, Enum):
        return _scalar(value.value, what)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, what)
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise InvalidInput(f"{what} holds a {type(value).__name__} that JSON cannot carry")


def _key(key: object, what: str) -> str:
    if not isinstance(key, str) or not key:
        raise InvalidInput(f"the keys of {what} must be non-empty text")
    return _text(key, what)


def _text(value: str, what: str) -> str:
    if _BAD.search(value):
        raise InvalidInput(f"{what} holds NUL or lone surrogates; send valid text")
    return value


def clean_labels(values: object, what: str) -> tuple[str, ...]:
    """``values`` as distinct names. A bare string is refused: it would become its letters."""
    if isinstance(values, str) or not isinstance(values, Sequence | set | frozenset):
        raise InvalidInput(f"{what} must be a list of text, such as ['work']")
    return tuple(dict.fromkeys(clean_name(v, f"each of {what}") for v in values))
