"""Whether a file is exactly what the safetensors format allows, decided from its header alone.

The format: 8 bytes little-endian header length, a JSON header (tensor name -> dtype, shape,
data_offsets, and optionally ``__metadata__`` text to text), then the tensors without holes
(https://github.com/huggingface/safetensors#format). Stricter than the format in two points:
unknown keys of a tensor and more than 64 dimensions are refused.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from memos_integrations.cube.errors import HostileArchive, NotFound
from memos_integrations.infrastructure.strict_json import decode_object

SAFETENSORS = "application/x-safetensors"
"""Media type of blobs that hold tensors."""

MAX_HEADER_BYTES = 16 * 2**20
MAX_TENSORS = 100_000
_LENGTH_BYTES = 8
_MAX_DIMENSIONS = 64
_MAX_COUNT = 2**63 - 1
_HEADER_DEPTH = 3
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}
_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


class Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor; ``begin`` and ``end`` are byte offsets behind the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class SafetensorsInfo:
    """What a checked header says: tensors in file order, metadata, where the data begins."""

    tensors: tuple[TensorInfo, ...]
    metadata: Mapping[str, str]
    data_start: int


def check_safetensors(
    source: Path | BinaryIO,
    *,
    max_header_bytes: int = MAX_HEADER_BYTES,
    max_tensors: int = MAX_TENSORS,
) -> SafetensorsInfo:
    """The file's tensors, when every byte of it is accounted for; else ``HostileArchive``.

    An open file is read from its beginning, whatever its position. Reads the header only.
    """
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                return _check_file(file, max_header_bytes, max_tensors)
        except FileNotFoundError as error:
            raise NotFound(f"there is no file {source}") from error
    return _check_file(source, max_header_bytes, max_tensors)


def _check_file(file: BinaryIO, max_header_bytes: int, max_tensors: int) -> SafetensorsInfo:
    total_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = read_head(file, total_bytes=total_bytes, max_header_bytes=max_header_bytes)
    return check_head(head, total_bytes=total_bytes, max_tensors=max_tensors)


def read_head(file: Readable, *, total_bytes: int, max_header_bytes: int) -> bytes:
    """The length field and the header, off a stream that holds ``total_bytes`` in all."""
    length = int.from_bytes(_exactly(file, _LENGTH_BYTES), "little")
    if length > max_header_bytes:
        raise _bad(f"its header claims {length} bytes, more than the limit of {max_header_bytes}")
    if _LENGTH_BYTES + length > total_bytes:
        raise _bad(f"its header claims {length} bytes, more than the file has")
    return length.to_bytes(_LENGTH_BYTES, "little") + _exactly(file, length)


def check_head(head: bytes, *, total_bytes: int, max_tensors: int = MAX_TENSORS) -> SafetensorsInfo:
    """As ``check_safetensors``, for what ``read_head`` gave."""
    raw = head[_LENGTH_BYTES:]
    if not raw.startswith(b"{"):
        raise _bad("its header does not begin with '{'")
    header = decode_object(raw, max_depth=_HEADER_DEPTH, what="the safetensors header")
    metadata = _metadata(header.pop(_METADATA, {}))
    if len(header) > max_tensors:
        raise _bad(f"it has {len(header)} tensors, more than the limit of {max_tensors}")
    tensors = [_tensor(name, fields) for name, fields in header.items()]
    tensors.sort(key=lambda t: (t.begin, t.end))
    _check_cover(tensors, total_bytes - len(head))
    return SafetensorsInfo(tuple(tensors), metadata, len(head))


def _exactly(file: Readable, size: int) -> bytes:
    """``size`` bytes, also off a stream that gives fewer at a time."""
    parts = io.BytesIO()
    while parts.tell() < size:
        chunk = file.read(size - parts.tell())
        if not chunk:
            raise _bad("it ends inside its header")
        parts.write(chunk)
    return parts.getvalue()


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise _bad("its __metadata__ is not a map of text to text")
    return value


def _tensor(name: str, fields: Any) -> TensorInfo:
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        raise _bad(f"tensor {name[:80]!r} needs exactly dtype, shape and data_offsets")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise _bad(f"tensor {name[:80]!r} has the unknown dtype {str(dtype)[:40]!r}")
    if not _counts(shape) or len(shape) > _MAX_DIMENSIONS:
        raise _bad(f"the shape of tensor {name[:80]!r} is not a list of sizes")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad(f"the offsets of tensor {name[:80]!r} are not [begin, end]")
    if _bits(name, dtype, shape) != (offsets[1] - offsets[0]) * 8:
        raise _bad(f"tensor {name[:80]!r} has other bytes than its dtype and shape need")
    return TensorInfo(name, dtype, tuple(shape), offsets[0], offsets[1])


def _counts(value: object) -> bool:
    """Whether it is a list of whole numbers from 0 up; ``True`` is not the number 1 here."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= _MAX_COUNT for n in value)


def _bits(name: str, dtype: str, shape: list[int]) -> int:
    """Size in bits. Too large a product is refused even when a later 0 would make it 0, as
    readers with 64-bit arithmetic overflow there."""
    total = _BITS[dtype]
    for size in shape:
        total *= size
        if total > _MAX_COUNT:
            raise _bad(f"the shape of tensor {name[:80]!r} overflows 64 bits")
    return total


def _check_cover(tensors: list[TensorInfo], data_bytes: int) -> None:
    at = 0
    for tensor in tensors:
        if tensor.begin != at:
            how = "overlaps another" if tensor.begin < at else "leaves a hole before it"
            raise _bad(f"tensor {tensor.name[:80]!r} {how}")
        at = tensor.end
    if at != data_bytes:
        raise _bad(f"its tensors cover {at} bytes, but {data_bytes} follow the header")


def _bad(text: str) -> HostileArchive:
    return HostileArchive(f"not a valid safetensors file: {text}")
