"""Large payloads beside the vault: content-addressed files, written before the commit that
names them.

Called by the vault, the dumper and the loader. A blob is named by the sha256 of its bytes and
never changes. What no row names is collected after a grace period, so the order is: ``put`` (or
``renew`` for a blob that is already there), then commit.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from collections.abc import Callable, Generator, Iterator, Set
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from memos_integrations.cube.errors import InvalidInput, NotFound, VaultDamaged
from memos_integrations.cube.item import BlobRef
from memos_integrations.infrastructure.durable_file import (
    NewFile,
    directory_lock,
    full_disk_is_typed,
    is_abandoned,
    make_directory,
    sync_directory,
)

OCTETS = "application/octet-stream"
_CHUNK_BYTES = 2**20
_NAME = re.compile(r"[0-9a-f]{64}\Z")
_TEMP_PREFIX = ".incoming-"


def clean_sha256(value: object) -> str:
    """``value`` if it is 64 lowercase hex digits, the only thing that may become a file name."""
    if not isinstance(value, str) or not _NAME.match(value):
        raise InvalidInput("a blob is named by its sha256: 64 lowercase hex digits")
    return value


class BlobStore:
    """Files under ``root/ab/abcdef...``; safe for any number of threads and processes.

    Nothing is created before the first ``put``. Writers and the collector exclude each other
    through a lock on the root directory, so a blob put again while it is being collected stays.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes | BinaryIO | Path, *, media_type: str = OCTETS) -> BlobRef:
        """The name of these bytes, which are durable when this returns.

        An open file is read from its position to its end. Content that is already there and
        sound is not written twice; a damaged copy is replaced. Raises ``StorageFull``.
        """
        with full_disk_is_typed(self.root), _opened(data) as source:
            make_directory(self.root)
            with self._locked(shared=True):
                new = NewFile(self.root, prefix=_TEMP_PREFIX)
            try:
                sha256, size = _hashed(source, new.file.write)
                with self._locked(shared=True):
                    self._publish(new, sha256)
            finally:
                new.discard()
        return BlobRef(sha256=sha256, bytes=size, media_type=media_type)

    def renew(self, sha256: str) -> None:
        """Starts the grace period of a blob anew. Call it before a commit names an old blob."""
        path = self.path(sha256)
        with _missing_is_typed(sha256), self._locked(shared=True):
            os.utime(path)

    def path(self, sha256: str) -> Path:
        """Where the blob lies or would lie; says nothing about whether it does."""
        name = clean_sha256(sha256)
        return self.root / name[:2] / name

    def open(self, sha256: str) -> BinaryIO:
        """The blob's bytes as a file, unverified. Raises ``NotFound``."""
        with _missing_is_typed(sha256):
            return self.path(sha256).open("rb")

    def read(self, sha256: str, *, verify: bool = True) -> bytes:
        """The blob's bytes. Raises ``NotFound``, and ``VaultDamaged`` if they changed on disk."""
        with self.open(sha256) as file:
            data = file.read()
        if verify and hashlib.sha256(data).hexdigest() != sha256:
            raise VaultDamaged(f"blob {sha256} changed on disk; restore it from a copy or a dump")
        return data

    def read_apart(self, sha256: str) -> memoryview:
        """As ``read``, verified, in memory that is the caller's alone and can be built upon."""
        with _missing_is_typed(sha256):
            data = read_into_memory(self.path(sha256))
        if hashlib.sha256(data).hexdigest() != sha256:
            raise VaultDamaged(f"blob {sha256} changed on disk; restore it from a copy or a dump")
        return data

    def exists(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def verify(self, sha256: str) -> bool:
        """Whether the bytes on disk still hash to their name. Raises ``NotFound``."""
        with self.open(sha256) as file:
            return _hashed(file, len)[0] == sha256

    def names(self) -> Iterator[str]:
        """Every blob there is, in order."""
        for shard in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            for path in sorted(shard.iterdir()):
                if _NAME.match(path.name) and path.name.startswith(shard.name):
                    yield path.name

    def collect(
        self, referenced: Callable[[str], bool] | Set[str], *, older_than_seconds: float
    ) -> list[str]:
        """The blobs it removed: those not referenced and untouched for the grace period.

        Age is the file's mtime against the wall clock that stamps it. A callable ``referenced``
        is asked right before each removal, under the lock that ``put`` needs: it must not wait
        for a transaction that may call ``put``. What writers that died left behind goes too.
        """
        if not self.root.is_dir():
            return []
        is_referenced = referenced.__contains__ if isinstance(referenced, Set) else referenced
        oldest = time.time() - older_than_seconds
        removed: list[str] = []
        for name in self.names():
            with self._locked(shared=False):
                if self._is_older(name, oldest) and not is_referenced(name):
                    self.path(name).unlink()
                    removed.append(name)
        with self._locked(shared=False):
            self._sweep(oldest)
        return removed

    def erase(self, sha256: str) -> bool:
        """Overwrites the blob with zeros, then removes it; whether it was there.

        Leftovers of writers that died are overwritten too, as they may hold the same bytes.
        On a disk that writes in place, a raw scan then finds nothing. It cannot promise that on
        flash (wear levelling keeps old pages), copy-on-write or journalling-data file systems,
        snapshots and backups, nor for blocks freed earlier by ``collect``: there only an
        encrypted volume helps. Another holder of the open file reads zeros from now on.
        """
        path = self.path(sha256)
        if not self.root.is_dir():
            return False
        with self._locked(shared=False):
            self._sweep(time.time(), wipe=True)
            if not path.is_file():
                return False
            _overwrite(path)
            path.unlink()
            sync_directory(path.parent)
        return True

    def erase_leftovers(self) -> None:
        """Overwrites and removes what writers that died have left unfinished."""
        if self.root.is_dir():
            with self._locked(shared=False):
                self._sweep(time.time(), wipe=True)

    def _publish(self, new: NewFile, sha256: str) -> None:
        """Names the new file, unless a sound copy has the name; durable either way."""
        target = self.path(sha256)
        make_directory(target.parent)
        if target.is_file() and self.verify(sha256):
            os.utime(target)
            sync_directory(target.parent)  # its first writer may not have come so far yet
        else:
            new.publish(target, replace=True)

    def _locked(self, *, shared: bool) -> AbstractContextManager[None]:
        return directory_lock(self.root, shared=shared)

    def _is_older(self, name: str, oldest: float) -> bool:
        path = self.path(name)
        return path.is_file() and path.stat().st_mtime < oldest

    def _sweep(self, oldest: float, *, wipe: bool = False) -> None:
        """Removes the leftovers of dead writers from before ``oldest``."""
        for path in self.root.glob(f"{_TEMP_PREFIX}*"):
            with suppress(FileNotFoundError):  # its writer was alive and has finished since
                if is_abandoned(path) and path.stat().st_mtime < oldest:
                    if wipe:
                        _overwrite(path)
                    path.unlink()


def read_into_memory(path: Path) -> memoryview:
    """The bytes of a file in memory of their own, written to once."""
    with path.open("rb") as file:
        data = np.empty(os.fstat(file.fileno()).st_size, np.uint8).data
        return data[: file.readinto(data)]


@contextmanager
def _opened(data: bytes | BinaryIO | Path) -> Generator[BinaryIO]:
    if not isinstance(data, Path):
        yield io.BytesIO(data) if isinstance(data, bytes) else data
        return
    with _missing_is_typed(str(data)):
        file = data.open("rb")
    with file:
        yield file


@contextmanager
def _missing_is_typed(name: str) -> Generator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"there is no blob {name}") from error


def _hashed(source: BinaryIO, write: Callable[[bytes], object]) -> tuple[str, int]:
    """Reads to the end and hands every chunk on; the sha256 and the number of bytes."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        write(chunk)
    return digest.hexdigest(), size


def _overwrite(path: Path) -> None:
    """Writes zeros over every byte, in place, and waits for the disk."""
    with path.open("r+b") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            left -= file.write(bytes(min(left, _CHUNK_BYTES)))
        file.flush()
        os.fsync(file.fileno())
