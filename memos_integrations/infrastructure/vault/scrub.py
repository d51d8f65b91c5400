"""After an erase: make the file forget physically, then look whether it did.

Freed cells are zeroed as they are freed (``secure_delete``); the write-ahead log still holds
older pages until it is folded in and cut off. The scan reads the raw bytes of every file of the
vault; if an erased text is still there, the file is rewritten and scanned again.
"""

from __future__ import annotations

import json
import mmap
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from memos_integrations.infrastructure.vault.packing import bare

_MIN_NEEDLE_BYTES = 12
_NEEDLE_BYTES = 256
_CHECKPOINT_TRIES = 20
TRAINING = ".training"
"""What the name of the folder for trainings in progress ends with."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What the raw bytes of the files say after an erase."""

    files: tuple[str, ...]
    searched: int
    """Erased texts that are long enough to be looked for."""
    found: int
    """Those whose bytes are still in a file although no memory holds them any more."""
    log_cut: bool
    """Whether the write-ahead log could be cut off; another process may be reading from it."""
    rewritten: bool = False
    engine: str | None = None
    """What became of the vectors in an outside engine; ``None`` without one."""


def needles(words: Iterable[str]) -> list[bytes]:
    """The byte strings to look for: each erased text as stored, and as JSON would hold it."""
    found: set[bytes] = set()
    for word in words:
        for shape in (word, json.dumps(word)[1:-1]):
            raw = shape.encode("utf-8", "surrogatepass")
            if len(raw) >= _MIN_NEEDLE_BYTES:
                found.add(raw[:_NEEDLE_BYTES])  # a longer text may be cut by a page border
    return sorted(found)


def scrub(
    connection: sqlite3.Connection,
    path: str,
    words: Sequence[str],
    packed: Sequence[bytes] = (),
) -> Scan:
    """Cut the log, scan the raw files, and rewrite the database if something is left.

    ``packed`` are compressed words and values of records, to be looked for as the bytes they were.
    """
    cut = cut_log(connection)
    wanted = [n for n in needles(words) if not _still_told(connection, n)]
    pressed = {raw[:_NEEDLE_BYTES] for raw in packed if len(raw) >= _MIN_NEEDLE_BYTES}
    wanted += [n for n in sorted(pressed) if not _still_packed(connection, n)]
    files = vault_files(path)
    found = sum(1 for needle in wanted if any(holds(f, needle) for f in files))
    rewritten = False
    if found and cut:
        with bare(connection):
            connection.execute("VACUUM")
        cut, rewritten = cut_log(connection), True
        found = sum(1 for needle in wanted if any(holds(f, needle) for f in files))
    names = tuple(f.name for f in files)
    return Scan(names, len(wanted), found, log_cut=cut, rewritten=rewritten)


def _still_told(connection: sqlite3.Connection, needle: bytes) -> bool:
    text = needle.decode("utf-8", "ignore")
    row = connection.execute(
        "SELECT 1 FROM content WHERE instr(text, ?1) OR instr(coalesce(data, ''), ?1) LIMIT 1",
        (text,),
    )
    return row.fetchone() is not None


def _still_packed(connection: sqlite3.Connection, needle: bytes) -> bool:
    row = connection.execute(
        "SELECT 1 FROM main.content WHERE instr(packed, ?1) "
        "UNION ALL SELECT 1 FROM record_value WHERE instr(value, ?1) LIMIT 1",
        (needle,),
    )
    return row.fetchone() is not None


def cut_log(connection: sqlite3.Connection) -> bool:
    """Fold the write-ahead log in and cut it off; whether no reader was in the way."""
    for _ in range(_CHECKPOINT_TRIES):
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return True
        time.sleep(0.05)
    return False


def vault_files(path: str) -> list[Path]:
    """Every file the vault writes: the database, its log and shared memory, the blobs, what
    trainings have written so far."""
    main = Path(path)
    beside = [main, main.with_name(main.name + "-wal"), main.with_name(main.name + "-shm")]
    folders = (Path(path + ".blobs"), Path(path + TRAINING))
    inside = [f for folder in folders for f in folder.rglob("*") if f.is_file()]
    return [f for f in beside if f.exists()] + inside


def holds(file: Path, needle: bytes) -> bool:
    """Whether the raw bytes of a file contain ``needle``."""
    if not file.exists() or file.stat().st_size == 0:
        return False
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        return raw.find(needle) >= 0
