"""What the signals look at: the proposed memories of one cube, with what several signals share.

Made by the operator for one question; everything is computed at most once and over the pool
only, so a ranking costs the same in a cube of a thousand and of a million.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.ports import Rows, TermCounts, Vector
from memos_integrations.infrastructure.backends.columns import Columns
from memos_integrations.infrastructure.backends.lexical import K1, B
from memos_integrations.infrastructure.vault.search_space import Space
from memos_integrations.operation.operator.question import Query

Floats = NDArray[np.float32]

REACH = 5
"""How many turns before and after a memory belong to its surroundings."""
_WINDOW = 1


class Pool:
    """Proposed items of one cube. ``own`` is the question in the first person's words."""

    def __init__(
        self,
        query: Query,
        space: Space,
        cube: int,
        items: Rows,
        *,
        speakers: tuple[int, ...] = (),
        own: Vector | None = None,
    ) -> None:
        self.query = query
        self.cube = cube
        self.items = items
        self.speakers = speakers
        """Numbers of the speakers that the question names."""
        self._space = space
        self._own = own

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def columns(self) -> Columns | None:
        return self._space.columns(self.cube)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The row of each item in ``columns``; -1 where it has none."""
        if self.columns is None:
            return np.full(len(self.items), -1, dtype=np.int64)
        return self.columns.rows(self.items)

    def zeros(self) -> Floats:
        return np.zeros(len(self.items), dtype=np.float32)

    # -- meaning ------------------------------------------------------------------------------

    @cached_property
    def cosine(self) -> Floats:
        """Closeness of the question to the memory with its speaker and date."""
        if self.query.vector is None or self._space.vectors is None:
            return self.zeros()
        return _known(self._space.vectors.scores(self.cube, self.query.vector, self.items))

    @cached_property
    def parts(self) -> tuple[Floats, Floats]:
        """Closeness of the question, in the first person, to the bare words and to their best
        sentence. Where the fine stage has not made these vectors yet, the cosine stands in."""
        vector = self.query.vector if self._own is None else self._own
        if vector is None or self._space.parts is None:
            return self.cosine, self.cosine
        bare, sentence = self._space.parts.scores(self.cube, vector, self.items)
        bare = np.where(np.isnan(bare), self.cosine, bare)
        return bare, np.fmax(bare, sentence)

    # -- words --------------------------------------------------------------------------------

    @cached_property
    def words(self) -> Floats:
        """BM25 as a share of the most the question could score."""
        return self._space.text.scores(self.cube, self.query.text, self.items)

    @cached_property
    def window_words(self) -> Floats:
        """The same over each memory together with the turns right before and after it."""
        text = self._space.text
        if self.columns is None or not isinstance(text, TermCounts):
            return self.words
        around = self._around[REACH - _WINDOW : REACH + _WINDOW + 1]
        counts, idf, lengths, average = text.counts(self.cube, self.query.text, around.ravel())
        folds = len(around)
        terms = counts.reshape(folds, len(self.items), -1).sum(axis=0)
        length = lengths.reshape(folds, len(self.items)).sum(axis=0)
        norm = K1 * (1 - B + B * length / max(average * folds, 1e-9))
        share = (terms / (terms + norm[:, None] + 1e-9)) @ idf
        window: Floats = (share / max(float(idf.sum()), 1e-9)).astype(np.float32)
        return window

    @cached_property
    def near_words(self) -> Floats:
        """The best share of words of the memory and the turns around it, less the further away."""
        if self.columns is None:
            return self.words
        asked, back = np.unique(self._around, return_inverse=True)
        shares = self._space.text.scores(self.cube, self.query.text, asked)[back]
        nearest: Floats = (shares.reshape(self._around.shape) * _FADE).max(axis=0)
        return nearest

    @cached_property
    def session_words(self) -> Floats:
        """The best share of words among the pool's memories of the same session."""
        if self.columns is None or not len(self.items):
            return self.zeros()
        session = np.where(self.rows >= 0, self.columns.session[self.rows], -1)
        best = np.zeros(int(session.max(initial=-1)) + 2, dtype=np.float32)
        np.maximum.at(best, session + 1, self.words)
        best[0] = 0  # of no session
        of_session: Floats = best[session + 1]
        return of_session

    @cached_property
    def _around(self) -> Rows:
        """Shape (2 * REACH + 1, items): the item so many turns before, itself in the middle, and
        after it in its session; -1 for none."""
        assert self.columns is not None  # noqa: S101  -- asked for where there are columns only
        rows = self.columns.beside(np.maximum(self.rows, 0), _STEPS)
        around = np.where((rows >= 0) & (self.rows >= 0), self.columns.items[rows], -1)
        around[REACH] = self.items
        return around


_STEPS = np.arange(-REACH, REACH + 1)[:, None]
_FADE = np.asarray([0.4, 0.5, 0.6, 0.75, 0.9, 1.0, 0.9, 0.75, 0.6, 0.5, 0.4], dtype=np.float32)[
    :, None
]


def _known(values: Floats) -> Floats:
    return np.nan_to_num(values, nan=0.0)
