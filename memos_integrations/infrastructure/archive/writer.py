"""Cube archives, written: streaming, deterministic, all or nothing. Called by the dumper."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from memos_integrations.cube.errors import (
    Conflict,
    HostileArchive,
    InvalidInput,
    NotFound,
    UsageError,
    VaultDamaged,
)
from memos_integrations.cube.item import BlobRef
from memos_integrations.infrastructure.archive.contents import (
    FORMAT,
    FORMAT_VERSION,
    JSON_NAME,
    MANIFEST,
    MEMBER_MODE,
    MEMBER_TIME,
    ArchiveLimits,
    Entry,
    Manifest,
    blob_name,
)
from memos_integrations.infrastructure.archive.layout import check_sizes
from memos_integrations.infrastructure.blobs import clean_sha256
from memos_integrations.infrastructure.durable_file import NewFile, full_disk_is_typed
from memos_integrations.infrastructure.safetensors_file import (
    SAFETENSORS,
    Readable,
    check_head,
    read_head,
)
from memos_integrations.infrastructure.strict_json import decode_object, encode_object

_CHUNK_BYTES = 2**20


class _Member:
    """An open member that counts and hashes what goes into it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.bytes += len(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class ArchiveWriter:
    """Writes a cube archive that appears under its name when ``finish`` has returned.

    Use as a context manager; leaving it early or by an error leaves nothing behind. The same
    calls give the same bytes (with the same zlib). What it accepts, ``ArchiveReader`` with the
    same limits reads back. Raises ``Conflict`` if the file exists and ``replace`` is not set.
    """

    def __init__(
        self, path: Path, *, replace: bool = False, limits: ArchiveLimits | None = None
    ) -> None:
        if path.exists() and not replace:
            raise Conflict(f"{path} exists; pass replace=True to overwrite it")
        if not path.parent.is_dir():
            raise NotFound(f"there is no directory {path.parent}; make it first")
        self.path = path
        self._replace = replace
        self._limits = limits or ArchiveLimits()
        self._entries: dict[str, Entry] = {}
        self._counts: dict[str, int] = {}
        self._state = "open"
        with full_disk_is_typed(path.parent):
            self._new = NewFile(path.parent, prefix=f".{path.name}.")
            self._zip = zipfile.ZipFile(self._new.file, "w", allowZip64=True)

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """Streams the rows into ``name`` (``[a-z_]+.jsonl``), one object a line; how many."""
        if not name.endswith(".jsonl"):
            raise InvalidInput(f"rows go into a .jsonl member, not {name!r}")
        return self._write_rows(name, rows)

    def write_document(self, name: str, row: Mapping[str, Any]) -> None:
        """Writes one object as ``name`` (``[a-z_]+.json``)."""
        if not name.endswith(".json"):
            raise InvalidInput(f"a single object goes into a .json member, not {name!r}")
        self._write_rows(name, [row])

    def write_blob(self, ref: BlobRef, file: Readable) -> None:
        """Streams the blob in, once however often it comes.

        Raises ``VaultDamaged`` if the bytes are not those ``ref`` names, or are called tensors
        and are none.
        """
        name = blob_name(clean_sha256(ref.sha256), ref.media_type)
        if name in self._entries:
            return
        with self._member(name, zipfile.ZIP_STORED, expected_bytes=ref.bytes) as member:
            try:
                self._copy_blob(ref, file, member)
            except HostileArchive as error:
                raise VaultDamaged(f"blob {ref.sha256} cannot be dumped: {error}") from error
            if (member.sha256, member.bytes) != (ref.sha256, ref.bytes):
                raise VaultDamaged(f"blob {ref.sha256} has other bytes than its name says")
        self._entries[name] = Entry(
            name=name, bytes=ref.bytes, sha256=ref.sha256, media_type=ref.media_type
        )

    def finish(self, *, cube: Mapping[str, Any], created: datetime) -> Manifest:
        """Writes the manifest and puts the archive in its place; returns when it is durable."""
        self._check_open()
        manifest = self._manifest(cube, created)
        row = manifest.model_dump(mode="json", exclude={"cube"}) | {"cube": manifest.cube}
        line = self._encode(MANIFEST, row, max_bytes=self._limits.max_manifest_bytes)
        with self._member(MANIFEST, zipfile.ZIP_DEFLATED) as member:
            member.write(line)
        self._check_fits()
        with self._failing_for_good():
            self._zip.close()
            self._new.publish(self.path, replace=self._replace)
        self._state = "finished"
        return manifest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        unfinished = self._state != "finished"
        if unfinished:
            self._abandon()
        if unfinished and kind is None:
            raise UsageError("the archive was not written: call finish(cube=..., created=...)")

    def _write_rows(self, name: str, rows: Iterable[Mapping[str, Any]]) -> int:
        if not JSON_NAME.match(name) or name == MANIFEST:
            raise InvalidInput(f"{name!r} cannot name a member; use [a-z_]+.jsonl")
        count = 0
        with self._member(name, zipfile.ZIP_DEFLATED) as member:
            for row in rows:
                member.write(self._encode(name, row, max_bytes=self._limits.max_line_bytes))
                count += 1
        self._entries[name] = Entry(name=name, bytes=member.bytes, sha256=member.sha256)
        self._counts[name] = count
        return count

    def _manifest(self, cube: Mapping[str, Any], created: datetime) -> Manifest:
        try:
            return Manifest(
                format=FORMAT,
                format_version=FORMAT_VERSION,
                created=created.astimezone(UTC) if created.tzinfo else created,
                cube=dict(cube),
                entries=tuple(self._entries.values()),
                counts=self._counts,
            )
        except ValueError as error:
            raise InvalidInput(f"the manifest cannot be written: {error}") from error

    def _encode(self, name: str, row: Mapping[str, Any], *, max_bytes: int) -> bytes:
        """The row as a line that the reader is sure to take."""
        try:
            line = encode_object(dict(row))
            decode_object(line, max_depth=self._limits.max_json_depth, what=f"a row of {name}")
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidInput(f"a row of {name} cannot be written: {error}") from error
        if len(line) > max_bytes:
            raise InvalidInput(f"a row of {name} is over the limit of {max_bytes} bytes")
        return line + b"\n"

    def _check_fits(self) -> None:
        try:
            check_sizes(self._zip.infolist(), self._limits)
        except HostileArchive as error:
            raise InvalidInput(
                f"no reader would take this archive: {error}. Pass both wider limits"
            ) from error

    def _copy_blob(self, ref: BlobRef, file: Readable, member: _Member) -> None:
        if ref.media_type == SAFETENSORS:
            most = self._limits.max_tensor_header_bytes
            head = read_head(file, total_bytes=ref.bytes, max_header_bytes=most)
            check_head(head, total_bytes=ref.bytes, max_tensors=self._limits.max_tensors)
            member.write(head)
        while member.bytes <= ref.bytes and (chunk := file.read(_CHUNK_BYTES)):
            member.write(chunk)

    @contextmanager
    def _member(
        self, name: str, method: int, *, expected_bytes: int | None = None
    ) -> Generator[_Member]:
        self._check_open()
        if name in self._entries:
            raise UsageError(f"{name} was written already")
        info = zipfile.ZipInfo(name, date_time=MEMBER_TIME)
        info.create_system = 3  # Unix, whatever this runs on: the bytes must not tell
        info.external_attr = MEMBER_MODE << 16
        info.compress_type = method
        info.file_size = expected_bytes or 0
        unknown = expected_bytes is None
        with self._failing_for_good(), self._zip.open(info, "w", force_zip64=unknown) as file:
            yield _Member(file)

    @contextmanager
    def _failing_for_good(self) -> Generator[None]:
        """After an error the half-written member can only be thrown away with the rest."""
        self._state, before = "failed", self._state
        with full_disk_is_typed(self.path.parent):
            yield
        self._state = before

    def _check_open(self) -> None:
        if self._state != "open":
            raise UsageError(f"this archive is {self._state}; start another")

    def _abandon(self) -> None:
        with suppress(OSError, ValueError):  # it writes its end into a file about to go
            self._zip.close()
        self._new.discard()
