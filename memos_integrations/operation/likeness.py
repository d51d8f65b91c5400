"""How much two short texts have in common, without a model. Pure."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

_WORD = re.compile(r"[^\W_]+")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def bag(text: str) -> Counter[str]:
    """The words of a text, folded, and the pairs of neighbours, which keep some of the order.

    CJK characters count as words.
    """
    words = words_in(text)
    pairs = [f"{a} {b}" for a, b in pairwise(words)]
    return Counter(words + pairs)


def words_in(text: str) -> list[str]:
    """The words of a text, folded, in order; CJK characters one by one."""
    words: list[str] = []
    for word in _WORD.findall(text.casefold()):
        words += list(word) if _CJK.search(word) else [word]
    return words


def overlap(one: Counter[str], other: Counter[str]) -> float:
    """The share of words and pairs two texts have in common (Dice), from 0 to 1."""
    total = one.total() + other.total()
    return 0.0 if not total else 2 * (one & other).total() / total
