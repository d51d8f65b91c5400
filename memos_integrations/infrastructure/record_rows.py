"""Records out of a cube and into one, as rows of an archive.

Called by the dumper and the loader. Values are cut into pieces, so that no line of an archive is
longer than a reader takes, and put together again within the bounds a write has.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from memos_integrations.cube.errors import HostileArchive
from memos_integrations.infrastructure.archive import ArchiveReader
from memos_integrations.infrastructure.vault import records
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.records import Place
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.infrastructure.wire import RECORDS, RecordRow, parse

_PIECE_BYTES = 2**20


def dumped(reading: Reading, cid: int) -> Iterator[dict[str, Any]]:
    """Every record of the cube that the asker may read, a value in one or more rows."""
    found = records.everything(reading.connection, reading.asking, cid)
    for vid, space, key, session, _, written, expires in found:
        row = {"space": space, "key": key, "written": written}
        row |= {"session": session} if session is not None else {}
        row |= {"expires": expires} if expires is not None else {}
        value = records.value(reading.connection, vid)
        for start in range(0, max(1, len(value)), _PIECE_BYTES):
            piece = value[start : start + _PIECE_BYTES]
            more = start + _PIECE_BYTES < len(value)
            yield {**row, "value": base64.b64encode(piece).decode("ascii"), "more": more}


def load(tx: Transaction, cid: int, reader: ArchiveReader) -> int:
    """Write the archive's records into a new cube, as the loader's own; how many there were.

    Raises ``HostileArchive`` for rows out of order, odd values and what no write would take.
    """
    done, last, pieces, size = 0, ("", ""), list[bytes](), 0
    for number, raw in enumerate(reader.lines(RECORDS), 1):
        what = f"line {number} of {RECORDS}"
        row = parse(RecordRow, raw, what)
        place = (row.space, row.key)
        if place <= last if not pieces else place != last:
            raise HostileArchive(f"{what}: records are not in order, or one is there twice")
        last = place
        pieces.append(_bytes(row.value, what))
        size += len(pieces[-1])
        if size > records.MAX_VALUE_BYTES:
            raise HostileArchive(f"{what}: a value of more than {records.MAX_VALUE_BYTES} bytes")
        if row.more:
            continue
        _put(tx, cid, row, b"".join(pieces))
        done, pieces, size = done + 1, [], 0
    if pieces:
        raise HostileArchive(f"{RECORDS} ends inside a value")
    return done


def _put(tx: Transaction, cid: int, row: RecordRow, value: bytes) -> None:
    records.put(
        tx,
        cid,
        Place(row.space, row.session),
        {row.key: value},
        expires=row.expires,
        written=min(row.written, tx.at),
    )


def _bytes(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HostileArchive(f"{what}: value: not base64") from error
