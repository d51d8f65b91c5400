"""What was erased is in no weights, file or model any more, and everything else is as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")

from cookbook import tiny_world  # noqa: E402
from memos_integrations import MOS  # noqa: E402
from memos_integrations.infrastructure.blobs import BlobStore  # noqa: E402
from memos_integrations.infrastructure.checkpoints import Checkpoints  # noqa: E402
from memos_integrations.infrastructure.durable_file import NewFile, directory_lock  # noqa: E402
from memos_integrations.infrastructure.parametric import checkpoint  # noqa: E402
from memos_integrations.infrastructure.parametric.checkpoint import Place  # noqa: E402
from memos_integrations.infrastructure.vault import adapters  # noqa: E402
from memos_integrations.operation.transform import distil_task  # noqa: E402
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


class Killed(BaseException):
    """The process ends here."""


def killed(*_: Any) -> bool:
    raise Killed


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


@pytest.mark.parametrize("path", ["tend", "withdraw", "verb", "discard"])
def test_a_kill_before_a_file_is_wiped_leaves_it_to_whoever_opens_the_vault(
    path: str, tmp_path: Path, parts: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "agent.db") as mos:
        host(mos, *parts)
        ids = fill(mos, FACTS[:2])
        made = distil(mos, rebuild=False).adapters[0]
        old = pieces(bytes_of(mos, made))
        with mos._rooms.vault.readers.snapshot() as connection:
            row = adapters.get(connection, made)
        assert row is not None
        stage = mos._rooms.adapters._stages["tiny"]
        ends: dict[str, Callable[[], object]] = {
            "tend": lambda: mos.update(ids[0], told(WORLD.new[9]), user="ann"),
            "withdraw": lambda: mos._rooms.adapters.withdraw(made, why="over"),
            "verb": lambda: mos.withdraw_adapter(made, user="ann"),
            "discard": lambda: stage._discarded(row, None, "over"),
        }
        with monkeypatch.context() as patched:
            patched.setattr(BlobStore, "erase", killed)
            with pytest.raises(Killed):
                ends[path]()
        assert list(mos._rooms.vault.blobs.names())
    with opened(tmp_path / "agent.db") as mos:
        assert list(mos._rooms.vault.blobs.names()) == []
        assert not [piece for piece in old if files_with(tmp_path, piece)]


def test_an_erase_wipes_what_a_killed_upkeep_left(
    mos: MOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(mos, FACTS[:2])
    made = distil(mos, rebuild=False).adapters[0]
    with monkeypatch.context() as patched:
        patched.setattr(BlobStore, "erase", killed)
        with pytest.raises(Killed):
            mos.withdraw_adapter(made, user="ann")
    mos.erase(ids[1], user="ann")
    assert list(mos._rooms.vault.blobs.names()) == []


@pytest.mark.parametrize("dies", [False, True])
def test_an_erase_between_the_name_of_a_file_and_the_file_leaves_none(
    dies: bool, tmp_path: Path, parts: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = BlobStore.put

    def putting(self: BlobStore, data: Any, **about: Any) -> None:
        put(self, data, **about)
        raise Killed

    with opened(tmp_path / "agent.db") as mos:
        host(mos, *parts)
        ids = fill(mos, FACTS[:2])
        figures = distil_task._figures

        def erasing(made: Any) -> str:  # behind the name, before the file
            with opened(tmp_path / "agent.db") as other:
                other.erase(ids[0], user="ann")
            return figures(made)

        monkeypatch.setattr(distil_task, "_figures", erasing)
        if dies:
            monkeypatch.setattr(BlobStore, "put", putting)
        distil(mos, rebuild=False)
        assert [each.state for each in mos.adapters(user="ann")] == ["withdrawn"]
        assert list(mos._rooms.vault.blobs.names()) == []


def test_others_write_while_a_file_is_written(
    tmp_path: Path, parts: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = BlobStore.put

    def putting(self: BlobStore, data: Any, **about: Any) -> Any:
        with opened(tmp_path / "agent.db", settings={"busy_seconds": 0.2}) as other:
            other.add("the box is blue", user="ann")  # nobody holds the vault meanwhile
        return put(self, data, **about)

    with opened(tmp_path / "agent.db") as mos:
        host(mos, *parts)
        fill(mos, FACTS[:2])
        monkeypatch.setattr(BlobStore, "put", putting)
        distil(mos, rebuild=False)
        assert [each.state for each in mos.adapters(user="ann")] == ["published"]
        assert "the box is blue" in [item.text for item in mos.list(user="ann")]
        assert left_of(mos) == (1, 0, 0)


def left_of(mos: MOS) -> tuple[int, int, int]:
    """How many files there are of adapters, notes that any is to be wiped, and marks of writers."""
    vault = mos._rooms.vault
    with vault.readers.snapshot() as connection:
        notes = len(adapters.noted_files(connection))
    return len(list(vault.blobs.names())), notes, len(list(vault.blobs.root.glob("adapter-*")))


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("erased", ["before", "behind"])
def test_an_erase_while_the_file_is_written_leaves_none(
    dies: bool,
    erased: str,
    tmp_path: Path,
    parts: tuple[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put = BlobStore.put

    def erase(item: str) -> None:
        with opened(tmp_path / "agent.db") as other:
            other.erase(item, user="ann")

    with opened(tmp_path / "agent.db") as mos:
        host(mos, *parts)
        ids = fill(mos, FACTS[:2])

        def putting(self: BlobStore, data: Any, **about: Any) -> Any:
            if erased == "before":
                erase(ids[0])
            done = put(self, data, **about)
            if erased == "behind":
                erase(ids[0])
            if dies:
                raise Killed
            return done

        with monkeypatch.context() as patched:
            patched.setattr(BlobStore, "put", putting)
            if dies:
                patched.setattr(NewFile, "discard", lambda self: self.file.close())
                with pytest.raises(Killed):
                    distil(mos, rebuild=False)
                assert left_of(mos)[1:] == (1, 1)
            else:
                distil(mos, rebuild=False)
                assert left_of(mos) == (0, 0, 0)
    with opened(tmp_path / "agent.db") as mos:
        assert [each.state for each in mos.adapters(user="ann")] == ["withdrawn"]
        assert left_of(mos) == (0, 0, 0)


def test_a_file_of_a_killed_attempt_goes_with_the_erase_or_with_the_next_attempt(
    tmp_path: Path, parts: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = BlobStore.put

    def putting(self: BlobStore, data: Any, **about: Any) -> None:
        put(self, data, **about)
        raise Killed

    with opened(tmp_path / "agent.db", settings={"lease_seconds": 0.1}) as mos:
        host(mos, *parts)
        fill(mos, FACTS[:2])
        with monkeypatch.context() as patched:
            patched.setattr(BlobStore, "put", putting)
            with pytest.raises(Killed):
                distil(mos, rebuild=False)
        [left] = mos._rooms.vault.blobs.names()
    time.sleep(0.2)
    with opened(tmp_path / "agent.db", settings={"lease_seconds": 0.1}) as mos:
        canaries = [asked(fact) for fact in WORLD.known[80:82]]
        host(mos, *parts, canaries=canaries)  # so that other bytes are made
        assert list(mos._rooms.vault.blobs.names()) == [left]  # its row names it
        mos.work()
        with mos._rooms.vault.readers.snapshot() as connection:
            named = [name for (name,) in connection.execute("SELECT sha256 FROM artifact")]
        assert [each.state for each in mos.adapters(user="ann")] == ["published"]
        assert list(mos._rooms.vault.blobs.names()) == named != [left]


def test_what_another_process_erased_leaves_the_model_with_the_next_look(
    mos: MOS, tmp_path: Path
) -> None:
    ids = fill(mos, FACTS)
    distil(mos, rebuild=False)
    assert answer(mos, asked(FACTS[1]))[0].adapter is not None
    with opened(Path(mos.path)) as other:
        other.erase(ids[0], user="ann")
    assert resident(mos) == 1
    mos.add("the box is blue", user="ann")
    assert resident(mos) == 0


def test_a_trainer_that_waits_takes_what_was_erased_off_the_model(
    tmp_path: Path, parts: tuple[Any, Any]
) -> None:
    with opened(tmp_path / "agent.db") as mos:
        host(mos, *parts)
        ids = fill(mos, FACTS)
        distil(mos, rebuild=False)
        assert answer(mos, asked(FACTS[1]))[0].adapter is not None
        with opened(Path(mos.path)) as other:
            other.erase(ids[0], user="ann")
        assert resident(mos) == 1
        mos._rooms.adapters._trainers["tiny"].run_once()  # one look of its loop
        assert resident(mos) == 0


def test_an_erase_during_training_wipes_its_own_checkpoints_and_leaves_the_others(
    mos: MOS, tmp_path: Path, parts: tuple[Any, Any]
) -> None:
    ids = fill(mos, FACTS)
    folder = Path(f"{mos.path}.training")
    done: list[str] = []
    kept: list[bytes] = []

    def rendering(memory: str, question: str) -> str:
        if not done:  # in the midst of the first shard, a memory of the second one goes
            [mine] = folder.iterdir()
            (mine / "checkpoint").write_bytes(b"so far")
            done.append(mos.erase(ids[3], user="ann").asked)
            kept.extend(path.read_bytes() for path in folder.glob("*/checkpoint"))
        return tiny_world.rendering(memory, question)

    host(mos, *parts, rendering=rendering)
    distil(mos, facts_per_adapter=2, rebuild=False)
    assert done
    assert kept == [b"so far"]
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
    folders.keep_only([])
    assert not folders.is_there("mine")
    with pytest.raises(FileNotFoundError):
        (mine / "checkpoint").write_bytes(b"weights")
    assert (tmp_path / "elsewhere").read_bytes() == b"not ours"


def test_a_checkpoint_is_overwritten_before_its_bytes_are_given_back(tmp_path: Path) -> None:
    path, place = tmp_path / "checkpoint", Place("t", 1, 2, 3.0)
    tensors = {"a": torch.ones(64)}
    checkpoint.write(path, place, tensors)
    for end in (".new", ".old"):  # as a kill leaves them
        path.with_name(path.name + end).write_bytes(b"weights")
    seen = [path, *(path.with_name(path.name + end) for end in (".new", ".old"))]
    for n, each in enumerate(seen):
        os.link(each, tmp_path / f"seen{n}")
    checkpoint.write(path, replace(place, rounds=2), {"a": torch.zeros(64) + 2})
    for n in range(len(seen)):
        assert not any((tmp_path / f"seen{n}").read_bytes())
    assert sorted(each.name for each in tmp_path.glob("check*")) == ["checkpoint"]
    found = checkpoint.read(path, "t", tensors)
    assert found is not None
    assert found[0].rounds == 2


def test_a_wipe_waits_for_a_checkpoint_that_is_being_written(tmp_path: Path) -> None:
    folders = Checkpoints(tmp_path / "training")
    mine = folders.folder("mine")
    with directory_lock(mine, shared=False):
        wiping = threading.Thread(target=folders.drop, args=("mine",))
        wiping.start()
        wiping.join(0.2)
        assert wiping.is_alive()
        (mine / "checkpoint").write_bytes(b"weights")
    wiping.join(5)
    assert not mine.exists()


def test_the_seconds_of_a_training_count_over_its_restarts(
    mos: MOS, parts: tuple[Any, Any]
) -> None:
    fill(mos, FACTS[:2])
    made = distil(mos, seconds=1000.0, wait=False).adapters[0]
    vault = mos._rooms.vault
    vault.maintain(lambda tx: adapters.spend(tx, made, 999.9))  # by what was killed before
    vault.checkpoints.drop(made)
    host(mos, *parts, rendering=slowly)
    mos.work()
    [told_of] = mos.adapters(user="ann")
    assert told_of.state == "discarded"
    assert "1000 processor seconds" in told_of.why


def test_a_training_notes_the_seconds_that_it_takes(mos: MOS) -> None:
    fill(mos, FACTS[:2])
    made = distil(mos).adapters[0]
    with mos._rooms.vault.readers.snapshot() as connection:
        assert adapters.spent(connection, made) > 0


def slowly(memory: str, question: str) -> str:
    end = time.process_time() + 0.03
    while time.process_time() < end:
        pass
    return tiny_world.rendering(memory, question)


KILLED = """
import sys, torch
sys.path[:0] = [{root!r}]
torch.set_num_threads(1)
from cookbook import tiny_world
from pathlib import Path
from dataclasses import replace
from memos_integrations.infrastructure.parametric import checkpoint, training
from tests.integration.parametric_world import QUICK, OPEN, host, opened
write = checkpoint.write
def told(path, *rest):
    write(path, *rest)
    print("written", flush=True)
checkpoint.write = told
training._SAVE_SECONDS, training._ENOUGH_KL = 0.5, 0.0  # written soon, and never learnt enough
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
