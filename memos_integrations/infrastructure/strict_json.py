"""JSON from outside, read without surprises: one object, unique keys, bounded depth, real text.

Called by the archive and the safetensors check; everything it refuses is ``HostileArchive``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from memos_integrations.cube.errors import HostileArchive

JsonObject = dict[str, Any]


def decode_object(raw: bytes, *, max_depth: int, what: str) -> JsonObject:
    """As ``decode_value``, refusing any top value but an object."""
    value = decode_value(raw, max_depth=max_depth, what=what)
    if not isinstance(value, dict):
        raise HostileArchive(f"{what} is not a JSON object")
    return value


def decode_value(raw: bytes, *, max_depth: int, what: str) -> Any:
    """The JSON value in ``raw``, or ``HostileArchive`` that begins with ``what``.

    Refused: text that is not UTF-8, NaN and infinities (also by overflow, ``1e999``), a key
    twice in one object, lone surrogates, more than ``max_depth`` levels. The caller bounds
    ``len(raw)``; parsing costs up to some 60 times that in memory.
    """
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise HostileArchive(f"{what} holds a lone surrogate, which is no text") from error
    except RecursionError as error:
        raise _too_deep(what, max_depth) from error
    except (ValueError, MemoryError) as error:
        raise HostileArchive(f"{what} is not strict JSON: {_short(error)}") from error
    if raw.count(b"[") + raw.count(b"{") > max_depth and _depth(value, max_depth) > max_depth:
        raise _too_deep(what, max_depth)
    return value


def encode_object(row: JsonObject) -> bytes:
    """The one way a row is written: sorted keys, no spaces, UTF-8. Raises what ``json`` raises."""
    text = json.dumps(
        row, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode("utf-8")


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same key stands twice in one object")
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large for a float")
    return number


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
)


def _depth(value: Any, enough: int) -> int:
    """Containers inside one another, breadth first so that no depth can overflow the stack."""
    depth = 0
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    while level and depth <= enough:
        inner = [child for node in level for child in _children(node)]
        level = [child for child in inner if isinstance(child, dict | list)]
        depth += 1
    return depth


def _children(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node


def _too_deep(what: str, max_depth: int) -> HostileArchive:
    return HostileArchive(f"{what} nests deeper than {max_depth} levels")


def _short(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__
