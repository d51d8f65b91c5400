"""What a training sees: prompts parted where the adapter begins, and the answers to be given.

Called by the training and by what writes lessons. Needs torch (extra ``parametric``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from memos_integrations.infrastructure.parametric.soft import Answer


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and the answer that is to be given, parted where the adapter begins."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    answer: Answer

    @property
    def row(self) -> tuple[int, ...]:
        """What the model is run over behind ``before``: all but the answer's last token."""
        return self.after + self.answer.tokens[:-1]


@dataclass(frozen=True, slots=True)
class Lessons:
    """What one training sees: for each thing to be learnt or kept, its variants.

    The first variant of each has no other memories before the question; one is drawn each time.
    """

    learnt: tuple[tuple[Example, ...], ...]
    kept: tuple[tuple[Example, ...], ...]
    alike: tuple[int, ...]
    """``learnt`` in parts: so many ask in the first form, for every lesson, so many in the next."""


def together(examples: Sequence[Example]) -> list[tuple[tuple[int, ...], list[Example]]]:
    """Examples that begin alike, and tell equally many likely tokens, in one pass each."""
    order = sorted(examples, key=_kind)
    return [(kind[0], list(rows)) for kind, rows in groupby(order, key=_kind)]


def _kind(example: Example) -> tuple[tuple[int, ...], int]:
    return example.before, int(example.answer.likely.shape[-1])
