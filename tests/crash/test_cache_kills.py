"""A process that dies at its KV-caches leaves none that is wrong, and no file that nobody knows."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra activation")

from memos_integrations.testing import cache_crash
from memos_integrations.testing.cache_crash import CACHE_POINTS, kill_plan
from memos_integrations.testing.crash import Children, Moment, read_journal

pytestmark = pytest.mark.slow

_KILLS = 200
_PARTS = 4
_KILLS_PER_FILE = 10
_ROUNDS = 30
_PROCESSES = 4
_THREADS = 64


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children(cache_crash.__name__) as started:
        yield started


class Trial:
    """One file, whose processes are killed one after the other."""

    def __init__(self, folder: Path, children: Children) -> None:
        self.path = folder / "agent.db"
        self._folder = folder
        self._children = children
        self.seen: Counter[str] = Counter()
        self._gone: set[int] = set()

    def kill(self, point: str | None, moment: Moment, nth: int, *, seed: int) -> None:
        """Kill a child there, or after a while, and hold what is left to what was promised."""
        journal = self._folder / f"journal-{seed}"
        child = self._children.start(
            "live",
            path=str(self.path),
            journal=str(journal),
            seed=seed,
            rounds=_ROUNDS,
            place=None if point is None else CACHE_POINTS[point],
            moment=moment,
            nth=nth,
        )
        if point is None:
            deadline = time.monotonic() + 60
            while len(read_journal(journal)) < 4 * nth and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(random.Random(seed).uniform(0.0, 0.05))
            self._children.kill(child)
        end = self._children.wait(child)
        assert end in (-signal.SIGKILL, 3), f"the child ended by itself with {end}"
        self.seen["killed" if end < 0 else "not reached"] += 1
        self._read(read_journal(journal))
        self._look(seed, point)

    def _read(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            if "asked" in line:
                assert line["right"], "a wrong answer before the kill"
                self.seen["asked"] += 1
                self.seen["served"] += line["cached"] > 0
            elif "erased" in line:
                self.seen["erased"] += 1
                self._gone.update(line["erased"])

    def _look(self, seed: int, point: str | None) -> None:
        report = self._folder / f"report-{seed}"
        about = {"path": str(self.path), "report": str(report)}
        assert self._children.wait(self._children.start("look", **about)) == 0
        told = json.loads(report.read_text())
        assert told["wrong"] == 0, f"a wrong answer after a kill at {point}"
        assert self._gone.isdisjoint(told["on_disk"]), f"an erased memory on disk after {point}"
        assert told["left"] == told["unnamed"] == told["sound"] == [], (point, told)
        assert told["locks"] == [], (point, told)
        self.seen["looked"] += 1
        self.seen["served after"] += told["served"]
        self.seen.update(told["findings"])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(_PARTS))
def test_two_hundred_kills_leave_no_wrong_cache_and_no_unknown_file(
    part: int, children: Children, tmp_path: Path
) -> None:
    seen: Counter[str] = Counter()
    trial = None
    share = _KILLS // _PARTS
    plan = list(enumerate(kill_plan(_KILLS, seed=7)))[part * share : (part + 1) * share]
    for n, (point, moment, nth) in plan:
        if trial is None or n % _KILLS_PER_FILE == 0:
            folder = tmp_path / str(n)
            folder.mkdir()
            trial = Trial(folder, children)
        before = trial.seen.copy()
        trial.kill(point, moment, nth, seed=n + 1)
        seen += trial.seen - before
    print(dict(seen))  # noqa: T201
    assert seen["killed"] >= 0.95 * share  # else it would prove little
    assert seen["looked"] == share
    assert seen["served after"] > share
    assert seen["erased"] > share / 4


def test_a_storm_on_a_cold_cache_builds_it_once(children: Children, tmp_path: Path) -> None:
    from memos_integrations import MOS

    path = tmp_path / "agent.db"
    with MOS(path, embedder=None, settings=cache_crash.settings()) as mos:
        for n in range(3):
            mos.add(" ".join(f"w{(n + m) % 12}" for m in range(90)), user="maya")
    go, reports = tmp_path / "go", [tmp_path / f"report{n}" for n in range(_PROCESSES)]
    ready = [tmp_path / f"ready{n}" for n in range(_PROCESSES)]
    about = {"path": str(path), "folder": str(tmp_path), "builds": str(tmp_path / "builds")}
    about |= {"go": str(go)}
    started = [
        children.start(
            "storm", **about, report=str(report), ready=str(up), threads=_THREADS, patience=60
        )
        for report, up in zip(reports, ready, strict=True)
    ]
    deadline = time.monotonic() + 60
    while not all(each.exists() for each in ready) and time.monotonic() < deadline:
        time.sleep(0.01)
    go.touch()
    assert [children.wait(each) for each in started] == [0] * _PROCESSES
    answers = [json.loads(report.read_text()) for report in reports]
    assert answers == [{"asked": _THREADS, "right": _THREADS}] * _PROCESSES
    builds = read_journal(tmp_path / "builds")
    assert len(builds) == 1, builds
    assert builds[0]["tokens"] >= 256
    assert [p.name for p in Path(f"{path}.kv").iterdir()] == []
