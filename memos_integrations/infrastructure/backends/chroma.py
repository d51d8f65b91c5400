"""Vectors in Chroma: one collection per cube and embedder, numbers only, no texts.

Called by the vault's projector and search space; calls chromadb, which is imported on first use.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.errors import (
    BackendUnavailable,
    InvalidInput,
    MemosError,
    MissingExtra,
    UsageError,
)
from memos_integrations.cube.ports import Matrix, Proposal, Rows, Vector, VectorEntry
from memos_integrations.infrastructure.backends.numpy_vectors import finite, newest, stacked

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.client import Client
    from chromadb.api.collection_configuration import CreateHNSWConfiguration
    from chromadb.api.models.Collection import Collection

# Chroma's defaults (100, 16, 100) found 54 in 100 of the ten nearest of 10,000 random vectors
# of 384 dimensions; these find 92 to 95, for half to twice as much time again in building.
_HNSW: Final[CreateHNSWConfiguration] = {
    "space": "cosine",
    "ef_construction": 200,
    "max_neighbors": 32,
    "ef_search": 200,
}
_PAGE: Final = 10_000
"""Ids per request: SQLite takes 32,766 variables in a statement."""
_EXACT_ITEMS: Final = 200
"""Up to so many items in ``within``, reading their vectors costs no more than asking the graph."""
_SPARE: Final = 20
"""Candidates asked for beyond the limit, so that rounding does not decide who is in."""
_VACUUM_SECONDS: Final = 600
# In a process of its own: closing a second SQLite library's handle on the same file would drop
# the POSIX locks that Chroma holds in this one.
_VACUUM: Final = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for (segment,) in database.execute("SELECT id FROM segments"):
    print(segment)
database.execute("VACUUM")
database.close()
"""


@dataclass(frozen=True, slots=True)
class _Held:
    """Stored vectors in ascending item order."""

    items: Rows
    versions: Rows
    matrix: Matrix


class ChromaVectors:
    """Implements ``VectorIndex`` on a Chroma client, local or server.

    Approximate: HNSW proposes, then cosines are computed anew from the stored vectors. It found
    92 to 95 in 100 of the ten nearest of 10,000 random vectors of 384 dimensions (the hardest
    case for a graph) and all of them where the vectors form clusters, as texts do. It is exact
    where ``within`` names at most 200 items or ``limit`` reaches everything.

    Chroma has no conditional upsert, so versions are read before they are written: **one writer
    at a time may write to a cube**, which the projector's lease sees to. Calls to one
    ``ChromaVectors`` take turns. A local folder belongs to one process.

    Chroma keeps a file called ``index_metadata.pickle`` beside each graph; only it reads that.
    """

    def __init__(
        self,
        client: ClientAPI,
        *,
        fingerprint: str,
        namespace: str = "",
        on_close: Callable[[], object] | None = None,
    ) -> None:
        """``fingerprint`` is the embedder's. Vaults that share a server each need a
        ``namespace`` of their own, as every vault numbers its cubes from 1. The client stays
        the caller's: ``close`` calls ``on_close`` only.
        """
        self._client = client
        self._prefix = _prefix(namespace, fingerprint)
        self._on_close = on_close
        self._closed = False
        self._turns = threading.RLock()

    @classmethod
    def at(cls, path: Path | str, *, fingerprint: str, namespace: str = "") -> ChromaVectors:
        """An index kept in the folder ``path``, which is made if it is missing."""
        try:
            import chromadb  # noqa: PLC0415 - an extra, half a second to import
            from chromadb.config import Settings  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtra("Chroma vectors", "chroma") from error
        # Named here so that neither the environment nor a `.env` file turns them on.
        settings = Settings(
            anonymized_telemetry=False, chroma_otel_collection_endpoint="", allow_reset=False
        )
        with _translated():
            client = chromadb.PersistentClient(Path(path).absolute(), settings=settings)
        release = cast("Client", client).close
        return cls(client, fingerprint=fingerprint, namespace=namespace, on_close=release)

    def upsert(self, cube: int, entries: Sequence[VectorEntry]) -> None:
        """Keep one vector per item; an entry older than the kept version changes nothing.

        An entry of the kept version replaces it. Raises ``InvalidInput``, and then keeps nothing
        of the batch, for a vector that is not finite or not of the cube's dimension.
        """
        if not entries:
            return
        matrix = stacked([entry.vector for entry in entries])
        items = np.array([entry.item for entry in entries], dtype=np.int64)
        versions = np.array([entry.version for entry in entries], dtype=np.int64)
        latest = newest(items, versions)
        with self._turn():
            collection = self._find(cube) or self._make(self._name(cube))
            held = _versions(collection, _ids(items[latest]))
            keep = [
                n for n in latest.tolist() if versions[n] >= held.get(int(items[n]), versions[n])
            ]
            self._write(collection, _Held(items[keep], versions[keep], matrix[keep]))

    def delete(self, cube: int, items: Sequence[int]) -> None:
        """Forget these items and their versions; unknown ones are no error.

        Their bytes stay in Chroma's files until ``purge``.
        """
        with self._turn():
            collection = self._find(cube)
            if collection is not None:
                for ids in _pages(_ids(items)):
                    collection.delete(ids=ids)

    def search(
        self, cube: int, vector: Vector, *, limit: int, within: Rows | None = None
    ) -> list[Proposal]:
        """The ``limit`` items with the highest cosine, best first, ties by lower item number.

        ``within`` restricts to those items before ranking; where the graph comes back with too
        few, the vectors themselves are read and ranked.
        """
        query = _flat(vector)
        with self._turn():
            collection = self._find(cube)
            if collection is None or limit < 1:
                return []
            if within is None:
                found = _of_all(collection, query, limit)
            else:
                found = _of_some(collection, query, limit, _ids(within))
        scores = _cosines(found, query)
        best = np.argsort(-scores, kind="stable")[:limit]  # stable: found is in item order
        hits = (found.items[best].tolist(), found.versions[best].tolist(), scores[best].tolist())
        return [Proposal(*hit) for hit in zip(*hits, strict=True)]

    def scores(self, cube: int, vector: Vector, items: Rows) -> NDArray[np.float32]:
        """Cosine per item in the order asked; ``nan`` where the item has no vector."""
        query = _flat(vector)
        with self._turn():
            collection = self._find(cube)
            found = _held([]) if collection is None else _read(collection, _ids(items))
        known = dict(zip(found.items.tolist(), _cosines(found, query).tolist(), strict=True))
        return np.array([known.get(int(item), np.nan) for item in items], dtype=np.float32)

    def versions(self, cube: int) -> Mapping[int, int]:
        """Item -> version of everything held, as a copy."""
        with self._turn():
            collection = self._find(cube)
            return {} if collection is None else _versions(collection)

    def drop(self, cube: int) -> None:
        """Forget the whole cube. Its bytes stay in Chroma's files until ``purge``."""
        with self._turn():
            for name in (_copy_of(self._name(cube)), self._name(cube)):
                self._remove(name)

    def purge(self, cube: int) -> None:
        """Make the deleted vectors of this cube unreadable in Chroma's files.

        The cube is copied without them, the old collection removed with its graph files (Chroma
        leaves those of removed collections behind) and the database vacuumed. A crash leaves the
        old cube or the new one. It costs about as much as loading the cube again, and for a
        moment twice its disk. What it cannot reach: blocks the file system freed, snapshots and
        backups, and this process's memory. Raises ``UsageError`` for a server, whose files are
        out of reach.
        """
        with self._turn():
            folder = self._folder()
            self._remove_leftover(cube)
            collection = self._find(cube)
            if collection is not None:
                self._rewrite(collection, self._name(cube))
            if folder is not None:
                _sweep(folder)

    def close(self) -> None:
        """Let go of the client; afterwards every other call raises ``UsageError``."""
        with self._turns, _translated():
            if not self._closed and self._on_close is not None:
                self._on_close()
            self._closed = True

    @contextmanager
    def _turn(self) -> Generator[None]:
        with self._turns, _translated():
            if self._closed:
                raise UsageError("this index is closed; make a new one")
            yield

    def _name(self, cube: int) -> str:
        return f"{self._prefix}-{int(cube)}"

    def _find(self, cube: int) -> Collection | None:
        """The cube's collection, looked up each time: another process may have replaced it."""
        name = self._name(cube)
        found = self._get(name)
        if found is None and (found := self._get(_copy_of(name))) is not None:
            found.modify(name=name)  # a purge died between removing and renaming
        return found

    def _get(self, name: str) -> Collection | None:
        from chromadb.errors import NotFoundError  # noqa: PLC0415

        try:
            return self._client.get_collection(name, embedding_function=None)
        except NotFoundError:
            return None

    def _make(self, name: str) -> Collection:
        return self._client.get_or_create_collection(
            name, embedding_function=None, configuration={"hnsw": _HNSW}
        )

    def _remove(self, name: str) -> None:
        if self._get(name) is not None:
            self._client.delete_collection(name)

    def _write(self, collection: Collection, held: _Held) -> None:
        step = min(_PAGE, self._client.get_max_batch_size())
        for start in range(0, len(held.items), step):
            part = slice(start, start + step)
            collection.upsert(
                ids=_ids(held.items[part]),
                embeddings=list(held.matrix[part]),
                metadatas=[{"version": version} for version in held.versions[part].tolist()],
            )

    def _remove_leftover(self, cube: int) -> None:
        if self._get(self._name(cube)) is not None:
            self._remove(_copy_of(self._name(cube)))

    def _rewrite(self, old: Collection, name: str) -> None:
        new = self._make(_copy_of(name))
        for ids in _pages(_ids(list(_versions(old)))):
            self._write(new, _read(old, ids))
        if new.count() != old.count():
            raise BackendUnavailable("Chroma lost vectors while copying; the old ones are kept")
        self._client.delete_collection(name)
        new.modify(name=name)

    def _folder(self) -> Path | None:
        """Where the client keeps its files; ``None`` if it keeps none."""
        settings = self._client.get_settings()
        if settings.chroma_server_host:
            raise UsageError(
                "the files of a Chroma server are out of reach: stop it and run "
                "`chroma vacuum --path ...` there"
            )
        return Path(settings.persist_directory) if settings.is_persistent else None


@contextmanager
def _translated() -> Generator[None]:
    """Chroma's errors and its transport's as ours, with theirs as the cause."""
    import httpx  # noqa: PLC0415 - comes with chromadb
    from chromadb import errors  # noqa: PLC0415

    try:
        yield
    except MemosError:
        raise
    except (errors.InvalidArgumentError, errors.InvalidDimensionException) as error:
        raise InvalidInput(f"Chroma refuses this: {error}") from error
    except (errors.ChromaError, httpx.HTTPError, OSError) as error:
        raise BackendUnavailable(f"Chroma did not answer: {error}") from error
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"Chroma refuses this: {error}") from error


def _prefix(namespace: str, fingerprint: str) -> str:
    digest = hashlib.sha256(f"{namespace}\0{fingerprint}".encode()).hexdigest()
    return f"memos-{digest[:24]}"


def _copy_of(name: str) -> str:
    return f"{name}-copy"


def _ids(items: Sequence[int] | Rows) -> list[str]:
    return [str(item) for item in np.unique(np.asarray(items, dtype=np.int64)).tolist()]


def _pages(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _PAGE):
        yield ids[start : start + _PAGE]


def _flat(vector: Vector) -> Vector:
    query = finite(vector)
    if query.ndim != 1:
        raise InvalidInput("the question must be one flat vector")
    return query


def _held(parts: Sequence[tuple[Sequence[str], Sequence[Any], Any]]) -> _Held:
    """Ids, metadata and vectors as Chroma gives them, as arrays in item order."""
    items = np.array([int(i) for ids, _, _ in parts for i in ids], dtype=np.int64)
    versions = np.array([m["version"] for _, meta, _ in parts for m in meta], dtype=np.int64)
    matrices = [np.asarray(matrix, dtype=np.float32) for ids, _, matrix in parts if len(ids)]
    matrix = np.concatenate(matrices) if matrices else np.empty((0, 0), dtype=np.float32)
    order = np.argsort(items)
    return _Held(items[order], versions[order], matrix[order])


def _read(collection: Collection, ids: list[str]) -> _Held:
    """The vectors of these items; unknown ones are left out."""
    got = [collection.get(ids=p, include=["embeddings", "metadatas"]) for p in _pages(ids)]
    return _held([(g["ids"], g["metadatas"] or [], g["embeddings"]) for g in got])


def _versions(collection: Collection, ids: list[str] | None = None) -> dict[int, int]:
    """Item -> version of these items, or of all."""
    if ids is not None:
        got = [collection.get(ids=page, include=["metadatas"]) for page in _pages(ids)]
    else:
        starts = range(0, collection.count(), _PAGE)
        got = [collection.get(limit=_PAGE, offset=s, include=["metadatas"]) for s in starts]
    found = _held([(g["ids"], g["metadatas"] or [], np.empty((len(g["ids"]), 0))) for g in got])
    return dict(zip(found.items.tolist(), found.versions.tolist(), strict=True))


def _of_all(collection: Collection, query: Vector, limit: int) -> _Held:
    count = collection.count()
    want = min(count, limit + _SPARE)
    if not want:
        return _held([])
    found = _held([]) if want > _PAGE else _nearest(collection, query, want, None)
    if len(found.items) < min(limit, count):
        return _read(collection, _ids(list(_versions(collection))))
    return found


def _of_some(collection: Collection, query: Vector, limit: int, ids: list[str]) -> _Held:
    if len(ids) <= max(_EXACT_ITEMS, limit) or limit + _SPARE > _PAGE:
        return _read(collection, ids)
    found = _nearest_known(collection, query, limit + _SPARE, ids)
    return found if len(found.items) >= limit else _read(collection, ids)


def _nearest_known(collection: Collection, query: Vector, want: int, ids: list[str]) -> _Held:
    from chromadb.errors import InternalError  # noqa: PLC0415

    try:
        return _nearest(collection, query, want, ids)
    except InternalError:  # one id it does not hold makes Chroma fail the whole query
        known = [str(item) for item in _versions(collection, ids)]
        return _nearest(collection, query, want, known) if known else _held([])


def _nearest(collection: Collection, query: Vector, want: int, ids: list[str] | None) -> _Held:
    """What the graph proposes, in item order."""
    got = collection.query(
        query_embeddings=[cast("Any", query)],
        ids=ids,
        n_results=want,
        include=["embeddings", "metadatas"],
    )
    [ids], [metadatas] = got["ids"], got["metadatas"] or [[]]
    return _held([(ids, metadatas, got["embeddings"][0] if got["embeddings"] else [])])


def _cosines(held: _Held, query: Vector) -> NDArray[np.float32]:
    """Cosines summed row by row in one fixed order: equal vectors get equal scores."""
    if not held.items.size:
        return np.empty(0, dtype=np.float32)
    if held.matrix.shape[1] != query.size:
        raise InvalidInput(
            f"the question has {query.size} dimensions, the cube {held.matrix.shape[1]}"
        )
    out = np.empty(held.items.size, dtype=np.float32)
    return np.sum(held.matrix * query, axis=1, out=out)


def _sweep(folder: Path) -> None:
    """Rewrite the database without free pages and remove graphs that it no longer names."""
    graphs = [path for path in folder.iterdir() if path.is_dir() and _is_uuid(path.name)]
    try:
        ran = subprocess.run(  # noqa: S603 - this interpreter, our text, one path
            [sys.executable, "-I", "-c", _VACUUM, str(folder / "chroma.sqlite3")],
            capture_output=True,
            text=True,
            check=True,
            timeout=_VACUUM_SECONDS,
        )
    except subprocess.SubprocessError as error:
        raise BackendUnavailable(
            "Chroma's database could not be vacuumed, so deleted vectors are still in its "
            "files; purge again when no other process has it open"
        ) from error
    live = set(ran.stdout.split())
    for path in graphs:
        if path.name not in live:
            shutil.rmtree(path)


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
