r"""The one filter tree: parsed once, compiled per backend, with a plain-Python reference meaning.

Written as ``{"tags": {"contains": "work"}, "info.team": "apollo", "time": {"gte": "2026-01-01"}}``:
several conditions mean *and*, a bare value means ``=``, and ``and``, ``or``, ``not`` nest. Mongo's
``$`` spellings and upper-case AND/OR/NOT are read as the same words. ``FIELDS`` and ``OPERATORS``
say what is legal; anything else is an ``InvalidFilter``, never ignored.

What a filter means, in ``matches`` and in every compiled form:

* Two truth values. ``not`` is true negation; ``!=`` and ``nin`` are the negations of ``=`` and
  ``in``, so they hold where the value is missing, and every other comparison fails there.
* A header field that is not set, an empty ``tags`` or ``labels``, an absent ``info`` key and a JSON
  ``null`` are all missing; ``exists`` asks for that. An item without words has the text ``""``.
* On ``tags`` and ``labels``, ``=`` and ``contains`` ask for one element, ``in`` for any of several.
* ``info.a.b`` and ``data.a.b`` walk nested objects, never arrays; write a dot inside a key as
  ``\.`` and a backslash before a dot or a backslash as ``\\``. Values compare only with their own
  kind: text with text, number with number; ``true`` is not ``1``. ``contains`` is a substring of a
  text or an element of an array. ``same`` asks for a whole array or object, compared as canonical
  JSON: the order of keys makes no difference, but ``1`` inside of it is not ``1.0``. Integers are
  exact within 64 bits (larger ones are refused in a filter and count as the nearest double where
  stored), and an integer and a float compare by value.
* Text is ordered by code point, ``contains`` is literal and minds case. ``like`` covers the whole
  text: ``%`` is any run, ``_`` one character, a backslash takes the next one literally, and ASCII
  letters (only those) match in either case. U+FFFE and U+FFFF, which are no characters, match
  there as U+FFFD, because SQLite reads them so.
* Times are instants: a naive time is UTC, a date is its first instant in UTC.

Stored text is expected to be free of NUL, as the filters' own text is.
"""

from __future__ import annotations

import difflib
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache, partial
from reprlib import repr as brief
from typing import Any, Final, TypeAlias, assert_never

from memos_integrations.cube.acl import Trust, Visibility
from memos_integrations.cube.errors import InvalidFilter
from memos_integrations.cube.header import Kind, MemoryType, Origin, State, StorageMode
from memos_integrations.cube.ids import from_micros, to_micros
from memos_integrations.cube.item import MemoryItem

MAX_DEPTH: Final = 32
MAX_NODES: Final = 1_000
MAX_LIST: Final = 10_000
MAX_LIKE_CHARS: Final = 10_000
MAX_INFO_KEYS: Final = 16
MAX_SAME_CHARS: Final = 100_000

Scalar: TypeAlias = str | int | float | bool | datetime
Value: TypeAlias = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


@dataclass(frozen=True, slots=True)
class Comparison:
    """``field op value``; the value has the field's type, times are aware and in UTC."""

    field: str
    op: str
    value: Value


Filter: TypeAlias = And | Or | Not | Comparison


class FieldType(StrEnum):
    TEXT = "text"
    ENUM = "enum"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME = "time"
    LIST = "list"
    """A set of texts."""
    JSON = "json"
    """A value of the free ``info`` or ``data`` object, of whatever kind it turns out to be."""
    WORDS = "words"
    """The item's text: searched in, never compared as a whole."""


@dataclass(frozen=True, slots=True)
class Field:
    type: FieldType
    choices: tuple[str, ...] = ()
    """The legal values of an enum."""


def _enum(values: type[StrEnum]) -> Field:
    return Field(FieldType.ENUM, tuple(values))


_TEXT, _NUMBER = Field(FieldType.TEXT), Field(FieldType.NUMBER)
_TIME, _BOOLEAN, _LIST = Field(FieldType.TIME), Field(FieldType.BOOLEAN), Field(FieldType.LIST)
_JSON = Field(FieldType.JSON)

FIELDS: Final[Mapping[str, Field]] = {
    "id": _TEXT,
    "kind": _enum(Kind),
    "memory_type": _enum(MemoryType),
    "state": _enum(State),
    "role": _TEXT,
    "speaker": _TEXT,
    "conversation": _TEXT,
    "agent": _TEXT,
    "origin": _enum(Origin),
    "source": _TEXT,
    "model": _TEXT,
    "owner": _TEXT,
    "trust": _enum(Trust),
    "visibility": _enum(Visibility),
    "storage_mode": _enum(StorageMode),
    "created": _TIME,
    "updated": _TIME,
    "time": _TIME,
    "valid_from": _TIME,
    "valid_to": _TIME,
    "expires": _TIME,
    "last_used": _TIME,
    "priority": _NUMBER,
    "confidence": _NUMBER,
    "usage_count": _NUMBER,
    "version": _NUMBER,
    "stale": _BOOLEAN,
    "legal_hold": _BOOLEAN,
    "quarantined": _BOOLEAN,
    "tags": _LIST,
    "labels": _LIST,
    "text": Field(FieldType.WORDS),
}
"""Every field but those under ``info.`` and ``data.``, by its name in the header."""
ROOTS: Final = ("info", "data")
"""The free JSON objects of an item; their own keys follow after a dot."""

ALIASES: Final[Mapping[str, str]] = {
    "session": "conversation",
    "create_time": "created",
    "created_at": "created",
    "update_time": "updated",
    "updated_at": "updated",
    "tag": "tags",
}

_EQUAL, _ORDER, _SET, _SEEK = ("=", "!="), ("gt", "gte", "lt", "lte"), ("in", "nin"), ("contains",)
_ANY: Final = ("exists",)
OPERATORS: Final[Mapping[FieldType, tuple[str, ...]]] = {
    FieldType.TEXT: (*_EQUAL, *_ORDER, *_SET, *_SEEK, "like", *_ANY),
    FieldType.ENUM: (*_EQUAL, *_SET, *_ANY),
    FieldType.NUMBER: (*_EQUAL, *_ORDER, *_SET, *_ANY),
    FieldType.BOOLEAN: (*_EQUAL, *_ANY),
    FieldType.TIME: (*_EQUAL, *_ORDER, *_SET, *_ANY),
    FieldType.LIST: (*_EQUAL, *_SET, *_SEEK, *_ANY),
    FieldType.JSON: (*_EQUAL, *_ORDER, *_SET, *_SEEK, "like", "same", *_ANY),
    FieldType.WORDS: (*_SEEK, "like"),
}
NEGATIONS: Final[Mapping[str, str]] = {"!=": "=", "nin": "in"}
"""Operators that hold exactly where another one does not."""

_LOGIC: Final = {s: w for w in ("and", "or", "not") for s in (w, w.upper(), f"${w}")}
_SPELLINGS: Final = {
    "eq": "=",
    "$eq": "=",
    "ne": "!=",
    "$ne": "!=",
    **{f"${op}": op for op in (*_ORDER, *_SET, *_ANY)},
}


def field_of(name: str) -> Field:
    """What the canonical field ``name`` holds; fields under ``info.`` and ``data.`` hold JSON."""
    return FIELDS.get(name, _JSON)


def info_path(name: str) -> tuple[str, ...]:
    r"""The keys an ``info.`` or ``data.`` field walks through: ``info.a.b\.c`` gives
    ``("a", "b.c")``."""
    if "\\" not in name:
        return tuple(name.partition(".")[2].split("."))
    keys = [""]
    for sign in re.findall(r"\\[\\.]|.", name.partition(".")[2], re.DOTALL):
        if sign == ".":
            keys.append("")
        else:
            keys[-1] += sign[-1]
    return tuple(keys)


def parse(spec: Mapping[str, object] | Filter | None) -> Filter | None:
    """The checked tree of ``spec``; ``None`` where it asks for nothing. Raises ``InvalidFilter``.

    A tree is checked in the same way, so parsing twice changes nothing.
    """
    if spec is None or spec == {}:
        return None
    key = _plain(spec) if type(spec) is dict else None
    return _Parser().read(spec, depth=0) if key is None else _parsed(key)


_Plain: TypeAlias = tuple[tuple[str, type, object], ...]
_PLAIN: Final = frozenset({str, int, bool})
_FEW, _SHORT = 8, 256


def _plain(spec: dict[Any, Any]) -> _Plain | None:
    """What tells a few plain conditions from all others; ``None`` for any other filter.

    The type belongs to it, as 1 and True are equal; exact types only, as a subclass may say of
    itself that it is equal to anything.
    """
    if len(spec) > _FEW:
        return None
    for name, value in spec.items():
        kind = type(value)
        if type(name) is not str or len(name) > _SHORT or kind not in _PLAIN:
            return None
        if kind is str and len(value) > _SHORT:
            return None
    return tuple((name, type(value), value) for name, value in spec.items())


@lru_cache(maxsize=128)
def _parsed(key: _Plain) -> Filter:
    """The same tree for the same conditions, so that what is made of it is made once too."""
    return _Parser().read({name: value for name, _, value in key}, depth=0)


@dataclass(slots=True)
class _Parser:
    """Counts nodes while it descends, so that a hostile filter costs little before it fails."""

    nodes: int = 0

    def read(self, spec: object, *, depth: int) -> Filter:
        found = _conditions(spec)
        if not found:
            raise InvalidFilter("an empty filter inside and/or/not; leave it out")
        if len(found) == 1:
            return self._condition(*found[0], depth=depth)
        self._enter(depth)
        return And(tuple(self._condition(*each, depth=depth + 1) for each in found))

    def _condition(self, name: object, op: object, value: object, *, depth: int) -> Filter:
        if op is not _NESTS:
            self._enter(0)
            return _comparison(name, op, value)
        self._enter(depth)
        if name == "not":
            return Not(self.read(value, depth=depth + 1))
        if not isinstance(value, list | tuple) or not value:
            raise InvalidFilter(f"{name!r} takes a non-empty list of filters, not {brief(value)}")
        parts = tuple(self.read(part, depth=depth + 1) for part in value)
        return And(parts) if name == "and" else Or(parts)

    def _enter(self, depth: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise InvalidFilter(f"the filter has more than {MAX_NODES} conditions; use 'in' lists")
        if depth >= MAX_DEPTH:
            raise InvalidFilter(f"the filter nests and/or/not deeper than {MAX_DEPTH}; flatten it")


_UNCLEAN: Final = re.compile("[\x00\ud800-\udfff]")
_NESTS: Final = object()
"""Stands in the operator's place where the name is ``and``, ``or`` or ``not``."""


def _conditions(spec: object) -> list[tuple[object, object, object]]:
    """``spec`` as (field, operator, value), or (``and | or | not``, ``_NESTS``, what it holds)."""
    match spec:
        case And(parts):
            return [("and", _NESTS, parts)]
        case Or(parts):
            return [("or", _NESTS, parts)]
        case Not(part):
            return [("not", _NESTS, part)]
        case Comparison(field, op, value):
            return [(field, op, value)]
        case Mapping():
            return [each for name, value in spec.items() for each in _entry(name, value)]
        case _:
            raise InvalidFilter(
                f"a filter is a dict like {{'tags': {{'contains': 'work'}}}}, not {brief(spec)}"
            )


def _entry(name: object, value: object) -> list[tuple[object, object, object]]:
    if isinstance(name, str) and name in _LOGIC:
        return [(_LOGIC[name], _NESTS, value)]
    if not isinstance(value, Mapping):
        return [(name, "=", value)]
    if not value:
        raise InvalidFilter(f"filter on {brief(name)}: {{}} holds no operator")
    return [(name, op, operand) for op, operand in value.items()]


def _comparison(name: object, op: object, value: object) -> Comparison:
    field = _field(name)
    legal = OPERATORS[field_of(field).type]
    known = _SPELLINGS.get(op, op) if isinstance(op, str) else ""
    if known not in legal:
        raise InvalidFilter(
            f"filter on {brief(field)}: no operator {brief(op)}; legal are {' '.join(legal)}"
        )
    try:
        return Comparison(field, known, _value(field_of(field), known, value))
    except (ValueError, OverflowError) as error:
        raise InvalidFilter(f"filter on {brief(field)} with {known!r}: {error}") from None


def _field(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidFilter(f"a filter field is a string, not {brief(name)}")
    field = ALIASES.get(name, name)
    if field in FIELDS:
        return field
    root = field.partition(".")[0]
    if root == field or root not in ROOTS:
        near = difflib.get_close_matches(field[:100], [*FIELDS, *ALIASES], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "your own keys go under 'info.'."
        raise InvalidFilter(
            f"no filter field {brief(name)}; {hint} Fields: {' '.join(FIELDS)} info.<key> "
            "data.<key>"
        )
    try:
        keys = info_path(_text(field))
    except ValueError as error:
        raise InvalidFilter(f"filter field {brief(name)}: {error}") from None
    if not all(keys) or len(keys) > MAX_INFO_KEYS:
        raise InvalidFilter(
            f"filter field {brief(name)}: '{root}.' takes 1 to {MAX_INFO_KEYS} non-empty keys "
            r"joined by dots; write a dot inside a key as '\.'"
        )
    return field


def _value(field: Field, op: str, value: object) -> Value:
    if op == "exists":
        return _boolean(value)
    if op in _SET:
        if not isinstance(value, list | tuple | set | frozenset):
            raise ValueError(f"takes a list of values, not {brief(value)}")
        if len(value) > MAX_LIST:
            raise ValueError(f"a list of {len(value)} values; {MAX_LIST} is the limit")
        return tuple(_scalar(field, each) for each in value)
    if op == "like":
        return _pattern(value)
    if op == "same":
        return _canonical(value)
    if op in _ORDER and isinstance(value, bool):
        raise ValueError("true and false have no order")
    return _scalar(field, value)


def _scalar(field: Field, value: object) -> Scalar:
    if value is None:
        raise ValueError("null is no value; ask {'exists': False} for what is not set")
    if isinstance(value, list | tuple | set | frozenset):
        raise ValueError("takes one value; for any of several write {'in': [...]}")
    match field.type:
        case FieldType.TEXT | FieldType.LIST | FieldType.WORDS:
            return _text(value)
        case FieldType.ENUM:
            return _choice(value, field.choices)
        case FieldType.NUMBER:
            return _number(value)
        case FieldType.BOOLEAN:
            return _boolean(value)
        case FieldType.TIME:
            return _instant(value)
        case FieldType.JSON:
            return _json_scalar(value)
        case _:
            assert_never(field.type)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"takes text, not {brief(value)}")
    if _UNCLEAN.search(value):
        raise ValueError("text must be free of NUL and lone surrogates")
    return str.__str__(value)


def _pattern(value: object) -> str:
    text = _text(value)
    if len(text) > MAX_LIKE_CHARS:
        raise ValueError(f"a pattern of {len(text)} characters; {MAX_LIKE_CHARS} is the limit")
    if (len(text) - len(text.rstrip("\\"))) % 2:
        raise ValueError(r"the pattern ends in a backslash; write '\\' for a literal one")
    return text


def _canonical(value: object) -> str:
    """An array or object as canonical JSON; text is that already (a tree that is parsed again)."""
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, list | tuple | Mapping):
        raise ValueError(f"takes a list or a mapping, not {brief(value)}")
    try:
        text = canonical_json(value)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"takes plain JSON data: {error}") from None
    if len(text) > MAX_SAME_CHARS:
        raise ValueError(f"JSON of {len(text)} characters; {MAX_SAME_CHARS} is the limit")
    return _text(text)


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no white space, as stored. Raises ``TypeError``, ``ValueError``."""
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    )


def _choice(value: object, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"no value {brief(value)}; legal are {' '.join(choices)}")
    return str.__str__(value)


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"takes a number, not {brief(value)}")
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError("the integer does not fit 64 bits")
        return int(value)
    if not math.isfinite(value):
        raise ValueError(f"takes a finite number, not {value}")
    return float(value)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"takes True or False, not {brief(value)}")
    return value


def _instant(value: object) -> datetime:
    if isinstance(value, str):
        value = _read_iso(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise ValueError(f"takes a datetime, a date or ISO 8601 text, not {brief(value)}")
    return from_micros(to_micros(value))


def _read_iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{brief(text)} is no ISO 8601 time like '2026-01-31T09:00Z'") from None


def _json_scalar(value: object) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if not isinstance(value, str):
        raise ValueError(f"takes text, a number, True or False, not {brief(value)}")
    return _text(value)


def mentions(filter: Filter, fields: Sequence[str]) -> bool:  # noqa: A002 - the field's word
    """Whether any condition of the tree is about one of these fields (``info`` means any key)."""
    match filter:
        case And(parts) | Or(parts):
            return any(mentions(part, fields) for part in parts)
        case Not(part):
            return mentions(part, fields)
        case Comparison(name):
            return name.split(".", 1)[0] in fields


def matches(filter: Filter | None, item: MemoryItem) -> bool:  # noqa: A002 - the field's word
    """Whether ``item`` passes: the reference that every compiled filter is tested against."""
    match filter:
        case None:
            return True
        case And(parts):
            return all(matches(part, item) for part in parts)
        case Or(parts):
            return any(matches(part, item) for part in parts)
        case Not(part):
            return not matches(part, item)
        case Comparison(field, op, value):
            positive = _holds(NEGATIONS.get(op, op), _found(field, item), value)
            return positive is not (op in NEGATIONS)
        case _:
            assert_never(filter)


def _found(field: str, item: MemoryItem) -> object:
    """The value under ``field``; ``None`` where it is missing. ``tags``, ``labels``: a tuple."""
    if field == "text":
        return item.text
    if field in FIELDS:
        value: object = getattr(item.header, field)
        return None if value == () else value
    value = item.data if field.startswith("data.") else item.header.info
    for key in info_path(field):
        value = value.get(key) if isinstance(value, Mapping) else None
    return list(value) if isinstance(value, tuple) else value


def _holds(op: str, found: object, value: Value) -> bool:
    if op == "exists":
        return (found is not None) is value
    if found is None:
        return False
    if isinstance(found, tuple):
        return not set(found).isdisjoint(value if isinstance(value, tuple) else (value,))
    return _TESTS[op](found, value)


def holds(op: str, found: object, value: Value) -> bool:
    """Whether a positive comparison holds for one JSON value; ``None`` is a missing one.

    What ``matches`` asks of each item, for those who ask it of distinct values. Lists are JSON
    arrays here, never tags.
    """
    return _holds(op, found, value)


def _one_of(found: object, values: tuple[Scalar, ...]) -> bool:
    return any(_compares(operator.eq, found, value) for value in values)


def _compares(how: Callable[[Any, Any], bool], found: object, value: object) -> bool:
    left, right = _ranked(found), _ranked(value)
    return left[0] == right[0] != "other" and how(left[1], right[1])


def _ranked(value: object) -> tuple[str, object]:
    """A value with its kind; only values of one kind compare."""
    match value:
        case bool():
            return "boolean", value
        case str():
            return "text", value
        case int() | float():
            return "number", fitted(value)
        case datetime():
            return "time", to_micros(value)
        case _:
            return "other", None


def fitted(number: float) -> int | float:
    """``number``, as a double when it is an integer beyond 64 bits."""
    if isinstance(number, float) or -(2**63) <= number < 2**63:
        return number
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _contains(found: object, value: object) -> bool:
    if isinstance(found, str):
        return isinstance(value, str) and value in found
    return isinstance(found, list) and any(_compares(operator.eq, e, value) for e in found)


def _is_same(found: object, value: str) -> bool:
    return isinstance(found, list | Mapping) and canonical_json(found) == value


def _resembles(found: object, pattern: str) -> bool:
    return isinstance(found, str) and _like(pattern).fullmatch(_readable(found)) is not None


@lru_cache(maxsize=256)
def _like(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression; atomic groups keep it from backtracking for ever."""
    runs = [""]
    for sign in re.findall(r"\\.|.", _readable(pattern), re.DOTALL):
        if sign == "%":
            runs.append("")
        else:
            runs[-1] += "." if sign == "_" else re.escape(sign[-1])
    for n in range(1, len(runs) - 1):
        runs[n] = f"(?>.*?{runs[n]})"
    if len(runs) > 1:
        runs[-1] = f".*{runs[-1]}"
    return re.compile("".join(runs), re.DOTALL | re.IGNORECASE | re.ASCII)


def _readable(text: str) -> str:
    return text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")


_TESTS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": partial(_compares, operator.eq),
    "gt": partial(_compares, operator.gt),
    "gte": partial(_compares, operator.ge),
    "lt": partial(_compares, operator.lt),
    "lte": partial(_compares, operator.le),
    "in": _one_of,
    "contains": _contains,
    "like": _resembles,
    "same": _is_same,
}
