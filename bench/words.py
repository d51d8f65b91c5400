"""Sentences and vectors to measure with: made from a seed, so that no data set is needed."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_WORDS = re.findall(
    r"\w+",
    """
the a my our her his their some every this that another one two three first last next old new
small large quiet bright early late warm cold blue green red yellow wooden broken favourite
morning evening weekend summer winter garden kitchen office station market library hospital
school river mountain village city street house flat room window table letter phone computer
ticket flight train meeting project report budget deadline contract client colleague manager
doctor teacher friend neighbour sister brother mother father daughter son cat dog bicycle car
coffee tea bread soup dinner breakfast lunch recipe medicine appointment birthday holiday music
film book chapter story question answer idea plan problem price invoice order delivery
bought sold found lost moved visited called wrote read cooked planned cancelled finished started
prefers likes dislikes wants needs remembers forgot promised asked told showed changed opened
closed repaired painted ordered paid saved spent agreed decided thinks believes hopes expects
and but because although while when after before until with without near under over for from
about to in on at of by very quite rather almost always never often sometimes usually again
already soon later yesterday today tomorrow Anna Boris Chen Dalia Emeka Farah Goran Hiro Ines
Jonas Karim Lucia Berlin Lagos Lima Oslo Osaka Porto Toronto Vienna
""",
)

TOPICS = 10
DIMENSIONS = 384


def sentences(count: int, *, seed: int) -> list[str]:
    """``count`` different sentences of 8 to 40 words."""
    draw = random.Random(seed)
    return [
        f"{' '.join(draw.choices(_WORDS, k=draw.randint(7, 39)))} {seed}x{n}." for n in range(count)
    ]


def vectors(count: int, *, seed: int) -> NDArray[np.float32]:
    """Unit rows around ``TOPICS`` centres, as embeddings of texts about few things are."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(TOPICS, DIMENSIONS))
    rows = draw.normal(size=(count, DIMENSIONS)) + 0.8 * centres[np.arange(count) % TOPICS]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


class Lookup:
    """An embedder that only looks up: what is measured is the store, not a model."""

    def __init__(self, known: Mapping[str, NDArray[np.float32]]) -> None:
        self._known = known
        self.dim = DIMENSIONS
        self.fingerprint = f"bench-lookup/{DIMENSIONS}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row per text. The store puts speaker and date in front; they are looked past."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        return np.stack([self._known[text.partition("): ")[2] or text] for text in texts])
