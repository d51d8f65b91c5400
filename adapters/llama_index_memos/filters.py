"""LlamaIndex's metadata filters as the one filter tree; every value stays bound data.

A missing or null field passes ``!=`` and ``nin`` and fails everything else, as LlamaIndex's own
filter function has it; unlike there, groups nest. What has no meaning raises ``InvalidFilter``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from memos_integrations.cube.errors import InvalidFilter

Tree: TypeAlias = dict[str, Any]
_MAX_LIST: Final = 10_000
_PLAIN: Final[Mapping[FilterOperator, str]] = {
    FilterOperator.EQ: "=",
    FilterOperator.NE: "!=",
    FilterOperator.GT: "gt",
    FilterOperator.GTE: "gte",
    FilterOperator.LT: "lt",
    FilterOperator.LTE: "lte",
    FilterOperator.CONTAINS: "contains",
}
_LISTED: Final[Mapping[FilterOperator, str]] = {FilterOperator.IN: "in", FilterOperator.NIN: "nin"}


def tree_of(filters: MetadataFilters | None, *, under: str = "info.meta") -> Tree | None:
    """The tree that asks the same of ``under``; ``None`` where nothing is asked."""
    if filters is None or not filters.filters:
        return None
    return _group(filters, under)


def every(*parts: Tree | None) -> Tree | None:
    """All of these that ask for something."""
    asked = [part for part in parts if part is not None]
    if len(asked) < 2:
        return asked[0] if asked else None
    return {"and": asked}


def one_of(field: str, values: Sequence[str]) -> Tree:
    """Whether ``field`` is one of these, however many they are."""
    found = list(dict.fromkeys(values))
    if not found:
        return {"and": [{field: {"exists": True}}, {field: {"exists": False}}]}
    parts = [{field: {"in": found[n : n + _MAX_LIST]}} for n in range(0, len(found), _MAX_LIST)]
    return parts[0] if len(parts) == 1 else {"or": parts}


def meta_field(key: str, under: str) -> str:
    """The field of a metadata key, which may hold dots."""
    if not key:
        raise InvalidFilter("a metadata filter needs a key")
    escaped = key.replace("\\", "\\\\").replace(".", "\\.")
    return f"{under}.{escaped}"


def _group(group: MetadataFilters, under: str) -> Tree:
    parts = [_part(each, under) for each in group.filters]
    if not parts:
        raise InvalidFilter("a nested group of filters is empty; leave it out")
    match group.condition or FilterCondition.AND:
        case FilterCondition.AND:
            return {"and": parts}
        case FilterCondition.OR:
            return {"or": parts}
        case FilterCondition.NOT:  # none of them holds
            return {"not": {"or": parts}}


def _part(part: MetadataFilter | MetadataFilters, under: str) -> Tree:
    if isinstance(part, MetadataFilters):
        return _group(part, under)
    return _comparison(meta_field(part.key, under), part.operator, part.value)


def _comparison(field: str, operator: FilterOperator, value: object) -> Tree:
    if operator is FilterOperator.IS_EMPTY:
        return {"or": [{field: {"exists": False}}, {field: ""}, {field: {"same": []}}]}
    if value is None:
        raise InvalidFilter(f"filter on {field!r}: {operator.value!r} needs a value")
    if operator in _PLAIN:
        return {field: {_PLAIN[operator]: value}}
    if operator in _LISTED:
        return _listed(field, operator, value)
    return _SPECIAL[operator](field, value)


def _listed(field: str, operator: FilterOperator, value: object) -> Tree:
    values = _values(field, operator, value)
    if not values and operator is FilterOperator.IN:
        return one_of(field, [])
    if not values:
        return {"or": [{field: {"exists": True}}, {field: {"exists": False}}]}
    return {field: {_LISTED[operator]: values}}


def _values(field: str, operator: FilterOperator, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidFilter(f"filter on {field!r}: {operator.value!r} takes a list of values")
    return list(value)


def _any(field: str, value: object) -> Tree:
    values = _values(field, FilterOperator.ANY, value)
    return {"or": [{field: {"contains": each}} for each in values]} if values else one_of(field, [])


def _all(field: str, value: object) -> Tree:
    values = _values(field, FilterOperator.ALL, value)
    there = {field: {"exists": True}}
    return {"and": [there, *({field: {"contains": each}} for each in values)]}


def _text_match(field: str, value: object) -> Tree:
    return {"and": [{field: {"like": "%"}}, {field: {"contains": _words(field, value)}}]}


def _text_match_insensitive(field: str, value: object) -> Tree:
    words = _words(field, value)
    if not words.isascii():
        # ``like`` folds the case of ASCII alone; half an answer would be worse than none.
        raise InvalidFilter(
            f"filter on {field!r}: text_match_insensitive takes ASCII; use text_match for {words!r}"
        )
    escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return {field: {"like": f"%{escaped}%"}}


def _words(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidFilter(f"filter on {field!r}: a text match takes text")
    return value


_SPECIAL: Final[Mapping[FilterOperator, Callable[[str, object], Tree]]] = {
    FilterOperator.ANY: _any,
    FilterOperator.ALL: _all,
    FilterOperator.TEXT_MATCH: _text_match,
    FilterOperator.TEXT_MATCH_INSENSITIVE: _text_match_insensitive,
}
