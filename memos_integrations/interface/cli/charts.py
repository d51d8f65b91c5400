"""Figures as pictures: bars for a terminal, and SVG for a page. Pure: numbers in, text out.

Called by the ``stats`` command. Names come from memory and are escaped here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_SPARKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MOST_SERIES = 6
_OTHERS = "others"


def spark(values: Sequence[int]) -> str:
    """One letter a day; a day of nothing is a dot on the line."""
    top = max(values, default=0)
    return "".join("·" if not v else _SPARKS[min(7, v * 8 // (top + 1))] for v in values)


def bar(value: int, top: int, *, width: int) -> str:
    """A bar of ``width`` letters for ``top``; something, however small, is seen."""
    if top <= 0 or value <= 0:
        return ""
    eighths = max(1, round(value * width * 8 / top))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def grouped(values: Sequence[int], size: int) -> list[int]:
    """Sums of ``size`` days each, the last ones whole, so that a long time fits a line."""
    first = len(values) % size
    head = [sum(values[:first])] if first else []
    return head + [sum(values[n : n + size]) for n in range(first, len(values), size)]


# -- SVG -------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 10, 24
_ROW = 26
_NAMES = 168
_FIGURES = 110


@dataclass(frozen=True, slots=True)
class Series:
    """One row of numbers, one a day."""

    name: str
    values: Sequence[int]


def columns(days: Sequence[str], series: Sequence[Series], *, label: str) -> str:
    """Stacked columns a day with a scale, the first and the last date under them."""
    shown = _largest(series)
    sums = [sum(each.values[n] for each in shown) for n in range(len(days))]
    top = _nice(max(sums, default=0))
    parts = [*_scale(top), *_dates(days)]
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(days))
    gap = min(4.0, step * 0.25)
    for n, day in enumerate(days):
        below = 0
        for place, each in enumerate(shown):
            value = each.values[n]
            if value:
                y0, y1 = _y(below, top), _y(below + value, top)
                tip = escape(f"{day}: {value:,} {each.name}")
                parts.append(
                    f'<rect class="s{place}" x="{_LEFT + n * step + gap / 2:.1f}" y="{y1:.1f}" '
                    f'width="{step - gap:.1f}" height="{y0 - y1:.1f}"><title>{tip}</title></rect>'
                )
            below += value
    return _svg(parts, height=_HEIGHT, label=label) + _legend(shown)


def line(days: Sequence[str], values: Sequence[int], *, label: str) -> str:
    """An area under a line that starts at nought."""
    top = _nice(max(values, default=0))
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(days) - 1)
    points = [f"{_LEFT + n * step:.1f},{_y(v, top):.1f}" for n, v in enumerate(values)]
    if len(points) == 1:
        points.append(f"{_WIDTH - _RIGHT:.1f},{_y(values[0], top):.1f}")
    base = f"{_WIDTH - _RIGHT:.1f},{_y(0, top):.1f} {_LEFT:.1f},{_y(0, top):.1f}"
    parts = [
        *_scale(top),
        *_dates(days),
        f'<polygon class="area" points="{" ".join(points)} {base}"/>',
        f'<polyline class="line" points="{" ".join(points)}"/>',
    ]
    return _svg(parts, height=_HEIGHT, label=label)


def bars(counts: Mapping[str, float], *, label: str, unit: str = "") -> str:
    """A bar a name, with its figure and its share."""
    if not counts:
        return '<p class="none">nothing to show</p>'
    top, total = max(counts.values()), sum(counts.values())
    room = _WIDTH - _NAMES - _FIGURES
    parts: list[str] = []
    for n, (name, value) in enumerate(counts.items()):
        y = n * _ROW
        width = room * value / top if top else 0.0
        share = "" if unit or not total else f" ({value / total:.0%})"
        told = f"{value:,g}{unit}" if unit else f"{value:,.0f}{share}"
        parts += [
            f'<text class="name" x="{_NAMES - 10}" y="{y + 17}">{escape(_short(name))}'
            f"<title>{escape(name)}</title></text>",
            f'<rect class="s0" x="{_NAMES}" y="{y + 5}" width="{max(width, 1):.1f}" height="16"/>',
            f'<text class="figure" x="{_NAMES + max(width, 1) + 6:.1f}" y="{y + 17}">{told}</text>',
        ]
    return _svg(parts, height=len(counts) * _ROW + 2, label=label)


def _largest(series: Sequence[Series]) -> list[Series]:
    """The largest few; the rest is one series, so that colours stay apart."""
    ranked = sorted(series, key=lambda each: -sum(each.values))
    kept, rest = ranked[:_MOST_SERIES], ranked[_MOST_SERIES:]
    if rest:
        kept[-1:] = [Series(_OTHERS, _added([kept[-1], *rest]))]
    return kept


def _added(series: Sequence[Series]) -> list[int]:
    return [sum(day) for day in zip(*(each.values for each in series), strict=True)]


def _nice(top: float) -> float:
    """The end of a scale of four equal steps of whole numbers, not much above ``top``."""
    step = max(1, -(-int(top) // 4))
    power: int = 10 ** (len(str(step)) - 1)
    return 4.0 * next(m * power for m in (1, 2, 3, 4, 5, 6, 8, 10) if m * power >= step)


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top


def _scale(top: float) -> list[str]:
    parts: list[str] = []
    for n in range(5):
        value = top * n / 4
        y = _y(value, top)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}">{value:,.0f}</text>')
    return parts


def _dates(days: Sequence[str]) -> list[str]:
    if not days:
        return []
    y = _HEIGHT - 6
    first = f'<text class="date" x="{_LEFT}" y="{y}">{escape(days[0])}</text>'
    last = f'<text class="date end" x="{_WIDTH - _RIGHT}" y="{y}">{escape(days[-1])}</text>'
    return [first, last] if len(days) > 1 else [last]


def _legend(series: Sequence[Series]) -> str:
    if len(series) < 2:  # one series is named by the heading
        return ""
    marks = (
        f'<span><i class="s{n}"></i>{escape(each.name)}</span>' for n, each in enumerate(series)
    )
    return f'<p class="legend">{"".join(marks)}</p>'


def _svg(parts: Sequence[str], *, height: int, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"  # what fits
