"""MemDumper: a cube into an archive, as the asking principal may read it.

Called by the facade with one governed reading, so the dump shows one state of the vault. What is
written is what the principal's own reads show: items hidden from it are not there, personal data
it is not cleared for is masked, in every version. Tombstones and quarantined items are there, as
they are in its history and listings. Vectors that came with their texts stay behind where the text
is masked; all others are made of masked words.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any, Literal

from memos_integrations.cube.item import BlobRef, MemoryItem
from memos_integrations.infrastructure import record_rows
from memos_integrations.infrastructure.archive import ArchiveWriter
from memos_integrations.infrastructure.blobs import BlobStore
from memos_integrations.infrastructure.safetensors_file import SAFETENSORS
from memos_integrations.infrastructure.vault.entries import names_of
from memos_integrations.infrastructure.vault.masked_blobs import open_blobs
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, may_have_vector, to_item
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import CubeRow
from memos_integrations.infrastructure.wire import (
    GRANTS,
    ITEMS,
    LINKS,
    POLICY,
    RECORDS,
    TENSOR,
    VERSIONS,
)

_CHUNK_ROWS = 500
_HEADER_BYTES = 512
_FLOAT_BYTES = 4

Progress = Callable[[float], None]


@dataclass(slots=True)
class Dumped:
    """What went into the archive, for the report and the audit log."""

    seq: int
    ids: dict[int, str]
    """Item row -> id of everything that was written."""
    versions: int = 0
    links: int = 0
    grants: int = 0
    blobs: int = 0
    vectors: int = 0
    records: int = 0
    masked: int = 0
    """Versions whose words were masked for this principal."""


class MemDumper:
    """Writes one cube through an open reading. One use per dump."""

    def __init__(
        self, reading: Reading, cube: CubeRow, *, blobs: BlobStore, progress: Progress | None
    ) -> None:
        self._reading = reading
        self._cube = cube
        self._store = blobs
        self._blobs: dict[str, BlobRef] = {}
        self._told: dict[int, int] = {}
        self._progress = progress
        seq = reading.connection.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()[0]
        self.done = Dumped(int(seq), {})

    def write(self, writer: ArchiveWriter, *, with_policy: bool) -> dict[str, Any]:
        """Everything but the manifest; returns what the manifest says about the cube.

        ``with_policy`` adds the grants, which only who holds admin rights may take out.
        """
        places = self._places(first="all")
        self._write_items(writer)
        with tempfile.TemporaryFile(dir=writer.path.parent) as file:
            vectors = _VectorFile(file)
            self.done.versions = writer.write_lines(VERSIONS, self._versions(places, vectors))
            self.done.links = writer.write_lines(LINKS, self._links())
            if with_policy:
                self.done.grants = writer.write_lines(GRANTS, self._grants())
            self._write_records(writer)
            info = json.loads(self._cube.info)
            writer.write_document(POLICY, {"visibility": self._cube.visibility, "info": info})
            self._write_blobs(writer)
            return self._facts(vectors.write_to(writer))

    def _facts(self, vectors: dict[str, Any] | None) -> dict[str, Any]:
        self.done.vectors = vectors["rows"] if vectors else 0
        cube = self._cube
        facts = {
            "path": cube.path,
            "tenant": cube.tenant,
            "owner": cube.owner,
            "created": cube.created,
            "seq": self.done.seq,
            "embedding": cube.embedding if vectors else None,
            "vectors": vectors,
        }
        return _without_none(facts)

    # -- rows ---------------------------------------------------------------------------------

    def _write_items(self, writer: ArchiveWriter) -> None:
        writer.write_lines(ITEMS, self._items(self._places(first="version 1")))

    def _items(self, places: list[int]) -> Iterator[dict[str, Any]]:
        for row, entry in self._with_names(places):
            self.done.ids[row.iid] = row.id
            yield _without_none(
                {
                    "id": row.id,
                    "created": row.created,
                    "visibility": row.visibility,
                    "labels": json.loads(row.labels) if row.labels else None,
                    "trust": row.trust,
                    "expires": row.expires,
                    "quarantined": bool(row.quarantined),
                    "entry": None if entry is None else _without_none(entry),
                }
            )

    def _with_names(self, places: list[int]) -> Iterator[tuple[Stored, dict[str, Any] | None]]:
        for rows in _chunks(self._rows(places)):
            names = names_of(self._reading.connection, [row.iid for row in rows])
            for row in rows:
                yield row, names.get(row.iid)

    def _versions(self, places: list[int], vectors: _VectorFile) -> Iterator[dict[str, Any]]:
        who = self._reading.asking.principal
        for count, (row, vector) in enumerate(self._with_vectors(places)):
            item = to_item(row, who)
            self.done.masked += item.header.redacted
            kept = open_blobs(self._reading.connection, who, row, item.blobs)
            item = item.model_copy(update={"blobs": kept})
            for ref in kept:
                self._blobs[ref.sha256] = ref
            line = _version_row(row, item, merged=self.done.ids.get(row.merged_into or 0))
            if row.tid is not None:
                first = self._told.setdefault(row.tid, row.version)
                line["words"] = first
                if first == row.version:
                    line |= _words(row, item)
                    if vector is not None and may_have_vector(row, who):
                        line["vector"] = vectors.add(vector)
            if self._progress is not None and count % _CHUNK_ROWS == 0:
                self._progress(count / len(places))
            yield _without_none(line)

    def _with_vectors(self, places: list[int]) -> Iterator[tuple[Stored, bytes | None]]:
        sql = queries("portability")["vectors"]
        for rows in _chunks(self._rows(places)):
            tids = [row.tid for row in rows if row.tid is not None and row.tid not in self._told]
            found = self._reading.connection.execute(sql, (self._cube.embedding, json.dumps(tids)))
            held = dict(found.fetchall())
            for row in rows:
                yield row, held.get(row.tid)

    def _links(self) -> Iterator[dict[str, Any]]:
        ids = self.done.ids
        rows = self._reading.connection.execute(
            queries("portability")["links"], (json.dumps(list(ids)),)
        )
        for at, event, source, relation, target, version in rows:
            if target in ids:
                yield _without_none(
                    {
                        "at": at,
                        "event": event,
                        "source": ids[source],
                        "relation": relation,
                        "target": ids[target],
                        "target_version": version,
                    }
                )

    def _grants(self) -> Iterator[dict[str, Any]]:
        cube, ids = self._cube, self.done.ids
        rows = self._reading.connection.execute(
            queries("portability")["grants"], (cube.tenant, cube.path, json.dumps(list(ids)))
        )
        for iid, kind, subject, permissions, effect, expires in rows:
            yield _without_none(
                {
                    "item": None if iid is None else ids[iid],
                    "subject_kind": kind,
                    "subject": subject,
                    "permissions": permissions,
                    "effect": effect,
                    "expires": expires,
                }
            )

    def _write_records(self, writer: ArchiveWriter) -> None:
        """Their own member where there are any, so that other cubes' archives stay as they were."""
        rows = record_rows.dumped(self._reading, self._cube.cid)
        first = next(rows, None)
        if first is not None:
            writer.write_lines(RECORDS, self._counted(chain([first], rows)))

    def _counted(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            self.done.records += not row["more"]
            yield row

    def _write_blobs(self, writer: ArchiveWriter) -> None:
        for sha256 in sorted(self._blobs):
            with self._store.open(sha256) as file:
                writer.write_blob(self._blobs[sha256], file)
        self.done.blobs = len(self._blobs)

    # -- governed reading ---------------------------------------------------------------------

    def _places(self, *, first: Literal["all", "version 1"]) -> list[int]:
        """Places in the log of every version the principal may read, or of the first ones."""
        condition = "AND v.version = 1" if first == "version 1" else ""
        rows = self._run(
            f"SELECT v.seq {queries('portability')['places']} "
            f"WHERE {{allowed}} {condition} ORDER BY v.seq",
            {},
        )
        return [row[0] for row in rows]

    def _rows(self, places: Iterable[int]) -> Iterator[Stored]:
        columns = queries("governed")["item_columns"]
        for chunk in _chunks(places):
            rows = self._run(
                f"SELECT {columns} {queries('portability')['told']} "
                "WHERE {allowed} ORDER BY v.seq",
                {"seqs": json.dumps(chunk)},
            )
            yield from (Stored(*row) for row in rows)

    def _run(self, sql: str, extra: Mapping[str, Any]) -> list[Any]:
        governed = queries("governed")
        head = f"WITH {governed['rules']}, {governed['gate']} "
        allowed = f"{governed['item_allowed']} AND {governed['present']}"
        bindings = {**self._reading.asking.bindings([self._cube.cid]), **extra}
        query = head + sql.replace("{allowed}", allowed)
        return self._reading.connection.execute(query, bindings).fetchall()


def _version_row(row: Stored, item: MemoryItem, *, merged: str | None) -> dict[str, Any]:
    header = item.header
    return {
        "at": row.seq,
        "item": row.id,
        "version": row.version,
        "recorded": row.recorded,
        "state": row.state,
        "before": row.before,
        "kind": row.kind,
        "memory_type": row.memory_type,
        "time": row.time,
        "valid_from": row.valid_from,
        "valid_to": row.valid_to,
        "role": row.role,
        "speaker": row.speaker,
        "conversation": row.conversation,
        "agent": row.agent,
        "origin": row.origin,
        "source": row.source,
        "model": row.model,
        "tags": list(header.tags) or None,
        "info": header.info or None,
        "provenance": [s.model_dump(mode="json", exclude_none=True) for s in header.provenance],
        "blobs": [ref.model_dump() for ref in item.blobs] or None,
        "priority": row.priority,
        "confidence": row.confidence,
        "storage_mode": row.storage_mode,
        "stale": bool(row.stale),
        "merged_into": merged,
        "actor": row.actor,
        "reason": row.reason,
    }


def _words(row: Stored, item: MemoryItem) -> dict[str, Any]:
    # The places of what was masked say where and what it was, so they stay with the original.
    spans = row.spans if row.spans and not item.header.redacted else None
    return {"text": item.text, "data": item.data, "spans": json.loads(spans) if spans else None}


def _without_none(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}


def _chunks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class _VectorFile:
    """Collects vectors as one safetensors matrix in a file without a name."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rows = 0
        self._row_bytes = 0
        self._file.seek(_HEADER_BYTES)  # the header is known when the rows are counted

    def add(self, vector: bytes) -> int:
        """Its row in the matrix."""
        self._row_bytes = len(vector)
        self._file.write(vector)
        self._rows += 1
        return self._rows - 1

    def write_to(self, writer: ArchiveWriter) -> dict[str, Any] | None:
        """Put the matrix into the archive; where it lies, or ``None`` without any vector."""
        if not self._rows:
            return None
        dim, size = self._row_bytes // _FLOAT_BYTES, self._rows * self._row_bytes
        tensor = {"dtype": "F32", "shape": [self._rows, dim], "data_offsets": [0, size]}
        header = json.dumps({TENSOR: tensor}).encode().ljust(_HEADER_BYTES - 8)
        self._file.seek(0)
        self._file.write(len(header).to_bytes(8, "little") + header)
        self._file.seek(0)
        sha256 = hashlib.file_digest(self._file, "sha256").hexdigest()  # type: ignore[arg-type]
        self._file.seek(0)
        total = _HEADER_BYTES + size
        ref = BlobRef(sha256=sha256, bytes=total, media_type=SAFETENSORS)
        writer.write_blob(ref, self._file)
        return {"sha256": sha256, "rows": self._rows, "dim": dim}
