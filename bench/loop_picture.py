"""Processor seconds as they add up over questions, as an SVG picture that stands alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.drawing import HEIGHT, STEPS, WIDTH, framed, scale_end, text

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 130, 50, 46
_COLOURS = ("#b3541e", "#1f6f8b", "#7a5bd0", "#2a9d76")
_TITLE = "Seconds of the model, builds included, over a trace of questions"


@dataclass(frozen=True, slots=True)
class Curve:
    """Seconds so far after each block of questions, the first before any."""

    name: str
    values: Sequence[float]


def picture(curves: Sequence[Curve], *, questions: int) -> str:
    """The curves from nought up; one that leaves the picture is cut and told of by its end."""
    top = scale_end(max(curves[0].values) * 1.3)
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(_LEFT, 24, _TITLE, size=15, weight="bold"),
        *_axes(top, questions),
    ]
    for curve, colour in zip(curves, _COLOURS, strict=False):
        parts += _drawn(curve, colour, top)
    return framed(parts, title=_TITLE)


def _axes(top: float, questions: int) -> Iterator[str]:
    for n in range(STEPS + 1):
        value = top * n / STEPS
        y = _y(value, top)
        yield f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield text(_LEFT - 8, y + 4, f"{value:g} s", anchor="end")
    for n in range(STEPS + 1):
        x = _x(n / STEPS)
        yield text(x, HEIGHT - 22, f"{questions * n // STEPS:,}", anchor="middle")
    yield text(_x(0.5), HEIGHT - 6, "questions", anchor="middle")


def _drawn(curve: Curve, colour: str, top: float) -> Iterator[str]:
    last = max(1, len(curve.values) - 1)
    inside = [(n, v) for n, v in enumerate(curve.values) if v <= top]
    points = " ".join(f"{_x(n / last):.1f},{_y(v, top):.1f}" for n, v in inside)
    yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
    end = curve.values[-1]
    y = _y(min(end, top), top)
    beyond = " ↑" if end > top else ""
    yield text(WIDTH - _RIGHT + 6, y + 4, f"{curve.name}{beyond}", colour=colour)
    yield text(WIDTH - _RIGHT + 6, y + 18, f"{end:.0f} s", colour=colour)


def _x(share: float) -> float:
    return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - value * (HEIGHT - _TOP - _BOTTOM) / top
