"""Folders of trainings in progress, beside the vault. What lies in them is made of memories, so an
erase empties those of the memories that go.

Called by what trains (each gets a folder of its own) and by the vault after an erase. Whoever
writes into a folder that was wiped fails: a checkpoint of erased words cannot come back. A training
without its folder begins anew, on the memories that are left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from memos_integrations.infrastructure.durable_file import directory_lock, make_directory

_CHUNK_BYTES = 2**20
_TRIES = 1000


class Checkpoints:
    """Folders under ``root``, by the id of what is trained. Safe for several processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str) -> Path:
        """The folder of this training, made where it is not there."""
        make_directory(self.root / name)
        return self.root / name

    def is_there(self, name: str) -> bool:
        """Whether the folder still stands: where it does not, something was erased."""
        return (self.root / name).is_dir()

    def drop(self, name: str) -> None:
        """Overwrite and remove one folder; one that is not there is fine."""
        _wipe(self.root / name)

    def keep_only(self, names: Collection[str]) -> None:
        """Overwrite and remove every other folder: their trainings have ended, or were of what is
        erased."""
        for folder in self._folders():
            if folder.name not in names:
                _wipe(folder)

    def _folders(self) -> list[Path]:
        return sorted(self.root.iterdir()) if self.root.is_dir() else []


def _wipe(folder: Path) -> None:
    """A file that appears meanwhile is wiped too: the folder goes only when it is empty."""
    for _ in range(_TRIES):
        # Whoever writes there holds the folder, so that no name changes hands meanwhile.
        with suppress(FileNotFoundError), directory_lock(folder, shared=False):
            for path in folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    overwrite(path)
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            continue
        return
    folder.rmdir()


def overwrite(path: Path) -> None:
    """Zeros over every byte, then the name goes; a link is only unlinked, what is not there is
    fine."""
    with suppress(FileNotFoundError):
        if not path.is_symlink():
            with path.open("r+b") as file:
                left = os.fstat(file.fileno()).st_size
                while left > 0:
                    left -= file.write(bytes(min(left, _CHUNK_BYTES)))
                file.flush()
                os.fsync(file.fileno())
        path.unlink()
