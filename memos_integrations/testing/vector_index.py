"""The contract of a vector index as tests: subclass ``VectorIndexTests`` and give it ``make``.

    class TestMyIndex(VectorIndexTests):
        exact = False  # an approximate engine: recall instead of equality

        def make(self, tmp_path: Path) -> VectorIndex: ...

An approximate engine still has to be exact where it has little choice: on a handful of vectors,
and whenever ``limit`` reaches everything that may be proposed.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ports import Matrix, Proposal, Rows, Vector, VectorEntry, VectorIndex

CUBE, OTHER = 7, 8
LOWEST_RECALL = 0.95
CLOSE = 2e-6
"""How far two honest float32 cosines of the same vectors may be apart."""


def rows(*items: int) -> Rows:
    return np.array(items, dtype=np.int64)


def unit_rows(count: int, dim: int, *, seed: int = 0) -> Matrix:
    """``count`` random vectors of length 1, the same for the same seed."""
    drawn = np.random.default_rng(seed).standard_normal((count, dim))
    matrix: Matrix = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return matrix


def entries(matrix: Matrix, *, first: int = 1, version: int = 1) -> list[VectorEntry]:
    """One entry per row, with the items numbered from ``first``."""
    return [VectorEntry(first + n, version, vector) for n, vector in enumerate(matrix)]


def plain(hits: Sequence[Proposal]) -> list[tuple[object, ...]]:
    """Hits as tuples, which compare with ``pytest.approx``."""
    return [(hit.item, hit.version, hit.score) for hit in hits]


class VectorIndexTests:
    """Every sentence of ``VectorIndex``, run against a real engine."""

    dim = 8
    exact = True

    def make(self, tmp_path: Path) -> VectorIndex:
        """A new, empty index that the test may keep files for in ``tmp_path``."""
        raise NotImplementedError

    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[VectorIndex]:
        index = self.make(tmp_path)
        yield index
        index.close()

    def axis(self, n: int) -> Vector:
        """The ``n``-th unit vector."""
        out = np.zeros(self.dim, dtype=np.float32)
        out[n] = 1
        return out

    def between(self, share: float) -> Vector:
        """A unit vector whose cosine with ``axis(0)`` is ``share``."""
        out = np.zeros(self.dim, dtype=np.float32)
        out[:2] = share, np.sqrt(1 - share**2)
        return out

    def found(
        self, index: VectorIndex, vector: Vector | None = None, *, cube: int = CUBE, limit: int = 10
    ) -> list[int]:
        asked = self.axis(0) if vector is None else vector
        return [hit.item for hit in index.search(cube, asked, limit=limit)]

    # What is found, and in which order

    def test_it_is_a_vector_index(self, index: VectorIndex) -> None:
        assert isinstance(index, VectorIndex)

    def test_the_highest_cosine_comes_first(self, index: VectorIndex) -> None:
        shares = [0.1, 0.9, -0.5, 0.5, 0.0, 1.0, -1.0]
        index.upsert(CUBE, entries(np.stack([self.between(share) for share in shares])))
        hits = index.search(CUBE, self.axis(0), limit=10)
        assert [hit.item for hit in hits] == [6, 2, 4, 1, 5, 3, 7]
        assert [hit.score for hit in hits] == pytest.approx(sorted(shares)[::-1], abs=CLOSE)

    def test_hits_carry_item_version_and_score_as_plain_numbers(self, index: VectorIndex) -> None:
        index.upsert(CUBE, [VectorEntry(41, 3, self.axis(0))])
        [hit] = index.search(CUBE, self.axis(0), limit=5)
        assert plain([hit]) == [(41, 3, pytest.approx(1.0, abs=CLOSE))]
        assert (type(hit.item), type(hit.version), type(hit.score)) == (int, int, float)

    def test_equal_scores_are_ordered_by_item(self, index: VectorIndex) -> None:
        vector = unit_rows(1, self.dim, seed=5)[0]
        index.upsert(CUBE, [VectorEntry(item, 1, vector) for item in (9, 2, 30, 4, 11, 7)])
        assert self.found(index, vector, limit=4) == [2, 4, 7, 9]

    def test_equal_vectors_score_the_same_among_many(self, index: VectorIndex) -> None:
        twin = unit_rows(1, self.dim, seed=5)[0]
        noise = unit_rows(38, self.dim, seed=6)
        index.upsert(CUBE, entries(noise, first=100))
        index.upsert(CUBE, [VectorEntry(item, 1, twin) for item in (700, 3, 119 * 2, 12)])
        hits = index.search(CUBE, unit_rows(1, self.dim, seed=7)[0], limit=50)
        twins = [hit for hit in hits if hit.item in {3, 12, 238, 700}]
        assert [hit.item for hit in twins] == [3, 12, 238, 700]
        assert len({hit.score for hit in twins}) == 1

    def test_limit_cuts_after_the_best(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(unit_rows(20, self.dim)))
        every = self.found(index, limit=100)
        assert sorted(every) == list(range(1, 21))
        for limit in (0, 1, 5, 19, 20, 21):
            assert self.found(index, limit=limit) == every[:limit]

    def test_a_question_asked_twice_gets_the_same_answer(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(unit_rows(200, self.dim)))
        ask = unit_rows(1, self.dim, seed=1)[0]
        assert index.search(CUBE, ask, limit=9) == index.search(CUBE, ask, limit=9)

    def test_an_empty_or_unknown_cube_finds_nothing(self, index: VectorIndex) -> None:
        assert index.search(CUBE, self.axis(0), limit=5) == []
        assert index.search(CUBE, self.axis(0), limit=5, within=rows(1, 2)) == []
        assert dict(index.versions(CUBE)) == {}

    # Scores

    def test_scores_come_in_the_order_asked(self, index: VectorIndex) -> None:
        shares = [0.9, -0.3, 0.4]
        index.upsert(CUBE, entries(np.stack([self.between(share) for share in shares])))
        scores = index.scores(CUBE, self.axis(0), rows(3, 99, 1, 2, 3, -5))
        assert scores.dtype == np.float32
        wanted = [0.4, np.nan, 0.9, -0.3, 0.4, np.nan]
        assert scores.tolist() == pytest.approx(wanted, abs=CLOSE, nan_ok=True)

    def test_scores_are_those_of_search(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(unit_rows(60, self.dim)))
        ask = unit_rows(1, self.dim, seed=3)[0]
        hits = index.search(CUBE, ask, limit=20)
        scores = index.scores(CUBE, ask, rows(*(hit.item for hit in hits)))
        assert scores.tolist() == pytest.approx([hit.score for hit in hits], abs=CLOSE)

    def test_scores_of_no_items_are_no_scores(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(unit_rows(2, self.dim)))
        assert index.scores(CUBE, self.axis(0), rows()).shape == (0,)

    def test_scores_of_an_unknown_cube_are_nan(self, index: VectorIndex) -> None:
        assert np.isnan(index.scores(CUBE, self.axis(0), rows(1, 2))).tolist() == [True, True]

    # Writing

    def test_a_newer_version_replaces_the_vector(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(np.stack([self.axis(0), self.between(0.5)])))
        index.upsert(CUBE, [VectorEntry(1, 2, self.axis(2))])
        hits = index.search(CUBE, self.axis(0), limit=5)
        assert [(hit.item, hit.version) for hit in hits] == [(2, 1), (1, 2)]
        assert hits[1].score == pytest.approx(0, abs=CLOSE)

    def test_an_older_version_changes_nothing(self, index: VectorIndex) -> None:
        index.upsert(CUBE, [VectorEntry(1, 5, self.axis(0))])
        index.upsert(CUBE, [VectorEntry(1, 4, self.axis(2)), VectorEntry(2, 1, self.axis(1))])
        assert dict(index.versions(CUBE)) == {1: 5, 2: 1}
        assert index.scores(CUBE, self.axis(0), rows(1))[0] == pytest.approx(1, abs=CLOSE)

    def test_the_same_version_replaces_the_vector(self, index: VectorIndex) -> None:
        index.upsert(CUBE, [VectorEntry(1, 5, self.axis(0))])
        index.upsert(CUBE, [VectorEntry(1, 5, self.axis(1))])
        assert index.scores(CUBE, self.axis(1), rows(1))[0] == pytest.approx(1, abs=CLOSE)
        assert dict(index.versions(CUBE)) == {1: 5}

    def test_the_newest_of_one_batch_wins(self, index: VectorIndex) -> None:
        index.upsert(CUBE, [VectorEntry(1, v, self.axis(v)) for v in (1, 3, 2)])
        assert plain(index.search(CUBE, self.axis(3), limit=5)) == [(1, 3, pytest.approx(1.0))]

    def test_of_equal_versions_in_one_batch_the_last_wins(self, index: VectorIndex) -> None:
        index.upsert(CUBE, [VectorEntry(1, 2, self.axis(n)) for n in (1, 0, 3)])
        assert plain(index.search(CUBE, self.axis(3), limit=5)) == [(1, 2, pytest.approx(1.0))]

    def test_writing_the_same_again_changes_nothing(self, index: VectorIndex) -> None:
        batch = entries(unit_rows(30, self.dim))
        index.upsert(CUBE, batch)
        before = index.search(CUBE, self.axis(0), limit=30)
        for _ in range(3):
            index.upsert(CUBE, batch)
        assert index.search(CUBE, self.axis(0), limit=30) == before

    def test_an_empty_batch_is_no_error(self, index: VectorIndex) -> None:
        index.upsert(CUBE, [])
        assert self.found(index) == []
        assert dict(index.versions(CUBE)) == {}

    def test_vectors_are_copied(self, index: VectorIndex) -> None:
        vector = self.axis(0).copy()
        index.upsert(CUBE, [VectorEntry(1, 1, vector)])
        vector[:] = self.axis(1)
        assert index.scores(CUBE, self.axis(0), rows(1))[0] == pytest.approx(1, abs=CLOSE)

    def test_versions_are_a_picture_of_now(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(unit_rows(3, self.dim), version=4))
        before = index.versions(CUBE)
        index.delete(CUBE, [2])
        assert dict(before) == {1: 4, 2: 4, 3: 4}
        assert dict(index.versions(CUBE)) == {1: 4, 3: 4}

    def test_item_and_version_numbers_may_be_any_row_number(self, index: VectorIndex) -> None:
        top = 2**62
        index.upsert(CUBE, [VectorEntry(top, top, self.axis(0)), VectorEntry(1, 1, self.axis(1))])
        hits = index.search(CUBE, self.axis(0), limit=1, within=rows(1, top))
        assert plain(hits) == [(top, top, pytest.approx(1.0))]
        assert index.scores(CUBE, self.axis(0), rows(top))[0] == pytest.approx(1, abs=CLOSE)

    def test_5000_entries_load_in_one_batch(self, index: VectorIndex) -> None:
        matrix = unit_rows(5000, self.dim)
        index.upsert(CUBE, entries(matrix))
        assert len(index.versions(CUBE)) == 5000
        assert self.found(index, matrix[4321], limit=1) == [4322]
        asked = rows(*range(1, 5001))
        assert index.scores(CUBE, matrix[7], asked) == pytest.approx(matrix @ matrix[7], abs=CLOSE)

    # Deleting

    def test_a_deleted_item_is_never_proposed(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(unit_rows(5, self.dim)))
        index.delete(CUBE, [1, 4])
        assert sorted(self.found(index)) == [2, 3, 5]
        assert np.isnan(index.scores(CUBE, self.axis(0), rows(1, 4))).all()
        assert sorted(index.versions(CUBE)) == [2, 3, 5]
        assert index.search(CUBE, self.axis(0), limit=5, within=rows(1, 4)) == []

    def test_deleting_unknown_items_is_no_error(self, index: VectorIndex) -> None:
        index.delete(CUBE, [1])
        index.upsert(CUBE, entries(unit_rows(1, self.dim)))
        index.delete(CUBE, [5, 5, 6])
        index.delete(CUBE, [])
        assert self.found(index) == [1]

    def test_an_index_emptied_by_deletes_answers_nothing(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(unit_rows(3, self.dim)))
        index.delete(CUBE, [1, 2, 3])
        assert self.found(index) == []
        assert dict(index.versions(CUBE)) == {}

    def test_delete_forgets_the_version_as_well(self, index: VectorIndex) -> None:
        index.upsert(CUBE, [VectorEntry(1, 9, self.axis(0))])
        index.delete(CUBE, [1])
        index.upsert(CUBE, [VectorEntry(1, 2, self.axis(1))])
        assert plain(index.search(CUBE, self.axis(1), limit=5)) == [(1, 2, pytest.approx(1.0))]

    def test_what_many_deletes_leave_is_found(self, index: VectorIndex) -> None:
        matrix = unit_rows(400, self.dim)
        index.upsert(CUBE, entries(matrix))
        index.delete(CUBE, [item for item in range(1, 401) if item % 20])
        left = list(range(20, 401, 20))
        assert sorted(self.found(index, limit=400)) == left
        for item in left:
            assert self.found(index, matrix[item - 1], limit=1) == [item]

    # Cubes

    def test_cubes_do_not_see_each_other(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(np.stack([self.axis(0), self.axis(1)])))
        index.upsert(OTHER, entries(np.stack([self.axis(1), self.axis(0)]), version=6))
        assert self.found(index) == [1, 2]
        assert self.found(index, cube=OTHER) == [2, 1]
        index.delete(OTHER, [1])
        assert (dict(index.versions(CUBE)), dict(index.versions(OTHER))) == ({1: 1, 2: 1}, {2: 6})

    def test_a_dropped_cube_is_forgotten_and_can_be_filled_again(self, index: VectorIndex) -> None:
        index.upsert(CUBE, [VectorEntry(1, 9, self.axis(0))])
        index.upsert(OTHER, [VectorEntry(1, 1, self.axis(0))])
        index.drop(CUBE)
        index.drop(12345)
        assert (self.found(index), dict(index.versions(CUBE))) == ([], {})
        assert self.found(index, cube=OTHER) == [1]
        index.upsert(CUBE, [VectorEntry(1, 2, self.axis(1))])
        assert dict(index.versions(CUBE)) == {1: 2}

    # Filters

    def test_within_is_applied_before_the_limit(self, index: VectorIndex) -> None:
        near = np.stack([self.between(0.9)] * 300)
        index.upsert(CUBE, entries(near))
        index.upsert(CUBE, [VectorEntry(1000, 1, self.between(-0.9))])
        hits = index.search(CUBE, self.axis(0), limit=1, within=rows(1000, 9999))
        assert plain(hits) == [(1000, 1, pytest.approx(-0.9, abs=CLOSE))]

    def test_within_changes_no_score(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(unit_rows(40, self.dim)))
        ask = unit_rows(1, self.dim, seed=9)[0]
        free = {hit.item: hit.score for hit in index.search(CUBE, ask, limit=40)}
        for kept in (rows(3), rows(8, 1, 33), rows(*range(1, 41))):
            hits = index.search(CUBE, ask, limit=40, within=kept)
            assert sorted(hit.item for hit in hits) == sorted(kept.tolist())
            assert all(hit.score == pytest.approx(free[hit.item], abs=CLOSE) for hit in hits)

    def test_within_nothing_finds_nothing(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(unit_rows(3, self.dim)))
        assert index.search(CUBE, self.axis(0), limit=5, within=rows()) == []

    def test_unknown_and_repeated_items_in_within_change_nothing(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(np.stack([self.axis(0), self.axis(1), self.between(0.5)])))
        within = rows(77, 3, -4, 1, 3, 1, 2**62)
        hits = index.search(CUBE, self.axis(0), limit=5, within=within)
        assert [hit.item for hit in hits] == [1, 3]
        assert index.search(CUBE, self.axis(0), limit=5, within=rows(77, 2**62)) == []

    @pytest.mark.parametrize("share", [0.005, 0.05, 0.3, 0.7, 1.0])
    def test_the_best_of_any_share_are_found(self, index: VectorIndex, share: float) -> None:
        matrix = unit_rows(2000, self.dim)
        index.upsert(CUBE, entries(matrix))
        chance = np.random.default_rng(4)
        recalls: list[float] = []
        for ask in unit_rows(10, self.dim, seed=11):
            within = 1 + chance.choice(2000, int(2000 * share), replace=False)
            hits = index.search(CUBE, ask, limit=10, within=within)
            recalls.append(self._agreement(hits, _model(matrix, within), ask, limit=10))
        assert np.mean(recalls) >= (1 if self.exact else LOWEST_RECALL)

    def test_the_best_of_all_are_found(self, index: VectorIndex) -> None:
        matrix = unit_rows(2000, self.dim)
        index.upsert(CUBE, entries(matrix))
        model = _model(matrix, np.arange(1, 2001))
        recalls = [
            self._agreement(index.search(CUBE, ask, limit=20), model, ask, limit=20)
            for ask in unit_rows(25, self.dim, seed=12)
        ]
        assert np.mean(recalls) >= (1 if self.exact else LOWEST_RECALL)

    # Values that cannot be kept

    def test_a_vector_of_another_length_is_refused(self, index: VectorIndex) -> None:
        index.upsert(CUBE, entries(unit_rows(3, self.dim)))
        longer = unit_rows(1, self.dim + 1)[0]
        batch = [VectorEntry(1, 2, self.axis(0)), VectorEntry(9, 1, longer)]
        for wrong in (batch, batch[1:]):
            with pytest.raises(InvalidInput):
                index.upsert(CUBE, wrong)
        with pytest.raises(InvalidInput):
            index.search(CUBE, longer, limit=1)
        with pytest.raises(InvalidInput):
            index.scores(CUBE, longer, rows(1))
        assert dict(index.versions(CUBE)) == {1: 1, 2: 1, 3: 1}

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_vector_that_is_not_finite_is_refused(self, index: VectorIndex, value: float) -> None:
        index.upsert(CUBE, entries(unit_rows(3, self.dim)))
        wrong = self.axis(0).copy()
        wrong[self.dim - 1] = value
        with pytest.raises(InvalidInput):
            index.upsert(CUBE, [VectorEntry(1, 2, self.axis(0)), VectorEntry(9, 1, wrong)])
        with pytest.raises(InvalidInput):
            index.search(CUBE, wrong, limit=1)
        with pytest.raises(InvalidInput):
            index.scores(CUBE, wrong, rows(1))
        assert dict(index.versions(CUBE)) == {1: 1, 2: 1, 3: 1}

    # Any order of writes

    @pytest.mark.parametrize("seed", range(3))
    def test_it_agrees_with_a_brute_force_model_after_any_writes(
        self, index: VectorIndex, seed: int
    ) -> None:
        chance = random.Random(seed)
        model: dict[int, VectorEntry] = {}
        asks = unit_rows(60, self.dim, seed=seed + 50)
        for ask in asks:
            self._write(index, model, chance)
            some = [item for item in range(1, 90) if chance.random() < chance.random()]
            self._compare(index, model, ask, within=None)
            self._compare(index, model, ask, within=rows(*some))
        assert dict(index.versions(CUBE)) == {item: e.version for item, e in model.items()}

    def _write(
        self, index: VectorIndex, model: dict[int, VectorEntry], chance: random.Random
    ) -> None:
        step = chance.random()
        if step < 0.03:
            index.drop(CUBE)
            model.clear()
        elif step < 0.35:
            gone = chance.sample(range(1, 90), chance.randint(1, 30))
            index.delete(CUBE, gone)
            for item in gone:
                model.pop(item, None)
        else:
            batch = self._some_entries(chance)
            index.upsert(CUBE, batch)
            for entry in batch:
                if entry.item not in model or entry.version >= model[entry.item].version:
                    model[entry.item] = entry

    def _some_entries(self, chance: random.Random) -> list[VectorEntry]:
        # Few directions, so that equal scores are common.
        directions = unit_rows(25, self.dim, seed=99)
        return [
            VectorEntry(chance.randint(1, 89), chance.randint(1, 9), chance.choice(directions))
            for _ in range(chance.randint(1, 25))
        ]

    def _compare(
        self,
        index: VectorIndex,
        model: Mapping[int, VectorEntry],
        ask: Vector,
        *,
        within: Rows | None,
    ) -> None:
        allowed = (
            model
            if within is None
            else {item: model[item] for item in within.tolist() if item in model}
        )
        everything = index.search(CUBE, ask, limit=100, within=within)
        assert {hit.item: hit.version for hit in everything} == {
            item: entry.version for item, entry in allowed.items()
        }
        assert self._agreement(everything, allowed, ask, limit=100) == 1
        few = index.search(CUBE, ask, limit=7, within=within)
        assert few == everything[:7] if self.exact else len(few) == min(7, len(allowed))

    def _agreement(
        self,
        hits: Sequence[Proposal],
        model: Mapping[int, VectorEntry],
        ask: Vector,
        *,
        limit: int,
    ) -> float:
        """The share of the best scores that ``hits`` reaches; they must be honest and in order."""
        cosines = {item: float(entry.vector @ ask) for item, entry in model.items()}
        assert len(hits) == min(limit, len(model))
        assert list(hits) == sorted(hits, key=lambda hit: (-hit.score, hit.item))
        assert len({hit.item for hit in hits}) == len(hits)
        assert all(hit.score == pytest.approx(cosines[hit.item], abs=CLOSE) for hit in hits)
        if not hits:
            return 1.0
        edge = sorted(cosines.values(), reverse=True)[len(hits) - 1]
        return float(np.mean([hit.score >= edge - CLOSE for hit in hits]))

    # Threads

    def test_readers_see_whole_writes_while_one_writes(self, index: VectorIndex) -> None:
        matrix = unit_rows(40, self.dim)
        index.upsert(CUBE, entries(matrix))
        done = threading.Event()

        def read() -> list[list[Proposal]]:
            answers: list[list[Proposal]] = []
            while not (done.is_set() and answers):
                answers.append(index.search(CUBE, self.axis(0), limit=40, within=rows(*stay)))
                assert np.isfinite(index.scores(CUBE, self.axis(0), rows(1, 2, 3))).all()
                assert set(index.versions(CUBE)) >= set(stay)
            return answers

        stay = range(1, 41)
        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read) for _ in range(3)]
            try:
                for version in range(2, 32):
                    passing = entries(matrix[:5], first=1000 + version)
                    index.upsert(CUBE, [*entries(matrix, version=version), *passing])
                    index.delete(CUBE, [entry.item for entry in passing])
            finally:
                done.set()
            answers = [answer for reader in readers for answer in reader.result()]
        assert all(sorted(hit.item for hit in hits) == list(stay) for hits in answers)
        assert all(len({hit.version for hit in hits}) == 1 for hits in answers)
        scores = index.scores(CUBE, self.axis(0), rows(*stay))
        assert scores == pytest.approx(matrix @ self.axis(0), abs=CLOSE)

    def test_writers_of_one_cube_lose_nothing(self, index: VectorIndex) -> None:
        matrix = unit_rows(40, self.dim)

        def write(worker: int) -> None:
            for n in range(worker * 10, worker * 10 + 10):
                index.upsert(CUBE, [VectorEntry(n, 1, matrix[n])])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        assert sorted(index.versions(CUBE)) == list(range(40))
        scores = index.scores(CUBE, self.axis(0), rows(*range(40)))
        assert scores == pytest.approx(matrix @ self.axis(0), abs=CLOSE)


def _model(matrix: Matrix, items: Rows) -> dict[int, VectorEntry]:
    return {item: VectorEntry(item, 1, matrix[item - 1]) for item in items.tolist()}
