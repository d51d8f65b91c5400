"""The rows behind the columns: what is known of each item, coded as numbers.

Written by ``columns.ColumnIndex``, read by it and by the filters. A name or a value is coded
once per cube; what a filter asks is then decided per distinct value, not per item.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.filters import fitted
from memos_integrations.cube.ports import Rows
from memos_integrations.infrastructure.backends.column_entry import FLAGS, ColumnEntry

FOREVER: Final = int(np.iinfo(np.int64).max)
"""Stands for "no such instant" in a column of times."""
TIMES: Final = ("time", "valid_from", "valid_to", "expires", "created", "updated")
NAMED: Final = (
    "kind", "memory_type", "state", "role", "speaker", "conversation", "agent", "origin",
    "source", "model", "owner", "trust", "visibility", "storage_mode", "priority", "confidence",
)  # fmt: skip
"""Fields of one value each, coded per distinct value; -1 where it is not set."""
DENSE: Final[Mapping[str, Any]] = {
    "item": np.int64,
    "version": np.int64,
    **dict.fromkeys(TIMES, np.int64),
    "drawn_from": np.int64,
    "marks": np.uint8,
    "called": np.int32,
    **dict.fromkeys(FLAGS, np.bool_),
    **dict.fromkeys(NAMED, np.int32),
}
_SEEN: Final = 4_096


@dataclass(slots=True)
class Dictionary:
    """Distinct values by number. It only grows, so that a number means the same for ever."""

    numbers: dict[Hashable, int] = field(default_factory=dict[Hashable, int])
    values: list[Any] = field(default_factory=list[Any])

    def code(self, value: Any, key: Hashable) -> int:
        """The number of a value, a new one where it was not seen before."""
        known = self.numbers.get(key)
        if known is None:
            known = len(self.values)
            self.values.append(value)
            self.numbers[key] = known
        return known


class Coder:
    """The dictionaries of one cube. Written under the lock of its cube only."""

    def __init__(self) -> None:
        self.called = Dictionary()
        self.named = {name: Dictionary() for name in NAMED}
        self.pairs_of = Dictionary()
        """Values are (key, value), numbered over all keys together."""
        self.by_key: dict[str, list[int]] = {}
        """Pair numbers of each key: ``tags``, ``labels``, or an ``info`` key after a dot."""
        self._seen: dict[tuple[Any, ...], tuple[int, ...]] = {}
        self._seen_pairs: dict[tuple[str | None, ...], list[int]] = {}

    def row(self, entry: ColumnEntry) -> tuple[Any, ...]:
        """The dense values of an entry, in the order of ``DENSE``."""
        known = entry.known
        expires, created, updated = known.times
        return (
            entry.item,
            entry.version,
            entry.time,
            entry.valid_from,
            FOREVER if entry.valid_to is None else entry.valid_to,
            FOREVER if expires is None else expires,
            FOREVER if created is None else created,
            FOREVER if updated is None else updated,
            -1 if entry.drawn_from is None else entry.drawn_from,
            entry.marks,
            self._called(entry.speaker),
            *known.flags,
            *self._names(known.named or _general(entry)),
        )

    def _names(self, values: tuple[Any, ...]) -> tuple[int, ...]:
        """The numbers of the named values; most memories of a session share all of them."""
        found = self._seen.get(values)
        if found is None:
            found = tuple(map(self._named, NAMED, values))
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen[values] = found
        return found

    def pairs(self, entry: ColumnEntry) -> list[int]:
        """The numbers of the entry's tags, labels and info keys with their values."""
        known = entry.known
        written = (known.tags, known.labels, known.info)
        found = self._seen_pairs.get(written)
        if found is None:
            found = [self._pair("tags", tag) for tag in _read(known.tags) or ()]
            found += [self._pair("labels", label) for label in _read(known.labels) or ()]
            info: dict[str, Any] = _read(known.info) or {}
            found += [self._pair("." + key, value) for key, value in info.items()]
            if len(self._seen_pairs) >= _SEEN:
                self._seen_pairs.clear()
            self._seen_pairs[written] = found
        return found

    def _called(self, speaker: str | None) -> int:
        if not speaker:
            return -1
        name = speaker.casefold()
        return self.called.code(name, name)

    def _named(self, name: str, value: Any) -> int:
        return -1 if value is None else self.named[name].code(value, identity(value))

    def _pair(self, key: str, value: Any) -> int:
        seen = len(self.pairs_of.values)
        number = self.pairs_of.code((key, value), (key, identity(value)))
        if number == seen:
            self.by_key.setdefault(key, []).append(number)
        return number


class Derived:
    """What readers work out about a table and leave for the next one."""

    __slots__ = ("decided", "open_until", "pair_rows")

    def __init__(self) -> None:
        self.decided: dict[str, Rows] = {}
        """Rows that pass a filter, by the filter in full: agents ask with the same few."""
        self.open_until: tuple[NDArray[np.int64], int] | None = None
        self.pair_rows: NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """All columns of a cube as one write left them, in ascending item order."""

    dense: Mapping[str, NDArray[Any]]
    span_counts: NDArray[np.int32]
    spans: NDArray[np.int64]
    pair_counts: NDArray[np.int32]
    pairs: NDArray[np.int32]
    coder: Coder
    derived: Derived = field(default_factory=Derived)

    @property
    def items(self) -> Rows:
        return self.dense["item"]

    @property
    def open_until(self) -> tuple[NDArray[np.int64], int]:
        """Up to when a search that asks about no other time may show each row, and the first of
        these instants; the beginning of time for what is quarantined."""
        found = self.derived.open_until
        if found is None:
            dense = self.dense
            kept = np.where(dense["legal_hold"], FOREVER, dense["expires"])
            until = np.minimum(kept, dense["valid_to"])
            until[dense["quarantined"]] = -FOREVER
            found = self.derived.open_until = (until, int(until.min(initial=FOREVER)))
        return found

    @property
    def pair_rows(self) -> NDArray[np.int32]:
        """The row of each pair."""
        found = self.derived.pair_rows
        if found is None:
            rows = np.arange(len(self), dtype=np.int32)
            found = self.derived.pair_rows = np.repeat(rows, self.pair_counts)
        return found

    def __len__(self) -> int:
        return len(self.dense["item"])


def find(held: Rows, items: Rows) -> NDArray[np.int64]:
    """The place of each item among the ascending ``held``; -1 where it is not."""
    return find_all(held, items)[0]


def find_all(held: Rows, items: Rows) -> tuple[NDArray[np.int64], bool]:
    """As ``find``, and whether all of them are there."""
    size = len(held)
    if not size or not len(items):
        return np.full(len(items), -1, np.int64), not len(items)
    first = held[0]
    if held[-1] - first == size - 1:  # no gaps, as in the one cube of a file
        at: NDArray[np.int64] = items - first
        if np.maximum.reduce(at.view(np.uint64)) < size:  # below 0 is beyond all as well
            return at, True
        return np.where((at >= 0) & (at < size), at, -1), False
    at = held.searchsorted(items)
    np.minimum(at, size - 1, out=at)
    there = held[at] == items
    return (at, True) if there.all() else (np.where(there, at, -1), False)


def identity(value: Any) -> Hashable:
    """Equal for values that no filter tells apart, different for all others."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, str):
        return ("text", value)
    if isinstance(value, int | float):
        return ("number", fitted(value))
    return ("json", json.dumps(value, ensure_ascii=False))


def _general(entry: ColumnEntry) -> tuple[Any, ...]:
    """The named values of an entry that brings only what the ranking needs."""
    given = {"role": entry.role, "speaker": entry.speaker, "conversation": entry.session}
    return tuple(given.get(name) for name in NAMED)


def _read(text: str | None) -> Any:
    return None if text is None else json.loads(text)
