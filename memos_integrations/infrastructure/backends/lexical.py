"""BM25 over stemmed words, in memory: the lexical arm of the embedded deployment.

Fed by the projector, asked by the operator. It holds no text, only terms and counts, and is
rebuilt from the vault at any time.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memos_integrations.cube.ports import Proposal, Rows, TextEntry
from memos_integrations.infrastructure.backends.column_table import find
from memos_integrations.infrastructure.backends.words import tokens

K1 = 1.2
B = 0.75

_MIN_TAIL = 8192
_MIN_DEAD = 16

Ints: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float32]
Flags: TypeAlias = NDArray[np.bool_]
_Int = TypeVar("_Int", np.int32, np.int64)


class LexicalIndex:
    """A ``TextIndex`` in memory: BM25 (Robertson and Zaragoza, 2009; k1 = 1.2, b = 0.75).

    A score is BM25 divided by what the question would score if each of its words occurred
    without end: ``sum(idf * tf / (tf + norm)) / sum(idf)``. Words that occur nowhere in the cube
    count in the divisor, with the idf of a word no item has: a question that is mostly about
    other things then scores low, which a share of the known words alone would hide.

    Readers never wait: a write builds the next snapshot beside the present one and then puts it
    in its place. Writes to one cube take turns. A question costs about a pass over the postings
    of its words. What is deleted leaves the memory when a quarter of a cube (and more than 16
    texts) is dead, or with the cube.
    """

    def __init__(self) -> None:
        self._cubes: dict[int, _Cube] = {}
        self._lock = threading.Lock()

    def upsert(self, cube: int, entries: Sequence[TextEntry]) -> None:
        """Keep one text per item; an entry older than the kept version changes nothing."""
        with self._lock:
            held = self._cubes.setdefault(cube, _Cube())
        held.upsert(entries)

    def delete(self, cube: int, items: Sequence[int]) -> None:
        """Forget these items; unknown ones are no error."""
        held = self._cubes.get(cube)
        if held is not None:
            held.delete(items)

    def search(
        self, cube: int, query: str, *, limit: int, within: Rows | None = None
    ) -> list[Proposal]:
        """The ``limit`` items with the highest share, best first, ties by lower item number."""
        held = self._cubes.get(cube)
        if held is None or limit < 1:
            return []
        return held.snapshot.search(query, limit=limit, within=within)

    def scores(self, cube: int, query: str, items: Rows) -> Floats:
        """The share per item in the order asked; 0 where nothing matches or unknown."""
        held = self._cubes.get(cube)
        if held is None:
            return np.zeros(len(items), dtype=np.float32)
        return held.snapshot.scores(query, items)

    def counts(self, cube: int, query: str, items: Rows) -> tuple[Floats, Floats, Floats, float]:
        """Counts (items, words), idf (words,), lengths (items,) and the average length."""
        held = self._cubes.get(cube)
        if held is None:
            words = len(dict.fromkeys(tokens(query)))
            none = np.zeros((len(items), words), np.float32)
            return none, np.zeros(words, np.float32), none[:, :1].sum(axis=1), 0.0
        return held.snapshot.counts(query, np.asarray(items, np.int64))

    def versions(self, cube: int) -> Mapping[int, int]:
        """Item -> version of everything held."""
        held = self._cubes.get(cube)
        return held.snapshot.held() if held is not None else {}

    def drop(self, cube: int) -> None:
        """Forget the whole cube."""
        with self._lock:
            self._cubes.pop(cube, None)

    def close(self) -> None:
        with self._lock:
            self._cubes.clear()


class _Table(Generic[_Int]):
    """Three rows of numbers that grow at their end. Views taken earlier never change."""

    __slots__ = ("_buffer", "view")

    def __init__(self, values: NDArray[_Int]) -> None:
        self._buffer: NDArray[_Int] = values
        self.view: NDArray[_Int] = values

    def extend(self, values: ArrayLike) -> None:
        more = np.asarray(values, self.view.dtype)
        start = self.view.shape[1]
        end = start + more.shape[1]
        if end > self._buffer.shape[1]:
            grown = np.empty((3, 2 * end), self.view.dtype)
            grown[:, :start] = self.view
            self._buffer = grown
        self._buffer[:, start:end] = more
        self.view = self._buffer[:, :end]


def _no_postings() -> Ints:
    return np.zeros((3, 0), np.int32)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question looked up in one snapshot; kept, as the arms and signals ask it in turn."""

    query: str
    postings: Sequence[tuple[Ints, Ints]]
    """Slots and counts of each of its words."""
    idf: NDArray[np.float64]
    shares: Floats
    """Each slot's share of the most that the question could score; 0 for dead slots."""


class _Kept:
    """What readers work out about a snapshot and leave for the next one."""

    __slots__ = ("asked", "by_item", "norm")

    def __init__(self) -> None:
        self.asked: _Asked | None = None
        self.norm: NDArray[np.float64] | None = None
        self.by_item: tuple[Rows, Rows] | None = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All a question needs, as one write left it. A slot holds one version of an item."""

    vocabulary: Mapping[str, int]
    base: Ints
    """Rows of terms, slots and counts, sorted by term."""
    starts: Rows
    """Where each term of the base begins, and where the last one ends."""
    tail: Ints
    """The same of younger slots, as they came."""
    slots: Rows
    """Rows of items, versions and lengths in terms."""
    alive: Flags
    live: int
    words: int
    """The length of all live slots together."""
    kept: _Kept = field(default_factory=_Kept)

    def search(self, query: str, *, limit: int, within: Rows | None) -> list[Proposal]:
        shares = self.asked(query).shares
        if within is None:
            found = _high(shares, limit)
        else:
            slots = self._slots_of(np.unique(np.asarray(within, np.int64)))
            slots = slots[slots >= 0]
            found = slots[shares[slots] > 0]
        best = found[_best(shares[found], self.slots[0, found], limit)]
        items, versions, _ = self.slots[:, best].tolist()
        return list(map(Proposal, items, versions, shares[best].tolist()))

    def scores(self, query: str, items: Rows) -> Floats:
        shares = self.asked(query).shares
        slots = self._slots_of(np.asarray(items, np.int64))
        if not len(shares):
            return np.zeros(len(items), np.float32)
        out: Floats = np.where(slots >= 0, shares[slots], np.float32(0))
        return out

    def counts(self, query: str, items: Rows) -> tuple[Floats, Floats, Floats, float]:
        asked = self.asked(query)
        slots = self._slots_of(items)
        known = np.flatnonzero(slots >= 0)
        place = np.full(len(self.alive), -1, np.int32)
        place[slots[known]] = known  # of an item named twice, one place stands for both
        found = np.zeros((len(items), len(asked.postings)), np.float32)
        for word, (held, counts) in enumerate(asked.postings):
            at = place[held]
            hit = at >= 0
            found[at[hit], word] = counts[hit]
        out = np.zeros_like(found)
        out[known] = found[place[slots[known]]]
        lengths = np.zeros(len(items), np.float32)
        lengths[known] = self.slots[2, slots[known]]
        return out, asked.idf.astype(np.float32), lengths, self.words / max(self.live, 1)

    def held(self) -> dict[int, int]:
        items, versions, _ = self.slots[:, self.alive].tolist()
        return dict(zip(items, versions, strict=True))

    def asked(self, query: str) -> _Asked:
        """The question looked up, anew only where the last one was another."""
        last = self.kept.asked
        if last is None or last.query != query:
            last = self.kept.asked = self._ask(query)
        return last

    def _ask(self, query: str) -> _Asked:
        postings = [self._postings(word) for word in dict.fromkeys(tokens(query))]
        idf = np.array([self._idf(slots) for slots, _ in postings])
        most = float(idf.sum()) or 1.0
        if not postings:
            return _Asked(query, postings, idf, np.zeros(len(self.alive), np.float32))
        slots = np.concatenate([slots for slots, _ in postings])
        counts = np.concatenate([counts for _, counts in postings]).astype(np.float64)
        sizes = [len(slots) for slots, _ in postings]
        worth = counts / (counts + self._norm()[slots]) * np.repeat(idf / most, sizes)
        shares = np.bincount(slots, worth, minlength=len(self.alive))
        if self.live < len(shares):
            shares *= self.alive
        return _Asked(query, postings, idf, shares.astype(np.float32))

    def _norm(self) -> NDArray[np.float64]:
        """What a slot's length adds to a count in the divisor of its share."""
        norm = self.kept.norm
        if norm is None:
            stretch = K1 * B * self.live / max(self.words, 1)
            norm = self.kept.norm = K1 * (1 - B) + stretch * self.slots[2]
        return norm

    def _slots_of(self, items: Rows) -> Rows:
        """The live slot of each item; -1 where it is not held."""
        table = self.kept.by_item
        if table is None:
            live = np.flatnonzero(self.alive)
            held = self.slots[0, live]
            order = np.argsort(held, kind="stable")
            table = self.kept.by_item = (held[order], live[order])
        at = find(table[0], items)
        return np.where(at >= 0, table[1][at], -1) if len(table[1]) else at

    def _postings(self, word: str) -> tuple[Ints, Ints]:
        term = self.vocabulary.get(word, -1)
        low = high = 0
        if 0 <= term < len(self.starts) - 1:
            low, high = self.starts[term : term + 2].tolist()
        new = np.flatnonzero(self.tail[0] == term) if self.tail.shape[1] else ()
        if not len(new):
            return self.base[1, low:high], self.base[2, low:high]
        both = np.concatenate((self.base[1:, low:high], self.tail[1:, new]), axis=1)
        return both[0], both[1]

    def _idf(self, slots: Ints) -> float:
        some_dead = self.live < len(self.alive)
        held = int(self.alive[slots].sum()) if some_dead else len(slots)
        return math.log1p((self.live - held + 0.5) / (held + 0.5))


def _high(shares: Floats, limit: int) -> Rows:
    """The slots of the ``limit`` highest shares above zero, and those level with the last."""
    if len(shares) <= limit:
        return np.flatnonzero(shares > 0)
    last = np.partition(shares, -limit)[-limit]
    return np.flatnonzero(shares >= last if last > 0 else shares > 0)


def _best(scores: Floats, items: Rows, limit: int) -> Rows:
    """Places of the ``limit`` highest scores, best first, ties by lower item number."""
    picked = np.arange(len(scores))
    if len(scores) > limit:
        last = np.partition(scores, -limit)[-limit]
        above, level = np.flatnonzero(scores > last), np.flatnonzero(scores == last)
        room = limit - len(above)
        picked = np.append(above, level[np.argpartition(items[level], room - 1)[:room]])
    return picked[np.lexsort((items[picked], -scores[picked]))]


class _Cube:
    """The one writer of a cube's snapshots."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slot_of: dict[int, int] = {}
        self._vocabulary = _numbering()
        self._base, self._tail = _no_postings(), _Table(_no_postings())
        self._starts = np.zeros(1, np.int64)
        self._slots: _Table[np.int64] = _Table(np.zeros((3, 0), np.int64))
        self._alive: Flags = np.zeros(0, np.bool_)
        self._words = 0
        self.snapshot = self._snapshot()

    def upsert(self, entries: Sequence[TextEntry]) -> None:
        newest: dict[int, TextEntry] = {}
        for entry in entries:
            if entry.item not in newest or entry.version >= newest[entry.item].version:
                newest[entry.item] = entry
        read = [(entry, tokens(entry.text)) for entry in newest.values()]
        with self._lock:
            fresh = [(entry, words) for entry, words in read if not self._outdated(entry)]
            self._bury([entry.item for entry, _ in fresh])
            self._append(fresh)
            self._tidy()
            self.snapshot = self._snapshot()

    def delete(self, items: Sequence[int]) -> None:
        with self._lock:
            self._bury(items)
            self._tidy()
            self.snapshot = self._snapshot()

    def _outdated(self, entry: TextEntry) -> bool:
        slot = self._slot_of.get(entry.item)
        return slot is not None and bool(self._slots.view[1, slot] > entry.version)

    def _bury(self, items: Sequence[int]) -> None:
        slots = [self._slot_of.pop(item) for item in set(items) if item in self._slot_of]
        self._alive = self._alive.copy()
        self._alive[slots] = False
        self._words -= int(self._slots.view[2, slots].sum())

    def _append(self, fresh: Sequence[tuple[TextEntry, list[str]]]) -> None:
        first = len(self._alive)
        lengths = [len(words) for _, words in fresh]
        number = self._vocabulary.__getitem__
        terms = np.array([number(word) for _, words in fresh for word in words], np.int64)
        slots = np.repeat(np.arange(first, first + len(fresh)), lengths)
        pairs, counts = np.unique((terms << 32) | slots, return_counts=True)
        self._tail.extend([pairs >> 32, pairs & 0xFFFFFFFF, counts])
        items, versions = [e.item for e, _ in fresh], [e.version for e, _ in fresh]
        self._slots.extend([items, versions, lengths])
        self._slot_of.update(zip(items, range(first, first + len(items)), strict=True))
        self._alive = np.append(self._alive, np.ones(len(items), np.bool_))
        self._words += sum(lengths)

    def _tidy(self) -> None:
        if len(self._alive) - len(self._slot_of) > max(_MIN_DEAD, len(self._alive) // 4):
            self._compact()
        elif self._tail.view.shape[1] > max(_MIN_TAIL, self._base.shape[1] // 32):
            self._merge_tail()

    def _merge_tail(self) -> None:
        every = np.concatenate((self._base, self._tail.view), axis=1)
        # Linear but for the tail: a stable sort makes use of what is sorted already.
        self._base = every[:, np.argsort(every[0], kind="stable")]
        self._find_starts()
        self._tail = _Table(_no_postings())

    def _find_starts(self) -> None:
        terms = int(self._base[0, -1]) + 1 if self._base.shape[1] else 0
        self._starts = np.searchsorted(self._base[0], np.arange(terms + 1, dtype=np.int32))

    def _compact(self) -> None:
        """Remove dead slots, and the words that only they held."""
        self._merge_tail()
        alive = self._alive
        old_terms, old_slots, counts = self._base[:, alive[self._base[1]]]
        kept, terms = np.unique(old_terms, return_inverse=True)
        self._base = np.array([terms, (np.cumsum(alive) - 1)[old_slots], counts], np.int32)
        self._find_starts()
        words = list(self._vocabulary)
        self._vocabulary = _numbering(words[term] for term in kept.tolist())
        self._slots = _Table(self._slots.view[:, alive])
        self._slot_of = {item: slot for slot, item in enumerate(self._slots.view[0].tolist())}
        self._alive = np.ones(len(self._slot_of), np.bool_)

    def _snapshot(self) -> _Snapshot:
        return _Snapshot(
            vocabulary=self._vocabulary,
            base=self._base,
            starts=self._starts,
            tail=self._tail.view,
            slots=self._slots.view,
            alive=self._alive,
            live=len(self._slot_of),
            words=self._words,
        )


def _numbering(words: Iterable[str] = ()) -> defaultdict[str, int]:
    """A mapping that gives each new word the next number."""
    numbers: defaultdict[str, int] = defaultdict(None, {w: i for i, w in enumerate(words)})
    numbers.default_factory = numbers.__len__
    return numbers
