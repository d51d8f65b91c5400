"""Identifiers and time: UUIDv7 item ids, cube paths by segment, microsecond instants."""

from __future__ import annotations

import os
import re
import threading
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NewType
from urllib.parse import quote, unquote

from memos_integrations.cube.errors import InvalidInput

ItemId = NewType("ItemId", str)
TaskId = NewType("TaskId", str)
CubePath = NewType("CubePath", str)
Seq = NewType("Seq", int)
"""Position in the vault's log: the system-time axis of the time machine."""

LATEST = Seq(2**63 - 2)
"""The instant that every present version is visible at."""

_MAX_NAME_CHARS = 512
_UNCLEAN = re.compile("[\x00-\x1f\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Uuid7:
    """Monotonic UUIDv7 (RFC 9562, method 1: 12 bits of counter after the millisecond)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self, milliseconds: int) -> ItemId:
        with self._lock:
            self._last = stamp = max((milliseconds << 12), self._last + 1)
        tail = int.from_bytes(os.urandom(8), "big") & (2**62 - 1)
        number = ((stamp >> 12) << 80) | (7 << 76) | ((stamp & 0xFFF) << 64) | (2 << 62) | tail
        digits = f"{number:032x}"
        return ItemId(f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")


_uuid7 = _Uuid7()


def new_item_id(micros: int) -> ItemId:
    """A fresh UUIDv7 for the instant ``micros``; ids made later sort later."""
    return _uuid7(micros // 1000)


def to_micros(when: datetime) -> int:
    """Microseconds since 1970 UTC. A naive datetime is read as UTC."""
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=1024)  # what was told at once, or is read again, has the same times
def from_micros(micros: int) -> datetime:
    """The aware UTC datetime of ``micros``."""
    return _EPOCH + timedelta(0, 0, micros)


def clean_name(value: object, what: str) -> str:
    """``value`` if it can name a user, agent, session, role or source; else ``InvalidInput``."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{what} must be a non-empty string, not {type(value).__name__}")
    if len(value) > _MAX_NAME_CHARS:
        raise InvalidInput(f"{what} is longer than {_MAX_NAME_CHARS} characters")
    if _UNCLEAN.search(value):
        raise InvalidInput(f"{what} holds control characters or lone surrogates")
    return value


def clean_path(value: object) -> CubePath:
    """``value`` if it is a cube path: non-empty segments joined by ``/``, none ``.`` or ``..``."""
    path = clean_name(value, "cube")
    if any(not part.strip() or part in (".", "..") for part in path.split("/")):
        raise InvalidInput(
            f"cube {path!r} has an empty, '.' or '..' segment; write it like 'teams/acme/notes'"
        )
    return CubePath(path)


def home_path(*, user: str | None, agent: str | None) -> CubePath:
    """The path of the personal cube of a user, or of an agent that acts for nobody.

    The name is percent-encoded, so a user called ``a/b`` can never sit under user ``a``.
    """
    if user is not None:
        return CubePath("users/" + quote(user, safe=""))
    if agent is not None:
        return CubePath("agents/" + quote(agent, safe=""))
    raise InvalidInput("name a user or an agent, or pass cube=...")


def home_owner(path: str) -> str | None:
    """Whose home cube this path is, as an owner name; ``None`` for every other path."""
    kind, _, name = path.partition("/")
    if kind not in ("users", "agents") or not name or "/" in name:
        return None
    return f"{kind.removesuffix('s')}:{unquote(name)}"


def within(path: str, scope: str) -> bool:
    """Whether ``path`` is ``scope`` or lies under it, compared segment by segment."""
    return path == scope or path.startswith(scope + "/")
