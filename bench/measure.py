"""Interleaved measuring: every round runs each arm once, so that they share the disk's moods."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

Step = Callable[[Sequence[str]], None]
"""Does the operation on these texts; only this is timed."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing to measure: ``open()`` gives its step and closes it afterwards."""

    name: str
    open: Callable[[], AbstractContextManager[Step]]
    items: int
    """Items per round; slow arms take fewer."""


@dataclass(slots=True)
class Timings:
    """What an arm took per item, one entry per round, in microseconds."""

    name: str
    items: int
    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    @property
    def per_second(self) -> float:
        return 1e6 / self.median

    def ratio(self, base: Timings) -> float:
        """The median over the rounds of this arm's time as a multiple of ``base``'s."""
        return statistics.median(a / b for a, b in zip(self.wall, base.wall, strict=True))


def interleaved(
    arms: Sequence[Arm], texts: Callable[[int, int], Sequence[str]], *, rounds: int
) -> list[Timings]:
    """A, B, C, A, B, C, ... over ``rounds``, after one round to warm up that is not counted.

    ``texts(place, count)`` gives fresh texts for each step.
    """
    timings = [Timings(arm.name, arm.items) for arm in arms]
    with ExitStack() as stack:
        steps = [stack.enter_context(arm.open()) for arm in arms]
        for number in range(rounds + 1):
            for place, (arm, step, timing) in enumerate(zip(arms, steps, timings, strict=True)):
                given = texts(number * len(arms) + place, arm.items)
                wall, cpu = timed(step, given)
                if number:
                    timing.wall.append(wall * 1e6 / arm.items)
                    timing.cpu.append(cpu * 1e6 / arm.items)
    return timings


def timed(step: Step, texts: Sequence[str]) -> tuple[float, float]:
    """Wall and CPU seconds (of all threads of this process) that the step took."""
    cpu, wall = time.process_time(), time.perf_counter()
    step(texts)
    return time.perf_counter() - wall, time.process_time() - cpu


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which ``share`` of them lie, by nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, round(share * (len(ranked) - 1)))]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows as lines: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, ["-" * width for width in widths], *rows):
        first, rest = row[0].ljust(widths[0]), zip(row[1:], widths[1:], strict=True)
        yield "  ".join([first, *(cell.rjust(width) for cell, width in rest)]).rstrip()


def numbers(timing: Timings, base: Timings) -> list[str]:
    """The cells of one arm, compared with ``base`` round by round."""
    return [
        timing.name,
        f"{timing.per_second:,.0f}",
        f"{timing.median:,.1f}",
        f"{min(timing.wall):,.1f}-{max(timing.wall):,.1f}",
        f"{statistics.median(timing.cpu):,.1f}",
        f"{timing.ratio(base):.2f}",
        f"{len(timing.wall)} x {timing.items}",
    ]


HEADS = ("operation", "items/s", "us/item", "min-max", "CPU us", "x base", "runs x items")
