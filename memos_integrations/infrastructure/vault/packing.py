"""Words of cold memories: compressed in their own row, unpacked wherever they are read.

Every connection of the vault reads ``content`` through a temporary view of that name, so all
queries, written and to come, see the words, and one place unpacks. Writes name ``main.content``.
The indexes of the table serve the view as well.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Generator
from contextlib import contextmanager

from memos_integrations.cube.errors import VaultDamaged

_VIEW = """
CREATE TEMP VIEW IF NOT EXISTS content AS
SELECT tid, cid, iid, fold,
       CASE WHEN packed IS NULL THEN text ELSE memos_unpacked(packed) END AS text,
       data, spans
FROM main.content
"""
_LEVEL = 9


def see_words(connection: sqlite3.Connection) -> None:
    """Have this connection read packed words as words; after the migrations only."""
    connection.create_function("memos_unpacked", 1, unpacked, deterministic=True)
    connection.execute(_VIEW)


@contextmanager
def bare(connection: sqlite3.Connection) -> Generator[None]:
    """The connection without the view, for what names tables by itself: ``VACUUM`` makes indexes
    anew, and would make them on the view."""
    connection.execute("DROP VIEW IF EXISTS temp.content")
    try:
        yield
    finally:
        connection.execute(_VIEW)


def packed(text: str) -> bytes | None:
    """The words compressed, or ``None`` where that would not make them shorter."""
    raw = text.encode()
    made = zlib.compress(raw, _LEVEL)
    return made if len(made) < len(raw) else None


def unpacked(blob: bytes) -> str:
    """The words of ``packed``. Raises ``VaultDamaged`` for bytes that are none."""
    try:
        return zlib.decompress(blob).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise VaultDamaged("packed words cannot be read; restore a copy or load a dump") from error


def pack_item(connection: sqlite3.Connection, item: int) -> int:
    """Pack the words of every version of an item; how many bytes that saved."""
    rows = connection.execute(
        "SELECT tid, text FROM main.content WHERE iid = ? AND packed IS NULL", (item,)
    ).fetchall()
    saved = 0
    for tid, text in rows:
        made = packed(text)
        if made is not None:
            connection.execute(
                "UPDATE main.content SET text = '', packed = ? WHERE tid = ?", (made, tid)
            )
            saved += len(text.encode()) - len(made)
    return saved


def unpack_item(connection: sqlite3.Connection, item: int) -> int:
    """Put the words of every version of an item back; how many were packed."""
    rows = connection.execute(
        "SELECT tid, packed FROM main.content WHERE iid = ? AND packed IS NOT NULL", (item,)
    ).fetchall()
    for tid, blob in rows:
        connection.execute(
            "UPDATE main.content SET text = ?, packed = NULL WHERE tid = ?", (unpacked(blob), tid)
        )
    return len(rows)
