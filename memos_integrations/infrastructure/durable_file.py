"""A new file that appears whole and durable under its name, or not at all.

Called by the blob store and the archive writer. POSIX keeps a rename only once the directory is
synced; on Windows the directory can be neither synced nor locked, so both are skipped there.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from memos_integrations.cube.errors import Conflict, StorageFull

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_PRIVATE_FILE = 0o600
_PRIVATE_DIRECTORY = 0o700


@contextmanager
def full_disk_is_typed(where: Path) -> Generator[None]:
    """Turns "no space", "over quota" and "file too large" into ``StorageFull``."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFull(
            f"no room to write under {where} ({error.strerror}); nothing of this write was kept. "
            "Free space, then retry"
        ) from error


class NewFile:
    """A private temporary file beside its future place; ``publish`` names it, ``discard`` ends it.

    It holds a lock while open, so ``is_abandoned`` can tell a crashed writer's leftover from the
    work of a slow one.
    """

    def __init__(self, directory: Path, *, prefix: str) -> None:
        self.path = directory / f"{prefix}{secrets.token_hex(8)}.tmp"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        handle = os.open(self.path, flags, _PRIVATE_FILE)
        _lock(handle, shared=False)
        self.file: BinaryIO = os.fdopen(handle, "w+b")

    def publish(self, target: Path, *, replace: bool) -> None:
        """Makes it durable as ``target``. Raises ``Conflict`` if that exists, unless told."""
        self.file.flush()
        os.fsync(self.file.fileno())
        if replace:
            self.path.replace(target)
        else:
            _rename_new(self.path, target)
        sync_directory(target.parent)
        self.file.close()

    def discard(self) -> None:
        """Leaves nothing behind; harmless after ``publish``."""
        if not self.file.closed:
            self.path.unlink(missing_ok=True)
            with suppress(OSError):  # the unwritten rest no longer matters
                self.file.close()


def is_abandoned(path: Path) -> bool:
    """Whether no living ``NewFile`` writes there."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return _lock(handle, shared=False, wait=False)
    finally:
        os.close(handle)


@contextmanager
def directory_lock(directory: Path, *, shared: bool) -> Generator[None]:
    """Holds the directory against other threads and processes; needs no lock file."""
    if sys.platform == "win32":
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        _lock(handle, shared=shared)
        yield
    finally:
        os.close(handle)


def make_directory(directory: Path) -> None:
    """The directory exists, private and durable, with its parents."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(mode=_PRIVATE_DIRECTORY, exist_ok=True)
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Makes the names in it survive a power cut."""
    if sys.platform == "win32":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _rename_new(path: Path, target: Path) -> None:
    """Renames without replacing: a hard link fails where a rename would overwrite."""
    try:
        os.link(path, target)
    except FileExistsError as error:
        raise Conflict(f"{target} exists; pass replace=True to overwrite it") from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():
            raise Conflict(f"{target} exists; pass replace=True to overwrite it") from error
        path.replace(target)
    else:
        path.unlink()


def _lock(handle: int, *, shared: bool, wait: bool = True) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl  # noqa: PLC0415  (POSIX only)

    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(handle, mode if wait else mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
