"""BM25 over stemmed words, in memory: the lexical arm of the embedded deployment.

Fed by the projector, asked by the operator. It holds no text, only terms and counts, and is
rebuilt from the vault at any time.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memos_integrations.cube.ports import Proposal, Rows, TextEntry
from memos_integrations.infrastructure.backends.lexical_snapshot import Snapshot
from memos_integrations.infrastructure.backends.postings import (
    DISTINCT,
    ITEM,
    K1,
    LENGTH,
    START,
    VERSION,
    B,
    Floats,
    Ints,
)
from memos_integrations.infrastructure.backends.words import tokens

__all__ = ["K1", "B", "LexicalIndex"]

_MIN_TAIL = 8192
_MIN_DEAD = 16

_Int = TypeVar("_Int", np.int32, np.int64)


class LexicalIndex:
    """A ``TextIndex`` in memory: BM25 (Robertson and Zaragoza, 2009; k1 = 1.2, b = 0.75).

    A score is BM25 divided by what the question would score if each of its words occurred
    without end: ``sum(idf * tf / (tf + norm)) / sum(idf)``. Words that occur nowhere in the cube
    count in the divisor, with the idf of a word no item has: a question that is mostly about
    other things then scores low, which a share of the known words alone would hide.

    Readers never wait: a write builds the next snapshot beside the present one and then puts it
    in its place. Writes to one cube take turns. A question costs about a pass over the postings
    of its words; within few items, a pass over the words of these. What is deleted leaves the
    memory when a quarter of a cube (and more than 16 texts) is dead, or with the cube.
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

    def nearest(self, cube: int, query: str, *, limit: int, within: Rows | None = None) -> Rows:
        """The items of ``search`` alone."""
        held = self._cubes.get(cube)
        if held is None or limit < 1:
            return np.zeros(0, np.int64)
        shot = held.snapshot
        found: Rows = shot.slots[ITEM, shot.nearest(query, limit=limit, within=within)[0]]
        return found

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
    """Rows of numbers that grow at their end. Views taken earlier never change."""

    __slots__ = ("_buffer", "view")

    def __init__(self, values: NDArray[_Int]) -> None:
        self._buffer: NDArray[_Int] = values
        self.view: NDArray[_Int] = values

    def extend(self, values: ArrayLike) -> None:
        more = np.asarray(values, self.view.dtype)
        rows, start = self.view.shape
        end = start + more.shape[1]
        if end > self._buffer.shape[1]:
            grown = np.empty((rows, end + end // 2), self.view.dtype)
            grown[:, :start] = self.view
            self._buffer = grown
        self._buffer[:, start:end] = more
        self.view = self._buffer[:, :end]


def _no_postings() -> Ints:
    return np.zeros((3, 0), np.int32)


class _Cube:
    """The one writer of a cube's snapshots."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slot_of: dict[int, int] = {}
        self._vocabulary = _numbering()
        self._base, self._lines = _no_postings(), _Table(_no_postings())
        self._starts = np.zeros(1, np.int64)
        self._slots: _Table[np.int64] = _Table(np.zeros((5, 0), np.int64))
        self._alive: NDArray[np.bool_] = np.zeros(0, np.bool_)
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
        return slot is not None and bool(self._slots.view[VERSION, slot] > entry.version)

    def _bury(self, items: Sequence[int]) -> None:
        slots = [self._slot_of.pop(item) for item in set(items) if item in self._slot_of]
        self._alive = self._alive.copy()
        self._alive[slots] = False
        self._words -= int(self._slots.view[LENGTH, slots].sum())

    def _append(self, fresh: Sequence[tuple[TextEntry, list[str]]]) -> None:
        first = len(self._alive)
        lengths = [len(words) for _, words in fresh]
        number = self._vocabulary.__getitem__
        terms = np.array([number(word) for _, words in fresh for word in words], np.int64)
        slots = np.repeat(np.arange(first, first + len(fresh)), lengths)
        pairs, counts = np.unique((slots << 32) | terms, return_counts=True)
        distinct = np.bincount((pairs >> 32) - first, minlength=len(fresh))
        starts = self._lines.view.shape[1] + np.cumsum(distinct) - distinct
        self._lines.extend([pairs & 0xFFFFFFFF, pairs >> 32, counts])
        items, versions = [e.item for e, _ in fresh], [e.version for e, _ in fresh]
        self._slots.extend(np.array([items, versions, lengths, starts, distinct], np.int64))
        self._slot_of.update(zip(items, range(first, first + len(items)), strict=True))
        self._alive = np.append(self._alive, np.ones(len(items), np.bool_))
        self._words += sum(lengths)

    def _tidy(self) -> None:
        if len(self._alive) - len(self._slot_of) > max(_MIN_DEAD, len(self._alive) // 4):
            self._compact()
        elif self._tail.shape[1] > max(_MIN_TAIL, self._base.shape[1] // 32):
            self._merge_tail()

    @property
    def _tail(self) -> Ints:
        return self._lines.view[:, self._base.shape[1] :]

    def _merge_tail(self) -> None:
        tail = self._tail
        tail = tail[:, np.argsort(tail[0], kind="stable")]
        every = np.concatenate((self._base, tail), axis=1)
        # Linear: a stable sort makes use of what is sorted already.
        self._base = every[:, np.argsort(every[0], kind="stable")]
        self._find_starts()

    def _find_starts(self) -> None:
        terms = int(self._base[0, -1]) + 1 if self._base.shape[1] else 0
        self._starts = np.searchsorted(self._base[0], np.arange(terms + 1, dtype=np.int32))

    def _compact(self) -> None:
        """Remove dead slots, and the words that only they held."""
        alive = self._alive
        old_terms, old_slots, counts = self._lines.view[:, alive[self._lines.view[1]]]
        kept, terms = np.unique(old_terms, return_inverse=True)
        self._lines = _Table(np.array([terms, (np.cumsum(alive) - 1)[old_slots], counts], np.int32))
        self._base = _no_postings()
        self._merge_tail()
        words = list(self._vocabulary)
        self._vocabulary = _numbering(words[term] for term in kept.tolist())
        slots = self._slots.view[:, alive]
        slots[START] = np.cumsum(slots[DISTINCT]) - slots[DISTINCT]
        self._slots = _Table(slots)
        self._slot_of = {item: slot for slot, item in enumerate(slots[ITEM].tolist())}
        self._alive = np.ones(len(self._slot_of), np.bool_)

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            vocabulary=self._vocabulary,
            terms=len(self._vocabulary),
            base=self._base,
            starts=self._starts,
            lines=self._lines.view,
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
