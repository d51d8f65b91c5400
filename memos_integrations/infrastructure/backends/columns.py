"""What is known of each memory besides its words, as columns in memory: one row per live item.

Fed by the vault's log like every projection. The ranking reads whole columns where asking the
truth row by row would cost more than the search; filters are decided on them first. Whatever
they let through is checked against the truth again.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ports import Rows
from memos_integrations.infrastructure.backends.column_entry import ColumnEntry, Known
from memos_integrations.infrastructure.backends.column_table import (
    DENSE,
    FOREVER,
    Coder,
    Table,
    find,
    find_all,
)
from memos_integrations.infrastructure.backends.growing import Growing, Ragged

__all__ = ["FOREVER", "ColumnEntry", "ColumnIndex", "Columns", "Known", "Mark", "plain_marks"]

_FEW = 64
"""New rows put in their place one by one; more are sorted anew with all others."""


class Mark(IntFlag):
    """What an answer of some type must hold, read off the words once."""

    TIME = 1
    """A date, a weekday, a time of day, "yesterday", "for two years"."""
    NUMBER = 2
    """A number in digits or words."""
    QUESTION = 4
    """The words end in a question."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A snapshot of one cube. Arrays are aligned, in ascending item order, never changed."""

    items: Rows
    time: NDArray[np.int64]
    session: NDArray[np.int32]
    """A number per session; -1 for none."""
    place: NDArray[np.int32]
    """Position of the row in ``order``."""
    order: NDArray[np.int32]
    """Rows by (session, time, item), so that neighbours in a conversation stand side by side.
    Facts (``drawn_from``) are not in the conversation: they stand at the end."""
    talk: int
    """How many rows of ``order`` belong to conversations (the rest are facts)."""
    talked: bool
    """Whether any row is of a session."""
    speaker: NDArray[np.int32]
    """Index into ``speakers``; -1 for none."""
    speakers: tuple[str, ...]
    """Casefolded names."""
    role: NDArray[np.int32]
    roles: tuple[str, ...]
    drawn_from: NDArray[np.int64]
    """Item the row restates; -1 for none."""
    marks: NDArray[np.uint8]
    span_row: NDArray[np.int32]
    """Row of each spoken date."""
    span_start: NDArray[np.int64]
    span_end: NDArray[np.int64]

    @property
    def has_facts(self) -> bool:
        """Whether any row restates another memory."""
        return self.talk < len(self.items)

    def rows(self, items: Rows) -> NDArray[np.int64]:
        """The row of each item; -1 where it is not held."""
        return find(self.items, items)

    def rows_of(self, items: Rows) -> tuple[NDArray[np.int64], bool]:
        """As ``rows``, and whether all of them are held."""
        return find_all(self.items, items)

    def beside(self, rows: NDArray[np.int64], step: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """The row ``step`` turns later in the same session (earlier for negative); -1 for none.

        With an array of steps of shape (n, 1), shape (n, rows).
        """
        place = self.place[rows] + step
        inside = (place >= 0) & (place < self.talk) & (self.place[rows] < self.talk)
        found = self.order[np.where(inside, place, 0)].astype(np.int64)
        same = inside & (self.session[found] == self.session[rows])
        return np.where(same & (self.session[rows] >= 0), found, -1)


class ColumnIndex:
    """Keeps ``Columns`` of every cube, and decides filters on them.

    Readers take a snapshot and never wait. New items cost only themselves; a change or a
    deletion costs a copy of the cube's columns, in numpy.
    """

    def __init__(self) -> None:
        self._cubes: dict[int, Held] = {}
        self._lock = threading.Lock()

    def upsert(self, cube: int, entries: Sequence[ColumnEntry]) -> None:
        """Keep one row per item; an entry older than the kept version changes nothing."""
        with self._lock:
            held = self._cubes.setdefault(cube, Held())
        held.upsert(entries)

    def delete(self, cube: int, items: Sequence[int]) -> None:
        """Forget these items; unknown ones are no error."""
        held = self._cubes.get(cube)
        if held is not None:
            held.delete(items)

    def columns(self, cube: int) -> Columns | None:
        """The cube's columns as they are now; ``None`` for a cube never fed."""
        held = self._cubes.get(cube)
        return None if held is None else held.columns()

    def table(self, cube: int) -> Table | None:
        """All that is held of the cube, for filters; ``None`` for a cube never fed."""
        held = self._cubes.get(cube)
        return None if held is None else held.table

    def versions(self, cube: int) -> Mapping[int, int]:
        """Item -> version of everything held."""
        held = self._cubes.get(cube)
        if held is None:
            return {}
        table = held.table
        return dict(zip(table.items.tolist(), table.dense["version"].tolist(), strict=True))

    def drop(self, cube: int) -> None:
        """Forget the whole cube."""
        with self._lock:
            self._cubes.pop(cube, None)

    def close(self) -> None:
        with self._lock:
            self._cubes.clear()


class Held:
    """The one writer of a cube's columns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dense = {name: Growing(dtype) for name, dtype in DENSE.items()}
        self._spans = Ragged(np.int64, 2)
        self._pairs = Ragged(np.int32)
        self._coder = Coder()
        self.table = self._publish()
        self._columns: tuple[Table, Columns] | None = None

    def upsert(self, entries: Sequence[ColumnEntry]) -> None:
        newest: dict[int, ColumnEntry] = {}
        for entry in entries:
            if entry.item not in newest or entry.version >= newest[entry.item].version:
                newest[entry.item] = entry
        with self._lock:
            fresh = self._current([newest[item] for item in sorted(newest)])
            if fresh:
                self._put(fresh)
                self.table = self._publish()

    def delete(self, items: Sequence[int]) -> None:
        with self._lock:
            stay = ~np.isin(self.table.items, np.asarray(items, np.int64))
            if not stay.all():
                self._keep(stay)
                self.table = self._publish()

    def columns(self) -> Columns:
        kept, table = self._columns, self.table
        if kept is None or kept[0] is not table:
            before = None if kept is None else kept[1]
            kept = (table, as_columns(table, before))
            self._columns = kept
        return kept[1]

    def _current(self, entries: list[ColumnEntry]) -> list[ColumnEntry]:
        items = np.fromiter((e.item for e in entries), np.int64, len(entries))
        rows = find(self.table.items, items).tolist()
        held = self.table.dense["version"]
        return [
            e for e, row in zip(entries, rows, strict=True) if row < 0 or held[row] <= e.version
        ]

    def _put(self, entries: Sequence[ColumnEntry]) -> None:
        """Add rows for these entries, in item order, in place of those of the same items."""
        last = int(self.table.items[-1]) if len(self.table.items) else -1
        appended = entries[0].item > last
        if not appended:
            items = np.fromiter((e.item for e in entries), np.int64, len(entries))
            self._keep(~np.isin(self.table.items, items))
        self._append(entries)
        if not appended:
            self._sort()

    def _append(self, entries: Sequence[ColumnEntry]) -> None:
        rows = [self._coder.row(entry) for entry in entries]
        for (name, dtype), values in zip(DENSE.items(), zip(*rows, strict=True), strict=True):
            self._dense[name].extend(np.array(values, dtype))
        spans = [span for entry in entries for span in entry.spans]
        counts = np.array([len(entry.spans) for entry in entries], np.int32)
        self._spans.extend(counts, np.array(spans, np.int64).reshape(-1, 2))
        pairs = [self._coder.pairs(entry) for entry in entries]
        counts = np.array([len(each) for each in pairs], np.int32)
        self._pairs.extend(counts, np.array([code for each in pairs for code in each], np.int32))

    def _keep(self, stay: NDArray[np.bool_]) -> None:
        for column in self._dense.values():
            column.replace(column.view[stay])
        self._spans.keep(stay)
        self._pairs.keep(stay)

    def _sort(self) -> None:
        order = np.argsort(self._dense["item"].view, kind="stable")
        for column in self._dense.values():
            column.replace(column.view[order])
        self._spans.reorder(order)
        self._pairs.reorder(order)

    def _publish(self) -> Table:
        return Table(
            dense={name: column.view for name, column in self._dense.items()},
            span_counts=self._spans.counts.view,
            spans=self._spans.values.view,
            pair_counts=self._pairs.counts.view,
            pairs=self._pairs.values.view,
            coder=self._coder,
        )


def as_columns(table: Table, before: Columns | None) -> Columns:
    """What the ranking reads of a table. ``before`` is an earlier one of the same cube."""
    dense, coder = table.dense, table.coder
    order, talk = _order(table, before)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return Columns(
        items=table.items,
        time=dense["time"],
        session=dense["conversation"],
        place=place,
        order=order,
        talk=talk,
        talked=bool((dense["conversation"] >= 0).any()),
        speaker=dense["called"],
        speakers=tuple(coder.called.values),
        role=dense["role"],
        roles=tuple(coder.named["role"].values),
        drawn_from=dense["drawn_from"],
        marks=dense["marks"],
        span_row=np.repeat(np.arange(len(table), dtype=np.int32), table.span_counts),
        span_start=table.spans[:, 0],
        span_end=table.spans[:, 1],
    )


def _order(table: Table, before: Columns | None) -> tuple[NDArray[np.int32], int]:
    """Rows by (fact or not, session, time, item), and how many are no facts."""
    dense = table.dense
    facts = dense["drawn_from"] >= 0
    talk = len(facts) - int(np.count_nonzero(facts))
    if before is not None and _only_added(table, before):
        return _inserted(table, before.order), talk
    order = np.lexsort((dense["time"], dense["conversation"], facts))
    return order.astype(np.int32), talk


def _only_added(table: Table, before: Columns) -> bool:
    held = len(before.items)
    if not held <= len(table) <= held + _FEW:
        return False
    same: tuple[tuple[str, NDArray[Any]], ...] = (
        ("item", before.items),
        ("time", before.time),
        ("conversation", before.session),
        ("drawn_from", before.drawn_from),
    )
    return all(np.array_equal(table.dense[name][:held], column) for name, column in same)


def _inserted(table: Table, order: NDArray[np.int32]) -> NDArray[np.int32]:
    drawn, session, time = (table.dense[n] for n in ("drawn_from", "conversation", "time"))

    def key(row: int) -> tuple[bool, int, int, int]:
        return (bool(drawn[row] >= 0), int(session[row]), int(time[row]), int(row))

    fresh = sorted(range(len(order), len(table)), key=key)
    places = [bisect_left(order, key(row), key=key) for row in fresh]
    return np.insert(order, places, np.array(fresh, np.int32))


_TIME = re.compile(
    r"\b(?:\d{1,2}:\d{2}|\d{1,2}\s?[ap]\.?m\b|(?:19|20)\d{2}|yesterday|today|tonight|tomorrow"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day|jan(?:uary)?|feb(?:ruary)?|march|april|june|july"
    r"|aug(?:ust)?|sept(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?|ago|noon|midnight"
    r"|(?:last|next|this)\s(?:day|week|weekend|month|year|morning|evening|night|spring|summer"
    r"|autumn|fall|winter)|(?:minute|hour|day|week|month|year)s?)\b"
    r"|[今明昨后前][天日年]|星期|周[一二三四五六日]|\d\s?[年月日点号]",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|twenty|thirty"
    r"|forty|fifty|hundred|thousand|million|once|twice|couple|several)\b"
    r"|[一二两三四五六七八九十百千万几]",
    re.IGNORECASE,
)


def plain_marks(text: str) -> int:
    """The marks of some words, by word lists alone."""
    found = Mark.TIME if _TIME.search(text) else Mark(0)
    if _NUMBER.search(text):
        found |= Mark.NUMBER
    if text.rstrip().endswith(("?", "\uff1f")):
        found |= Mark.QUESTION
    return int(found)
