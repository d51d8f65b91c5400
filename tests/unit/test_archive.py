"""Cube archives: what is written comes back, and nothing hostile gets past the reader."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import resource
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_integrations.cube.errors import (
    Conflict,
    HostileArchive,
    InvalidInput,
    NotFound,
    StorageFull,
    UsageError,
    VaultDamaged,
)
from memos_integrations.cube.item import BlobRef
from memos_integrations.infrastructure.archive import ArchiveLimits, ArchiveReader, ArchiveWriter
from memos_integrations.infrastructure.safetensors_file import SAFETENSORS

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ROWS = [{"id": 1, "text": "Ada lives in Zürich"}, {"id": 2, "text": "", "tags": ["a", None]}]


def safetensors(data: bytes = b"abcd") -> bytes:
    tensor = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
    header = json.dumps({"t": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + data


def ref(data: bytes, media_type: str = "image/png") -> BlobRef:
    return BlobRef(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), media_type=media_type)


def write(
    path: Path,
    *,
    members: dict[str, list[dict]] | None = None,
    blobs: dict[bytes, str] | None = None,
    **options: Any,
) -> Path:
    with ArchiveWriter(path, **options) as writer:
        for name, rows in ({"items.jsonl": ROWS} if members is None else members).items():
            if name.endswith(".json"):
                writer.write_document(name, rows[0])
            else:
                writer.write_lines(name, rows)
        for data, media_type in (blobs or {}).items():
            writer.write_blob(ref(data, media_type), io.BytesIO(data))
        writer.finish(cube={"path": "users/ada", "info": None}, created=NOW)
    return path


def content(path: Path, **options: Any) -> dict[str, Any]:
    """Everything an archive says, through the reader."""
    with ArchiveReader(path, **options) as reader:
        found: dict[str, Any] = {name: list(reader.lines(name)) for name in reader.names()}
        found["manifest"] = reader.manifest
        found["blobs"] = [(blob, file.read()) for blob, file in reader.blob_files()]
    return found


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# -- what is written comes back ------------------------------------------------------------


def test_rows_documents_and_blobs_come_back(tmp_path: Path):
    blobs = {safetensors(): SAFETENSORS, b"png": "image/png", b"": "text/plain"}
    members = {"items.jsonl": ROWS, "edges.jsonl": [], "policy.json": [{"owner": "user:ada"}]}
    path = write(tmp_path / "ada.memcube", members=members, blobs=blobs)
    found = content(path)
    assert {name: found[name] for name in members} == members
    assert found["blobs"] == [(ref(data, kind), data) for data, kind in blobs.items()]
    assert found["manifest"].cube == {"path": "users/ada", "info": None}
    assert found["manifest"].created == NOW
    assert found["manifest"].counts == {"items.jsonl": 2, "edges.jsonl": 0, "policy.json": 1}
    with ArchiveReader(path) as reader:
        reader.verify()
        assert reader.document("policy.json") == {"owner": "user:ada"}
        with pytest.raises(HostileArchive, match="exactly one"):
            reader.document("items.jsonl")
        with pytest.raises(NotFound):
            list(reader.lines("other.jsonl"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=6),
    blobs=st.dictionaries(st.binary(max_size=300), st.sampled_from(["a/b", "c/d"]), max_size=3),
)
def test_any_rows_and_blobs_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict], blobs: dict[bytes, str]
):
    path = tmp_path_factory.mktemp("archive") / "x.memcube"
    found = content(write(path, members={"items.jsonl": rows}, blobs=blobs))
    assert found["items.jsonl"] == rows
    assert found["blobs"] == [(ref(data, kind), data) for data, kind in blobs.items()]


def test_same_content_gives_the_same_bytes_in_a_private_file(tmp_path: Path):
    first = write(tmp_path / "1", blobs={b"png": "image/png"})
    turned = [dict(reversed(row.items())) for row in ROWS]
    second = write(tmp_path / "2", members={"items.jsonl": turned}, blobs={b"png": "image/png"})
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_mode & 0o777 == 0o600


def test_manifest_is_the_last_member_and_other_zip_readers_agree(tmp_path: Path):
    with zipfile.ZipFile(write(tmp_path / "x", blobs={b"png": "image/png"})) as archive:
        assert archive.namelist()[-1] == "manifest.json"
        assert archive.testzip() is None


def test_same_blob_is_stored_once(tmp_path: Path):
    with ArchiveWriter(tmp_path / "x") as writer:
        writer.write_blob(ref(b"png"), io.BytesIO(b"png"))
        writer.write_blob(ref(b"png"), io.BytesIO(b"png"))
        assert len(writer.finish(cube={}, created=NOW).entries) == 1


def test_blobs_left_unread_or_half_read_are_verified_all_the_same(tmp_path: Path):
    path = write(tmp_path / "x", blobs={b"a" * 10**6: "a/b", b"b" * 10**6: "a/b"})
    data = bytearray(path.read_bytes())
    data[data.index(b"a" * 1000) + 900_000] ^= 1
    path.write_bytes(data)
    with ArchiveReader(path) as reader:
        blobs = reader.blob_files()
        assert next(blobs)[1].read(10) == b"a" * 10
        with pytest.raises(HostileArchive):
            next(blobs)


def test_two_members_can_be_read_side_by_side(tmp_path: Path):
    members = {"items.jsonl": [{"n": n} for n in range(500)], "edges.jsonl": ROWS}
    path = write(tmp_path / "x", members=members)
    with ArchiveReader(path) as reader:
        pairs = zip(reader.lines("items.jsonl"), reader.lines("edges.jsonl"), strict=False)
        assert list(pairs) == [({"n": 0}, ROWS[0]), ({"n": 1}, ROWS[1])]


# -- the writer leaves all or nothing ------------------------------------------------------


def test_existing_file_is_kept_unless_told(tmp_path: Path):
    path = write(tmp_path / "x")
    before = path.read_bytes()
    with pytest.raises(Conflict, match="replace=True"):
        write(path, members={})
    assert path.read_bytes() == before
    write(path, members={}, replace=True)
    assert content(path)["manifest"].entries == ()


def test_file_that_appears_meanwhile_is_kept(tmp_path: Path):
    path = tmp_path / "x"
    writer = ArchiveWriter(path)
    path.write_text("somebody else's")
    with pytest.raises(Conflict), writer:
        writer.finish(cube={}, created=NOW)
    assert path.read_text() == "somebody else's"
    assert os.listdir(tmp_path) == ["x"]


def broken_rows() -> Iterator[dict]:
    yield {"id": 1}
    raise RuntimeError("the database went away")


def test_error_while_writing_leaves_nothing(tmp_path: Path):
    with pytest.raises(RuntimeError, match="went away"), ArchiveWriter(tmp_path / "x") as writer:
        writer.write_lines("items.jsonl", broken_rows())
    assert os.listdir(tmp_path) == []


def test_archive_cannot_be_finished_after_an_error(tmp_path: Path):
    with ArchiveWriter(tmp_path / "x") as writer:
        with pytest.raises(RuntimeError):
            writer.write_lines("items.jsonl", broken_rows())
        with pytest.raises(UsageError, match="failed"):
            writer.finish(cube={}, created=NOW)
        with pytest.raises(UsageError, match="was not written"):
            writer.__exit__(None, None, None)
        writer._state = "finished"
    assert os.listdir(tmp_path) == []


def test_forgotten_finish_is_an_error_and_leaves_nothing(tmp_path: Path):
    with pytest.raises(UsageError, match="call finish"), ArchiveWriter(tmp_path / "x"):
        pass
    assert os.listdir(tmp_path) == []


def test_killed_writer_leaves_no_archive_under_its_name(tmp_path: Path):
    code = (
        "import os, sys, pathlib\n"
        "from memos_integrations.infrastructure.archive import ArchiveWriter\n"
        "def rows():\n"
        "    for n in range(20000): yield {'n': n}\n"
        "    os._exit(9)\n"
        "ArchiveWriter(pathlib.Path(sys.argv[1])).write_lines('items.jsonl', rows())\n"
    )
    path = tmp_path / "x.memcube"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 9, done.stderr
    assert not path.exists()
    assert content(write(path))["items.jsonl"] == ROWS


def test_full_disk_raises_storage_full_and_leaves_nothing(tmp_path: Path):
    rows = [{"text": random.Random(n).randbytes(500).hex()} for n in range(400)]
    with files_limited_to(2**15), pytest.raises(StorageFull):
        write(tmp_path / "x", members={"items.jsonl": rows})
    with files_limited_to(2**15), pytest.raises(StorageFull):
        write(tmp_path / "x", blobs={random.Random(0).randbytes(2**16): "a/b"})
    with files_limited_to(300), pytest.raises(StorageFull):
        write(tmp_path / "x")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "row",
    [
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": "\ud800"},
        {"x": {1: "a", "1": "b"}},
        {"x": object()},
        {"x": [[[[]]]]},
        {"x": "a" * 2000},
    ],
    ids=["nan", "inf", "surrogate", "keys that become one", "object", "deep", "long"],
)
def test_row_that_no_reader_would_take_is_refused_when_written(tmp_path: Path, row: dict):
    limits = ArchiveLimits(max_json_depth=4, max_line_bytes=1000)
    with pytest.raises(InvalidInput, match=r"a row of items\.jsonl"):
        write(tmp_path / "x", members={"items.jsonl": [row]}, limits=limits)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "limits",
    [
        ArchiveLimits(max_ratio=2.0, ratio_free_bytes=1000),
        ArchiveLimits(max_members=1),
        ArchiveLimits(max_unpacked_bytes=1000),
        ArchiveLimits(max_member_bytes=1000),
    ],
)
def test_archive_that_no_reader_would_take_is_refused_when_written(
    tmp_path: Path, limits: ArchiveLimits
):
    with pytest.raises(InvalidInput, match="wider limits"):
        write(tmp_path / "x", members={"items.jsonl": ROWS * 100}, limits=limits)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["../x.jsonl", "/x.jsonl", "A.jsonl", "x.txt", "a/b.jsonl", "manifest.json", "1.jsonl"]
)
def test_name_off_the_list_is_refused_when_written(tmp_path: Path, name: str):
    with pytest.raises(InvalidInput):
        write(tmp_path / "x", members={name: [{}]})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("blob", "data"),
    [
        (ref(b"right"), b"wrong"),
        (ref(b"right"), b"right and more"),
        (ref(b"right"), b"r"),
        (ref(b"no tensors", SAFETENSORS), b"no tensors"),
    ],
)
def test_damaged_blob_is_never_dumped(tmp_path: Path, blob: BlobRef, data: bytes):
    with pytest.raises(VaultDamaged), ArchiveWriter(tmp_path / "x") as writer:
        writer.write_blob(blob, io.BytesIO(data))
    assert os.listdir(tmp_path) == []


def test_naive_time_and_unfit_cube_descriptions_are_refused(tmp_path: Path):
    for cube, created in (({}, NOW.replace(tzinfo=None)), ({"x": float("nan")}, NOW)):
        with pytest.raises(InvalidInput), ArchiveWriter(tmp_path / "x") as writer:
            writer.finish(cube=cube, created=created)
    with pytest.raises(NotFound, match="no directory"):
        ArchiveWriter(tmp_path / "none" / "x")
    assert os.listdir(tmp_path) == []


# -- a ZIP built by hand, so that every field can lie --------------------------------------


@dataclass
class Member:
    name: str
    data: bytes = b""
    method: int = 0
    packed: bytes | None = None
    before: bytes = b""
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)

    def fields(self, lies: dict[str, Any]) -> dict[str, Any]:
        packed = self.body()
        truth = {
            "flags": 0, "method": self.method, "crc": zlib.crc32(self.data),
            "packed": len(packed), "size": len(self.data), "name": self.name.encode(),
            "extra": b"", "mode": 0o100600, "comment": b"", "made_by": 3,
        }  # fmt: skip
        return {**truth, **lies}

    def body(self) -> bytes:
        if self.packed is not None:
            return self.packed
        if not self.method:
            return self.data
        deflate = zlib.compressobj(wbits=-15)
        return deflate.compress(self.data) + deflate.flush()


def raw_zip(members: list[Member], *, count: int | None = None, comment: bytes = b"") -> bytes:
    out, directory = bytearray(), bytearray()
    for member in members:
        out += member.before
        f = member.fields({"offset": len(out), **member.central})
        directory += struct.pack(
            "<4s4B4HL2L5H2L", b"PK\1\2", 20, f["made_by"], 20, 0, f["flags"], f["method"], 0, 33,
            f["crc"], f["packed"], f["size"], len(f["name"]), len(f["extra"]), len(f["comment"]),
            0, 0, f["mode"] << 16, f["offset"],
        ) + f["name"] + f["extra"] + f["comment"]  # fmt: skip
        f = member.fields(member.local)
        out += struct.pack(
            "<4s2B4HL2L2H", b"PK\3\4", 20, 0, f["flags"], f["method"], 0, 33, f["crc"],
            f["packed"], f["size"], len(f["name"]), len(f["extra"]),
        ) + f["name"] + f["extra"] + member.body()  # fmt: skip
    count = len(members) if count is None else count
    end = struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(out), len(comment)
    )
    return bytes(out + directory + end + comment)


def entry(member: Member, **lies: Any) -> dict[str, Any]:
    truth = {"name": member.name, "bytes": len(member.data)}
    return {**truth, "sha256": hashlib.sha256(member.data).hexdigest(), **lies}


def manifest(members: list[Member], **lies: Any) -> Member:
    entries = [
        entry(m, **({"media_type": SAFETENSORS} if m.name.endswith("tensors") else {}))
        for m in members
    ]
    counts = {m.name: m.data.count(b"\n") for m in members if "/" not in m.name}
    truth = {"format": "memcube", "format_version": 1, "created": "2026-05-01T12:00:00Z"}
    whole = {**truth, "cube": {}, "entries": entries, "counts": counts, **lies}
    return Member("manifest.json", json.dumps(whole).encode())


ITEMS = Member("items.jsonl", b'{"id":1}\n{"id":2}\n', method=8)
TENSORS = Member(f"blobs/{hashlib.sha256(safetensors()).hexdigest()}.safetensors", safetensors())


def items(data: bytes) -> Member:
    return Member("items.jsonl", data, method=8)


def sealed(*members: Member, **lies: Any) -> bytes:
    """The members and a manifest that vouches for them, or lies as told."""
    return raw_zip([*members, manifest(list(members), **lies)])


def refused(tmp_path: Path, data: bytes, reason: str, **options: Any) -> None:
    path = tmp_path / "hostile.memcube"
    path.write_bytes(data)
    before = set(os.listdir(tmp_path))
    with pytest.raises(HostileArchive, match=reason):
        content(path, **options)
    assert set(os.listdir(tmp_path)) == before


def test_honest_archive_built_by_hand_is_read(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(sealed(ITEMS, TENSORS))
    found = content(path)
    assert found["items.jsonl"] == [{"id": 1}, {"id": 2}]
    assert found["blobs"] == [(ref(safetensors(), SAFETENSORS), safetensors())]


def test_missing_file_is_not_found_and_a_directory_is_refused(tmp_path: Path):
    with pytest.raises(NotFound):
        ArchiveReader(tmp_path / "none")
    with pytest.raises(HostileArchive, match="not a file"):
        ArchiveReader(tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all" * 10, bytes(500), b"PK\3\4" * 50])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes):
    refused(tmp_path, data, "not a ZIP file")


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/cron.d/x", "/etc/passwd", "..\\x.jsonl", "C:\\x.jsonl", "C:x.jsonl",
        "blobs/../items.jsonl", "./items.jsonl", "Items.jsonl", "items.JSONL", "x.pkl", "blobs/",
        "items.jsonl\x00.exe", "items.jsonl\n", "", "blobs/" + "0" * 63 + ".bin",
        "blobs/" + "A" * 64 + ".bin", "blobs/" + "0" * 64 + ".pkl", "\u0131tems.jsonl",
        "a" * 70 + ".json",
    ],
)  # fmt: skip
def test_name_off_the_list_is_refused(tmp_path: Path, name: str):
    refused(tmp_path, sealed(Member(name, b"{}\n"), ITEMS), "has a member")


def lying(**changes: Any) -> Member:
    """A member whose two headers agree with each other, not with the content."""
    return Member(ITEMS.name, ITEMS.data, method=8, local=changes, central=changes)


STRUCTURE = {
    "symlink": (lying(mode=0o120777), "link or a special file"),
    "fifo": (lying(mode=0o010600), "link or a special file"),
    "device": (lying(mode=0o020600), "link or a special file"),
    "directory": (lying(mode=0o040700), "link or a special file"),
    "encrypted": (lying(flags=1), "encrypted"),
    "strongly encrypted": (lying(flags=0x40), "encrypted"),
    "data descriptor": (lying(flags=8), "ZIP features"),
    "comment": (lying(comment=b"hello"), "ZIP features"),
    "bzip2": (lying(method=12), "not allowed"),
    "unknown method": (lying(method=99), "not allowed"),
    "extra field": (lying(extra=b"\x55\x54\x05\x00abcde"), "ZIP features"),
    "extra field inside": (
        Member(ITEMS.name, ITEMS.data, local={"extra": b"\x55\x54\x05\x00abcde"}),
        "extra fields",
    ),
    "name in an extra field": (lying(extra=b"\x75\x70\x06\x00\x01\0\0\0\0x"), "ZIP features"),
    "crc": (lying(crc=1), "cannot be read"),
    "larger than said": (lying(size=4), "misdescribes"),
    "smaller than said": (lying(size=4000), "misdescribes"),
    "packed larger than said": (lying(packed=3), "unknown bytes"),
    "packed smaller than said": (lying(packed=300), "overlaps|beyond"),
    "packed beyond the file": (lying(packed=2**31), "overlaps|beyond"),
    "other name inside": (Member(ITEMS.name, ITEMS.data, local={"name": b"x.jsonl"}), "one thing"),
    "other size inside": (Member(ITEMS.name, ITEMS.data, local={"size": 1}), "one thing"),
    "other method inside": (Member(ITEMS.name, ITEMS.data, local={"method": 8}), "one thing"),
    "bytes before it": (Member(ITEMS.name, ITEMS.data, before=b"hidden"), "unknown bytes before"),
    "deflate cut short": (Member(ITEMS.name, ITEMS.data, method=8, packed=b"\x00"), "cannot|long"),
    "deflate garbage": (Member(ITEMS.name, ITEMS.data, method=8, packed=b"\xff" * 9), "cannot"),
}


@pytest.mark.parametrize(("member", "reason"), STRUCTURE.values(), ids=STRUCTURE)
def test_odd_member_is_refused(tmp_path: Path, member: Member, reason: str):
    refused(tmp_path, raw_zip([member, manifest([ITEMS])]), reason)


def test_bytes_before_behind_and_between_are_refused(tmp_path: Path):
    good = sealed(ITEMS, TENSORS)
    refused(tmp_path, b"MZ" + good, "before or behind")
    refused(tmp_path, good + b"x", "not a ZIP file")
    refused(tmp_path, good + good, "before or behind")
    refused(tmp_path, raw_zip([ITEMS, manifest([ITEMS])], comment=b"hi"), "not a ZIP|follows")
    end = len(good) - 22
    refused(tmp_path, good[:end] + b"hidden" + good[end:], "before or behind")
    hidden = Member("manifest.json", manifest([ITEMS]).data, before=b"x" * 9)
    refused(tmp_path, raw_zip([ITEMS, hidden]), "unknown bytes before")


def test_truncated_archive_is_refused_at_every_length(tmp_path: Path):
    good = sealed(ITEMS)
    path = tmp_path / "x"
    path.write_bytes(good)
    for length in reversed(range(0, len(good), 3)):
        os.truncate(path, length)
        with pytest.raises(HostileArchive):
            content(path)


def test_duplicate_and_uncounted_members_are_refused(tmp_path: Path):
    refused(tmp_path, raw_zip([ITEMS, ITEMS, manifest([ITEMS])]), "twice")
    refused(tmp_path, raw_zip([ITEMS, manifest([ITEMS])], count=1), "larger than|twice")
    refused(tmp_path, raw_zip([ITEMS, manifest([ITEMS])], count=3), "twice")


def test_overlapping_members_are_refused(tmp_path: Path):
    """The shape of a non-recursive bomb: many directory entries, one kernel of packed bytes."""
    inner = raw_zip([Member("edges.jsonl", b"{}\n" * 50)])
    inner = inner[: inner.index(b"PK\1\2")]
    outer = Member("items.jsonl", inner)
    inside = Member("edges.jsonl", b"{}\n" * 50, packed=b"", central={"offset": 41, "packed": 150})
    whole = raw_zip([outer, inside, manifest([outer])])
    refused(tmp_path, whole, "overlaps")
    same = Member("edges.jsonl", ITEMS.data, method=8, packed=b"", central={"offset": 0})
    refused(tmp_path, raw_zip([ITEMS, same, manifest([ITEMS])]), "overlaps")


def gigabyte_of_zeros() -> bytes:
    """1 GB in about 1 MB: blocks that do not refer back can be repeated as they are."""
    deflate = zlib.compressobj(9, wbits=-15)
    block = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return block * 1024 + b"\x03\x00"


@pytest.mark.parametrize(
    ("claimed", "reason"),
    [(2**30, "max_ratio"), (2**24, "cannot be read|misdescribes"), (2**35 - 1, None)],
)
def test_bomb_is_refused_without_unpacking_it(tmp_path: Path, claimed: int, reason: str | None):
    bomb = Member("items.jsonl", method=8, packed=gigabyte_of_zeros())
    if claimed < 2**32:
        bomb.local = bomb.central = {"size": claimed, "crc": 0}
    else:
        wide = struct.pack("<HHQQ", 1, 16, claimed, len(bomb.body()))
        bomb.local = bomb.central = {"size": 2**32 - 1, "packed": 2**32 - 1, "extra": wide}
        reason = "over the limit"
    seal = manifest([ITEMS], entries=[entry(bomb, bytes=claimed)])
    data = raw_zip([bomb, seal])
    tracemalloc.start()
    refused(tmp_path, data, reason or "")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * 2**20  # a line of 16 MiB may be held before it is found too long


def test_bomb_within_the_ratio_is_stopped_at_the_first_long_line(tmp_path: Path):
    data = bytes(10 * 2**20)
    limits = ArchiveLimits(ratio_free_bytes=2**30, max_line_bytes=1000)
    refused(tmp_path, sealed(items(data)), "max_line_bytes=1000", limits=limits)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ArchiveLimits(max_members=2), "max_members=2"),
        (ArchiveLimits(max_unpacked_bytes=100), "max_unpacked_bytes=100"),
        (ArchiveLimits(max_member_bytes=10), "over the limit of 10"),
        (ArchiveLimits(max_manifest_bytes=50), "over the limit of 50"),
        (ArchiveLimits(max_line_bytes=7), "max_line_bytes=7"),
        (ArchiveLimits(max_json_depth=0), "deeper than 0"),
        (ArchiveLimits(max_ratio=0.1, ratio_free_bytes=0), "max_ratio=0.1"),
        (ArchiveLimits(max_tensor_header_bytes=5), "more than the limit of 5"),
        (ArchiveLimits(max_tensors=0), "more than the limit of 0"),
    ],
)
def test_each_limit_is_kept_and_named(tmp_path: Path, limits: ArchiveLimits, reason: str):
    refused(tmp_path, sealed(ITEMS, TENSORS), reason, limits=limits)


def test_directory_that_claims_more_than_its_members_need_is_refused(tmp_path: Path):
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 2**20, 0, 0)
    refused(tmp_path, bytes(2**20) + end, "larger than its members need")


WRONG_HASH = entry(ITEMS, sha256="0" * 64)
MANIFESTS = {
    "missing member": ({"entries": [entry(ITEMS), entry(Member("edges.jsonl"))]}, "edges.jsonl"),
    "extra member": ({"entries": []}, "items.jsonl"),
    "entry twice": ({"entries": [entry(ITEMS), entry(ITEMS)]}, "twice"),
    "wrong hash": ({"entries": [WRONG_HASH]}, "sha256 it should have"),
    "wrong size": ({"entries": [entry(ITEMS, bytes=3)]}, "misdescribes"),
    "negative size": ({"entries": [entry(ITEMS, bytes=-1)]}, "entries.0.bytes"),
    "bool as size": ({"entries": [entry(ITEMS, bytes=True)]}, "entries.0.bytes"),
    "text as size": ({"entries": [entry(ITEMS, bytes="18")]}, "entries.0.bytes"),
    "rows called a blob": ({"entries": [entry(ITEMS, media_type="a/b")]}, "misdescribes"),
    "hash not hex": ({"entries": [entry(ITEMS, sha256="x" * 64)]}, "entries.0.sha256"),
    "unknown field": ({"hook": "import os"}, "hook"),
    "unknown entry field": ({"entries": [entry(ITEMS, x=1)]}, "entries.0.x"),
    "wrong count": ({"counts": {"items.jsonl": 3}}, "has 2 rows, not the 3"),
    "no count": ({"counts": {}}, "does not count"),
    "count of nothing": ({"counts": {"items.jsonl": 2, "x.jsonl": 0}}, "does not count"),
    "other format": ({"format": "zipcube"}, "format"),
    "newer version": ({"format_version": 2}, "this program reads 1"),
    "version as bool": ({"format_version": True}, "format"),
    "time without zone": ({"created": "2026-05-01T12:00:00"}, "created"),
    "cube no object": ({"cube": []}, "cube"),
}


@pytest.mark.parametrize(("lies", "reason"), MANIFESTS.values(), ids=MANIFESTS)
def test_lying_manifest_is_refused(tmp_path: Path, lies: dict[str, Any], reason: str):
    refused(tmp_path, sealed(ITEMS, **lies), reason)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"null", b'{"format":1,"format":1}', b"[" * 10**5, b"\xff{}"]
)
def test_manifest_that_is_none_is_refused(tmp_path: Path, data: bytes):
    refused(tmp_path, raw_zip([ITEMS, Member("manifest.json", data)]), r"manifest\.json")


def test_archive_without_manifest_is_refused(tmp_path: Path):
    refused(tmp_path, raw_zip([ITEMS]), r"no manifest\.json")
    refused(tmp_path, raw_zip([]), r"no manifest\.json")


LINES = {
    "deep arrays": (b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}\n", "nests deeper"),
    "a bit too deep": (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}\n", "nests deeper than 64"),
    "deep objects": (b'{"a":' * 10**5 + b"1" + b"}" * 10**5 + b"\n", "nests deeper"),
    "unclosed": (b'{"a":' + b"[" * 10**5 + b"\n", "nests deeper|strict JSON"),
    "NaN": (b'{"a":NaN}\n', "NaN"),
    "Infinity": (b'{"a":-Infinity}\n', "Infinity"),
    "overflowing float": (b'{"a":1e999}\n', "too large"),
    "huge integer": (b'{"a":' + b"9" * 5000 + b"}\n", "strict JSON"),
    "key twice": (b'{"a":1,"a":2}\n', "twice"),
    "key twice, escaped": (b'{"a":1,"\\u0061":2}\n', "twice"),
    "key twice, deep": (b'{"x":[{"a":1,"a":2}]}\n', "twice"),
    "lone surrogate": (b'{"a":"\\ud800"}\n', "surrogate"),
    "surrogate in a key": (b'{"\\udfff":1}\n', "surrogate"),
    "surrogate in UTF-8": (b'{"a":"\xed\xa0\x80"}\n', "strict JSON"),
    "not UTF-8": (b'{"a":"\xff"}\n', "strict JSON"),
    "byte order mark": (b"\xef\xbb\xbf{}\n", "strict JSON"),
    "array": (b"[]\n", "not a JSON object"),
    "number": (b"1\n", "not a JSON object"),
    "empty line": (b"{}\n\n{}\n", "line 2"),
    "two on a line": (b"{}{}\n", "strict JSON"),
    "control character": (b'{"a":"\x01"}\n', "strict JSON"),
    "no line end": (b"{}\n{}", "has 2 rows, not the 1"),
}


@pytest.mark.parametrize(("data", "reason"), LINES.values(), ids=LINES)
def test_odd_line_is_refused(tmp_path: Path, data: bytes, reason: str):
    refused(tmp_path, sealed(items(data)), reason)


def test_brackets_and_escapes_inside_strings_are_only_text(tmp_path: Path):
    row = {"a": "[" * 500 + "{" * 500 + '"\\', "b": "\U0001f600"}
    path = tmp_path / "x"
    path.write_bytes(sealed(items(json.dumps(row).encode() + b"\n")))
    assert content(path)["items.jsonl"] == [row]


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x04pickle", safetensors()[:-1], safetensors() + b"x", bytes(8) + b"{}"],
    ids=["empty", "pickle", "short", "long", "no header"],
)
def test_blob_called_tensors_that_are_none_is_refused(tmp_path: Path, data: bytes):
    blob = Member(f"blobs/{hashlib.sha256(data).hexdigest()}.safetensors", data)
    refused(tmp_path, sealed(ITEMS, blob), "not a valid safetensors file")


def test_blob_under_anothers_name_or_packed_is_refused(tmp_path: Path):
    renamed = Member("blobs/" + "0" * 64 + ".safetensors", safetensors())
    refused(tmp_path, sealed(renamed), "misdescribes")
    packed = Member(TENSORS.name, TENSORS.data, method=8)
    refused(tmp_path, sealed(packed), "not allowed")
    as_octets = [entry(TENSORS, media_type="application/octet-stream")]
    refused(tmp_path, sealed(TENSORS, entries=as_octets), "misdescribes")


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_every_flipped_byte_is_refused_or_changes_nothing(tmp_path: Path, flip: int):
    good = write(
        tmp_path / "good", members={"items.jsonl": ROWS[:1]}, blobs={safetensors(): SAFETENSORS}
    )
    truth, data, detected = content(good), good.read_bytes(), 0
    with good.open("r+b", buffering=0) as file:
        for place, byte in enumerate(data):
            os.pwrite(file.fileno(), bytes([byte ^ flip]), place)
            try:
                assert content(good) == truth, f"byte {place} changed the content unnoticed"
            except HostileArchive:
                detected += 1
            os.pwrite(file.fileno(), bytes([byte]), place)
    assert content(good) == truth
    assert detected > len(data) * 0.85


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_raises_anything_but_hostile_archive(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    whole = bytearray(sealed(ITEMS, TENSORS))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole)))
        cut = data.draw(st.integers(0, 8))
        whole[at : at + cut] = data.draw(st.binary(max_size=8))
    path = tmp_path_factory.mktemp("damaged") / "x"
    path.write_bytes(whole)
    try:
        found = content(path)
    except HostileArchive:
        return
    assert found["items.jsonl"] == [{"id": 1}, {"id": 2}]
    assert found["blobs"] == [(ref(safetensors(), SAFETENSORS), safetensors())]
