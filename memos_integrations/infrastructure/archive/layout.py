"""Whether a ZIP file is exactly its members, one behind the other, and its directory.

``zipfile`` finds what it needs and ignores the rest: bytes before, between and behind members,
local headers that contradict the directory, members that share bytes. All of these are refused
here, which is what stops overlapping bombs (Fifield, "A better zip bomb", 2019) and files that
are one thing to us and another to somebody else's reader.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from dataclasses import dataclass
from typing import BinaryIO

from memos_integrations.cube.errors import HostileArchive
from memos_integrations.infrastructure.archive.contents import (
    BLOB_NAME,
    JSON_NAME,
    MANIFEST,
    ArchiveLimits,
)

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_EXTRA64 = struct.Struct("<HHQQ")
_MAX_DIRECTORY_ENTRY_BYTES = 256
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_FULL_FIELD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Directory:
    members: int
    begin: int
    bytes: int
    end: int
    """Where it must end: the first byte of the end records."""


def check_directory(file: BinaryIO, limits: ArchiveLimits) -> None:
    """Refuses a file whose end records do not say that the directory lies right before them.

    Comes before ``zipfile`` reads the directory, so its size is bounded by then.
    """
    found = _end_records(file)
    _check_count(found.members, limits)
    if found.bytes > found.members * _MAX_DIRECTORY_ENTRY_BYTES:
        raise HostileArchive("the archive's directory is larger than its members need")
    if found.begin + found.bytes != found.end:
        raise HostileArchive("the archive has bytes before or behind what it accounts for")


def check_members(file: BinaryIO, archive: zipfile.ZipFile, limits: ArchiveLimits) -> None:
    """Refuses members by name, kind, size or place. Reads the local headers, no content."""
    infos = archive.infolist()
    found = _end_records(file)
    names = {info.orig_filename for info in infos}
    if len(infos) != found.members or len(names) != len(infos):
        raise HostileArchive("a member stands twice in the archive, or is not counted")
    for info in infos:
        _check_name(info.orig_filename)
        _check_kind(info)
    check_sizes(infos, limits)
    _check_places(file, infos, found.begin)


def check_sizes(infos: list[zipfile.ZipInfo], limits: ArchiveLimits) -> None:
    """Refuses more members or bytes than the limits; the writer asks too, before it publishes."""
    _check_count(len(infos), limits)
    for info in infos:
        _check_size(info, limits)
    unpacked = sum(info.file_size for info in infos)
    if unpacked > limits.max_unpacked_bytes:
        raise HostileArchive(
            f"the archive unpacks to {unpacked} bytes, over max_unpacked_bytes="
            f"{limits.max_unpacked_bytes}"
        )


def _check_count(members: int, limits: ArchiveLimits) -> None:
    if members > limits.max_members:
        raise HostileArchive(
            f"the archive has {members} members, over max_members={limits.max_members}"
        )


def _end_records(file: BinaryIO) -> _Directory:
    total = file.seek(0, os.SEEK_END)
    if total < _END.size:
        raise HostileArchive("not a ZIP file: too short")
    sign, *disks, members, size, begin, comment = _END.unpack(_at(file, total - _END.size, _END))
    if sign != b"PK\5\6" or comment:
        raise HostileArchive("not a ZIP file, or something follows its end")
    if disks != [0, 0, members]:
        raise HostileArchive("the archive claims to span several disks")
    end = total - _END.size
    if end >= _LOCATOR64.size + _END64.size:
        locator = _LOCATOR64.unpack(_at(file, end - _LOCATOR64.size, _LOCATOR64))
        if locator[0] == b"PK\6\7":
            return _end64(file, end - _LOCATOR64.size - _END64.size, locator[2])
    return _Directory(members, begin, size, end)


def _end64(file: BinaryIO, place: int, claimed: int) -> _Directory:
    sign, length, _, _, *disks, members, size, begin = _END64.unpack(_at(file, place, _END64))
    if sign != b"PK\6\6" or claimed != place or length != _END64.size - 12:
        raise HostileArchive("the archive's ZIP64 end record is not where it should be")
    if disks != [0, 0, members]:
        raise HostileArchive("the archive claims to span several disks")
    return _Directory(members, begin, size, place)


def _check_name(name: str) -> None:
    if name != MANIFEST and not JSON_NAME.match(name) and not BLOB_NAME.match(name):
        raise HostileArchive(
            f"the archive has a member {name[:80]!r}; only {MANIFEST}, [a-z_]+.json, "
            "[a-z_]+.jsonl and blobs/<sha256>.safetensors or .bin may be there"
        )


def _check_kind(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    if info.flag_bits & _ENCRYPTED:
        raise HostileArchive(f"member {name} is encrypted")
    plain = not (info.flag_bits & ~_UTF8_NAME or info.comment or info.volume)
    # Some Pythons take the file name from an extra field.
    if not plain or info.filename != name or not _only_sizes64(info.extra):
        raise HostileArchive(f"member {name} uses ZIP features that a cube archive does not")
    if info.is_dir() or stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise HostileArchive(f"member {name} is a link or a special file")
    allowed = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if info.compress_type not in (allowed[:1] if BLOB_NAME.match(name) else allowed):
        raise HostileArchive(f"member {name} is packed by a method that is not allowed for it")


def _check_size(info: zipfile.ZipInfo, limits: ArchiveLimits) -> None:
    name, size, packed = info.orig_filename, info.file_size, info.compress_size
    most = limits.max_manifest_bytes if name == MANIFEST else limits.max_member_bytes
    if size > most:
        raise HostileArchive(f"member {name} unpacks to {size} bytes, over the limit of {most}")
    if size > limits.ratio_free_bytes and size > packed * limits.max_ratio:
        raise HostileArchive(
            f"member {name} unpacks {packed} bytes to {size}, over max_ratio={limits.max_ratio}"
        )


def _check_places(file: BinaryIO, infos: list[zipfile.ZipInfo], directory: int) -> None:
    at = 0
    for info in sorted(infos, key=lambda i: i.header_offset):
        if info.header_offset != at:
            how = "overlaps another" if info.header_offset < at else "has unknown bytes before it"
            raise HostileArchive(f"member {info.orig_filename} {how}")
        at += _local_header_bytes(file, info) + info.compress_size
        if at > directory:
            raise HostileArchive(f"member {info.orig_filename} reaches beyond the members' end")
    if at != directory:
        raise HostileArchive("the archive has unknown bytes behind its members")


def _local_header_bytes(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Length of the member's own header, after comparing it with the directory."""
    sign, _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL.unpack(
        _at(file, info.header_offset, _LOCAL)
    )
    name, extra = file.read(name_bytes), file.read(extra_bytes)
    if extra:
        packed, size = _sizes64(extra, packed, size)
    claims = (flags, method, crc, packed, size, name)
    expected = (
        info.flag_bits,
        info.compress_type,
        info.CRC,
        info.compress_size,
        info.file_size,
        info.orig_filename.encode("utf-8"),
    )
    if sign != b"PK\3\4" or claims != expected:
        raise HostileArchive(
            f"member {info.orig_filename} says one thing in the directory and another before "
            "its content"
        )
    return _LOCAL.size + len(name) + len(extra)


def _only_sizes64(extra: bytes) -> bool:
    """Whether a directory entry has no extra field but the one for large sizes."""
    return not extra or (extra[:2] == b"\1\0" and len(extra) == 4 + extra[2] <= 28)


def _sizes64(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    """The packed and unpacked size from the only extra field that may be there."""
    if len(extra) != _EXTRA64.size:
        raise HostileArchive("a member has extra fields that a cube archive does not")
    tag, length, size64, packed64 = _EXTRA64.unpack(extra)
    # Python before 3.11.4 repeats the true sizes in the 32-bit fields.
    agree = packed in (_FULL_FIELD, packed64) and size in (_FULL_FIELD, size64)
    if tag != 1 or length != 16 or not agree:
        raise HostileArchive("a member has extra fields that a cube archive does not")
    return packed64, size64


def _at(file: BinaryIO, place: int, record: struct.Struct) -> bytes:
    file.seek(place)
    raw = file.read(record.size)
    if len(raw) != record.size:
        raise HostileArchive("the archive ends inside a header")
    return raw
