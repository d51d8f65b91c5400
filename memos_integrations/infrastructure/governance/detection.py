"""What a detector is: spans of text under a label, found by patterns behind cheap gates.

Every pattern must be linear on hostile text: it starts only where a run starts (lookbehind),
repeats are bounded or possessive, and neighbouring repeats share no character.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

SECRET: Final = "secret"  # noqa: S105  # the label, not one
PERSONAL: Final = "personal"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """``text[start:end]`` is something to protect: ``label`` says how, ``what`` says what."""

    start: int
    end: int
    label: str
    what: str


@runtime_checkable
class Detector(Protocol):
    """Finds one kind of sensitive text. Bring your own beside ``DEFAULT``."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str: ...

    def find(self, text: str) -> list[Span]:
        """Every span found, in any order; they may overlap."""
        ...


Accept = Callable[[re.Match[str]], tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A detector by regular expression: group 1 where there is one, else the whole match.

    ``accept`` decides on a match (checksums, context) and gives the span, or ``None``.
    """

    name: str
    label: str
    regex: re.Pattern[str]
    accept: Accept | None = None

    def find(self, text: str) -> list[Span]:
        spans: list[Span] = []
        group = 1 if self.regex.groups else 0
        for match in self.regex.finditer(text):
            place = match.span(group) if self.accept is None else self.accept(match)
            if place is not None:
                spans.append(Span(*place, self.label, self.name))
        return spans


@dataclass(frozen=True, slots=True)
class Gated:
    """Detectors that share one cheap test, so that ordinary text pays for the test only."""

    name: str
    label: str
    gate: Callable[[str], bool]
    detectors: tuple[Detector, ...]

    def find(self, text: str) -> list[Span]:
        if not self.gate(text):
            return []
        return [span for detector in self.detectors for span in detector.find(text)]
