"""Entries: memories with a name. A name is a namespace (a path of segments) and a key.

What an agent framework's key-value store asks for, as data: one frozen dataclass per operation,
run as one batch. Called by the facade; the vault knows names by their encoded form alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from memos_integrations.cube.acl import Trust
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.filters import Filter
from memos_integrations.cube.ids import CubePath

Namespace: TypeAlias = tuple[str, ...]
WHOLE_VALUE: Final = ("$",)
"""The fields that are searched when nobody says otherwise: all of the value."""
_MAX_SEGMENTS: Final = 64
_MAX_NAME_CHARS: Final = 4_096
_MAX_FIELDS: Final = 64
_MAX_SOURCE_CHARS: Final = 400
_BAD = re.compile("[\x00\ud800-\udfff]")
_RESERVED = re.compile("[%/\x00-\x1f\x7f]")
_SOURCE: Final = "entry:"
_BEHIND_COMMA: Final = "-"
"""The sign after the comma: bounds the range of the spaces under one."""


@dataclass(frozen=True, slots=True)
class GetEntry:
    """What a name holds."""

    namespace: Namespace
    key: str
    refresh_ttl: bool = True
    """Whether being read puts the end of its time to live off."""
    cube: CubePath | None = None


@dataclass(frozen=True, slots=True)
class FindEntries:
    """What the names under a namespace hold, as far as it passes the filter; by ``query``, if
    there is one, best first."""

    prefix: Namespace
    query: str | None = None
    filter: Filter | None = None
    limit: int = 10
    offset: int = 0
    refresh_ttl: bool = True
    cube: CubePath | None = None


@dataclass(frozen=True, slots=True)
class ListNamespaces:
    """The namespaces that hold something, in order. ``*`` stands for any one segment."""

    prefix: Namespace = ()
    suffix: Namespace = ()
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0
    cube: CubePath | None = None


@dataclass(frozen=True, slots=True)
class PutEntry:
    """Have a name hold a value. ``index`` names the fields a search looks at: ``None`` the whole
    value, ``False`` none, so that no query finds it."""

    namespace: Namespace
    key: str
    value: Mapping[str, Any]
    index: Literal[False] | Sequence[str] | None = None
    ttl_seconds: float | None = None
    cube: CubePath | None = None
    trust: Trust = Trust.USER
    """Whose word the value is: a user's, a model's own, a tool's."""


@dataclass(frozen=True, slots=True)
class DeleteEntry:
    """Have a name hold nothing; the past keeps what it held."""

    namespace: Namespace
    key: str
    cube: CubePath | None = None


ReadEntries: TypeAlias = GetEntry | FindEntries | ListNamespaces
EntryOp: TypeAlias = ReadEntries | PutEntry | DeleteEntry


@dataclass(frozen=True, slots=True)
class Entry:
    """What a name held, and the memory that holds it. The value is the caller's own copy."""

    namespace: Namespace
    key: str
    value: dict[str, Any]
    created: datetime
    updated: datetime
    item: str
    """Id of the memory: for ``history``, ``link``, ``freeze``, ``erase``."""
    version: int
    cube: str
    expires: datetime | None = None
    score: float | None = None
    """How well it fits the query; ``None`` without one, or where nothing could be compared."""


EntryResult: TypeAlias = Entry | list[Entry] | list[Namespace] | None
"""Of a get, of a find, of a listing; ``None`` of a write, and of a get that found nothing."""


def clean_namespace(
    value: object, *, what: str = "the namespace", empty: bool = False
) -> Namespace:
    """``value`` as a namespace. Raises ``InvalidInput``."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InvalidInput(f"{what} must be a tuple of text, such as ('users', 'alice')")
    if not value and not empty:
        raise InvalidInput(f"{what} is empty; name at least one segment")
    if len(value) > _MAX_SEGMENTS:
        raise InvalidInput(f"{what} has more than {_MAX_SEGMENTS} segments")
    return tuple(_clean(each, f"each segment of {what}") for each in value)


def clean_key(value: object) -> str:
    """``value`` as the key of an entry. Raises ``InvalidInput``."""
    return _clean(value, "the key")


def _clean(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{what} must be non-empty text, not {type(value).__name__}")
    if len(value) > _MAX_NAME_CHARS:
        raise InvalidInput(f"{what} is longer than {_MAX_NAME_CHARS} characters")
    if _BAD.search(value):
        raise InvalidInput(f"{what} holds NUL or lone surrogates")
    return value


def clean_fields(index: object) -> tuple[str, ...]:
    """The fields that are searched; none for ``False``. Raises ``InvalidInput``."""
    if index is None:
        return WHOLE_VALUE
    if index is False:
        return ()
    if isinstance(index, str | bytes) or not isinstance(index, Sequence) or not index:
        raise InvalidInput("index must be None, False or a list of fields, such as ['text']")
    if len(index) > _MAX_FIELDS:
        raise InvalidInput(f"index names more than {_MAX_FIELDS} fields")
    return tuple(_clean(each, "each field of index") for each in index)


def encode(namespace: Namespace) -> str:
    """The namespace as text whose prefixes end where segments end: ``("a", "b")`` -> ``"a","b",``.

    A quotation mark inside a segment is escaped, so no segment can pass for two.
    """
    return "".join(json.dumps(each, ensure_ascii=False) + "," for each in namespace)


def decode(space: str) -> Namespace:
    """The inverse of ``encode``."""
    return tuple(json.loads(f"[{space[:-1]}]"))


def under(namespace: Namespace) -> tuple[str, str]:
    """The range, from and below, of every encoded namespace that is this one or lies under it."""
    if not namespace:
        return "", "\U0010ffff"
    start = encode(namespace)
    return start, start[:-1] + _BEHIND_COMMA


def matches(namespace: Namespace, asked: ListNamespaces) -> bool:
    """Whether a namespace has the asked beginning and end, segment by segment."""
    if len(namespace) < max(len(asked.prefix), len(asked.suffix)):
        return False
    ends = namespace[len(namespace) - len(asked.suffix) :]
    pairs = (*zip(namespace, asked.prefix, strict=False), *zip(ends, asked.suffix, strict=True))
    return all(wanted in ("*", segment) for segment, wanted in pairs)


def source_of(namespace: Namespace, key: str) -> str:
    """What stands as the source of the memory behind a name: ``entry:users/alice/likes``.

    A name that is too long is cut and gets its hash, so that two never share a source.
    """
    path = _SOURCE + "/".join(_RESERVED.sub(_percent, each) for each in (*namespace, key))
    if len(path) <= _MAX_SOURCE_CHARS:
        return path
    return f"{path[:_MAX_SOURCE_CHARS]}~{hashlib.sha256(path.encode()).hexdigest()[:32]}"


def is_entry_source(source: str | None) -> bool:
    """Whether a memory came from being put under a name."""
    return source is not None and source.startswith(_SOURCE)


def _percent(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"
