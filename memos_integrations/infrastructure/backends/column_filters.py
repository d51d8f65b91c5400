"""Filters decided on columns in memory: exactly the rows that the truth's SQL would give.

Each condition is decided once per distinct value, by the meaning that ``cube.filters`` gives it,
and then spread over the rows. What the columns do not hold (the words, counts of use) is left to
the truth: ``passing`` says so by ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, assert_never

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.filters import (
    NEGATIONS,
    And,
    Comparison,
    Filter,
    Not,
    Or,
    Value,
    holds,
    info_path,
)
from memos_integrations.cube.ids import to_micros
from memos_integrations.cube.ports import Rows
from memos_integrations.infrastructure.backends.column_entry import FLAGS
from memos_integrations.infrastructure.backends.column_table import (
    FOREVER,
    NAMED,
    TIMES,
    Dictionary,
    Table,
    find,
    identity,
)

Flags = NDArray[np.bool_]
_DECIDED: Final = frozenset(NAMED) - {"visibility", "storage_mode"}
# Both of these change without an event for every memory they change of.
_DECISIONS_KEPT: Final = 8
_TIMES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": np.equal,
    "gt": np.greater,
    "gte": np.greater_equal,
    "lt": np.less,
    "lte": np.less_equal,
}


def searchable(table: Table, *, now: int, valid_at: int | None) -> Flags | None:
    """Rows that a search may show at an instant, as the truth's condition of that name says;
    ``None`` for all of them.

    Whether an item is archived, merged, stale or gone is decided before: those are not held.
    """
    if valid_at is None:
        until, first = table.open_until
        return None if first > now else until > now
    dense = table.dense
    passes: Flags = (dense["expires"] > now) | dense["legal_hold"]
    passes &= ~dense["quarantined"]
    passes &= dense["valid_to"] > valid_at
    passes &= dense["valid_from"] <= valid_at
    return passes


def passing(table: Table, where: Filter | None, *, now: int, valid_at: int | None) -> Rows | None:
    """Searchable items that the filter lets pass, ascending; ``None`` where it asks for more
    than the columns hold."""
    if where is not None and not decides(where):
        return None
    shown = searchable(table, now=now, valid_at=valid_at)
    if where is None:
        return table.items if shown is None else table.items[shown]
    items = _decided(table, where)
    return items if shown is None else items[shown[find(table.items, items)]]


def _decided(table: Table, where: Filter) -> Rows:
    """Items that the filter lets pass. The table never changes, so it is decided once."""
    decided = table.derived.decided
    words = repr(where)  # equal trees may mean different things: 1, 1.0 and True are equal
    found = decided.get(words)
    if found is None:
        found = table.items[np.flatnonzero(_Rows(table).decide(where))]
        if len(decided) >= _DECISIONS_KEPT:
            decided.clear()
        decided[words] = found
    return found


def decides(where: Filter) -> bool:
    """Whether the columns hold everything that the filter asks for."""
    match where:
        case And(parts) | Or(parts):
            return all(map(decides, parts))
        case Not(part):
            return decides(part)
        case Comparison(name):
            known = name in _DECIDED or name in TIMES or name in FLAGS
            return known or name in ("tags", "labels", "version", "stale") or _is_info(name)
        case _:
            assert_never(where)


class _Rows:
    """One filter over one table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def decide(self, where: Filter) -> Flags:
        match where:
            case And(parts):
                every: Flags = np.logical_and.reduce([self.decide(part) for part in parts])
                return every
            case Or(parts):
                some: Flags = np.logical_or.reduce([self.decide(part) for part in parts])
                return some
            case Not(part):
                return ~self.decide(part)
            case Comparison():
                return self._comparison(where)
            case _:
                assert_never(where)

    def _comparison(self, asked: Comparison) -> Flags:
        op, value = NEGATIONS.get(asked.op, asked.op), asked.value
        turned = asked.op in NEGATIONS
        if op == "exists":
            turned, value = value is False, True
        found = self._positive(asked.field, op, value)
        return ~found if turned else found

    def _positive(self, name: str, op: str, value: Value) -> Flags:
        if name in TIMES:
            return self._time(self._table.dense[name], op, value)
        if name in FLAGS:
            return self._table.dense[name] == value if op == "=" else self._everywhere(True)
        if name == "stale":  # what is stale is not held
            return self._everywhere(op == "exists" or value is False)
        if name == "version":
            return self._version(op, value)
        if name in ("tags", "labels"):
            return self._listed(name, op, value)
        return self._info(name, op, value) if _is_info(name) else self._named(name, op, value)

    def _everywhere(self, flag: bool) -> Flags:
        return np.full(len(self._table), flag, np.bool_)

    def _time(self, column: NDArray[np.int64], op: str, value: Value) -> Flags:
        known: Flags = column != FOREVER
        if op == "exists":
            return known
        if op == "in":
            return known & np.isin(column, [_micros(each) for each in _several(value)])
        found: Flags = _TIMES[op](column, _micros(value))
        return known & found

    def _version(self, op: str, value: Value) -> Flags:
        numbers, back = np.unique(self._table.dense["version"], return_inverse=True)
        passes = [holds(op, number, value) for number in numbers.tolist()]
        return np.array(passes, np.bool_)[back]

    def _named(self, name: str, op: str, value: Value) -> Flags:
        column, known = self._table.dense[name], self._table.coder.named[name]
        if op == "exists":
            return column >= 0
        codes = _exact(known, op, value, identity)
        if codes is None:
            codes = [n for n, each in enumerate(list(known.values)) if holds(op, each, value)]
        return _among(column, codes, len(known.values))

    def _listed(self, name: str, op: str, value: Value) -> Flags:
        if op == "exists":
            return self._with_pairs(self._table.coder.by_key.get(name, ()))
        known = self._table.coder.pairs_of
        op = "in" if op == "in" else "="
        return self._with_pairs(_exact(known, op, value, lambda v: (name, identity(v))) or ())

    def _info(self, field: str, op: str, value: Value) -> Flags:
        first, *rest = info_path(field)
        known, key = self._table.coder.pairs_of, "." + first
        codes = None if rest else _exact(known, op, value, lambda v: (key, identity(v)))
        if codes is None:
            numbers = list(self._table.coder.by_key.get(key, ()))
            codes = [n for n in numbers if holds(op, _walk(known.values[n][1], rest), value)]
        return self._with_pairs(codes)

    def _with_pairs(self, codes: Sequence[int]) -> Flags:
        """Rows that hold at least one of these pairs."""
        table = self._table
        hits = _among(table.pairs, codes, len(table.coder.pairs_of.values))
        passes = self._everywhere(False)
        passes[table.pair_rows[np.flatnonzero(hits)]] = True
        return passes


def _is_info(name: str) -> bool:
    return name.startswith("info.")


def _exact(known: Dictionary, op: str, value: Value, key: Callable[[Any], Any]) -> list[int] | None:
    """The numbers of the values asked for by ``=`` or ``in``; ``None`` for other operators."""
    if op not in ("=", "in"):
        return None
    asked = _several(value) if op == "in" else (value,)
    found = (known.numbers.get(key(each)) for each in asked)
    return [number for number in found if number is not None]


def _among(column: NDArray[np.int32], codes: Sequence[int], size: int) -> Flags:
    if not codes:
        return np.zeros(len(column), np.bool_)
    if len(codes) == 1:
        only: Flags = column == codes[0]
        return only
    wanted = np.zeros(size + 1, np.bool_)  # the last place is that of -1, "not set"
    wanted[list(codes)] = True
    return wanted[column]


def _walk(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _several(value: Value) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _micros(value: object) -> int:
    assert isinstance(value, datetime)  # noqa: S101 - the parser let nothing else through
    return to_micros(value)
