"""A memory as a training sees it: its words, and the questions they answer. Data only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from memos_integrations.cube.item import MemoryItem

MIN_FORMS = 3
"""Two question forms to train on and one to hold out: with one, the unseen form stays unknown."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One memory at one version. No answer stands here: the teacher reads it off the words."""

    item: str
    version: int
    statement: str
    """The words of the memory as they stand in a prompt."""
    questions: tuple[str, ...]
    """Forms that are trained on, at least two."""
    held_out: str
    """A form that is never trained on, for the gate."""


QuestionForms: TypeAlias = Callable[[MemoryItem], Sequence[str]]
"""Ways to ask for what a memory says, at least ``MIN_FORMS``; fewer, and it is not distilled."""
