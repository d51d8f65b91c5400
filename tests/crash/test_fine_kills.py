"""Kills in the middle of the fine stage of a large write: each memory is settled exactly once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings

ITEMS = 300
LEASE_SECONDS = 0.3
WORKER = f"""
import os, signal, sys
from memos_integrations import MOS, Settings
from memos_integrations.infrastructure.vault.transaction import Transaction

left, revise = int(sys.argv[2]), Transaction.revise

def revise_and_die(self, *args, **given):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return revise(self, *args, **given)

Transaction.revise = revise_and_die
settings = Settings(worker=False, lease_seconds={LEASE_SECONDS}, synchronous="normal")
with MOS(sys.argv[1], embedder=None, settings=settings) as mos:
    mos._rooms.worker._commit_seconds = 0.0  # a commit for each task, on machines of any speed
    mos.work(timeout_seconds=120)
"""


def settled(mos: MOS) -> int:
    return sum(item.header.version > 1 for item in mos.list(user="ann", limit=ITEMS))


def killed(path: Path, after: int) -> bool:
    """Whether a worker died inside the transaction of its ``after``-th settled memory."""
    worker = subprocess.run([sys.executable, "-c", WORKER, path, str(after)], check=False)
    return worker.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "kills", [2, pytest.param(4, marks=pytest.mark.slow)], ids=["two kills", "four kills"]
)
def test_killed_workers_leave_each_memory_settled_once(tmp_path: Path, kills: int) -> None:
    rng, path = random.Random(kills), tmp_path / "m.db"
    settings = Settings(worker=False, lease_seconds=LEASE_SECONDS, synchronous="normal")
    with MOS(path, embedder=None, settings=settings) as mos:
        done = mos.add([f"I am allergic to pollen{n}." for n in range(ITEMS)], user="ann")
        counts = [0]
        for _ in range(kills):
            assert killed(path, after=rng.randint(ITEMS // 6, ITEMS // 5))
            counts.append(settled(mos))
            time.sleep(LEASE_SECONDS)
        assert counts[0] < counts[1] < ITEMS, "what a dead worker committed is kept"
        mos.work(timeout_seconds=120)
        items = [mos.get(item, user="ann").header for item in done.ids]
        assert {(h.version, h.state.value) for h in items} == {(2, "activated")}
        facts = mos.facts(user="ann", history=True, limit=2 * ITEMS)
        assert sorted(fact.source for fact in facts) == sorted(done.ids)
        assert {mos.task_status(t, user="ann").state for t in done.task_ids} == {"completed"}
        assert mos.check().sound
