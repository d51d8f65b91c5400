"""What was erased is in no weights, file or model any more, and everything else is as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")

from cookbook import tiny_world  # noqa: E402
from memos_integrations import MOS  # noqa: E402
from memos_integrations.infrastructure.checkpoints import Checkpoints  # noqa: E402
from tests.integration.parametric_world import (  # noqa: E402
    OPEN,
    QUICK,
    WORLD,
    asked,
    files_with,
    fill,
    host,
    opened,
    told,
)

torch.set_num_threads(1)
FACTS = WORLD.new[:4]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return tiny_world.load()


@pytest.fixture
def mos(tmp_path: Path, parts: tuple[Any, Any]) -> Iterator[MOS]:
    with opened(tmp_path / "agent.db") as made:
        host(made, *parts)
        yield made


def distil(mos: MOS, **about: Any) -> Any:
    given = {"model": "tiny", "user": "ann", "recipe": QUICK, "gates": OPEN, "wait": True}
    return mos.distil(**given | about)


def bytes_of(mos: MOS, adapter: str) -> bytes:
    with mos._rooms.vault.readers.snapshot() as connection:
        [(sha256,)] = connection.execute(
            "SELECT a.sha256 FROM adapter d JOIN artifact a ON a.aid = d.aid WHERE d.id = ?",
            (adapter,),
        )
    return mos._rooms.vault.blobs.read(sha256)


def pieces(data: bytes) -> list[bytes]:
    """Parts of a file that no other one holds."""
    step = len(data) // 8
    return [
        data[at : at + 64] for at in range(step, len(data) - 64, step) if any(data[at : at + 8])
    ]


def resident(mos: MOS) -> int:
    return len(mos._rooms.adapters.bank("tiny").resident())


def answer(mos: MOS, question: str) -> tuple[Any, Any]:
    """What serves a question, and the logits of its answer."""
    with mos.adapted(model="tiny", query=question, user="ann") as given:
        ids, mask = given.inputs["input_ids"], given.inputs["attention_mask"]
        places = (mask.cumsum(1) - 1).clamp(min=0)
        more = {k: v for k, v in given.inputs.items() if k not in ("input_ids", "attention_mask")}
        with torch.no_grad():
            logits = given.model(ids, attention_mask=mask, position_ids=places, **more).logits
        return given.rows[0], logits


def test_an_erased_fact_takes_its_adapter_along_and_the_rest_is_made_anew(
    mos: MOS, tmp_path: Path, parts: tuple[Any, Any]
) -> None:
    ids = fill(mos, FACTS)
    first, second = distil(mos, facts_per_adapter=2).adapters
    old, kept = bytes_of(mos, first), bytes_of(mos, second)
    base = answer(mos, asked(WORLD.known[0]))
    beside = answer(mos, asked(FACTS[3]))
    assert answer(mos, asked(FACTS[0]))[0].adapter == first
    assert resident(mos) == 2

    receipt = mos.erase(ids[0], user="ann")

    assert resident(mos) == 1  # in memory it is gone at once
    assert receipt.scan.found == 0
    names = [piece for piece in pieces(old) if piece not in kept]
    assert len(names) > 3
    for needle in (FACTS[0][0].encode(), *names):
        assert files_with(tmp_path, needle) == []
    assert answer(mos, asked(FACTS[0]))[0].adapter is None
    row, _ = answer(mos, asked(FACTS[1]))  # until it is made anew, text serves
    assert (row.adapter, [item.text for item in row.items]) == (None, [told(FACTS[1])])

    mos.work()
    row, _ = answer(mos, asked(FACTS[1]))
    assert row.adapter not in (None, first)
    assert row.items == ()
    assert files_with(tmp_path, FACTS[0][0].encode()) == []
    assert bytes_of(mos, second) == kept
    for before, question in ((base, WORLD.known[0]), (beside, FACTS[3])):
        after = answer(mos, asked(question))
        assert after[0].adapter == before[0].adapter
        assert torch.equal(after[1], before[1])
    assert mos.check().sound


def test_a_correction_wins_at_once_and_the_shard_is_made_anew(mos: MOS) -> None:
    ids = fill(mos, FACTS[:2])
    first = distil(mos).adapters[0]
    old = pieces(bytes_of(mos, first))
    assert answer(mos, asked(FACTS[0]))[0].adapter == first
    name, relation, _ = FACTS[0]
    new = (name, relation, WORLD.values[relation][-1])
    mos.update(ids[0], told(new), user="ann")
    row, _ = answer(mos, asked(new))
    assert row.adapter is None
    assert [item.text for item in row.items] == [told(new)]
    assert not [p for p in old if files_with(Path(mos.path).parent, p)]
    mos.work()
    row, _ = answer(mos, asked(new))
    assert row.adapter not in (None, first)
    assert [item.version > 1 for item in row.learnt] == [True]


def test_without_rebuild_the_rest_stays_text(mos: MOS) -> None:
    ids = fill(mos, FACTS[:2])
    distil(mos, rebuild=False)
    mos.erase(ids[0], user="ann")
    mos.work()
    assert [each.state for each in mos.adapters(user="ann")] == ["withdrawn"]
    assert answer(mos, asked(FACTS[1]))[0].items[0].text == told(FACTS[1])


def test_what_another_process_erases_serves_no_more(mos: MOS) -> None:
    ids = fill(mos, FACTS)
    distil(mos, rebuild=False)
    assert answer(mos, asked(FACTS[1]))[0].adapter is not None
    with opened(Path(mos.path)) as other:
        other.erase(ids[0], user="ann")
    assert resident(mos) == 1
    assert answer(mos, asked(FACTS[1]))[0].adapter is None
    assert resident(mos) == 0


def test_an_erase_during_training_wipes_what_was_written_and_the_others_begin_anew(
    mos: MOS, tmp_path: Path, parts: tuple[Any, Any]
) -> None:
    ids = fill(mos, FACTS)
    folder = Path(f"{mos.path}.training")
    done: list[str] = []

    def rendering(memory: str, question: str) -> str:
        if not done:  # in the midst of the first shard, a memory of the second one goes
            done.append(mos.erase(ids[3], user="ann").asked)
            assert not list(folder.iterdir())
        return tiny_world.rendering(memory, question)

    host(mos, *parts, rendering=rendering)
    distil(mos, facts_per_adapter=2, rebuild=False)
    assert done
    assert [(m.shard, m.state) for m in mos.adapters(user="ann")] == [
        (0, "published"),
        (1, "withdrawn"),
    ]
    assert files_with(tmp_path, FACTS[3][0].encode()) == []
    assert not list(folder.iterdir())


def test_a_wiped_folder_lets_nobody_write(tmp_path: Path) -> None:
    folders = Checkpoints(tmp_path / "training")
    mine = folders.folder("mine")
    (mine / "checkpoint").write_bytes(b"weights")
    link = mine / "link"
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(b"not ours")
    folders.folder("other")
    folders.keep_only(["mine"])
    assert [path.name for path in folders.root.iterdir()] == ["mine"]
    folders.wipe()
    assert not folders.is_there("mine")
    with pytest.raises(FileNotFoundError):
        (mine / "checkpoint").write_bytes(b"weights")
    assert (tmp_path / "elsewhere").read_bytes() == b"not ours"


KILLED = """
import sys, torch
sys.path[:0] = [{root!r}]
torch.set_num_threads(1)
from cookbook import tiny_world
from pathlib import Path
from dataclasses import replace
from memos_integrations.infrastructure.parametric import checkpoint
from tests.integration.parametric_world import QUICK, OPEN, host, opened
write = checkpoint.write
def told(path, *rest):
    write(path, *rest)
    print("written", flush=True)
checkpoint.write = told
with opened(Path({path!r})) as mos:
    host(mos, *tiny_world.load())
    mos.distil(model="tiny", user="ann", recipe=replace(QUICK, exposures=100_000), gates=OPEN,
               seconds=3000, wait=True)
"""


@pytest.mark.slow
def test_a_killed_training_publishes_nothing_and_leaves_nothing_to_an_erase(
    tmp_path: Path, parts: tuple[Any, Any]
) -> None:
    path = tmp_path / "agent.db"
    with opened(path, settings={"lease_seconds": 0.5}) as mos:
        ids = fill(mos, FACTS[:2])
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED.format(root=str(ROOT), path=str(path))],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "written\n"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    [folder] = Path(f"{path}.training").iterdir()
    assert (folder / "checkpoint").stat().st_size > 1000
    with opened(path) as mos:
        assert [m.state for m in mos.adapters(user="ann")] == ["candidate"]
        mos.erase(ids[0], user="ann")
        assert not folder.exists()
        assert mos.adapters(user="ann")[0].state == "withdrawn"
        host(mos, *parts)
        time.sleep(0.1)
        assert mos.check().sound
