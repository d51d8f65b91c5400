"""Blobs: what was acknowledged is there, what is collected was unused, what is erased is gone."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_integrations.cube.errors import InvalidInput, NotFound, StorageFull, VaultDamaged
from memos_integrations.infrastructure.blobs import BlobStore
from memos_integrations.infrastructure.durable_file import NewFile

HOUR = 3600
ABSENT = "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "agent.blobs")


def files(store: BlobStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def age(path: Path, *, hours: float = 2) -> None:
    then = time.time() - hours * HOUR
    os.utime(path, (then, then))


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file of this process may grow past ``size``: the kernel refuses as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def test_nothing_is_created_before_the_first_put(store: BlobStore):
    assert not store.exists(ABSENT)
    assert list(store.names()) == []
    assert store.collect(set(), older_than_seconds=0) == []
    assert store.erase(ABSENT) is False
    assert not store.root.exists()


def test_put_names_content_by_its_hash_in_private_files(store: BlobStore):
    ref = store.put(b"tensors", media_type="image/png")
    assert ref.sha256 == hashlib.sha256(b"tensors").hexdigest()
    assert (ref.bytes, ref.media_type) == (7, "image/png")
    assert store.path(ref.sha256) == store.root / ref.sha256[:2] / ref.sha256
    assert files(store) == [store.path(ref.sha256)]
    assert store.path(ref.sha256).stat().st_mode & 0o777 == 0o600
    assert store.root.stat().st_mode & 0o777 == 0o700


def test_bytes_files_and_paths_of_the_same_content_are_stored_once(
    store: BlobStore, tmp_path: Path
):
    data = os.urandom(3 * 2**20 + 5)
    (tmp_path / "source").write_bytes(data)
    refs = {store.put(data), store.put(io.BytesIO(data)), store.put(tmp_path / "source")}
    assert len(refs) == 1
    assert [path.read_bytes() for path in files(store)] == [data]


def test_missing_source_file_is_not_found_and_leaves_nothing(store: BlobStore, tmp_path: Path):
    with pytest.raises(NotFound):
        store.put(tmp_path / "none")
    assert not store.root.exists()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=8))
def test_everything_put_is_read_back(tmp_path_factory: pytest.TempPathFactory, many: list[bytes]):
    store = BlobStore(tmp_path_factory.mktemp("blobs") / "b")
    refs = [store.put(data) for data in many]
    assert [store.read(ref.sha256) for ref in refs] == many
    assert list(store.names()) == sorted({ref.sha256 for ref in refs})


@pytest.mark.parametrize(
    "name",
    ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n", "0" * 63 + "/", None],
)
def test_only_64_lowercase_hex_digits_reach_the_disk(store: BlobStore, name: object):
    for use in (store.path, store.open, store.read, store.exists, store.verify, store.erase):
        with pytest.raises(InvalidInput):
            use(name)


def test_missing_blob_is_not_found(store: BlobStore):
    for use in (store.open, store.read, store.verify, store.renew):
        with pytest.raises(NotFound):
            use(ABSENT)


def test_changed_blob_is_noticed_and_healed_by_the_next_put(store: BlobStore):
    ref = store.put(b"original")
    store.path(ref.sha256).write_bytes(b"tampered")
    assert store.verify(ref.sha256) is False
    with pytest.raises(VaultDamaged):
        store.read(ref.sha256)
    assert store.read(ref.sha256, verify=False) == b"tampered"
    store.put(b"original")
    assert store.verify(ref.sha256) is True
    assert len(files(store)) == 1


def test_collect_takes_only_old_blobs_that_nothing_names(store: BlobStore):
    used, unused, fresh = (store.put(data).sha256 for data in (b"used", b"unused", b"fresh"))
    age(store.path(used))
    age(store.path(unused))
    assert store.collect({used}, older_than_seconds=HOUR) == [unused]
    assert list(store.names()) == sorted([used, fresh])
    assert store.collect(lambda name: name == used, older_than_seconds=-HOUR) == [fresh]


def test_put_and_renew_start_the_grace_period_anew(store: BlobStore):
    again, renewed = store.put(b"again").sha256, store.put(b"renewed").sha256
    age(store.path(again))
    age(store.path(renewed))
    store.put(b"again")
    store.renew(renewed)
    assert store.collect(set(), older_than_seconds=HOUR) == []


def test_blob_put_again_while_it_is_collected_stays(store: BlobStore):
    name = store.put(b"wanted again").sha256
    age(store.path(name))
    writer = threading.Thread(target=store.put, args=(b"wanted again",))

    def nobody_names_it_yet(_: str) -> bool:
        writer.start()
        time.sleep(0.05)
        return False

    store.collect(nobody_names_it_yet, older_than_seconds=HOUR)
    writer.join()
    assert store.read(name) == b"wanted again"


def test_collect_sweeps_leftovers_of_the_dead_and_spares_the_living(store: BlobStore):
    died = child(
        "import os, sys, pathlib\n"
        "from memos_integrations.infrastructure.blobs import BlobStore\n"
        "class Dying:\n"
        "    def read(self, size):\n"
        "        if os.environ.pop('FIRST', None): return b'secret' * 4000\n"
        "        os._exit(9)\n"
        "os.environ['FIRST'] = 'yes'\n"
        "BlobStore(pathlib.Path(sys.argv[1])).put(Dying())\n",
        store.root,
    )
    assert died.returncode == 9, died.stderr
    assert list(store.names()) == []
    (leftover,) = files(store)
    alive = NewFile(store.root, prefix=".incoming-")
    age(leftover)
    age(alive.path)
    store.collect(set(), older_than_seconds=3 * HOUR)
    assert set(files(store)) == {leftover, alive.path}
    store.collect(set(), older_than_seconds=HOUR)
    assert files(store) == [alive.path]
    alive.discard()


def test_erased_blob_is_zeros_even_for_those_who_hold_it_open(store: BlobStore):
    secret = b"a very secret tensor" * 100_000
    name = store.put(secret).sha256
    leftover = store.root / ".incoming-dead.tmp"
    leftover.write_bytes(secret)
    age(leftover)
    with store.open(name) as held, leftover.open("rb") as held_leftover:
        assert store.erase(name) is True
        assert held.read() == bytes(len(secret))
        assert held_leftover.read() == bytes(len(secret))
    assert files(store) == []
    assert store.erase(name) is False


def test_refused_growth_raises_storage_full_and_leaves_nothing(store: BlobStore):
    kept = store.put(b"small").sha256
    with files_limited_to(2**16), pytest.raises(StorageFull, match="Free space"):
        store.put(os.urandom(2**20))
    assert files(store) == [store.path(kept)]


def test_full_disk_raises_storage_full_and_leaves_nothing(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        store = BlobStore(disk / "blobs")
        kept = store.put(b"small").sha256
        with pytest.raises(StorageFull):
            store.put(os.urandom(2**20))
        assert files(store) == [store.path(kept)]
        assert len(store.read(store.put(bytes(2**15)).sha256)) == 2**15
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_concurrent_processes_and_a_collector_lose_nothing_acknowledged(store: BlobStore):
    code = (
        "import sys, pathlib\n"
        "from memos_integrations.infrastructure.blobs import BlobStore\n"
        "store = BlobStore(pathlib.Path(sys.argv[1]))\n"
        "for n in range(60):\n"
        "    ref = store.put(str(n % 20).encode() * 50_000)\n"
        "    print(ref.sha256)\n"
    )
    results: list[subprocess.CompletedProcess[str]] = []
    writers = [
        threading.Thread(target=lambda: results.append(child(code, store.root))) for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        store.collect(set(), older_than_seconds=HOUR)
    for writer in writers:
        writer.join()
    acknowledged = {name for result in results for name in result.stdout.split()}
    assert [result.returncode for result in results] == [0, 0], results
    assert acknowledged == set(store.names())
    assert len(acknowledged) == 20
    assert all(store.verify(name) for name in acknowledged)
    assert len(files(store)) == 20
