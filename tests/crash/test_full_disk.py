"""Full disks, read-only places and damaged files: typed errors, nothing half-written."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from memos_integrations import MOS
from memos_integrations.cube.errors import (
    AuditBroken,
    BackendUnavailable,
    InvalidInput,
    MemosError,
    StorageFull,
    UsageError,
    VaultDamaged,
)
from memos_integrations.interface.settings import Settings
from memos_integrations.testing.fakes import FakeEmbedder

_PAGE = 4096


def opened(path: Path) -> MOS:
    return MOS(path, embedder=FakeEmbedder(), settings=Settings(worker=False, busy_seconds=1.0))


# -- no space left --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    there = tmp_path / "small"
    there.mkdir()
    options = ["-t", "tmpfs", "-o", "size=3m", "tmpfs", str(there)]
    mount = shutil.which("mount")
    if mount is None or subprocess.call([mount, *options], stderr=subprocess.DEVNULL):
        pytest.skip("a small file system can only be mounted by root")
    try:
        yield there
    finally:
        subprocess.run(["umount", "-l", str(there)], check=True, capture_output=True)


def fill(mos: MOS) -> list[str]:
    """What was acknowledged until the disk was full: large ones, then small ones into the gap."""
    stored: list[str] = []
    for words in (2000, 1):
        try:
            while True:
                stored.append(mos.add("note " + "word " * words, user="alice").id)
        except StorageFull:
            continue
    return stored


def read_until_full(mos: MOS, item: str) -> None:
    """Reads, until their traces have to wait for space. The reads themselves go on."""
    try:
        while True:
            assert mos.get(item, user="alice").text == "peanuts are dangerous"
            mos.flush()
    except StorageFull:
        return


def test_full_disk_is_typed_and_the_same_object_goes_on_once_there_is_space(
    small_disk: Path,
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2**20))
    with opened(small_disk / "agent.db") as mos:
        stored = fill(mos)
        assert len(stored) > 3
        with pytest.raises(StorageFull):
            mos.add(["both or none " + "word " * 2000] * 2, user="alice")
        ballast.unlink()
        assert {item.id for item in mos.list(user="alice", limit=5000)} == set(stored)
        stored.append(mos.add("there is space again", user="alice").id)
        assert mos.search("space again", user="alice", limit=1)[0].id == stored[-1]
        assert mos.count(user="alice") == len(stored)
        assert mos.check().sound
        assert mos.audit_verify().intact


def test_full_disk_still_lets_people_read(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(2**20))
    with opened(small_disk / "agent.db") as mos:
        item = mos.add("peanuts are dangerous", user="alice").id
        fill(mos)
        assert mos.get(item, user="alice").text == "peanuts are dangerous"
        assert mos.search("peanuts", user="alice", limit=1)[0].id == item
        read_until_full(mos, item)
        assert mos.search("peanuts", user="alice", limit=1)[0].id == item
        time.sleep(1.2)  # and the timer that writes them takes it calmly
        (small_disk / "ballast").unlink()
        mos.flush()
        assert [line.action for line in mos.audit(user="alice", limit=2)] == ["search", "get"]


def test_limit_on_file_size_is_typed_in_a_process_that_meets_it(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\n"
        "from memos_integrations import MOS, errors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "with MOS(sys.argv[1], embedder=None) as mos:\n"
        "    mos.add('before the limit', user='alice')\n"
        "    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, hard))\n"
        "    stored = 1\n"
        "    try:\n"
        "        while True:\n"
        "            mos.add(f'note {stored} ' + 'word ' * 2000, user='alice')\n"
        "            stored += 1\n"
        "    except (errors.StorageFull, errors.BackendUnavailable):\n"
        "        pass\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "    mos.add('after the limit', user='alice')\n"
        "    assert mos.count(user='alice') == stored + 1\n"
        "    assert mos.check().sound\n"
    )
    path = os.pathsep.join(part for part in sys.path if part)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "agent.db")],
        env={**os.environ, "PYTHONPATH": path},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# -- places that cannot hold a vault --------------------------------------------------------------


def test_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        opened(tmp_path / "nowhere" / "agent.db")


def test_folder_as_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        opened(tmp_path)


@pytest.mark.parametrize("path", ["", "a\x00b", b"agent.db", 7])
def test_path_that_is_none_is_invalid_input(path: object) -> None:
    with pytest.raises((InvalidInput, UsageError)):
        MOS(path, embedder=None)  # type: ignore[arg-type]


def test_file_name_too_long_is_typed(tmp_path: Path) -> None:
    with pytest.raises(MemosError):
        opened(tmp_path / ("n" * 300))


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that others may look into and not write to, with a vault in it."""
    if os.getuid() != 0:
        pytest.skip("needs root to become somebody without rights, as root may write anywhere")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with opened(folder / "there.db") as mos:
            mos.add("something", user="alice")
        (folder / "there.db").chmod(0o444)
        folder.chmod(0o555)
        yield folder


@pytest.mark.parametrize("name", ["new.db", "there.db"])
def test_read_only_place_is_a_usage_error(read_only: Path, name: str) -> None:
    script = (
        "import os, sys\n"
        "from memos_integrations import MOS, errors\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    MOS(sys.argv[1], embedder=None)\n"
        "except errors.UsageError:\n"
        "    sys.exit(42)\n"
    )
    path = os.pathsep.join(part for part in sys.path if part)
    done = subprocess.run(
        [sys.executable, "-c", script, str(read_only / name)],
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 42, done.stderr


# -- files that are no vault any more -------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a sound vault with forty memories."""
    path = tmp_path_factory.mktemp("good") / "agent.db"
    with opened(path) as mos:
        for n in range(40):
            mos.add(f"note {n} about subject {n % 7} " + "word " * 40, user="alice")
        mos.work()
    return path.read_bytes()


def use(path: Path) -> str:
    """Open and use the file as people do; the name of the typed error, or how it stands."""
    try:
        with opened(path) as mos:
            mos.search("subject", user="alice")
            mos.list(user="alice")
            mos.add("one more", user="alice")
            mos.work()
            if not mos.check().sound:
                return "not sound"
            return "sound" if mos.count(user="alice") else "empty"
    except MemosError as error:
        return type(error).__name__


def test_empty_file_becomes_a_vault(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    path.touch()
    assert use(path) == "sound"


@pytest.mark.parametrize("size", [100, 4096, 100_000])
def test_random_bytes_are_no_vault(tmp_path: Path, size: int) -> None:
    path = tmp_path / "agent.db"
    path.write_bytes(random.Random(size).randbytes(size))
    with pytest.raises(VaultDamaged):
        opened(path)


def test_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.execute("INSERT INTO theirs VALUES (1)")
        other.commit()
    with pytest.raises(VaultDamaged, match="another program"):
        opened(path)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
        assert other.execute("SELECT x FROM theirs").fetchone() == (1,)


def test_file_of_a_newer_release_is_refused(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "agent.db"
    path.write_bytes(good)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(UsageError, match="newer release"):
        opened(path)


def test_vault_cut_off_anywhere_is_found_damaged(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "agent.db"
    ends: dict[str, int] = {}
    for size in range(_PAGE, len(good) - 1, _PAGE):
        path.write_bytes(good[:size])
        _without_log(path)
        end = use(path)
        ends[end] = ends.get(end, 0) + 1
    assert set(ends) <= {"VaultDamaged", "not sound", "BackendUnavailable"}, ends
    assert "VaultDamaged" in ends


def test_flipped_pages_never_show_a_raw_driver_error(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "agent.db"
    dice = random.Random(7)
    for page in range(len(good) // _PAGE):
        damaged = bytearray(good)
        start = page * _PAGE
        for place in dice.sample(range(_PAGE), 400):
            damaged[start + place] ^= dice.randrange(1, 256)
        path.write_bytes(damaged)
        _without_log(path)
        assert use(path)  # any typed end; anything else has raised


def test_vault_without_its_chain_does_not_get_a_new_one(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "agent.db"
    path.write_bytes(good)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM meta")
        connection.execute("DELETE FROM audit")
        connection.commit()
    with pytest.raises((AuditBroken, VaultDamaged)):
        opened(path)


@pytest.mark.parametrize("garbage", [None, b"", b"\x00" * 8192, b"garbage" * 5000])
def test_lost_or_replaced_log_leaves_a_sound_vault_or_a_typed_error(
    tmp_path: Path, good: bytes, garbage: bytes | None
) -> None:
    path = tmp_path / "agent.db"
    path.write_bytes(good)
    log = path.with_name("agent.db-wal")
    if garbage is not None:
        log.write_bytes(garbage)
    assert use(path) == "sound"


def test_log_flipped_in_the_middle_keeps_a_sound_prefix(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    source = tmp_path / "source.db"
    with opened(source) as mos:
        for n in range(30):
            mos.add(f"note {n}", user="alice")
        main, log = source.read_bytes(), source.with_name("source.db-wal").read_bytes()
    assert len(log) > 20 * _PAGE
    for share in (0.2, 0.5, 0.9):
        _without_log(path)
        path.write_bytes(main)
        damaged = bytearray(log)
        damaged[int(len(log) * share)] ^= 0xFF
        path.with_name("agent.db-wal").write_bytes(damaged)
        assert use(path) == "sound"


def _without_log(path: Path) -> None:
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def test_locked_file_is_unavailable_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    impatient = Settings(worker=False, busy_seconds=0.05)
    with MOS(path, embedder=None, settings=impatient) as mos:
        mos.add("before", user="alice")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(BackendUnavailable, match="retry"):
                mos.add("during", user="alice")
            assert mos.count(user="alice") == 1
            other.execute("ROLLBACK")
        mos.add("after", user="alice")
        assert mos.count(user="alice") == 2
