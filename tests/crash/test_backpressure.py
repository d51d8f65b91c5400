"""Back-pressure under kill: writers wait, are killed, come back, and no acknowledged add is lost.

Child processes add faster than the workers can follow, with a small bound on the queue; writers
and workers are killed with SIGKILL at random and started anew. In the end every acknowledged
memory is there, once, has been refined, and the file is sound.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from memos_integrations import MOS, Principal, Settings
from memos_integrations.testing.fakes import FakeEmbedder

BOUND = 8
_PATIENCE_SECONDS = 90.0
SETTINGS = Settings(worker=False, extract=False, max_waiting_tasks=BOUND, max_wait_seconds=0.2)

_WRITER = """
import json, os, sys
from memos_integrations import MOS, Settings
from memos_integrations.testing.fakes import FakeEmbedder

path, journal, name, start, count = sys.argv[1:]
settings = Settings(worker=False, extract=False, max_waiting_tasks=8, max_wait_seconds=0.2)
with MOS(path, embedder=FakeEmbedder(), settings=settings) as mos, open(journal, "a") as notes:
    for n in range(int(start), int(start) + int(count)):
        text = f"writer {name} notes number {n}"
        done = mos.add(text, user="ann", idempotency_key=f"{name}-{n}")
        line = {"text": text, "id": done.id, "reason": done.outcomes[0].reason}
        notes.write(json.dumps(line) + "\\n")
        notes.flush()
        os.fsync(notes.fileno())
"""

_WORKER = """
import sys, time
from memos_integrations import MOS, Settings
from memos_integrations.testing.fakes import FakeEmbedder

settings = Settings(extract=False, lease_seconds=0.5)
with MOS(sys.argv[1], embedder=FakeEmbedder(), settings=settings) as mos:
    while True:
        time.sleep(0.05)
"""


def child(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)])


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


def noted(journal: Path) -> list[dict[str, str]]:
    """The acknowledged adds; a line cut short by a kill was not acknowledged."""
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def wait_for(journals: Sequence[Path], *, more: int) -> None:
    """Until so many more adds were acknowledged, however slow the machine."""
    aim = sum(len(noted(each)) for each in journals) + more
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while sum(len(noted(each)) for each in journals) < aim:
        assert time.monotonic() < deadline, "the writers are stuck"
        time.sleep(0.02)


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        kill(process)


@pytest.mark.slow
def test_no_acknowledged_add_is_lost_while_writers_and_workers_are_killed(
    tmp_path: Path,
) -> None:
    path, dice = tmp_path / "m.db", random.Random(7)
    with MOS(path, embedder=FakeEmbedder(), settings=SETTINGS):
        pass
    journals = [tmp_path / f"{name}.journal" for name in "ab"]
    for round_ in range(4):
        writers = [
            child(_WRITER, path, journal, journal.stem, round_ * 1000, 1000) for journal in journals
        ]
        wait_for(journals, more=2 * BOUND)  # with nobody at work, so that the bound is felt
        worker = child(_WORKER, path)
        wait_for(journals, more=dice.randint(BOUND, 3 * BOUND))
        time.sleep(dice.uniform(0.0, 0.1))
        victims = [*writers, worker]
        dice.shuffle(victims)
        end(victims)
    acknowledged = [line for journal in journals for line in noted(journal)]
    assert len(acknowledged) > 4 * BOUND
    assert any(line["reason"] for line in acknowledged)  # the bound was felt
    with MOS(path, embedder=FakeEmbedder(), settings=SETTINGS) as mos:
        mos.wait()  # also for the leases of the dead
        held = {item.header.id: item for item in mos.list(user="ann", limit=100_000)}
        assert mos.check().sound
    assert [line for line in acknowledged if line["id"] not in held] == []
    assert all(held[line["id"]].text == line["text"] for line in acknowledged)
    texts = [item.text for item in held.values()]
    assert len(texts) == len(set(texts))
    assert {item.header.state.value for item in held.values()} == {"activated"}


def test_an_add_over_the_bound_waits_then_is_stored_and_says_so(tmp_path: Path) -> None:
    with MOS(tmp_path / "m.db", embedder=FakeEmbedder(), settings=SETTINGS) as mos:
        for n in range(BOUND):
            assert mos.add(f"Note {n}", user="ann").outcomes[0].reason is None
        began = time.monotonic()
        late = mos.add("One more", user="ann")
        assert time.monotonic() - began >= SETTINGS.max_wait_seconds
        assert late.outcomes[0].status == "stored"
        assert "refined later" in (late.outcomes[0].reason or "")
        assert mos.search("One more", user="ann")[0].item.text == "One more"
        mos.work()
        assert mos.get(late.id, user="ann").header.state.value == "activated"
        assert mos.add("And another", user="ann").outcomes[0].reason is None


def test_an_add_over_the_bound_goes_on_as_soon_as_the_queue_is_below_it(tmp_path: Path) -> None:
    patient = SETTINGS.model_copy(update={"max_wait_seconds": 300.0})
    with MOS(tmp_path / "m.db", embedder=FakeEmbedder(), settings=SETTINGS) as mos:
        for n in range(BOUND):
            mos.add(f"Note {n}", user="ann")
    worker = child(_WORKER, tmp_path / "m.db")
    try:
        with MOS(tmp_path / "m.db", embedder=FakeEmbedder(), settings=patient) as mos:
            late = mos.add("One more", user="ann")
            assert late.outcomes[0].reason is None  # it came to its turn before the wait was over
    finally:
        kill(worker)


def test_one_tenant_over_its_bound_holds_up_nobody_else(tmp_path: Path) -> None:
    with MOS(tmp_path / "m.db", embedder=FakeEmbedder(), settings=SETTINGS) as mos:
        for n in range(BOUND + 1):
            mos.add(f"Note {n}", user="ann")
        other = mos.acting(Principal(tenant="other"))
        assert other.add("Mine", user="ann").outcomes[0].reason is None
        mos.work()
