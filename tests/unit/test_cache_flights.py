"""One build for one key: over threads, over processes, and when whoever builds is killed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("filelock", reason="needs the extra activation")

from filelock import FileLock

from memos_integrations.infrastructure.activation.flights import Flight, Flights
from memos_integrations.infrastructure.activation.identity import Digest, tagged_digest

KEY = Digest("a" * 64)
ROOT = Path(__file__).parents[2]
CHILD = """
import sys, time
from pathlib import Path
from memos_integrations.infrastructure.activation.flights import Flights
folder, key, seconds, outcome = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4]
made = folder / "made"
with Flights(folder, wait_seconds=20).turn(key, at_hand=made.exists) as flight:
    (folder / f"in-{outcome}").touch()
    if not made.exists():
        time.sleep(seconds)
        with (folder / "builds").open("a") as file:
            file.write("x")
        (folder / f"wanted-{outcome}-{flight.is_wanted_elsewhere()}").touch()
        made.touch()
"""


def nothing() -> bool:
    return False


def child(folder: Path, *, seconds: float, outcome: str) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", CHILD, str(folder), KEY, str(seconds), outcome]
    return subprocess.Popen(arguments, cwd=ROOT)


def until(what: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.002)


def wait_for(path: Path) -> None:
    until(path.exists)


def locks(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix in (".lock", ".next"))


@contextmanager
def standing_before(folder: Path, key: Digest = KEY) -> Iterator[list[Flight[str]]]:
    """A thread with a store of its own, as another process has it, that wants a turn."""
    got: list[Flight[str]] = []

    def want() -> None:
        with Flights[str](folder, wait_seconds=20).turn(key, at_hand=nothing) as flight:
            got.append(flight)

    thread = threading.Thread(target=want)
    thread.start()
    yield got
    thread.join()


def test_threads_take_turns_and_find_what_the_first_one_made(tmp_path: Path) -> None:
    flights: Flights[str] = Flights(tmp_path, wait_seconds=20)
    builds: list[int] = []
    found: list[str | None] = []

    all_there = threading.Barrier(64)

    def ask(n: int) -> None:
        all_there.wait()
        with flights.turn(KEY, at_hand=nothing) as flight:
            if flight.made is None:
                builds.append(n)
                time.sleep(0.5)  # until the slowest thread waits too: nothing is at hand for it
                flight.made = "made"
            found.append(flight.made)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert found == ["made"] * 64
    assert flights._queues == {}
    assert locks(tmp_path) == []


def test_what_was_made_is_forgotten_with_the_last_who_waited(tmp_path: Path) -> None:
    flights: Flights[str] = Flights(tmp_path, wait_seconds=20)
    with flights.turn(KEY, at_hand=nothing) as flight:
        flight.made = "made"
    with flights.turn(KEY, at_hand=nothing) as flight:
        assert flight.made is None


def test_a_holder_knows_whether_another_process_waits(tmp_path: Path) -> None:
    flights: Flights[str] = Flights(tmp_path, wait_seconds=20)
    with flights.turn(KEY, at_hand=nothing) as flight:
        assert not flight.is_wanted_elsewhere()
        with standing_before(tmp_path) as got:
            until(flight.is_wanted_elsewhere)
            assert got == []
            # The others come one by one, each as soon as the one before has left.
            flight._door.leave()  # type: ignore[union-attr]
            flight._door = None
    assert [each.late for each in got] == [False]
    assert locks(tmp_path) == []


def test_what_is_at_hand_is_waited_for_by_no_process(tmp_path: Path) -> None:
    flights: Flights[str] = Flights(tmp_path, wait_seconds=20)
    other: Flights[str] = Flights(tmp_path, wait_seconds=0)
    with (
        flights.turn(KEY, at_hand=nothing),
        other.turn(KEY, at_hand=lambda: True) as beside,
    ):
        assert not beside.late


def test_after_the_deadline_the_turn_comes_late(tmp_path: Path) -> None:
    flights: Flights[str] = Flights(tmp_path, wait_seconds=0.05)
    elsewhere: Flights[str] = Flights(tmp_path, wait_seconds=0.05)
    late: list[bool] = []

    def ask(which: Flights[str]) -> None:
        with which.turn(KEY, at_hand=nothing) as flight:
            late.append(flight.late)

    with flights.turn(KEY, at_hand=nothing):
        for which in (flights, elsewhere):
            began = time.monotonic()
            thread = threading.Thread(target=ask, args=(which,))
            thread.start()
            thread.join()
            assert time.monotonic() - began < 5
    assert late == [True, True]
    ask(flights)
    assert late[-1] is False
    assert locks(tmp_path) == []


def test_a_thousand_keys_leave_no_file(tmp_path: Path) -> None:
    flights: Flights[str] = Flights(tmp_path, wait_seconds=1)
    for n in range(1_000):
        with flights.turn(tagged_digest({"n": n}), at_hand=nothing):
            pass
    assert locks(tmp_path) == []


def test_names_of_files_tell_no_key(tmp_path: Path) -> None:
    with Flights[str](tmp_path, wait_seconds=1).turn(KEY, at_hand=nothing):
        [name] = locks(tmp_path)
    assert len(name) == 64 + len(".lock")
    assert KEY not in name


def test_an_error_in_a_turn_gives_it_back(tmp_path: Path) -> None:
    flights: Flights[str] = Flights(tmp_path, wait_seconds=1)
    with pytest.raises(ZeroDivisionError), flights.turn(KEY, at_hand=nothing):
        _ = 1 / 0
    with flights.turn(KEY, at_hand=nothing) as flight:
        assert not flight.late


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EROFS, errno.EACCES])
def test_without_locks_everybody_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(error, "no locks here")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with Flights[str](tmp_path, wait_seconds=1).turn(KEY, at_hand=nothing) as flight:
        assert not flight.late
        assert not flight.is_wanted_elsewhere()
    assert "without asking other processes" in caplog.text


def test_processes_build_once_and_the_builder_hears_of_the_others(tmp_path: Path) -> None:
    first = child(tmp_path, seconds=1.0, outcome="first")
    wait_for(tmp_path / "in-first")
    others = [child(tmp_path, seconds=0.0, outcome=f"other{n}") for n in range(2)]
    assert [each.wait(30) for each in (first, *others)] == [0, 0, 0]
    assert (tmp_path / "builds").read_text() == "x"
    assert (tmp_path / "wanted-first-True").exists()
    assert locks(tmp_path) == []


def test_a_killed_builder_blocks_nobody(tmp_path: Path) -> None:
    first = child(tmp_path, seconds=60.0, outcome="first")
    wait_for(tmp_path / "in-first")
    with standing_before(tmp_path) as got:
        time.sleep(0.05)
        assert got == []
        os.kill(first.pid, signal.SIGKILL)
    assert first.wait(10) == -signal.SIGKILL
    assert [each.late for each in got] == [False]
    assert locks(tmp_path) == []


def test_files_of_killed_processes_are_swept(tmp_path: Path) -> None:
    first = child(tmp_path, seconds=60.0, outcome="first")
    wait_for(tmp_path / "in-first")
    flights: Flights[str] = Flights(tmp_path, wait_seconds=1)
    assert flights.sweep() == 0  # it is alive
    os.kill(first.pid, signal.SIGKILL)
    first.wait(10)
    assert flights.sweep() == 1
    assert locks(tmp_path) == []
