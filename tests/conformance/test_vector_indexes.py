import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import chromadb
import numpy as np
import pytest
from chromadb.api import ClientAPI
from chromadb.api.client import Client
from chromadb.config import Settings

from memos_integrations.cube.errors import (
    BackendUnavailable,
    InvalidInput,
    MissingExtra,
    UsageError,
)
from memos_integrations.cube.ports import Vector, VectorEntry, VectorIndex
from memos_integrations.infrastructure.backends.chroma import ChromaVectors
from memos_integrations.infrastructure.backends.numpy_vectors import NumpyVectors
from memos_integrations.testing.vector_index import (
    CUBE,
    OTHER,
    VectorIndexTests,
    entries,
    rows,
    unit_rows,
)


class TestNumpyVectors(VectorIndexTests):
    def make(self, tmp_path: Path) -> VectorIndex:
        return NumpyVectors()


class TestNumpyVectorsOfAWideModel(VectorIndexTests):
    dim = 384

    def make(self, tmp_path: Path) -> VectorIndex:
        return NumpyVectors()


class TestChromaVectors(VectorIndexTests):
    exact = False

    def make(self, tmp_path: Path) -> VectorIndex:
        return ChromaVectors.at(tmp_path / "chroma", fingerprint="test")


# NumpyVectors


@pytest.mark.parametrize("rows_held", [3, 20, 500])
def test_equal_vectors_rank_by_item_wherever_their_rows_lie(rows_held: int) -> None:
    index = NumpyVectors()
    matrix = unit_rows(rows_held, 384, seed=1)
    twin = unit_rows(1, 384, seed=2)[0]
    matrix[::2] = twin
    index.upsert(CUBE, entries(matrix))
    twins = list(range(1, rows_held + 1, 2))
    for limit in (1, 2, len(twins)):
        hits = index.search(CUBE, twin, limit=limit)
        assert [hit.item for hit in hits] == twins[:limit]
    within = rows(*twins[-2:], 2)
    assert [hit.item for hit in index.search(CUBE, twin, limit=2, within=within)] == twins[-2:]


def test_a_score_does_not_depend_on_what_else_is_searched() -> None:
    index = NumpyVectors()
    index.upsert(CUBE, entries(unit_rows(3000, 384)))
    ask = unit_rows(1, 384, seed=9)[0]
    free = {hit.item: hit.score for hit in index.search(CUBE, ask, limit=3000)}
    for share in (2, 5, 50):
        kept = rows(*range(1, 3001, share))
        hits = index.search(CUBE, ask, limit=3000, within=kept)
        assert all(hit.score == free[hit.item] for hit in hits)
        assert index.scores(CUBE, ask, kept).tolist() == [free[item] for item in kept.tolist()]


def test_load_takes_arrays_and_fences_like_upsert() -> None:
    index = NumpyVectors()
    matrix = unit_rows(4, 8)
    index.load(CUBE, rows(5, 2, 9), rows(3, 3, 3), matrix[:3])
    index.load(CUBE, rows(2, 7, 5, 7), rows(2, 1, 4, 2), matrix[[3, 0, 3, 1]])
    assert dict(index.versions(CUBE)) == {2: 3, 5: 4, 7: 2, 9: 3}
    kept = np.stack([matrix[1], matrix[3], matrix[1], matrix[2]])
    ask = unit_rows(1, 8, seed=3)[0]
    assert index.scores(CUBE, ask, rows(2, 5, 7, 9)) == pytest.approx(kept @ ask, abs=1e-6)


def test_load_refuses_arrays_that_do_not_fit_together() -> None:
    index = NumpyVectors()
    with pytest.raises(InvalidInput):
        index.load(CUBE, rows(1, 2), rows(1), unit_rows(2, 8))
    with pytest.raises(InvalidInput):
        index.load(CUBE, rows(1), rows(1), unit_rows(1, 8)[0])
    assert index.versions(CUBE) == {}


def test_memory_of_deleted_vectors_is_given_back() -> None:
    index = NumpyVectors()
    tracemalloc.start()
    index.upsert(CUBE, entries(unit_rows(2000, 64)))
    before, _ = tracemalloc.get_traced_memory()
    index.delete(CUBE, range(1, 1900))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert before > 2000 * 64 * 4
    assert after < before / 5
    assert sorted(index.versions(CUBE)) == list(range(1900, 2001))


def test_replacing_the_same_vectors_for_ever_takes_no_more_memory() -> None:
    index = NumpyVectors()
    batch = entries(unit_rows(200, 64))
    tracemalloc.start()
    for _ in range(100):
        index.upsert(CUBE, batch)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 4 * 200 * 64 * 4


def test_a_vector_too_large_for_float32_is_refused() -> None:
    with pytest.raises(InvalidInput):
        NumpyVectors().upsert(CUBE, [VectorEntry(1, 1, np.array([1e300, 0.0]))])


# ChromaVectors


@pytest.fixture
def client(tmp_path: Path) -> Iterator[ClientAPI]:
    settings = Settings(anonymized_telemetry=False)
    client = cast("Client", chromadb.PersistentClient(tmp_path / "chroma", settings))
    yield client
    client.close()


@pytest.fixture
def chroma(client: ClientAPI) -> ChromaVectors:
    return ChromaVectors(client, fingerprint="test")


def test_chroma_keeps_vectors_when_closed_and_opened_again(tmp_path: Path) -> None:
    matrix = unit_rows(30, 8)
    for version in (1, 2):
        index = ChromaVectors.at(tmp_path, fingerprint="test")
        index.upsert(CUBE, entries(matrix, version=version))
        index.close()
    index = ChromaVectors.at(tmp_path, fingerprint="test")
    assert set(index.versions(CUBE).values()) == {2}
    assert index.search(CUBE, matrix[4], limit=1)[0].item == 5
    index.close()


def test_chroma_keeps_embedders_and_namespaces_apart() -> None:
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    names = [("a", ""), ("b", ""), ("a", "one"), ("a", "two")]
    indexes = [ChromaVectors(client, fingerprint=f, namespace=n) for f, n in names]
    for item, index in enumerate(indexes):
        index.upsert(CUBE, [VectorEntry(item, 1, unit_rows(1, 8 + item)[0])])
    assert [list(index.versions(CUBE)) for index in indexes] == [[0], [1], [2], [3]]
    indexes[0].close()
    assert list(indexes[1].versions(CUBE)) == [1]
    for index in indexes[1:]:
        index.drop(CUBE)


def test_chroma_keeps_numbers_only(chroma: ChromaVectors, client: ClientAPI) -> None:
    chroma.upsert(CUBE, [VectorEntry(12, 3, unit_rows(1, 8)[0])])
    [collection] = client.list_collections()
    got = collection.get(include=["documents", "metadatas", "uris"])
    assert got["ids"] == ["12"]
    assert got["metadatas"] == [{"version": 3}]
    assert not any(got["documents"] or [])
    assert not any(got["uris"] or [])
    assert collection.metadata is None


def test_chroma_says_in_our_words_what_it_cannot_do(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(BackendUnavailable) as caught:
        ChromaVectors.at(blocked, fingerprint="test")
    assert type(caught.value.__cause__).__module__ == "chromadb.errors"


def test_a_closed_chroma_index_says_so(tmp_path: Path) -> None:
    index = ChromaVectors.at(tmp_path, fingerprint="test")
    index.close()
    index.close()
    with pytest.raises(UsageError, match="closed"):
        index.versions(CUBE)


def test_without_chromadb_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chromadb", None)
    with pytest.raises(MissingExtra, match=r"memos-integrations\[chroma\]"):
        ChromaVectors.at("unused", fingerprint="test")


def test_chroma_is_imported_on_use_and_leaves_nothing_in_working_or_home_directory(
    tmp_path: Path,
) -> None:
    for name in ("work", "home"):
        (tmp_path / name).mkdir()
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from memos_integrations.infrastructure.backends.chroma import ChromaVectors\n"
        "from memos_integrations.testing.vector_index import entries, unit_rows\n"
        "assert 'chromadb' not in sys.modules\n"
        "index = ChromaVectors.at(sys.argv[1], fingerprint='test')\n"
        "index.upsert(1, entries(unit_rows(1100, 8)))\n"
        "index.search(1, unit_rows(1, 8)[0], limit=3)\n"
        "index.purge(1)\n"
        "index.close()\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "chroma"), *sys.path],
        check=True,
        cwd=tmp_path / "work",
        env={**os.environ, "HOME": str(tmp_path / "home"), "CHROMA_OTEL_GRANULARITY": "all"},
    )
    assert [*(tmp_path / "work").iterdir(), *(tmp_path / "home").iterdir()] == []


# Erasing from Chroma's files


def test_purged_vectors_are_in_no_file(tmp_path: Path, chroma: ChromaVectors) -> None:
    # More than 1,000 vectors, so that some are in the graph's files and some in the database.
    matrix = unit_rows(1300, 32)
    chroma.upsert(CUBE, entries(matrix[:1200]))
    chroma.upsert(CUBE, entries(matrix[1200:], first=1201))
    gone = [3, 700, 1299]
    chroma.delete(CUBE, gone)
    lost = [matrix[item - 1] for item in gone]
    assert any(_is_in_a_file(tmp_path, vector) for vector in lost)  # the scan can find them
    chroma.purge(CUBE)
    assert not any(_is_in_a_file(tmp_path, vector) for vector in lost)
    assert _is_in_a_file(tmp_path, matrix[500])
    assert len(chroma.versions(CUBE)) == 1297
    assert chroma.search(CUBE, matrix[500], limit=1)[0].item == 501


def test_purge_after_drop_leaves_no_trace_and_other_cubes_alone(
    tmp_path: Path, chroma: ChromaVectors
) -> None:
    matrix, others = unit_rows(1100, 32), unit_rows(1100, 32, seed=1)
    chroma.upsert(CUBE, entries(matrix))
    chroma.upsert(OTHER, entries(others))
    chroma.drop(CUBE)
    assert any(_is_in_a_file(tmp_path, vector) for vector in matrix[:3])
    chroma.purge(CUBE)
    assert not any(_is_in_a_file(tmp_path, vector) for vector in matrix[[0, 1, 2, 600, 1099]])
    assert chroma.search(OTHER, others[77], limit=1)[0].item == 78
    assert (len(chroma.versions(OTHER)), len(chroma.versions(CUBE))) == (1100, 0)


def test_a_purged_cube_is_whole_when_opened_again(tmp_path: Path) -> None:
    matrix = unit_rows(1100, 8)
    index = ChromaVectors.at(tmp_path, fingerprint="test")
    index.upsert(CUBE, entries(matrix))
    index.delete(CUBE, [5])
    index.purge(CUBE)
    index.close()
    index = ChromaVectors.at(tmp_path, fingerprint="test")
    assert sorted(index.versions(CUBE)) == [1, 2, 3, 4, *range(6, 1101)]
    assert [index.search(CUBE, matrix[n], limit=1)[0].item for n in (0, 900)] == [1, 901]
    index.close()


def test_a_purged_cube_can_be_written_and_purged_again(
    chroma: ChromaVectors, client: ClientAPI
) -> None:
    matrix = unit_rows(20, 8)
    for version in (1, 2, 3):
        chroma.upsert(CUBE, entries(matrix, version=version))
        chroma.delete(CUBE, [version])
        chroma.purge(CUBE)
    assert dict(chroma.versions(CUBE)) == dict.fromkeys({*range(1, 21)} - {3}, 3)
    assert len(client.list_collections()) == 1


def test_a_purge_that_died_before_renaming_loses_nothing(
    chroma: ChromaVectors, client: ClientAPI
) -> None:
    chroma.upsert(CUBE, entries(unit_rows(20, 8)))
    [collection] = client.list_collections()
    collection.modify(name=f"{collection.name}-copy")
    assert len(chroma.versions(CUBE)) == 20
    chroma.purge(CUBE)
    assert len(chroma.versions(CUBE)) == 20


def test_a_purge_that_died_while_copying_is_done_anew(
    chroma: ChromaVectors, client: ClientAPI
) -> None:
    matrix = unit_rows(20, 8)
    chroma.upsert(CUBE, entries(matrix))
    [collection] = client.list_collections()
    half = client.create_collection(f"{collection.name}-copy")
    half.upsert(ids=["99"], embeddings=[matrix[0]], metadatas=[{"version": 1}])
    chroma.purge(CUBE)
    assert sorted(chroma.versions(CUBE)) == list(range(1, 21))
    assert len(client.list_collections()) == 1


def test_purge_says_when_the_database_is_held_by_another(
    chroma: ChromaVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    chroma.upsert(CUBE, entries(unit_rows(5, 8)))
    monkeypatch.setattr(
        "memos_integrations.infrastructure.backends.chroma._VACUUM", "raise SystemExit(1)"
    )
    with pytest.raises(BackendUnavailable, match="purge again"):
        chroma.purge(CUBE)
    assert len(chroma.versions(CUBE)) == 5


def test_searches_go_on_while_a_cube_is_purged(chroma: ChromaVectors) -> None:
    matrix = unit_rows(300, 8)
    chroma.upsert(CUBE, entries(matrix))
    purging = threading.Thread(target=chroma.purge, args=(CUBE,))
    purging.start()
    found = [chroma.search(CUBE, matrix[n], limit=1)[0].item for n in range(20)]
    purging.join()
    assert found == list(range(1, 21))


def _is_in_a_file(folder: Path, vector: Vector) -> bool:
    """Whether any file holds four neighbouring numbers of the vector, at any offset and up to
    rounding (Chroma normalises what it writes into its graph)."""
    return any(_is_in(path.read_bytes(), vector) for path in folder.rglob("*") if path.is_file())


def _is_in(content: bytes, vector: Vector) -> bool:
    for phase in range(4):
        numbers = np.frombuffer(content[phase : len(content) - (len(content) - phase) % 4], "<f4")
        numbers = np.where(np.abs(numbers) <= 1, numbers, 2)  # nan and noise of other fields
        for start in range(0, len(vector) - 3, 4):
            if _has_run(numbers, vector[start : start + 4]):
                return True
    return False


def _has_run(numbers: Vector, run: Vector) -> bool:
    starts = np.flatnonzero(np.abs(numbers[: max(0, numbers.size - 3)] - run[0]) < 1e-6)
    return any(bool((np.abs(numbers[s : s + 4] - run) < 1e-6).all()) for s in starts)
