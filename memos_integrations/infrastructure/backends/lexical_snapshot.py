"""One cube's words as a reader sees them: postings by word, lines by text, and BM25 over both.

Made by the writer in ``lexical``. A question is scored over the postings of its words, or, where
few texts are asked about, over the words of those texts: whichever is the shorter way. Both sum
in the order of the question's words, so the score of a text is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ports import Proposal, Rows
from memos_integrations.infrastructure.backends.column_table import find_all
from memos_integrations.infrastructure.backends.growing import runs
from memos_integrations.infrastructure.backends.lexical_asked import Asked, Part
from memos_integrations.infrastructure.backends.postings import (
    DISTINCT,
    ITEM,
    K1,
    LENGTH,
    START,
    B,
    Floats,
    Hits,
    Ints,
    Postings,
    follow_on,
    gains_of,
    of_places,
    picked,
    sorted_lines,
)
from memos_integrations.infrastructure.backends.selection import (
    ascending,
    best_first,
    best_of_ascending,
    reached_by,
)

_MOST_GAINS = 1 << 22
"""Numbers kept per cube: 16 MiB."""
_MOST_PARTS = 8
_MOST_LINES = 1 << 18
"""Lines kept sorted of one part: 4 MiB, and 8 bytes a term of the cube."""


class _Kept:
    """What readers work out about a snapshot and leave for the next one."""

    __slots__ = ("asked", "buried", "by_item", "found", "gained", "gains", "norm", "parts", "tail")

    def __init__(self) -> None:
        self.gains: dict[int, Floats] = {}
        self.gained = 0
        """How many numbers ``gains`` holds."""
        self.asked: Asked | None = None
        self.norm: NDArray[np.float64] | None = None
        self.by_item: tuple[Rows, Rows] | None = None
        self.buried: NDArray[np.int64] | None = None
        self.found: tuple[str, Rows | None, int, Rows, Floats] | None = None
        self.parts: tuple[Part, ...] = ()
        """Those asked last, the newest first."""
        self.tail: Postings | None = None
        """The lines of the tail by term, from the second question on."""


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
    alive: NDArray[np.bool_]
    live: int
    words: int
    """The length of all live slots together."""
    kept: _Kept = field(default_factory=_Kept)

    @property
    def tail(self) -> Ints:
        """The lines that the base does not hold yet."""
        return self.lines[:, self.base.shape[1] :]

    @property
    def sorted_tail(self) -> Postings | None:
        """The tail's lines by term; ``None`` until a second question is asked."""
        return self.kept.tail

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
            slots = _high(asked.shares, limit)
            shares = asked.shares[slots]
            best = best_first(shares, self.slots[ITEM, slots], limit)
        else:
            part = self.part(within)
            shares = asked.of_part(part)
            hits = shares.nonzero()[0]
            slots, shares = part.slots[hits], shares[hits]
            best = best_of_ascending(shares, limit)
        return slots[best], shares[best]

    def part(self, within: Rows) -> Part:
        """The live ones of these items. Where they are asked again, their lines are sorted."""
        for part in self.kept.parts:
            if part.within is within:
                if part.postings is None:
                    part.postings = self._lines_by_term(part.slots)
                return part
        items = ascending(within)
        slots = self.slots_of(items)
        if slots.size and slots.min() < 0:
            items, slots = items[slots >= 0], slots[slots >= 0]
        part = Part(within, items, slots)
        self.kept.parts = (part, *self.kept.parts[: _MOST_PARTS - 1])
        return part

    def scores(self, query: str, items: Rows) -> Floats:
        asked, items = self.asked(query), np.asarray(items, np.int64)
        if asked.part is not None:
            at, every = find_all(asked.part[0].items, items)
            if every:
                found: Floats = asked.part[2][at]
                return found
        slots, every = self._slots_of(items)
        if every:
            return asked.of(slots)
        known = np.flatnonzero(slots >= 0)
        out = np.zeros(len(items), np.float32)
        out[known] = asked.of(slots[known])
        return out

    def counts(self, query: str, items: Rows) -> tuple[Floats, Floats, Floats, float]:
        asked = self.asked(query)
        (places, words, counts), known, slots = self._held_by(asked, items)
        found = np.zeros((len(items), len(asked.terms)), np.float32)
        found[places if known is None else known[places], words] = counts
        lengths = np.zeros(len(items), np.float32)
        lengths[slice(None) if known is None else known] = self.slots[LENGTH, slots]
        return found, asked.idf.astype(np.float32), lengths, self.words / max(self.live, 1)

    def _held_by(self, asked: Asked, items: Rows) -> tuple[Hits, Rows | None, Rows]:
        """The hits in those of the items that are held, their places (``None``: all), slots."""
        if asked.part is not None and bool((items[1:] > items[:-1]).all()):
            part, hits, _ = asked.part
            at, every = find_all(part.items, items)
            if every:
                return of_places(hits, at, len(part.items)), None, part.slots[at]
        slots, every = self._slots_of(items)
        if every:
            return asked.unsorted_hits(slots), None, slots
        known = np.flatnonzero(slots >= 0)
        return asked.unsorted_hits(slots[known]), known, slots[known]

    def held(self) -> dict[int, int]:
        items, versions = self.slots[:LENGTH, self.alive].tolist()
        return dict(zip(items, versions, strict=True))

    def asked(self, query: str) -> Asked:
        """The question looked up, anew only where the last one was another."""
        last = self.kept.asked
        if last is None or last.query != query:
            if last is not None and self.kept.tail is None:
                terms, owners, counts = self.tail
                self.kept.tail = sorted_lines(terms, owners, counts, self.norm, known=self.terms)
            last = self.kept.asked = Asked(self, query)
        return last

    def numbers_of(self, words: Iterable[str]) -> Rows:
        """The term of each word; ``terms``, which stands for none, where no text holds it."""
        known, none = self.vocabulary.get, self.terms
        return np.array([min(known(word, none), none) for word in words], np.int64)

    def where_lines(self, slots: Rows) -> tuple[slice | Rows, Rows]:
        """Where the lines of these slots stand, slot by slot, and how many each has."""
        starts, distinct = self.slots[START, slots], self.slots[DISTINCT, slots]
        if follow_on(starts, distinct):
            return slice(int(starts[0]), int(starts[-1] + distinct[-1])), distinct
        return runs(starts, distinct), distinct

    def _lines_by_term(self, slots: Rows) -> Postings | None:
        """The lines of these slots; ``None`` where they are too many to keep."""
        if int(self.slots[DISTINCT, slots].sum()) > _MOST_LINES:
            return None
        where, distinct = self.where_lines(slots)
        owners = np.repeat(np.arange(len(slots)), distinct)
        terms, counts = picked(self.lines[0], where), picked(self.lines[2], where)
        return sorted_lines(terms, owners, counts, self.norm[slots], known=self.terms)

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
            gains = gains_of(self.base[2, low:high], self.norm[self.base[1, low:high]])
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
            terms = self.lines[0].take(lines)
            buried = self.kept.buried = np.bincount(terms, minlength=self.terms + 1)
        return buried

    def slots_of(self, items: Rows) -> Rows:
        """The live slot of each item; -1 where it is not held."""
        return self._slots_of(items)[0]

    def _slots_of(self, items: Rows) -> tuple[Rows, bool]:
        """As ``slots_of``, and whether all of them are held."""
        table = self.kept.by_item
        if table is None:
            live = np.flatnonzero(self.alive)
            held = self.slots[ITEM, live]
            order = np.argsort(held, kind="stable")
            table = self.kept.by_item = (held[order], live[order])
        at, every = find_all(table[0], items)
        if every:
            return table[1][at], True
        return (np.where(at >= 0, table[1][at], -1) if len(table[1]) else at), False

    def bounds(self, terms: Rows) -> tuple[Rows, Rows]:
        """From where to where the base holds the lines of each term."""
        # A term beyond the base stands at its end, so it has none.
        return self.starts.take(terms, mode="clip"), self.starts.take(terms + 1, mode="clip")


def _high(shares: Floats, limit: int) -> Rows:
    """The slots of the ``limit`` highest shares above zero, and those near the last of them."""
    least = reached_by(shares, limit) if len(shares) > limit else 0.0
    high: Rows = (shares >= least if least > 0 else shares > 0).nonzero()[0]
    return high
