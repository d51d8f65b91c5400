"""A process that dies in the middle of a write loses nothing, halves nothing, repeats nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_integrations.testing.crash import ONCE, POINTS, Children, Moment, Trial, is_opening

_KILLS_PER_FILE = 15


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children() as started:
        yield started


def killed_at_random(children: Children, folder: Path, *, kills: int, synchronous: str) -> Trial:
    """The last of the files, after ``kills`` kills in all."""
    dice = random.Random(f"{kills} {synchronous}")
    trials: list[Trial] = []
    for kill in range(kills):
        if kill % _KILLS_PER_FILE == 0:
            there = folder / str(kill)
            there.mkdir()
            worker = bool(len(trials) % 2 == 0)
            trials.append(Trial(there, children, synchronous=synchronous, worker=worker))
        trials[-1].after(dice.randrange(30), seconds=dice.uniform(0.0, 0.005), seed=1000 + kill)
    assert sum(t.acknowledged for t in trials) > 2 * kills
    assert sum(t.interrupted for t in trials) > kills / 4
    return trials[-1]


@pytest.mark.parametrize(
    ("synchronous", "kills"),
    [
        ("normal", 8),
        ("full", 8),
        pytest.param("normal", 30, marks=pytest.mark.slow),
        pytest.param("full", 30, marks=pytest.mark.slow),
    ],
)
def test_nothing_acknowledged_is_lost_over_random_kills(
    children: Children, tmp_path: Path, synchronous: str, kills: int
) -> None:
    killed_at_random(children, tmp_path, kills=kills, synchronous=synchronous)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_over_five_hundred_random_kills(
    children: Children, tmp_path: Path
) -> None:
    killed_at_random(children, tmp_path, kills=500, synchronous="normal")


_MOMENTS: tuple[Moment, ...] = ("before", "after")


_IN_USE = [p for p in POINTS if not is_opening(p) and p not in ONCE]


@pytest.mark.parametrize(("point", "moment"), [(p, _MOMENTS[n % 2]) for n, p in enumerate(_IN_USE)])
def test_kill_at_a_named_point_leaves_all_or_nothing(
    children: Children, tmp_path: Path, point: str, moment: Moment
) -> None:
    Trial(tmp_path, children).at(point, moment, 1, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("moment", _MOMENTS)
@pytest.mark.parametrize("point", _IN_USE)
def test_kills_at_a_named_point_again_and_again_leave_all_or_nothing(
    children: Children, tmp_path: Path, point: str, moment: Moment
) -> None:
    trial = Trial(tmp_path, children)
    for seed, nth in enumerate((1, 4), start=1):
        trial.at(point, moment, nth, seed=seed)


@pytest.mark.parametrize("moment", _MOMENTS)
@pytest.mark.parametrize("point", [p for p in POINTS if is_opening(p)])
def test_kill_while_the_file_is_made_leaves_a_file_that_opens(
    children: Children, tmp_path: Path, point: str, moment: Moment
) -> None:
    for seed, nth in enumerate((1,) if point in ONCE else (1, 7), start=1):
        there = tmp_path / str(nth)
        there.mkdir()
        trial = Trial(there, children)
        trial.at(point, moment, nth, seed=seed)
        trial.after(9, seconds=0.001, seed=9)


@pytest.mark.parametrize("moment", _MOMENTS)
def test_kill_while_the_file_is_closed_loses_nothing(
    children: Children, tmp_path: Path, moment: Moment
) -> None:
    trial = Trial(tmp_path, children, synchronous="full")
    trial.at("close", moment, 1, seed=1, cycles=2)
    assert trial.acknowledged > 10
