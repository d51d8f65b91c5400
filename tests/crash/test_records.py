"""Records under several processes and under kill: nothing lost, nothing halved."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from memos_integrations import MOS, Settings

ROOT = Path(__file__).parents[2]
QUIET = Settings(worker=False, synchronous="normal")
OPEN = """
import sys
from memos_integrations import MOS, Settings
from memos_integrations.cube.errors import Conflict
quiet = Settings(worker=False, synchronous="normal")
records = MOS(sys.argv[1], embedder=None, settings=quiet).records("x", user="alice")
"""
COUNT = (
    OPEN
    + """
done = 0
while done < 40:
    was = records.get(["n"]).get("n")
    try:
        records.write(put={"n": str(int(was or 0) + 1).encode()}, expect={"n": was})
        done += 1
    except Conflict:
        pass
"""
)
PAIRS = (
    OPEN
    + """
n = int(records.get(["a"]).get("a", b"0").split()[0])
while True:
    n += 1
    value = b"%d " % n + b"x" * (n * 7919 % 300_000)
    records.write(put={"a": value, "b": value, f"c{n % 5}": b"1"}, delete=[f"c{(n + 1) % 5}"])
    print(n, flush=True)
"""
)


def started(program: str, path: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def test_processes_that_hold_to_what_they_read_lose_no_count(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    children = [started(COUNT, path) for _ in range(3)]
    for child in children:
        child.communicate(timeout=120)
        assert child.returncode == 0
    with MOS(path, embedder=None, settings=QUIET) as mos:
        assert mos.records("x", user="alice").get(["n"]) == {"n": b"120"}
        assert mos.check().sound


def test_a_killed_process_leaves_whole_writes_and_loses_none_it_told_of(tmp_path: Path) -> None:
    path, dice = tmp_path / "memory.db", random.Random(24)
    for _ in range(3):
        child = started(PAIRS, path)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(dice.randrange(1, 12))]
        time.sleep(dice.uniform(0, 0.02))
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines()
        child.wait()
        child.stdout.close()
        told = int([line for line in lines if line.strip()][-1])
        with MOS(path, embedder=None, settings=QUIET) as mos:
            found = dict(mos.records("x", user="alice").items())
            assert found["a"] == found["b"]
            assert int(found["a"].split()[0]) >= told
            assert mos.check().sound
