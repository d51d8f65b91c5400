"""The files of a knowledge base: those of a folder that fit a pattern, none outside of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from memos_integrations.cube.errors import InvalidInput

_MAX_FILES = 100_000


@dataclass(frozen=True, slots=True)
class FolderFile:
    """A file with its path in the folder."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        return self.root / self.name

    def ensure_inside(self) -> None:
        """Raise ``InvalidInput`` for a link that leads out of the folder."""
        if not self.path.resolve().is_relative_to(self.root.resolve()):
            raise InvalidInput(
                f"{self.name} is a link that leads out of the folder; it is not read"
            )


def files_of(path: str | os.PathLike[str], pattern: str) -> list[FolderFile]:
    """The files by name. Raises ``InvalidInput`` where there is no such folder or none fits."""
    if not isinstance(path, str | os.PathLike) or "\x00" in os.fspath(path):
        raise InvalidInput("path must be the name of a folder")
    root = Path(path)
    if not root.is_dir():
        raise InvalidInput(f"there is no folder {root.name or root}")
    unclean = not isinstance(pattern, str) or not pattern or ".." in Path(pattern).parts
    if unclean or Path(pattern).is_absolute():
        raise InvalidInput("pattern must be a glob inside the folder, such as **/*.md")
    found = [
        FolderFile(root, file.relative_to(root).as_posix()) for file in _matching(root, pattern)
    ]
    if not found:
        raise InvalidInput(f"no file of {root.name or root} fits {pattern}")
    if len(found) > _MAX_FILES:
        raise InvalidInput(f"more than {_MAX_FILES} files fit {pattern}; narrow it")
    return sorted(found, key=lambda file: file.name)


def _matching(root: Path, pattern: str) -> list[Path]:
    try:
        return [
            file
            for file in root.glob(pattern)
            if file.is_file() and not any(p.startswith(".") for p in file.relative_to(root).parts)
        ]
    except (ValueError, NotImplementedError) as error:
        raise InvalidInput("pattern must be a glob inside the folder, such as **/*.md") from error
