"""Cube archives, read with suspicion. Called by the loader, inside one transaction.

Opening checks structure, names, sizes and the manifest; content is checked while it streams, so
a consumer acts on it only when the iteration has ended without ``HostileArchive`` (or calls
``verify`` first). Nothing is ever extracted to disk under a member's name.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Self

from pydantic import ValidationError

from memos_integrations.cube.errors import HostileArchive, NotFound, UsageError
from memos_integrations.cube.item import BlobRef
from memos_integrations.infrastructure.archive.contents import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    ArchiveLimits,
    Entry,
    Manifest,
)
from memos_integrations.infrastructure.archive.layout import check_directory, check_members
from memos_integrations.infrastructure.safetensors_file import SAFETENSORS, check_head, read_head
from memos_integrations.infrastructure.strict_json import JsonObject, decode_object

_CHUNK_BYTES = 2**18
_WRONG = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    RuntimeError,  # zipfile on what it cannot read; RecursionError and NotImplementedError too
)


class ArchiveReader:
    """A cube archive whose structure and manifest hold; use as a context manager.

    Raises ``NotFound`` if there is no file, ``HostileArchive`` for whatever is wrong with it.
    """

    def __init__(self, path: Path, *, limits: ArchiveLimits | None = None) -> None:
        self.path = path
        self.limits = limits or ArchiveLimits()
        self._file = _open_regular(path)
        try:
            with _hostile():
                check_directory(self._file, self.limits)
                self._zip = zipfile.ZipFile(self._file)
                check_members(self._file, self._zip, self.limits)
                self.manifest = self._read_manifest()
            self._entries = self._matched_entries()
        except BaseException:
            self._file.close()
            raise

    def names(self) -> list[str]:
        """The JSON members, in the order they were written."""
        return [entry.name for entry in self.manifest.entries if entry.blob() is None]

    def lines(self, name: str) -> Iterator[JsonObject]:
        """The rows of a JSON member. Raises ``NotFound`` for a member that is not there.

        The hash and the row count are known at the end only: a row that was handed out counts
        for nothing until then.
        """
        entry = self._entry(name)
        count = 0
        with self._open(entry) as stream:
            while line := stream.readline(self.limits.max_line_bytes + 2):
                count += 1
                yield self._row(line, f"line {count} of {name}")
        if count != self.manifest.counts[name]:
            raise HostileArchive(f"{name} has {count} rows, not the {self.manifest.counts[name]}")

    def document(self, name: str) -> JsonObject:
        """The one object of a ``.json`` member."""
        rows = list(self.lines(name)) if self.manifest.counts.get(name, 1) == 1 else []
        if len(rows) != 1:
            raise HostileArchive(f"{name} does not hold exactly one object")
        return rows[0]

    def blob_files(self) -> Iterator[tuple[BlobRef, BinaryIO]]:
        """Every blob with its bytes as a stream, good until the next is asked for.

        Tensors are checked by their header first. The hash is checked when the stream reaches
        its end; what the consumer leaves unread is read here.
        """
        for entry in self.manifest.entries:
            if (ref := entry.blob()) is not None:
                with self._open(entry) as stream:
                    yield ref, stream
                    while not stream.closed and stream.read(_CHUNK_BYTES):
                        pass

    def verify(self) -> None:
        """Reads everything once; returns only if all of it holds."""
        for name in self.names():
            for _ in self.lines(name):
                pass
        for _ in self.blob_files():
            pass

    def close(self) -> None:
        self._zip.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_manifest(self) -> Manifest:
        if MANIFEST not in self._zip.NameToInfo:
            raise HostileArchive(f"the archive has no {MANIFEST}")
        with self._zip.open(MANIFEST) as file:
            raw = file.read(self.limits.max_manifest_bytes + 1)
        if len(raw) > self.limits.max_manifest_bytes:
            raise HostileArchive(f"{MANIFEST} is over {self.limits.max_manifest_bytes} bytes")
        found = decode_object(raw, max_depth=self.limits.max_json_depth, what=MANIFEST)
        if found.get("format") == FORMAT and found.get("format_version") != FORMAT_VERSION:
            version = str(found.get("format_version"))[:20]
            raise HostileArchive(f"archive format {version}; this program reads {FORMAT_VERSION}")
        try:
            return Manifest.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part)[:40] for part in first["loc"])
            raise HostileArchive(f"{MANIFEST}: {where}: {first['msg']}") from error

    def _matched_entries(self) -> dict[str, Entry]:
        """The manifest's entries, when they and the members are the same set."""
        entries = {entry.name: entry for entry in self.manifest.entries}
        sizes = {info.filename: info.file_size for info in self._zip.infolist()}
        sizes.pop(MANIFEST)
        if len(entries) != len(self.manifest.entries) or entries.keys() != sizes.keys():
            odd = sorted(entries.keys() ^ sizes.keys()) or ["an entry that stands twice"]
            raise HostileArchive(f"manifest and members differ: {odd[0][:100]}")
        for entry in entries.values():
            if not entry.is_honest() or sizes[entry.name] != entry.bytes:
                raise HostileArchive(f"the manifest misdescribes {entry.name[:100]!r}")
        if self.manifest.counts.keys() != set(self.names()):
            raise HostileArchive("the manifest does not count the rows of each JSON member")
        return entries

    def _entry(self, name: str) -> Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound(f"the archive has no member {name}")
        if entry.blob() is not None:
            raise UsageError(f"{name} is a blob; read it through blob_files()")
        return entry

    @contextmanager
    def _open(self, entry: Entry) -> Generator[BinaryIO]:
        with _hostile():
            source = self._zip.open(entry.name)
        with source:
            stream = _VerifiedStream(source, entry)
            if entry.media_type == SAFETENSORS:
                self._check_tensors(stream, entry)
            with io.BufferedReader(stream, _CHUNK_BYTES) as buffered:
                yield buffered

    def _check_tensors(self, stream: _VerifiedStream, entry: Entry) -> None:
        most = self.limits.max_tensor_header_bytes
        head = read_head(stream, total_bytes=entry.bytes, max_header_bytes=most)
        check_head(head, total_bytes=entry.bytes, max_tensors=self.limits.max_tensors)
        stream.push_back(head)

    def _row(self, line: bytes, what: str) -> JsonObject:
        body = line.removesuffix(b"\n")
        if len(body) > self.limits.max_line_bytes:
            raise HostileArchive(f"{what} is over max_line_bytes={self.limits.max_line_bytes}")
        return decode_object(body, max_depth=self.limits.max_json_depth, what=what)


class _VerifiedStream(io.RawIOBase):
    """A member's bytes; the end is only reached if their number and hash are as promised."""

    def __init__(self, source: IO[bytes], entry: Entry) -> None:
        self._source = source
        self._entry = entry
        self._digest = hashlib.sha256()
        self._seen = 0
        self._pushed = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        chunk = self._pushed[: len(buffer)] or self._next(len(buffer))
        self._pushed = self._pushed[len(chunk) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def push_back(self, data: bytes) -> None:
        """Makes the next reads begin with ``data`` again; it was hashed when first read."""
        self._pushed = data + self._pushed

    def _next(self, size: int) -> bytes:
        with _hostile(self._entry.name):
            chunk = self._source.read(size)
        self._seen += len(chunk)
        self._digest.update(chunk)
        ended = not chunk and size > 0
        if self._seen > self._entry.bytes or (ended and self._seen != self._entry.bytes):
            raise HostileArchive(f"{self._entry.name} is not {self._entry.bytes} bytes long")
        if ended and self._digest.hexdigest() != self._entry.sha256:
            raise HostileArchive(f"{self._entry.name} does not have the sha256 it should have")
        return chunk


@contextmanager
def _hostile(name: str = "the archive") -> Generator[None]:
    """Turns what zipfile, zlib and friends raise on bad input into ``HostileArchive``."""
    try:
        yield
    except HostileArchive:
        raise
    except _WRONG as error:
        text = str(error)[:200] or type(error).__name__
        raise HostileArchive(f"{name} cannot be read: {text}") from error


def _open_regular(path: Path) -> BinaryIO:
    if not path.exists():
        raise NotFound(f"there is no archive {path}")
    if not path.is_file():
        raise HostileArchive(f"{path} is not a file")
    return path.open("rb")
