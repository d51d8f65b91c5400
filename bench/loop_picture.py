"""Processor seconds as they add up over questions, as an SVG picture that stands alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from bench.drawing import scale_end

_WIDTH, _HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 130, 50, 46
_COLOURS = ("#b3541e", "#1f6f8b", "#7a5bd0", "#2a9d76")
_STEPS = 4
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
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        _text(_LEFT, 24, _TITLE, size=15, weight="bold"),
        *_axes(top, questions),
    ]
    for curve, colour in zip(curves, _COLOURS, strict=False):
        parts += _drawn(curve, colour, top)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(_TITLE)}" font-family="sans-serif">'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def _axes(top: float, questions: int) -> Iterator[str]:
    for n in range(_STEPS + 1):
        value = top * n / _STEPS
        y = _y(value, top)
        yield f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield _text(_LEFT - 8, y + 4, f"{value:g} s", anchor="end")
    for n in range(_STEPS + 1):
        x = _x(n / _STEPS)
        yield _text(x, _HEIGHT - 22, f"{questions * n // _STEPS:,}", anchor="middle")
    yield _text(_x(0.5), _HEIGHT - 6, "questions", anchor="middle")


def _drawn(curve: Curve, colour: str, top: float) -> Iterator[str]:
    last = max(1, len(curve.values) - 1)
    inside = [(n, v) for n, v in enumerate(curve.values) if v <= top]
    points = " ".join(f"{_x(n / last):.1f},{_y(v, top):.1f}" for n, v in inside)
    yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
    end = curve.values[-1]
    y = _y(min(end, top), top)
    beyond = " ↑" if end > top else ""
    yield _text(_WIDTH - _RIGHT + 6, y + 4, f"{curve.name}{beyond}", fill=colour)
    yield _text(_WIDTH - _RIGHT + 6, y + 18, f"{end:.0f} s", fill=colour)


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - value * (_HEIGHT - _TOP - _BOTTOM) / top


def _text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 12,
    anchor: str = "start",
    weight: str = "normal",
    fill: str = "#333",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'font-weight="{weight}" fill="{fill}">{escape(words)}</text>'
    )
