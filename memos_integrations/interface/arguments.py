"""Plain arguments at the border, checked once: ids, numbers, spans of time, lists of names.

Called by the verbs before any transaction is open, so that a wrong type is told as one and never
reaches the driver.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from memos_integrations.cube.errors import InvalidInput

_MAX_SECONDS = 1e10
_MAX_REASON_CHARS = 10_000


def whole(value: object, what: str, *, least: int, most: int = 2**62) -> int:
    """``value`` if it is a whole number in the range; a bool is none."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        upto = f" to {most}" if most < 2**62 else " upwards"
        raise InvalidInput(f"{what} must be a whole number from {least}{upto}")
    return value


def span_micros(seconds: object, what: str) -> int:
    """A positive span of seconds in microseconds."""
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 < cast(float, seconds) <= _MAX_SECONDS:
        raise InvalidInput(f"{what} must be a number above 0, at most {_MAX_SECONDS:.0e}")
    return int(cast(float, seconds) * 1e6)


def texts(values: object, what: str) -> tuple[str, ...]:
    """``values`` as text, in order. A bare string is refused: it would become its letters."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidInput(f"{what} must be a list of text, such as ['work']")
    found = tuple(cast("Iterable[object]", values))
    if not all(isinstance(each, str) for each in found):
        raise InvalidInput(f"{what} must hold text only")
    return cast("tuple[str, ...]", found)


def clean_reason(value: object) -> str:
    """``value`` if it can stand in the history and in the audit log as a reason."""
    if not isinstance(value, str) or len(value) > _MAX_REASON_CHARS:
        raise InvalidInput(f"reason must be text of at most {_MAX_REASON_CHARS} characters")
    if any(c == "\x00" or 0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise InvalidInput("reason holds NUL or lone surrogates; send valid text")
    return value
