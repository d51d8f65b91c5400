"""What the safetensors check accepts and refuses."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_integrations.cube.errors import HostileArchive, NotFound
from memos_integrations.infrastructure.safetensors_file import TensorInfo, check_safetensors


def tensor(begin: int, end: int, *, dtype: object = "U8", shape: object = None) -> dict:
    return {
        "dtype": dtype,
        "shape": [end - begin] if shape is None else shape,
        "data_offsets": [begin, end],
    }


def packed(header: object, data: bytes = b"", *, length: int | None = None) -> io.BytesIO:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return io.BytesIO((len(raw) if length is None else length).to_bytes(8, "little") + raw + data)


def test_tensors_come_in_file_order_with_their_metadata():
    header = {
        "b": tensor(4, 12, dtype="F32", shape=[2, 1]),
        "a": tensor(0, 4, dtype="BF16", shape=[2]),
        "__metadata__": {"format": "pt"},
    }
    info = check_safetensors(packed(header, bytes(12)))
    assert info.tensors == (
        TensorInfo("a", "BF16", (2,), 0, 4),
        TensorInfo("b", "F32", (2, 1), 4, 12),
    )
    assert info.metadata == {"format": "pt"}
    assert info.data_start == 8 + len(json.dumps(header))


def test_file_on_disk_is_checked_and_a_missing_one_is_not_found(tmp_path: Path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(packed({"t": tensor(0, 3)}, b"abc").getvalue())
    assert check_safetensors(path).tensors[0].name == "t"
    with pytest.raises(NotFound):
        check_safetensors(tmp_path / "none")


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({}, b""),
        ({"scalar": tensor(0, 8, dtype="F64", shape=[])}, bytes(8)),
        ({"empty": tensor(0, 0, dtype="F32", shape=[3, 0])}, b""),
        ({"empty": tensor(0, 0), "full": tensor(0, 2)}, b"ab"),
        ({"half bytes": tensor(0, 3, dtype="F4", shape=[2, 3])}, b"abc"),
        (b'{"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   ', b"a"),
    ],
)
def test_unusual_but_legal_files_pass(header: object, data: bytes):
    check_safetensors(packed(header, data))


HOSTILE = [
    ("no object", b"[]", b"", "does not begin"),
    ("leading space", b" {}", b"", "does not begin"),
    ("not JSON", b"{", b"", "not strict JSON"),
    ("not UTF-8", b'{"\xff":1}', b"", "not strict JSON"),
    ("key twice", b'{"t":{},"t":{}}', b"", "twice"),
    ("deep", b'{"t":' + b"[" * 50_000 + b"]" * 50_000 + b"}", b"", "nests deeper"),
    ("metadata not text", {"__metadata__": {"a": 1}}, b"", "__metadata__"),
    ("metadata null", {"__metadata__": None}, b"", "__metadata__"),
    ("tensor no object", {"t": 5}, b"", "needs exactly"),
    ("missing field", {"t": {"dtype": "U8", "shape": []}}, b"", "needs exactly"),
    ("extra field", {"t": {**tensor(0, 1), "x": 1}}, b"a", "needs exactly"),
    ("unknown dtype", {"t": tensor(0, 1, dtype="PICKLE")}, b"a", "unknown dtype"),
    ("dtype no text", {"t": tensor(0, 1, dtype=["U8"])}, b"a", "unknown dtype"),
    ("negative shape", {"t": tensor(0, 1, shape=[-1, -1])}, b"a", "list of sizes"),
    ("bool as size", {"t": tensor(0, 1, shape=[True])}, b"a", "list of sizes"),
    ("float as size", {"t": tensor(0, 1, shape=[1.0])}, b"a", "list of sizes"),
    ("many dimensions", {"t": tensor(0, 1, shape=[1] * 65)}, b"a", "list of sizes"),
    ("shape overflows to 0", {"t": tensor(0, 0, shape=[2**32, 2**32])}, b"", "overflows"),
    ("overflow before a 0", {"t": tensor(0, 0, shape=[2**62, 2**62, 0])}, b"", "overflows"),
    ("size over 64 bits", {"t": tensor(0, 1, shape=[2**64 + 1])}, b"a", "list of sizes"),
    ("wrong length", {"t": tensor(0, 4, shape=[3])}, b"abcd", "other bytes"),
    ("half a byte", {"t": tensor(0, 1, dtype="F4", shape=[3])}, b"a", "other bytes"),
    ("backwards", {"t": {"dtype": "U8", "shape": [1], "data_offsets": [1, 0]}}, b"a", "offsets"),
    ("negative offset", {"t": tensor(-1, 0, shape=[1])}, b"a", "offsets"),
    ("three offsets", {"t": {**tensor(0, 1), "data_offsets": [0, 1, 1]}}, b"a", "offsets"),
    ("overlap", {"a": tensor(0, 4), "b": tensor(2, 6)}, b"abcdef", "overlaps"),
    ("same bytes twice", {"a": tensor(0, 4), "b": tensor(0, 4)}, b"abcd", "overlaps"),
    ("hole", {"a": tensor(0, 2), "b": tensor(3, 5)}, b"abcde", "hole"),
    ("hole at the start", {"a": tensor(1, 2)}, b"ab", "hole"),
    ("trailing bytes", {"a": tensor(0, 2)}, b"abc", "cover 2 bytes"),
    ("missing bytes", {"a": tensor(0, 4)}, b"abc", "cover 4 bytes"),
    ("lone surrogate", b'{"\\ud800":{}}', b"", "surrogate"),
]


@pytest.mark.parametrize(
    ("header", "data", "reason"), [c[1:] for c in HOSTILE], ids=[c[0] for c in HOSTILE]
)
def test_what_the_format_forbids_is_refused(header: object, data: bytes, reason: str):
    with pytest.raises(HostileArchive, match=reason):
        check_safetensors(packed(header, data))


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 17 * 2**20])
def test_huge_header_is_refused_before_it_is_read(length: int):
    with pytest.raises(HostileArchive, match="more than the limit"):
        check_safetensors(packed({}, length=length))


def test_header_longer_than_the_file_is_refused():
    with pytest.raises(HostileArchive, match="more than the file has"):
        check_safetensors(packed({}, length=100))


def test_too_many_tensors_are_refused():
    header = {f"t{n}": tensor(0, 0) for n in range(4)}
    check_safetensors(packed(header), max_tensors=4)
    with pytest.raises(HostileArchive, match="more than the limit of 3"):
        check_safetensors(packed(header), max_tensors=3)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes):
    try:
        check_safetensors(io.BytesIO(data))
    except HostileArchive:
        return
    assert data == b"\x02" + bytes(7) + b"{}" or data[8:9] == b"{"
