"""Measured turns as an SVG picture that stands alone. Pure: numbers in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

WIDTH, HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 124, 70, 46
_COLOURS = ("#b3541e", "#1f6f8b")
STEPS = 4
_ROUND = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15)


@dataclass(frozen=True, slots=True)
class Line:
    """One figure a turn."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Phase:
    """What holds from a turn on."""

    first: int
    name: str


@dataclass(frozen=True, slots=True)
class Marks:
    """Turns at which something happens that is no figure."""

    name: str
    turns: Sequence[int] = ()


def picture(
    lines: Sequence[Line], phases: Sequence[Phase], *, title: str, marks: Marks | None = None
) -> str:
    """The lines over numbered turns, from nought up, with a band for each phase."""
    turns = len(lines[0].values)
    top = scale_end(max(value for line in lines for value in line.values))
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(_LEFT, 24, title, size=15, weight="bold"),
        *_bands(phases, turns),
        *_axes(top, turns),
        *_marked(marks or Marks(""), turns),
    ]
    for line, colour in zip(lines, _COLOURS, strict=True):
        parts += _drawn(line, colour, top)
    return framed(parts, title=title)


def framed(parts: Sequence[str], *, title: str) -> str:
    """A whole picture of these parts, named for whoever does not see it."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif">'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def scale_end(most: float) -> float:
    """The end of a scale of four even steps, not much above ``most``."""
    if most <= 0:
        return 1.0
    step = most / STEPS
    power = 10.0 ** floor(log10(step))
    return STEPS * next(m * power for m in _ROUND if m * power >= step)


def _x(turn: float, turns: int) -> float:
    return _LEFT + (turn - 0.5) * (WIDTH - _LEFT - _RIGHT) / turns


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - value * (HEIGHT - _TOP - _BOTTOM) / top


def _bands(phases: Sequence[Phase], turns: int) -> Iterator[str]:
    ends = [*(phase.first for phase in phases[1:]), turns + 1]
    for n, (phase, end) in enumerate(zip(phases, ends, strict=True)):
        left, right = _x(phase.first - 0.5, turns), _x(end - 0.5, turns)
        fill = ("#f5f1ea", "#e9f1f2", "#dcebe6")[n % 3]
        yield (
            f'<rect x="{left:.1f}" y="{_TOP - 26}" width="{right - left:.1f}" '
            f'height="{HEIGHT - _TOP - _BOTTOM + 26}" fill="{fill}"/>'
        )
        yield text((left + right) / 2, _TOP - 9, phase.name, anchor="middle")


def _axes(top: float, turns: int) -> Iterator[str]:
    for n in range(STEPS + 1):
        value = top * n / STEPS
        y = _y(value, top)
        yield (
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ccc"/>'
        )
        yield text(_LEFT - 8, y + 4, f"{value:g}", anchor="end")
    for turn in range(1, turns + 1):
        if turn == 1 or turn % (4 if turns > 12 else 2) == 0:
            yield text(_x(turn, turns), HEIGHT - _BOTTOM + 18, str(turn), anchor="middle")
    yield text(_LEFT, HEIGHT - 8, "turn")


def _marked(marks: Marks, turns: int) -> Iterator[str]:
    y = HEIGHT - _BOTTOM - 3
    for turn in marks.turns:
        x = _x(turn, turns)
        yield f'<path d="M{x - 5:.1f},{y} h10 l-5,-9 z" fill="#777"/>'
    if marks.turns:
        yield text(WIDTH - _RIGHT, HEIGHT - 8, f"\u25b2 {marks.name}", anchor="end")


def _drawn(line: Line, colour: str, top: float) -> Iterator[str]:
    turns = len(line.values)
    places = [(_x(n, turns), _y(v, top)) for n, v in enumerate(line.values, 1)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
    for n, ((x, y), value) in enumerate(zip(places, line.values, strict=True), 1):
        tip = escape(f"turn {n}: {value:.2f} s, {line.name}")
        yield (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}">'
            f"<title>{tip}</title></circle>"
        )
    x, y = places[-1]
    told = f"{line.name}, {line.values[-1]:.2g} s"
    yield text(x + 9, y + 4, told, colour=colour, weight="bold")


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 12,
    anchor: str = "start",
    colour: str = "#333",
    weight: str = "normal",
) -> str:
    """Words at a place; 12 pixels high unless told."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{colour}" font-weight="{weight}">{escape(words)}</text>'
    )
