"""A process that is killed while it writes batches of entries leaves whole batches only."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.entries import GetEntry

NAMES = [(("batch", f"n{n % 2}"), f"k{n}") for n in range(5)]
CHILD = """
import sys
from memos_integrations import MOS, Settings
from memos_integrations.cube.entries import DeleteEntry, PutEntry

names = [(("batch", f"n{n % 2}"), f"k{n}") for n in range(5)]
with MOS(sys.argv[1], embedder=None, settings=Settings(worker=False)) as mos:
    held = mos.get_entry(*names[0])
    n = held.value["n"] if held else 0
    print("ready", flush=True)
    while True:
        n += 1
        gone = [DeleteEntry(*names[n % 5])] if n % 3 == 0 else []
        puts = [PutEntry(*name, {"n": n}, index=[None, False][n % 2]) for name in names]
        mos.entries([*gone, *puts])
        print(n, flush=True)
"""


@pytest.mark.slow
def test_kills_leave_whole_batches_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    path, rng = tmp_path / "m.db", random.Random(7)
    acknowledged = 0
    for _ in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        for _ in range(rng.randrange(1, 12)):
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        child.wait()
        rest = child.stdout.read().split()
        child.stdout.close()
        acknowledged = int(rest[-1]) if rest else acknowledged
        acknowledged = _whole(path, acknowledged)


def _whole(path: Path, acknowledged: int) -> int:
    """The number of the last batch that is there, whole and not before the last one told of."""
    with MOS(path, embedder=None, settings=Settings(worker=False)) as mos:
        found = mos.entries([GetEntry(*name) for name in NAMES])
        numbers = {each.value["n"] for each in found}  # type: ignore[union-attr]
        assert len(numbers) == 1
        (last,) = numbers
        assert acknowledged <= last <= acknowledged + 1
        assert mos.check().findings == ()
        return int(last)
