"""Questions as directions: what a cache keeps of them to find the same one in other words. Pure.

No word of a question is kept, so none outlives what was said.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_Vector = NDArray[np.float32]


def direction(vector: Iterable[float]) -> bytes | None:
    """The vector at length one, as bytes; ``None`` for one that points nowhere."""
    given = np.asarray(list(vector), dtype=np.float32)
    length = float(np.linalg.norm(given))
    if not 0.0 < length < float("inf"):  # also where it is no number
        return None
    return (given / length).astype("<f4").tobytes()


def nearest(asked: bytes, kept: Iterable[tuple[str, bytes]], *, threshold: float) -> list[str]:
    """The names of those within this cosine, best first. What is no direction of the same model
    is nobody's neighbour."""
    names: list[str] = []
    rows: list[_Vector] = []
    for name, data in kept:
        if len(data) == len(asked):
            names.append(name)
            rows.append(np.frombuffer(data, dtype="<f4"))
    if not rows:
        return []
    scores = np.stack(rows) @ np.frombuffer(asked, dtype="<f4")
    # A threshold of one is met by equal words, whose cosine may be rounded below it.
    good = [place for place in np.argsort(-scores) if scores[place] >= threshold - 1e-6]
    return [names[place] for place in good]
