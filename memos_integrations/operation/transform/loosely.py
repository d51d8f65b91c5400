"""Questions in looser words, so that an adapter goes by what is asked for and not by the wording.

Pure. Called by what writes lessons. A small model that sees four forms of a question learns them by
heart: words that only ever stand in the questions to be kept become its sign for staying silent,
also in a form of the lesson that was held out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from memos_integrations.operation.transform.lesson import Lesson

_LEFT_OUT = _EXCHANGED = 0.12
"""Chance of each loose word."""
_COMMON = 0.02
"""Share of the questions that a word stands in, to be put in the place of another."""
_LEAST = 2


class Loosely:
    """Says a question with some of its words left out or exchanged for such of other questions.

    Words of the memory itself stay, whom it is about among them. A language without spaces has
    one word here, and its questions stay as they are.
    """

    def __init__(self, lessons: Sequence[Lesson], replay: Sequence[str], *, seed: int) -> None:
        asked = [*replay, *(question for lesson in lessons for question in lesson.questions)]
        counts = Counter(word for question in asked for word in set(question.split()))
        often = max(_LEAST, _COMMON * len(asked))
        told = {word for lesson in lessons for word in lesson.statement.split()}
        self._common = sorted(w for w, n in counts.items() if n >= often and w not in told)
        self._rng = random.Random(f"loosely:{seed}")  # noqa: S311  -- must repeat

    def __call__(self, question: str, statement: str) -> str:
        """The question to a memory of these words, other words each time."""
        stays = set(statement.split())
        said = [word if word in stays else self._loose(word) for word in question.split()]
        return " ".join(word for word in said if word) or question

    def _loose(self, word: str) -> str:
        drawn = self._rng.random()
        if not self._common or drawn >= _LEFT_OUT + _EXCHANGED:
            return word
        return "" if drawn < _LEFT_OUT else self._rng.choice(self._common)
