"""A vector engine outside the vault: fed through the log, never seen to lag, emptied by erase."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.errors import BackendUnavailable
from memos_integrations.cube.ports import DurableVectorIndex, VectorEntry
from memos_integrations.infrastructure.backends.numpy_vectors import NumpyVectors
from memos_integrations.testing.fakes import FakeEmbedder


class Engine(NumpyVectors):
    """The exact index in the part of a server: it outlives the MOS and can be down."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.purged: list[int] = []

    def upsert(self, cube: int, entries: Sequence[VectorEntry]) -> None:
        if self.down:
            raise BackendUnavailable("the engine is down")
        super().upsert(cube, entries)

    def purge(self, cube: int) -> None:
        self.purged.append(cube)

    def close(self) -> None:
        """A server goes on after its client."""


def numpy_engine(_: Path) -> Engine:
    return Engine()


def chroma_engine(tmp_path: Path) -> DurableVectorIndex:
    pytest.importorskip("chromadb", reason="the chroma extra is not installed")
    from memos_integrations.infrastructure.backends.chroma import ChromaVectors

    return ChromaVectors.at(tmp_path / "chroma", fingerprint=FakeEmbedder().fingerprint)


@pytest.fixture(params=[numpy_engine, chroma_engine], ids=["in memory", "chroma"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DurableVectorIndex]:
    made = request.param(tmp_path)
    yield made
    if not isinstance(made, Engine):
        made.close()


Open = Callable[[], MOS]


@pytest.fixture
def opened(tmp_path: Path, engine: DurableVectorIndex) -> Iterator[Open]:
    made: list[MOS] = []

    def open_() -> MOS:
        settings = Settings(worker=False, synchronous="normal")
        made.append(
            MOS(tmp_path / "m.db", embedder=FakeEmbedder(), vectors=engine, settings=settings)
        )
        return made[-1]

    yield open_
    for mos in made:
        mos._rooms.vault._vectors = None  # the engine is the fixture's to close
        mos.close()


WORDS = ["the red bicycle", "a blue kettle", "green tea with honey", "an old violin"]


def texts(mos: MOS, query: str) -> list[str]:
    return [hit.text for hit in mos.search(query, user="alice", limit=10)]


def test_a_write_is_found_by_meaning_before_the_engine_has_seen_it(opened: Open) -> None:
    mos = opened()
    mos.add(WORDS, user="alice")
    assert texts(mos, "red bicycles")[0] == WORDS[0]


def test_the_engine_holds_the_truth_once_the_queue_is_empty(
    opened: Open, engine: DurableVectorIndex
) -> None:
    mos = opened()
    ids = mos.add(WORDS, user="alice").ids
    mos.work()
    assert len(engine.versions(1)) == 4
    mos.delete(ids[0], user="alice")
    assert WORDS[0] not in texts(mos, "red bicycles")
    mos.work()
    assert len(engine.versions(1)) == 3
    assert mos.check().sound


def test_a_correction_is_scored_by_its_new_words_while_the_engine_lags(opened: Open) -> None:
    mos = opened()
    ids = mos.add(WORDS, user="alice").ids
    mos.work()
    mos.update(ids[1], "a purple elephant", user="alice")
    found = mos.search("purple elephants", user="alice", explain=True)
    assert found[0].text == "a purple elephant"
    assert any(signal.name == "cosine" for signal in found[0].signals)


def test_an_engine_that_lost_everything_is_filled_again_from_the_log(
    opened: Open, engine: DurableVectorIndex
) -> None:
    mos = opened()
    mos.add(WORDS, user="alice")
    mos.work()
    held = dict(engine.versions(1))
    outside = mos._rooms.vault.outside
    assert outside is not None
    mos._rooms.vault.maintain(lambda tx: outside.reset(tx, 1))
    assert engine.versions(1) == {}
    assert texts(mos, "red bicycles")[0] == WORDS[0]
    mos._rooms.vault.project(1)
    assert engine.versions(1) == held


def test_a_second_process_finds_what_the_engine_already_holds(opened: Open) -> None:
    first = opened()
    first.add(WORDS, user="alice")
    first.work()
    assert texts(opened(), "green tea")[0] == WORDS[2]


def test_an_erase_empties_and_purges_the_engine(opened: Open, engine: DurableVectorIndex) -> None:
    mos = opened()
    ids = mos.add(WORDS, user="alice").ids
    mos.work()
    receipt = mos.erase(ids[0], user="alice")
    assert receipt.scan.engine == "purged"
    assert len(engine.versions(1)) == 3
    if isinstance(engine, Engine):
        assert engine.purged == [1]
    assert mos.check().sound


@pytest.mark.slow
def test_searches_go_on_while_the_engine_refuses_writes(tmp_path: Path) -> None:
    engine = Engine()
    engine.down = True
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "m.db", embedder=FakeEmbedder(), vectors=engine, settings=settings) as mos:
        mos.add(WORDS, user="alice")
        mos.work()
        assert texts(mos, "an old violin")[0] == WORDS[3]
        receipt = mos.erase(mos.list(user="alice")[0].id, user="alice")
        assert "not purged yet" in str(receipt.scan.engine)
        engine.down = False
        mos._rooms.vault.project(1)
        assert len(engine.versions(1)) == 3
