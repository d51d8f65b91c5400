"""What the signals look at: the proposed memories of one cube, with what several signals share.

Made by the operator for one question; everything is computed at most once and over the pool
only, so a ranking costs the same in a cube of a thousand and of a million.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.lazy import lazy
from memos_integrations.cube.ports import Rows, TermCounts, TextIndex, Vector
from memos_integrations.infrastructure.backends.columns import Columns
from memos_integrations.infrastructure.backends.lexical import K1, B
from memos_integrations.infrastructure.vault.search_space import Space
from memos_integrations.operation.operator.graph_arm import Linked
from memos_integrations.operation.operator.question import Query

Floats = NDArray[np.float32]

REACH = 5
"""How many turns before and after a memory belong to its surroundings."""
_WINDOW = 1


class Pool:
    """Proposed items of one cube, ascending. ``own`` is the question in the first person's
    words."""

    def __init__(
        self,
        query: Query,
        space: Space,
        cube: int,
        items: Rows,
        *,
        speakers: tuple[int, ...] = (),
        own: Vector | None = None,
        linked: Linked | None = None,
    ) -> None:
        self.query = query
        self.cube = cube
        self.items = items
        self.speakers = speakers
        """Numbers of the speakers that the question names."""
        self.linked = linked
        """What the names of the question lead to; ``None`` where it names nobody."""
        self.columns: Columns | None = space.columns(cube)
        self._space = space
        self._own = own

    def __len__(self) -> int:
        return len(self.items)

    @lazy
    def _found(self) -> tuple[NDArray[np.int64], bool]:
        if self.columns is None:
            return np.full(len(self.items), -1, dtype=np.int64), not len(self.items)
        return self.columns.rows_of(self.items)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row of each item in ``columns``; -1 where it has none."""
        return self._found[0]

    @lazy
    def held(self) -> NDArray[np.bool_] | None:
        """Which items have a row; ``None`` where all have."""
        return None if self._found[1] else self.rows >= 0

    @lazy
    def wants_advice(self) -> bool:
        return self.query.wants_advice

    # -- meaning ------------------------------------------------------------------------------

    @lazy
    def cosine(self) -> Floats:
        """Closeness of the question to the memory with its speaker and date."""
        if self.query.vector is None or self._space.vectors is None:
            return np.zeros(len(self.items), dtype=np.float32)
        return _known(self._space.vectors.scores(self.cube, self.query.vector, self.items))

    @lazy
    def parts(self) -> tuple[Floats, Floats]:
        """Closeness of the question, in the first person, to the bare words and to their best
        sentence. Where the fine stage has not made these vectors yet, the cosine stands in."""
        vector = self.query.vector if self._own is None else self._own
        if vector is None or self._space.parts is None:
            return self.cosine, self.cosine
        bare, sentence = self._space.parts.scores(self.cube, vector, self.items)
        absent = np.isnan(bare)
        if absent.any():
            bare = np.where(absent, self.cosine, bare)
        return bare, np.fmax(bare, sentence)

    # -- words --------------------------------------------------------------------------------

    @lazy
    def words(self) -> Floats:
        """BM25 as a share of the most the question could score."""
        middle: Floats = self._shares[len(self._shares) // 2]
        return middle

    @lazy
    def near_words(self) -> Floats:
        """The best share of words of the memory and the turns around it, less the further away."""
        if len(self._shares) == 1:
            return self.words
        nearest: Floats = (self._shares * _FADE).max(axis=0)
        return nearest

    @lazy
    def window_words(self) -> Floats:
        """The same over each memory together with the turns right before and after it."""
        text = self._space.text
        if self.columns is None or not _counts(text):
            return self.words
        middle = len(self._around) // 2
        if middle:
            around = self._around[middle - _WINDOW : middle + _WINDOW + 1]
            asked, back = self._asked(around)
            terms, idf, length, average = text.counts(self.cube, self.query.text, asked)
            terms = _and_none(terms).take(back, axis=0).sum(axis=0)
            length = _and_none(length)[back].sum(axis=0)
        else:
            terms, idf, length, average = text.counts(self.cube, self.query.text, self.items)
        norm = K1 * (1 - B + B * length / max(average * (2 * _WINDOW + 1), 1e-9))
        # No divisor is 0, as the norm is at least K1 * (1 - B).
        share = np.divide(terms, terms + norm[:, None], out=terms) @ idf
        window: Floats = (share / max(float(idf.sum()), 1e-9)).astype(np.float32)
        return window

    @lazy
    def session_words(self) -> Floats | None:
        """The best share of words among the pool's memories of the same session."""
        if len(self._around) == 1:
            return None
        assert self.columns is not None  # noqa: S101  -- there are surroundings
        session = np.where(self.rows >= 0, self.columns.session[self.rows], -1)
        best = np.zeros(int(session.max(initial=-1)) + 2, dtype=np.float32)
        np.maximum.at(best, session + 1, self.words)
        best[0] = 0  # of no session
        of_session: Floats = best[session + 1]
        return of_session

    @lazy
    def _shares(self) -> Floats:
        """The share of words of everything in ``_around``; 0 for none."""
        if len(self._around) == 1:
            return self._space.text.scores(self.cube, self.query.text, self.items)[None]
        asked, back = self._asked(self._around)
        shares: Floats = _and_none(self._space.text.scores(self.cube, self.query.text, asked))[back]
        return shares

    @lazy
    def _around(self) -> NDArray[np.int64]:
        """Shape (2 * REACH + 1, items): the row so many turns before, its own in the middle, and
        after it in its session; -1 for none. Shape (1, items) where nothing is of a session."""
        columns, rows = self.columns, self.rows
        if columns is None or not columns.talked or not (columns.session[rows] >= 0).any():
            return rows[None]
        around = columns.beside(np.maximum(rows, 0), _STEPS)
        around[:, rows < 0] = -1
        around[REACH] = rows
        return around

    def _asked(self, around: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
        """The items of these rows, each once, and which of them stands where; the place behind
        the last for none. The pool's own items are there even if they have no row."""
        assert self.columns is not None  # noqa: S101  -- asked for where there are columns only
        marked = np.zeros(len(self.columns.items) + 1, np.bool_)
        marked[around] = True  # the last place is that of -1
        held = np.flatnonzero(marked[:-1])
        places = np.empty(len(marked), np.int64)
        places[held] = np.arange(len(held))
        lost = self.items[self.rows < 0]
        places[-1] = len(held) + len(lost)
        back = places[around]
        if len(lost):
            back[len(around) // 2, self.rows < 0] = np.arange(len(held), len(held) + len(lost))
        return np.concatenate((self.columns.items[held], lost)), back


_STEPS = np.arange(-REACH, REACH + 1)[:, None]
_FADE = np.asarray([0.4, 0.5, 0.6, 0.75, 0.9, 1.0, 0.9, 0.75, 0.6, 0.5, 0.4], dtype=np.float32)[
    :, None
]


@lru_cache(maxsize=16)
def _of_counts(kind: type[TextIndex]) -> bool:
    return issubclass(kind, TermCounts)


def _counts(text: TextIndex) -> TypeGuard[TermCounts]:
    """As ``isinstance``, which for a protocol takes longer than what is asked of it."""
    return _of_counts(type(text))


def _and_none(values: Floats) -> Floats:
    """These, and a last one of zeros that stands for none."""
    return np.concatenate((values, np.zeros((1, *values.shape[1:]), np.float32)))


def _known(values: Floats) -> Floats:
    absent = np.isnan(values)
    if absent.any():
        values[absent] = 0
    return values
