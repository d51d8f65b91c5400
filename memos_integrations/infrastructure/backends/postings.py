"""Lines of texts (a word, whose it is, how often) and what a question's words find among them.

Used by the lexical snapshot. Whatever way leads to the hits, they stand in the order of the
question's words, so that sums over them are the same to the last bit.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ports import Rows

Ints: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float32]
Hits: TypeAlias = tuple[Rows, NDArray[np.integer], Ints]
"""Whose, which word of the question, how often; by word, and for one word by owner."""
_T = TypeVar("_T", np.int32, np.int64, np.float32)
Stretches: TypeAlias = list[tuple[int, int]]

K1 = 1.2
B = 0.75
"""The constants of BM25."""
ITEM, VERSION, LENGTH, START, DISTINCT = range(5)
"""Rows of the table of slots: where the lines of a slot start, and how many they are."""

_RADIX = 1 << 16
"""Below this, numpy sorts by counting, which takes a tenth of the time."""


@dataclass(frozen=True, slots=True)
class Postings:
    """Lines sorted by term, for many questions over the same texts."""

    starts: Rows
    """Where each term begins; one more that stands for an unknown term, and the end."""
    owners: Rows
    counts: Ints
    gains: Floats
    """How much of a word's worth each line brings."""

    def bounds(self, terms: Rows) -> tuple[Rows, Rows]:
        """From where to where the lines of each term stand."""
        return self.starts[terms], self.starts[terms + 1]

    def hits(self, where: Stretches, held: Rows) -> Hits:
        """What stands within the bounds of each of some terms, and how many lines each has."""
        words = np.arange(len(held)).repeat(held)
        return joined(self.owners, where), words, joined(self.counts, where)


def sorted_lines(
    terms: Ints, owners: Rows, counts: Ints, norm: NDArray[np.float64], *, known: int
) -> Postings:
    """The lines by term and then by owner, as they come. ``norm`` is per owner, ``known`` how
    many terms there are."""
    narrow = terms.astype(np.uint16) if known < _RADIX else terms
    order = np.argsort(narrow, kind="stable")
    starts = np.zeros(known + 2, np.int64)
    np.cumsum(np.bincount(terms, minlength=known + 1), out=starts[1:])
    owners, counts = owners[order].astype(np.int64, copy=False), counts[order]
    return Postings(starts, owners, counts, gains_of(counts, norm[owners]))


class _Scratch(threading.local):
    """A thread's own room to sum in: fresh memory of some MB would cost more than the sum."""

    def __init__(self) -> None:
        self.slots = np.empty(0, np.int64)
        self.worth = np.empty(0, np.float64)


_scratch = _Scratch()
_MOST_SCRATCH = 1 << 20
"""Numbers kept: 16 MiB a thread that searches large cubes."""


def scratch(size: int) -> tuple[Rows, NDArray[np.float64]]:
    """Room for so many whole numbers and as many floats, until the thread asks for it again."""
    if size > _MOST_SCRATCH:
        return np.empty(size, np.int64), np.empty(size, np.float64)
    if size > len(_scratch.slots):
        room = min(1 << size.bit_length(), _MOST_SCRATCH)
        _scratch.slots, _scratch.worth = np.empty(room, np.int64), np.empty(room, np.float64)
    return _scratch.slots[:size], _scratch.worth[:size]


def stretches(low: Rows, high: Rows) -> Stretches:
    """The bounds of each term as pairs."""
    return list(zip(low.tolist(), high.tolist(), strict=True))


def joined(values: NDArray[_T], stretches: Stretches) -> NDArray[_T]:
    """These stretches of an array, one after the other."""
    parts = [values[low:high] for low, high in stretches]
    return np.concatenate(parts) if parts else values[:0]


def picked(values: Ints, where: slice | Rows) -> Ints:
    """The values at these places, without a copy where they are one stretch."""
    return values[where] if isinstance(where, slice) else values.take(where)


def gains_of(counts: Ints, norm: NDArray[np.float64]) -> Floats:
    """How much of a word's worth each count brings."""
    gains: Floats = (counts / (counts + norm)).astype(np.float32)
    return gains


def by_word(numbers: NDArray[np.integer]) -> tuple[Rows, NDArray[np.integer]]:
    """Places of the numbers above 0, by number and then by place; and these numbers."""
    at = np.flatnonzero(numbers)
    found = numbers[at]
    order = np.argsort(found, kind="stable")
    return at[order], found[order]


def of_places(found: Hits, wanted: Rows, size: int) -> Hits:
    """The hits in these of ``size`` places, which are numbered anew in their order."""
    number = np.full(size, -1, np.int64)
    number[wanted] = np.arange(len(wanted))
    places = number[found[0]]
    kept = np.flatnonzero(places >= 0)
    return places[kept], found[1][kept], found[2][kept]


def follow_on(starts: Rows, counts: Rows) -> bool:
    """Whether the lines of these slots are one stretch, as those of a conversation are."""
    return len(starts) > 0 and bool((starts[1:] == starts[:-1] + counts[:-1]).all())
