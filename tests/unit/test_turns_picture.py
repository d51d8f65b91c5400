"""The picture of a measurement: everything inside it, on a scale that fits, nothing obeyed."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from bench.drawing import Line, Marks, Phase, picture, scale_end

EVIL = "</title><script>alert(1)</script>\"'&"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("most", "end"),
    [(0, 1), (0.0031, 0.0032), (0.9, 1.0), (3.7, 4.0), (4.1, 6.0), (18.7, 20.0), (999, 1_000)],
)
def test_scale_ends_a_little_above_the_most(most: float, end: float) -> None:
    assert scale_end(most) == pytest.approx(end)


@pytest.mark.parametrize("turns", [1, 9, 24])
@pytest.mark.parametrize("top", [0.0, 0.004, 7.3, 12_345.0])
def test_every_point_stays_within_its_picture(turns: int, top: float) -> None:
    lines = [Line(name, [top * n / turns for n in range(1, turns + 1)]) for name in ("a", "b")]
    drawn = ET.fromstring(picture(lines, [Phase(1, "x")], title="t", marks=Marks("m", [turns])))
    _, _, width, height = map(float, drawn.attrib["viewBox"].split())
    points = [
        (float(each.attrib["cx"]), float(each.attrib["cy"])) for each in drawn.iter(f"{SVG}circle")
    ]
    assert len(points) == 2 * turns
    assert all(0 < x < width and 0 < y < height for x, y in points)
    heights = [y for _, y in points[:turns]]
    assert heights == sorted(heights, reverse=True)


def test_bands_lie_side_by_side_over_all_turns() -> None:
    phases = [Phase(1, "a"), Phase(4, "b"), Phase(7, "c")]
    drawn = ET.fromstring(picture([Line("x", [1.0] * 9)] * 2, phases, title="t"))
    bands = [each for each in drawn.iter(f"{SVG}rect") if "x" in each.attrib]
    edges = [(float(b.attrib["x"]), float(b.attrib["x"]) + float(b.attrib["width"])) for b in bands]
    assert len(edges) == 3
    for left, right in pairwise(edges):
        assert left[1] == pytest.approx(right[0], abs=0.2)


def test_names_are_told_and_never_obeyed() -> None:
    lines = [Line(EVIL, [1.0, 2.0]), Line("b", [1.0, 1.0])]
    drawn = ET.fromstring(picture(lines, [Phase(1, EVIL)], title=EVIL, marks=Marks(EVIL, [1])))
    assert {each.tag.removeprefix(SVG) for each in drawn.iter()} <= {
        *("svg", "rect", "text", "line", "polyline", "circle", "title", "path"),
    }
    assert any(EVIL in (each.text or "") for each in drawn.iter(f"{SVG}text"))
