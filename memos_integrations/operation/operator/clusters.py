"""Which memories belong together: clusters of one owner's memories under one set of rights.

Pure; called by ``consolidate``. One pass in the order of the log: each memory joins the nearest
cluster so far or opens one, so memories that come later never change what earlier ones form, and
a cluster that grew is recognised as the same (leader clustering, Hartigan 1975, chapter 3). The
work is linear in the memories, because only the latest clusters are compared with.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from memos_integrations.cube.ports import Matrix, Vector
from memos_integrations.infrastructure.backends.words import tokens

_OPEN_CLUSTERS = 1024
"""How many clusters a memory is compared with; the least recently joined are closed."""
_TERM_DIM = 512
_SHARED_NAME = 0.08
_SAME_SESSION = 0.04


@dataclass(frozen=True, slots=True)
class Card:
    """What clustering and summing up need of a memory; its words are masked already."""

    item: int
    version: int
    text: str
    who: str
    time: int
    session: str | None
    rights: tuple[object, ...]
    """Owner, visibility, labels, trust and expiry: only equal ones are put together."""
    names: frozenset[bytes] = frozenset()
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """When memories are related, and how many make a cluster."""

    least: int = 3
    most: int = 40
    cosine: float = 0.45
    """Mean cosine of a memory with a cluster's members, on an embedder's vectors of bare words."""
    shared_terms: float = 0.3
    """The same on vectors of the words themselves, where there is no embedder."""


@dataclass(slots=True)
class _Open:
    """A cluster that still takes members."""

    members: list[Card]
    total: Vector
    names: set[bytes]
    sessions: set[str]
    joined: int = 0

    def add(self, card: Card, vector: Vector, turn: int) -> None:
        self.members.append(card)
        self.total = self.total + vector
        self.names |= card.names
        self.joined = turn
        if card.session is not None:
            self.sessions.add(card.session)


@dataclass(slots=True)
class _Board:
    """The clusters being formed under one set of rights, their centres as one matrix.

    A centre is the mean of unit vectors, not made unit itself: its product with a vector is the
    mean cosine with the members, so a wide cluster does not draw everything towards it.
    """

    dim: int
    limits: Limits
    threshold: float
    open_: list[_Open] = field(default_factory=list[_Open])
    closed: list[_Open] = field(default_factory=list[_Open])
    centres: Matrix = field(init=False)

    def __post_init__(self) -> None:
        self.centres = np.zeros((0, self.dim), dtype=np.float32)

    def place(self, card: Card, vector: Vector, turn: int) -> None:
        near = self._nearest(card, vector)
        if near is None:
            near = self._new(vector)
        cluster = self.open_[near]
        cluster.add(card, vector, turn)
        self.centres[near] = cluster.total / len(cluster.members)

    def _nearest(self, card: Card, vector: Vector) -> int | None:
        if not self.open_:
            return None
        scores = self.centres[: len(self.open_)] @ vector
        for place, cluster in enumerate(self.open_):
            scores[place] += _bonus(card, cluster)
            if len(cluster.members) >= self.limits.most:
                scores[place] = -1.0
        best = int(np.argmax(scores))
        return best if scores[best] >= self.threshold else None

    def _new(self, vector: Vector) -> int:
        fresh = _Open([], np.zeros_like(vector), set(), set())
        if len(self.open_) < _OPEN_CLUSTERS:
            self.open_.append(fresh)
            if len(self.open_) > len(self.centres):
                more = np.zeros((max(16, len(self.centres)), self.dim), dtype=np.float32)
                self.centres = np.vstack([self.centres, more])
            return len(self.open_) - 1
        oldest = min(range(len(self.open_)), key=lambda n: self.open_[n].joined)
        self.closed.append(self.open_[oldest])
        self.open_[oldest] = fresh
        return oldest


def clusters(cards: Iterable[Card], limits: Limits) -> list[tuple[Card, ...]]:
    """Groups of related memories, each under one set of rights, in the order of the log."""
    by_rights: dict[tuple[object, ...], list[Card]] = {}
    for card in sorted(cards, key=lambda c: c.item):
        by_rights.setdefault(card.rights, []).append(card)
    found = [group for alike in by_rights.values() for group in _of_one(alike, limits)]
    return sorted(found, key=lambda group: group[0].item)


def _of_one(cards: Sequence[Card], limits: Limits) -> list[tuple[Card, ...]]:
    embedded = [card for card in cards if card.vector is not None]
    if embedded:  # one that has no vector yet waits for the next time
        cards, threshold = embedded, limits.cosine
        matrix = np.stack([card.vector for card in embedded if card.vector is not None])
    else:
        matrix, threshold = term_matrix([card.text for card in cards]), limits.shared_terms
    board = _Board(matrix.shape[1], limits, threshold)
    for turn, (card, vector) in enumerate(zip(cards, matrix, strict=True)):
        board.place(card, vector, turn)
    groups = [each.members for each in [*board.closed, *board.open_]]
    return [tuple(group) for group in groups if len(group) >= limits.least]


def _bonus(card: Card, cluster: _Open) -> float:
    shared = _SHARED_NAME if card.names & cluster.names else 0.0
    same = card.session is not None and card.session in cluster.sessions
    return shared + (_SAME_SESSION if same else 0.0)


def term_matrix(texts: Sequence[str]) -> Matrix:
    """Unit vectors of the words, hashed into a few hundred places; zero rows for no words."""
    rows = np.zeros((len(texts), _TERM_DIM), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        for term, count in Counter(tokens(text)).items():
            place = int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "big")
            row[place % _TERM_DIM] += 1.0 + np.log(count)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    norms[norms == 0] = 1.0
    rows /= norms
    return rows
