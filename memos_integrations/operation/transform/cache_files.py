"""The files of caches and their rows, held against each other; nothing here needs torch.

Called by the disk tier and the facade. A file is written before the row that names it and removed
after it, so a kill in between leaves a file without a name, which holds a prompt in disguise. It is
known by its manifest, and goes when the vault is opened again, and with the next erase or repair.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from memos_integrations.cube.errors import HostileArchive, NotFound
from memos_integrations.infrastructure.activation.errors import CacheRefused
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.activation.manifest import told_by
from memos_integrations.infrastructure.durable_file import (
    NewFile,
    directory_lock,
    is_abandoned,
    make_directory,
    sync_directory,
)
from memos_integrations.infrastructure.vault import artifacts, cache_records
from memos_integrations.infrastructure.vault.cache_records import FileRow
from memos_integrations.infrastructure.vault.vault import MemVault

_MARK = "writing-"


@dataclass(frozen=True, slots=True)
class CacheFinding:
    """What is wrong with a cache, or with a file that none names."""

    key: str
    """Of the cache; the hash of a file without one."""
    what: str


@dataclass(frozen=True, slots=True)
class CacheReport:
    """What was looked at, what is wrong, and what was removed."""

    caches: int
    bytes: int
    findings: tuple[CacheFinding, ...]
    removed: int

    @property
    def sound(self) -> bool:
        return not self.findings


class CacheFiles:
    """The blobs of caches. Safe for many threads and processes; ``folder`` is what they lock."""

    def __init__(self, vault: MemVault, folder: Path) -> None:
        self._vault = vault
        self._folder = folder

    @contextmanager
    def writing(self) -> Generator[None]:
        """To be held while a file has no row yet, or its row is gone: a kill leaves a mark."""
        with self._locked(shared=True):
            mark = NewFile(self._folder, prefix=_MARK)
            try:
                sync_directory(self._folder)
                yield
            finally:
                mark.discard()

    def recover(self) -> bool:
        """Erase what killed writers left; whether there were any. Cheap where there were none."""
        marks = [each for each in self._folder.glob(f"{_MARK}*") if is_abandoned(each)]
        if marks:
            self.sweep()
        for each in marks:
            each.unlink(missing_ok=True)
        return bool(marks)

    def discard(self, keys: Sequence[Digest] | None) -> int:
        """Take out these, or all that were withdrawn, with their files; the files that went."""
        with self.writing():
            gone = self._vault.maintain(lambda tx: artifacts.take_out(tx, keys))
            return sum(self._vault.blobs.erase(sha256) for sha256 in gone)

    def sweep(self) -> list[str]:
        """Erase the files of caches that nothing names, and unfinished ones; the former by hash."""
        if not self._vault.blobs.root.is_dir():
            return []
        with self._locked(shared=False):
            orphans = self._orphans()
            for sha256 in orphans:
                self._vault.blobs.erase(sha256)
            self._vault.blobs.erase_leftovers()
        return orphans

    def verify(
        self, *, repair: bool, progress: Callable[[float], None] | None = None
    ) -> CacheReport:
        """Hash every file again, and hold its header and its row against it.

        With ``repair``, what is wrong, withdrawn or without a name is removed: caches are made
        anew when they are wanted.
        """
        with self._vault.readers.snapshot() as connection:
            rows = cache_records.file_rows(connection)
        wrong: dict[Digest, str] = {}
        for n, row in enumerate(rows):
            why = self._wrong(row)
            if why is not None:
                wrong[row.key] = why
            if progress is not None:
                progress((n + 1) / len(rows))
        wrong = self._still(wrong, rows)
        if repair and wrong:
            self.discard(list(wrong))
        orphans = self.sweep() if repair else self._seen_orphans()
        findings = [CacheFinding(key, why) for key, why in wrong.items()]
        findings += [CacheFinding(sha256, "a file that no cache names") for sha256 in orphans]
        return CacheReport(
            caches=len(rows),
            bytes=sum(row.bytes for row in rows),
            findings=tuple(findings),
            removed=len(findings) if repair else 0,
        )

    def _wrong(self, row: FileRow) -> str | None:
        """Why this cache is not to be served, or ``None``."""
        if row.withdrawn is not None:
            return "a source has changed since"
        if row.groundless or not row.findable:
            return "a memory it was made of is gone" if row.groundless else "nothing leads to it"
        try:
            return self._wrong_file(row)
        except NotFound:
            return "its file is missing"
        except (HostileArchive, CacheRefused) as refusal:
            return f"its file is not sound: {refusal}"

    def _wrong_file(self, row: FileRow) -> str | None:
        if not self._vault.blobs.verify(row.sha256):
            return "its file changed on disk"
        told = told_by(self._vault.blobs.path(row.sha256))
        if (told.identity, told.tokens, told.bytes) != (row.identity, row.tokens, row.bytes):
            return "its file is another one than its row tells of"
        return None

    def _still(self, wrong: dict[Digest, str], rows: Sequence[FileRow]) -> dict[Digest, str]:
        """Those whose row still stands as it was read: others went or were replaced meanwhile."""
        with self._vault.readers.snapshot() as connection:
            now = {row.key: row.sha256 for row in cache_records.file_rows(connection)}
        before = {row.key: row.sha256 for row in rows}
        return {key: why for key, why in wrong.items() if now.get(key) == before[key]}

    def _seen_orphans(self) -> list[str]:
        if not self._vault.blobs.root.is_dir():
            return []
        with self._locked(shared=False):
            return self._orphans()

    def _orphans(self) -> list[str]:
        there = list(self._vault.blobs.names())
        with self._vault.readers.snapshot() as connection:
            named = cache_records.named_blobs(connection)
        return [name for name in there if name not in named and self._is_ours(name)]

    def _is_ours(self, sha256: str) -> bool:
        try:
            told_by(self._vault.blobs.path(sha256))
        except (HostileArchive, CacheRefused, NotFound):
            return False
        return True

    def _locked(self, *, shared: bool) -> AbstractContextManager[None]:
        make_directory(self._folder)
        return directory_lock(self._folder, shared=shared)
