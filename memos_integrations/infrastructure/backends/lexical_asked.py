"""One question over one cube's words: which terms it asks for, and what share of them texts hold.

Made by the lexical snapshot, which keeps it for the arms and signals that ask in turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.lazy import lazy
from memos_integrations.cube.ports import Rows
from memos_integrations.infrastructure.backends.column_table import find
from memos_integrations.infrastructure.backends.postings import (
    DISTINCT,
    Floats,
    Hits,
    Ints,
    Postings,
    by_word,
    gains_of,
    joined,
    of_places,
    picked,
    scratch,
    stretches,
)
from memos_integrations.infrastructure.backends.words import tokens


class Looked(Protocol):
    """The snapshot that is asked: what a question needs of it."""

    @property
    def terms(self) -> int: ...
    @property
    def base(self) -> Ints: ...
    @property
    def lines(self) -> Ints: ...
    @property
    def tail(self) -> Ints: ...
    @property
    def sorted_tail(self) -> Postings | None: ...
    @property
    def slots(self) -> Rows: ...
    @property
    def alive(self) -> NDArray[np.bool_]: ...
    @property
    def live(self) -> int: ...
    @property
    def norm(self) -> NDArray[np.float64]: ...
    @property
    def buried(self) -> NDArray[np.int64]: ...
    def numbers_of(self, words: Iterable[str], /) -> Rows: ...
    def bounds(self, terms: Rows, /) -> tuple[Rows, Rows]: ...
    def gains(self, low: int, high: int, /) -> Floats: ...
    def where_lines(self, slots: Rows, /) -> tuple[slice | Rows, Rows]: ...


_NO_SLOTS: Rows = np.zeros(0, np.int64)
_NO_HITS: Hits = _NO_SLOTS, _NO_SLOTS, np.zeros(0, np.int32)


class Asked:
    """A question looked up in one snapshot; kept, as the arms and signals ask it in turn."""

    def __init__(self, shot: Looked, query: str) -> None:
        self.query = query
        self._shot = shot
        self.terms = shot.numbers_of(dict.fromkeys(tokens(query)))
        """The number of each word; ``shot.terms`` for one that no item holds."""
        self._low, self._high = shot.bounds(self.terms)
        held = self._high - self._low
        self.postings = int(held.sum())
        if shot.tail.size:
            held += self._tail_counts
        if shot.live < len(shot.alive):
            held -= shot.buried[self.terms]
        self.idf = np.log1p((shot.live - held + 0.5) / (held + 0.5))
        self.worth = self.idf / (float(self.idf.sum()) or 1.0)
        self._looked: tuple[Rows, Hits] = _NO_SLOTS, _NO_HITS
        """The most slots looked at so far, ascending, and what they hold."""
        self.part: tuple[Part, Hits, Floats] | None = None
        """The part of the cube that was asked last, what it holds, and its shares."""

    @lazy
    def numbers(self) -> NDArray[np.integer]:
        """Of each term of the cube: its place among the question's words, from 1; 0 for none."""
        words = len(self.terms)
        kind = np.int16 if words < 2**15 - 1 else np.int32
        numbers: NDArray[np.integer] = np.zeros(self._shot.terms + 1, kind)
        numbers[self.terms] = np.arange(1, words + 1)
        found: NDArray[np.integer] = numbers[:-1]
        return found

    @lazy
    def _tail(self) -> Hits:
        """What of the tail holds words of the question: slots, words, counts."""
        shot, kept = self._shot, self._shot.sorted_tail
        if not shot.tail.size:
            return _NO_HITS
        if kept is not None:
            low, high = kept.bounds(self.terms)
            return kept.hits(stretches(low, high), high - low)
        places, numbers = by_word(self.numbers.take(shot.tail[0]))
        return shot.tail[1, places], numbers - 1, shot.tail[2, places]

    @property
    def _tail_counts(self) -> Rows:
        kept = self._shot.sorted_tail
        if kept is None:
            return np.bincount(self._tail[1], minlength=len(self.terms))
        low, high = kept.bounds(self.terms)
        return high - low

    @lazy
    def shares(self) -> Floats:
        """Each slot's share of the most that the question could score; 0 for dead slots."""
        shot, end = self._shot, self.postings
        young, words, counts = self._tail
        slots, worth = scratch(end + len(young))
        base = stretches(self._low, self._high)
        if base:
            held = shot.base[1]
            np.concatenate([held[low:high] for low, high in base], out=slots[:end])
            np.concatenate([shot.gains(low, high) for low, high in base], out=worth[:end])
            worth[:end] *= np.repeat(self.worth, self._high - self._low)
        if len(young):
            slots[end:] = young
            np.multiply(gains_of(counts, shot.norm[young]), self.worth[words], out=worth[end:])
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
        hits = self.hits(slots)
        return self._summed(hits, gains_of(hits[2], self._shot.norm[slots[hits[0]]]), len(slots))

    def of_part(self, part: Part) -> Floats:
        """The shares of a part of the cube, remembered for what is asked of it next."""
        if part.postings is not None:
            low, high = part.postings.bounds(self.terms)
            where = stretches(low, high)
            hits = part.postings.hits(where, high - low)
            gains = joined(part.postings.gains, where)
            shares = self._summed(hits, gains, len(part.slots))
        elif "shares" in self.__dict__ or not self._is_shorter(part.slots):
            return self.of(part.slots)
        else:
            hits = self.hits(part.slots)
            gains = gains_of(hits[2], self._shot.norm[part.slots[hits[0]]])
            shares = self._summed(hits, gains, len(part.slots))
        self.part = part, hits, shares
        return shares

    def _summed(self, hits: Hits, gains: Floats, size: int) -> Floats:
        shares: Floats = np.bincount(hits[0], self.worth[hits[1]] * gains, size).astype(np.float32)
        return shares

    def _is_shorter(self, slots: Rows) -> bool:
        return int(self._shot.slots[DISTINCT, slots].sum()) < self.postings

    def hits(self, slots: Rows) -> Hits:
        """Which slots hold which words how often: places in ``slots``, words, counts, by word."""
        if not slots.size or not bool((slots[1:] > slots[:-1]).all()):
            return self._hits(slots)
        known, found = self._looked
        at = find(known, slots)
        if at.min() >= 0:
            return found if len(slots) == len(known) else of_places(found, at, len(known))
        found = self._hits(slots)
        if len(slots) > len(known):
            self._looked = slots, found
        return found

    def unsorted_hits(self, slots: Rows) -> Hits:
        """As ``hits``, by owner, for who does not sum over them."""
        if "shares" not in self.__dict__:
            return self.hits(slots)  # which is kept for the sum that is to come
        where, distinct = self._shot.where_lines(slots)
        terms, _, counts = self._shot.lines
        numbers = self.numbers.take(picked(terms, where))
        at = numbers.nonzero()[0]
        owners = np.repeat(np.arange(len(slots)), distinct)[at]
        found = counts[where][at] if isinstance(where, slice) else counts[where[at]]
        return owners, numbers[at] - 1, found

    def _hits(self, slots: Rows) -> Hits:
        where, distinct = self._shot.where_lines(slots)
        terms, _, counts = self._shot.lines
        at, numbers = by_word(self.numbers.take(picked(terms, where)))
        owners = np.repeat(np.arange(len(slots)), distinct)[at]
        return (
            owners,
            numbers - 1,
            counts[where][at] if isinstance(where, slice) else counts[where[at]],
        )


class Part:
    """Some live items of a snapshot that are asked about again and again, as by a filter."""

    __slots__ = ("items", "postings", "slots", "within")

    def __init__(self, within: Rows, items: Rows, slots: Rows) -> None:
        self.within = within
        """What was asked for: the same array means the same part."""
        self.items = items
        """Ascending."""
        self.slots = slots
        self.postings: Postings | None = None
        """Their lines by term, owned by places in ``slots``; made when they are asked again."""
