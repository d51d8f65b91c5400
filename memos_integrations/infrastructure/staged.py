"""An archive before it is loaded: what can be checked and kept ahead of the transaction.

Called by the facade, handed to the loader. Blobs must be durable before the commit that names
them, so they are put into the store here; if the load fails, the collector takes them.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Self

import numpy as np

from memos_integrations.cube.errors import HostileArchive
from memos_integrations.cube.item import BlobRef
from memos_integrations.infrastructure.archive import ArchiveLimits, ArchiveReader
from memos_integrations.infrastructure.blobs import BlobStore
from memos_integrations.infrastructure.safetensors_file import check_head, read_head
from memos_integrations.infrastructure.wire import (
    GRANTS,
    ITEMS,
    LINKS,
    MAX_ROWS,
    POLICY,
    RECORDS,
    TENSOR,
    VERSIONS,
    CubeFacts,
    PolicyDoc,
    VectorsFact,
    parse,
)

_NEEDED = {ITEMS, VERSIONS, LINKS, POLICY}
_ALLOWED = _NEEDED | {GRANTS, RECORDS}
_MAX_HEADER_BYTES = 4096
_CHECKED_ROWS = 2048
_LENGTH_TOLERANCE = 1e-3
_FLOAT = np.dtype("<f4")


class Staged:
    """An opened archive with its facts, policy, blobs and vectors; use as a context manager.

    Raises ``HostileArchive`` for whatever is wrong with these. Rows are checked by the loader.
    """

    def __init__(self, path: Path, *, store: BlobStore, limits: ArchiveLimits | None) -> None:
        self.blobs: dict[str, BlobRef] = {}
        """What the archive carries, by sha256."""
        self.vectors: IO[bytes] | None = None
        self._given = 0
        with ExitStack() as opened:
            self.reader = opened.enter_context(ArchiveReader(path, limits=limits))
            self._check_members()
            self.facts = parse(CubeFacts, self.reader.manifest.cube, "the manifest's cube")
            self.policy = parse(PolicyDoc, self.reader.document(POLICY), POLICY)
            self._stage_blobs(store, opened)
            self._opened = opened.pop_all()

    def count(self, name: str) -> int:
        """Rows of a member, as the manifest says."""
        return self.reader.manifest.counts.get(name, 0)

    def next_vector(self, row: int) -> bytes:
        """The vector in ``row`` of the matrix; rows are asked for in order."""
        if self.vectors is None or row != self._given:
            raise HostileArchive("the archive's vectors do not belong to its versions in order")
        assert self.facts.vectors is not None  # noqa: S101  -- there is a matrix
        self._given += 1
        raw = self.vectors.read(self.facts.vectors.dim * _FLOAT.itemsize)
        if len(raw) != self.facts.vectors.dim * _FLOAT.itemsize:
            raise HostileArchive("the archive has fewer vectors than its versions name")
        return raw

    def end_vectors(self) -> None:
        """Raise ``HostileArchive`` for vectors that no version names."""
        if self.facts.vectors is not None and self._given != self.facts.vectors.rows:
            raise HostileArchive("the archive has vectors that belong to no version")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def _check_members(self) -> None:
        names = set(self.reader.names())
        if not _NEEDED <= names <= _ALLOWED:
            odd = sorted((_NEEDED - names) | (names - _ALLOWED))[0]
            raise HostileArchive(f"a dumped cube has exactly its own members; not so {odd}")
        for name, most in MAX_ROWS.items():
            if self.count(name) > most:
                raise HostileArchive(f"{name} has more than {most} rows; split the cube")

    def _stage_blobs(self, store: BlobStore, opened: ExitStack) -> None:
        wanted = self.facts.vectors
        for ref, stream in self.reader.blob_files():
            if wanted is not None and ref.sha256 == wanted.sha256:
                file = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
                _copy_vectors(ref, stream, wanted, file)
                self.vectors = file
            else:
                self.blobs[ref.sha256] = store.put(stream, media_type=ref.media_type)
        if (wanted is None) != (self.vectors is None) or (wanted and not self.facts.embedding):
            raise HostileArchive("the archive lacks its vectors, or does not say whose they are")


def _copy_vectors(ref: BlobRef, stream: BinaryIO, fact: VectorsFact, file: IO[bytes]) -> None:
    """The matrix without its header, when it is one: right shape, finite, unit rows."""
    head = read_head(stream, total_bytes=ref.bytes, max_header_bytes=_MAX_HEADER_BYTES)
    found = check_head(head, total_bytes=ref.bytes).tensors
    described = [(t.name, t.dtype, t.shape) for t in found]
    if described != [(TENSOR, "F32", (fact.rows, fact.dim))]:
        raise HostileArchive("the archive's vectors are not one float32 matrix of the size it says")
    row_bytes = fact.dim * _FLOAT.itemsize
    # A chunk is bounded in bytes, whatever the matrix says its rows are.
    rows = max(1, min(_CHECKED_ROWS, 2**24 // row_bytes))
    while chunk := stream.read(rows * row_bytes):
        if len(chunk) % row_bytes:
            raise HostileArchive("the archive's vectors end inside a row")
        _check_unit(np.frombuffer(chunk, dtype=_FLOAT).reshape(-1, fact.dim))
        file.write(chunk)
    file.seek(0)


def _check_unit(rows: np.ndarray) -> None:
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    if not np.all(np.abs(lengths - 1.0) < _LENGTH_TOLERANCE):  # false for NaN as well
        raise HostileArchive("the archive's vectors are not of unit length")
