"""LangGraph's filters as the one filter tree, over the value of an entry.

Called by the store. ``{"a": 1}``, ``{"a": {"$gt": 1}}``, ``{"a": {"b": 1}}`` (some of a nested
object), ``{"a.b": 1}`` (a dotted path, or a key that has the dot in it) and ``$and``, ``$or``,
``$not`` at every place; anything else that begins with ``$`` is an error, never ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from memos_integrations.cube.errors import InvalidFilter
from memos_integrations.cube.filters import And, Comparison, Filter, Not, Or, parse

Places: TypeAlias = tuple[tuple[str, ...], ...]
"""Paths of keys at one of which the value is looked for: a dotted key can be meant in two ways."""
_MAX_DEPTH: Final = 16
_ORDER: Final = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
_NEGATIVE: Final = {"$ne": "$eq", "$nin": "$in"}
_LEGAL: Final = "$eq $ne $gt $gte $lt $lte $in $nin $exists $and $or $not"


def value_filter(given: object) -> Filter | None:
    """The tree of a LangGraph filter; ``None`` where it asks for nothing.

    Raises ``InvalidFilter``, which is a ``ValueError`` as LangGraph's own stores raise.
    """
    if given is None or given == {}:
        return None
    return parse(_object(given, ((),)))


def _object(given: object, places: Places) -> Filter:
    """All that a mapping of keys and logic asks for."""
    if not isinstance(given, Mapping) or not given:
        raise InvalidFilter(f"a filter is a non-empty mapping, not {type(given).__name__}")
    return _all(_entry(key, value, places) for key, value in given.items())


def _entry(key: object, value: object, places: Places) -> Filter:
    if not isinstance(key, str) or not key:
        raise InvalidFilter("the keys of a filter are non-empty text")
    if key in _LOGIC:
        return _LOGIC[key](value, lambda part: _object(part, places))
    if key.startswith("$"):
        raise _unknown(key)
    paths: list[tuple[str, ...]] = [(key,)]
    if "." in key and all(key.split(".")):
        paths.append(tuple(key.split(".")))
    return _condition(tuple((*place, *path) for place in places for path in paths), value)


def _condition(places: Places, value: object) -> Filter:
    if len(places[0]) > _MAX_DEPTH:
        raise InvalidFilter(f"the filter is nested deeper than {_MAX_DEPTH}")
    if not isinstance(value, Mapping) or not value:
        return _equal(places, value)
    operators = [key for key in value if isinstance(key, str) and key.startswith("$")]
    if not operators:
        return _object(value, places)
    if len(operators) < len(value):
        raise InvalidFilter("a condition holds operators or nested keys, not both; use $and")
    return _all(_operator(places, op, operand) for op, operand in value.items())


def _operator(places: Places, op: str, operand: object) -> Filter:
    if op in _NEGATIVE:
        return Not(_operator(places, _NEGATIVE[op], operand))
    if op in _LOGIC:
        return _LOGIC[op](operand, lambda part: _condition(places, part))
    if op in _ORDER:
        return _somewhere(places, _ORDER[op], operand)
    if op in _OPERATORS:
        return _OPERATORS[op](places, operand)
    raise _unknown(op)


def _equal(places: Places, value: object) -> Filter:
    if value is None:
        return _present(places, False)
    whole = isinstance(value, list | tuple | Mapping)
    return _somewhere(places, "same" if whole else "=", value)


def _one_of(places: Places, values: object) -> Filter:
    if not isinstance(values, list | tuple | set | frozenset):
        raise InvalidFilter(f"$in and $nin take a list, not {type(values).__name__}")
    scalars = tuple(each for each in values if isinstance(each, str | int | float))
    others = [each for each in values if not isinstance(each, str | int | float)]
    found = [_somewhere(places, "in", scalars), *(_equal(places, each) for each in others)]
    return found[0] if len(found) == 1 else Or(tuple(found))


def _present(places: Places, wanted: object) -> Filter:
    if not isinstance(wanted, bool):
        raise InvalidFilter("$exists takes True or False")
    found = _somewhere(places, "exists", True)
    return found if wanted else Not(found)


def _somewhere(places: Places, op: str, value: Any) -> Filter:
    """The comparison at one of the places; what it compares with is checked by ``parse``."""
    found = tuple(Comparison(_field(place), op, value) for place in places)
    return found[0] if len(found) == 1 else Or(found)


def _field(place: tuple[str, ...]) -> str:
    return "data." + ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in place)


def _unknown(op: str) -> InvalidFilter:
    return InvalidFilter(f"no operator {op[:50]!r}; there are {_LEGAL}")


def _all(parts: Iterable[Filter]) -> Filter:
    found = tuple(parts)
    return found[0] if len(found) == 1 else And(found)


_Read: TypeAlias = Callable[[Any], Filter]


def _joined(kind: type[And] | type[Or], given: Any, read: _Read) -> Filter:
    if not isinstance(given, list | tuple) or not given:
        raise InvalidFilter("$and and $or take a non-empty list of filters")
    return kind(tuple(read(part) for part in given))


_OPERATORS: Final[Mapping[str, Callable[[Places, object], Filter]]] = {
    "$eq": _equal,
    "$in": _one_of,
    "$exists": _present,
}
_LOGIC: Final[Mapping[str, Callable[[Any, _Read], Filter]]] = {
    "$and": lambda given, read: _joined(And, given, read),
    "$or": lambda given, read: _joined(Or, given, read),
    "$not": lambda given, read: Not(read(given)),
}
