"""Deterministic stand-ins for tests: an embedder without a model, a clock that waits for you.

They take part in no production path; programs that use this package may use them in their tests.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.ports import Matrix
from memos_integrations.infrastructure.backends.embedders import list_of_texts

_WORD = re.compile(r"\w+")
_ENDINGS = ("ing", "ies", "ed", "es", "ly", "s", "y")
_SHORTEST_STEM = 3
_TRIGRAM_WEIGHT = 0.3
_START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeEmbedder:
    """Unit vectors in which texts that share words are near; the same in every process.

    Words without their endings and their letter trigrams are hashed into ``dim`` places (the
    hashing trick, Weinberger et al. 2009, arXiv:0902.2206). It knows no synonyms.
    """

    def __init__(self, dim: int = 64) -> None:
        if dim < 1:
            raise UsageError("dim must be at least 1")
        self.dim = dim
        self.fingerprint = f"fake-words-and-trigrams-1/{dim}"

    def embed(self, texts: Sequence[str]) -> Matrix:
        rows = np.zeros((len(texts), self.dim), dtype=np.float64)
        for row, text in zip(rows, list_of_texts(texts), strict=True):
            for feature, weight in _features(text).items():
                place = _stable_hash(feature)
                row[place % self.dim] += weight if place >> 63 else -weight
            row[0] += 0.0 if row.any() else 1.0
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows.astype(np.float32)


def _features(text: str) -> dict[str, float]:
    found: defaultdict[str, float] = defaultdict(float)
    for feature, weight in _weighted(text):
        found[feature] += weight
    return found


def _weighted(text: str) -> Iterator[tuple[str, float]]:
    for word in _WORD.findall(text.casefold()):
        stem = _stem(word)
        yield f"word {stem}", 1.0
        framed = f"<{stem}>"
        for start in range(len(framed) - 2):
            yield framed[start : start + 3], _TRIGRAM_WEIGHT


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word.removesuffix(ending)
    return word


def _stable_hash(feature: str) -> int:
    """64 bits; the builtin ``hash`` differs from process to process."""
    raw = feature.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big")


class ManualClock:
    """A ``Clock`` that stands still until it is moved; safe to use from several threads."""

    def __init__(self, start: datetime = _START) -> None:
        self._now = _aware(start)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def advance(self, *, seconds: float) -> None:
        """Let time pass; ``set`` is the way back."""
        if seconds < 0:
            raise UsageError("time only advances: use set() to put the clock back")
        with self._lock:
            self._now += timedelta(seconds=seconds)

    def set(self, now: datetime) -> None:
        """Put the clock to any instant, also an earlier one."""
        now = _aware(now)
        with self._lock:
            self._now = now


def _aware(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise UsageError("a clock tells aware instants: give the datetime a tzinfo, such as UTC")
    return moment
