"""One cube's words as a reader sees them: postings by word, lines by text, and BM25 over both.

Made by the writer in ``lexical``. A question is scored over the postings of its words, or, where
few texts are asked about, over the words of those texts: whichever is the shorter way. Both sum
in the order of the question's words, so the score of a text is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ports import Proposal, Rows
from memos_integrations.infrastructure.backends.column_table import find
from memos_integrations.infrastructure.backends.growing import runs
from memos_integrations.infrastructure.backends.selection import (
    ascending,
    best_first,
    reached_by,
)
from memos_integrations.infrastructure.backends.words import tokens

K1 = 1.2
B = 0.75

_MOST_GAINS = 1 << 22
"""Numbers kept per cube: 16 MiB."""

ITEM, VERSION, LENGTH, START, DISTINCT = range(5)
"""Rows of the table of slots: where the lines of a slot start, and how many they are."""

Ints: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float32]
Flags: TypeAlias = NDArray[np.bool_]
Hits: TypeAlias = tuple[Rows, NDArray[np.integer], Ints]


class Asked:
    """A question looked up in one snapshot; kept, as the arms and signals ask it in turn."""

    def __init__(self, shot: Snapshot, query: str) -> None:
        self.query = query
        self._shot = shot
        words = dict.fromkeys(tokens(query))
        self.terms = np.array([shot.vocabulary.get(word, -1) for word in words], np.int64)
        self.terms[self.terms >= shot.terms] = -1
        known = np.flatnonzero(self.terms >= 0)
        self.numbers = np.zeros(shot.terms, np.int16 if len(words) < 2**15 - 1 else np.int32)
        """Of each term of the cube: its place among the question's words, from 1; 0 for none."""
        self.numbers[self.terms[known]] = known + 1
        self._low, self._high = shot.stretches(self.terms)
        self.postings = int((self._high - self._low).sum())
        held = self._high - self._low + self._tail_counts[1:]
        if shot.live < len(shot.alive):
            held[known] -= shot.buried[self.terms[known]]
        self.idf = np.log1p((shot.live - held + 0.5) / (held + 0.5))
        self.worth = self.idf / (float(self.idf.sum()) or 1.0)
        none = np.zeros(0, np.int64)
        self._looked: tuple[Rows, Hits] = none, (none, none, np.zeros(0, np.int32))
        """The most slots looked at so far, ascending, and what they hold."""

    @cached_property
    def _tail(self) -> tuple[Rows, NDArray[np.integer]]:
        """Places in the tail that hold a word of the question, by word, and these words."""
        return _by_word(self.numbers.take(self._shot.tail[0]))

    @cached_property
    def _tail_counts(self) -> NDArray[np.int64]:
        return np.bincount(self._tail[1], minlength=len(self.terms) + 1)

    @cached_property
    def shares(self) -> Floats:
        """Each slot's share of the most that the question could score; 0 for dead slots."""
        shot = self._shot
        places, numbers = self._tail
        base, tail = shot.base, shot.tail
        stretches = list(zip(self._low.tolist(), self._high.tolist(), strict=True))
        slots = np.concatenate([*(base[1, a:b] for a, b in stretches), tail[1, places]])
        young = _gains(tail[2, places], shot.norm[tail[1, places]])
        gains = np.concatenate([*(shot.gains(a, b) for a, b in stretches), young])
        worth = np.repeat(self.worth, self._high - self._low)
        worth = np.concatenate((worth, self.worth[numbers - 1]))
        worth *= gains
        shares = np.bincount(slots, worth, len(shot.alive))
        if shot.live < len(shares):
            shares *= shot.alive
        out: Floats = shares.astype(np.float32)
        return out

    def of(self, slots: Rows) -> Floats:
        """The shares of these live slots alone, by the shorter way."""
        if "shares" in self.__dict__ or not self._is_shorter(slots):
            found: Floats = self.shares[slots]
            return found
        places, words, counts = self.hits(slots)
        gains = _gains(counts, self._shot.norm[slots[places]])
        out: Floats = np.bincount(places, self.worth[words] * gains, len(slots)).astype(np.float32)
        return out

    def _is_shorter(self, slots: Rows) -> bool:
        return int(self._shot.slots[DISTINCT, slots].sum()) < self.postings

    def hits(self, slots: Rows) -> Hits:
        """Which slots hold which words how often: places in ``slots``, words, counts, by word."""
        if not slots.size or not bool((slots[1:] > slots[:-1]).all()):
            return self._hits(slots)
        known, found = self._looked
        at = find(known, slots)
        if at.min() >= 0:
            return _of_places(found, at, len(known))
        found = self._hits(slots)
        if len(slots) > len(known):
            self._looked = slots, found
        return found

    def _hits(self, slots: Rows) -> Hits:
        shot = self._shot
        starts, distinct = shot.slots[START, slots], shot.slots[DISTINCT, slots]
        terms, _, counts = shot.lines
        lines: Rows | None = None
        if _follow_on(starts, distinct):
            stretch = slice(int(starts[0]), int(starts[-1] + distinct[-1]))
            terms, counts = terms[stretch], counts[stretch]
        else:
            lines = runs(starts, distinct)
            terms = terms.take(lines)
        at, numbers = _by_word(self.numbers.take(terms))
        owners = np.repeat(np.arange(len(slots)), distinct)[at]
        return owners, numbers - 1, counts[at if lines is None else lines[at]]


def _of_places(found: Hits, wanted: Rows, size: int) -> Hits:
    """The hits in these of ``size`` places, which are numbered anew in their order."""
    number = np.full(size, -1, np.int64)
    number[wanted] = np.arange(len(wanted))
    places = number[found[0]]
    kept = np.flatnonzero(places >= 0)
    return places[kept], found[1][kept], found[2][kept]


def _follow_on(starts: Rows, counts: Rows) -> bool:
    """Whether the lines of these slots are one stretch, as those of a conversation are."""
    return len(starts) > 0 and bool((starts[1:] == starts[:-1] + counts[:-1]).all())


def _by_word(numbers: NDArray[np.integer]) -> tuple[Rows, NDArray[np.integer]]:
    """Places of the numbers above 0, by number and then by place; and these numbers."""
    at = np.flatnonzero(numbers > 0)
    found = numbers[at]
    order = np.argsort(found, kind="stable")
    return at[order], found[order]


def _gains(counts: Ints, norm: NDArray[np.float64]) -> Floats:
    """How much of a word's worth each count brings."""
    gains: Floats = (counts / (counts + norm)).astype(np.float32)
    return gains


class _Kept:
    """What readers work out about a snapshot and leave for the next one."""

    __slots__ = ("asked", "buried", "by_item", "found", "gained", "gains", "norm")

    def __init__(self) -> None:
        self.gains: dict[int, Floats] = {}
        self.gained = 0
        """How many numbers ``gains`` holds."""
        self.asked: Asked | None = None
        self.norm: NDArray[np.float64] | None = None
        self.by_item: tuple[Rows, Rows] | None = None
        self.buried: NDArray[np.int64] | None = None
        self.found: tuple[str, Rows | None, int, Rows, Floats] | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All a question needs, as one write left it. A slot holds one version of an item."""

    vocabulary: Mapping[str, int]
    terms: int
    """How many words of the vocabulary this snapshot knows: writers add to it."""
    base: Ints
    """Rows of terms, slots and counts of the older slots, sorted by term."""
    starts: Rows
    """Where each term of the base begins, and where the last one ends."""
    lines: Ints
    """The same of all slots, slot by slot."""
    slots: Rows
    """Rows of ``ITEM`` to ``DISTINCT``."""
    alive: Flags
    live: int
    words: int
    """The length of all live slots together."""
    kept: _Kept = field(default_factory=_Kept)

    @property
    def tail(self) -> Ints:
        """The lines that the base does not hold yet."""
        return self.lines[:, self.base.shape[1] :]

    def search(self, query: str, *, limit: int, within: Rows | None) -> list[Proposal]:
        slots, shares = self.nearest(query, limit=limit, within=within)
        items, versions = self.slots[:LENGTH, slots].tolist()
        return list(map(Proposal, items, versions, shares.tolist()))

    def nearest(self, query: str, *, limit: int, within: Rows | None) -> tuple[Rows, Floats]:
        """Slots of the highest shares, best first, ties by lower item number; and the shares."""
        last = self.kept.found
        if last is None or last[0] != query or last[1] is not within or last[2] < limit:
            found = self._nearest(self.asked(query), limit, within)
            last = self.kept.found = (query, within, limit, *found)
        return last[3][:limit], last[4][:limit]

    def _nearest(self, asked: Asked, limit: int, within: Rows | None) -> tuple[Rows, Floats]:
        if within is None:
            shares = asked.shares
            slots = _high(shares, limit)
            shares = shares[slots]
        else:
            slots = self.slots_of(ascending(within))
            slots = slots[slots >= 0]
            shares = asked.of(slots)
            hits = np.flatnonzero(shares > 0)
            slots, shares = slots[hits], shares[hits]
        best = best_first(shares, self.slots[ITEM, slots], limit)
        return slots[best], shares[best]

    def scores(self, query: str, items: Rows) -> Floats:
        slots = self.slots_of(np.asarray(items, np.int64))
        known = np.flatnonzero(slots >= 0)
        out = np.zeros(len(items), np.float32)
        out[known] = self.asked(query).of(slots[known])
        return out

    def counts(self, query: str, items: Rows) -> tuple[Floats, Floats, Floats, float]:
        asked = self.asked(query)
        slots = self.slots_of(items)
        known = np.flatnonzero(slots >= 0)
        places, words, counts = asked.hits(slots[known])
        found = np.zeros((len(items), len(asked.terms)), np.float32)
        found[known[places], words] = counts
        lengths = np.zeros(len(items), np.float32)
        lengths[known] = self.slots[LENGTH, slots[known]]
        return found, asked.idf.astype(np.float32), lengths, self.words / max(self.live, 1)

    def held(self) -> dict[int, int]:
        items, versions = self.slots[:LENGTH, self.alive].tolist()
        return dict(zip(items, versions, strict=True))

    def asked(self, query: str) -> Asked:
        """The question looked up, anew only where the last one was another."""
        last = self.kept.asked
        if last is None or last.query != query:
            last = self.kept.asked = Asked(self, query)
        return last

    @property
    def norm(self) -> NDArray[np.float64]:
        """What a slot's length adds to a count in the divisor of its share."""
        norm = self.kept.norm
        if norm is None:
            stretch = K1 * B * self.live / max(self.words, 1)
            norm = self.kept.norm = K1 * (1 - B) + stretch * self.slots[LENGTH]
        return norm

    def gains(self, low: int, high: int) -> Floats:
        """What this stretch of the base brings; kept, as questions share words."""
        gains = self.kept.gains.get(low)
        if gains is None or len(gains) != high - low:
            gains = _gains(self.base[2, low:high], self.norm[self.base[1, low:high]])
            if self.kept.gained + len(gains) <= _MOST_GAINS:
                self.kept.gained += len(gains)
                self.kept.gains[low] = gains
        return gains

    @property
    def buried(self) -> NDArray[np.int64]:
        """How many dead slots hold each term."""
        buried = self.kept.buried
        if buried is None:
            dead = np.flatnonzero(~self.alive)
            lines = runs(self.slots[START, dead], self.slots[DISTINCT, dead])
            buried = self.kept.buried = np.bincount(self.lines[0].take(lines), None, self.terms)
        return buried

    def slots_of(self, items: Rows) -> Rows:
        """The live slot of each item; -1 where it is not held."""
        table = self.kept.by_item
        if table is None:
            live = np.flatnonzero(self.alive)
            held = self.slots[ITEM, live]
            order = np.argsort(held, kind="stable")
            table = self.kept.by_item = (held[order], live[order])
        at = find(table[0], items)
        return np.where(at >= 0, table[1][at], -1) if len(table[1]) else at

    def stretches(self, terms: Rows) -> tuple[Rows, Rows]:
        """Where the base holds these terms: from, to."""
        last = len(self.starts) - 1
        terms = np.where((terms >= 0) & (terms < last), terms, last)
        return self.starts[terms], self.starts[np.minimum(terms + 1, last)]


def _high(shares: Floats, limit: int) -> Rows:
    """The slots of the ``limit`` highest shares above zero, and those near the last of them."""
    least = reached_by(shares, limit) if len(shares) > limit else 0.0
    return np.flatnonzero(shares >= least if least > 0 else shares > 0)
