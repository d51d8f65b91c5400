"""The contract of a text index as tests: subclass ``TextIndexTests`` and give it ``make``.

    class TestMyIndex(TextIndexTests):
        def make(self, tmp_path: Path) -> TextIndex: ...

``k1`` and ``b`` are the parameters of BM25 that the engine uses; scores are compared with a plain
model of the formula to four decimals.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from memos_integrations.cube.ports import Proposal, Rows, TextEntry, TextIndex

CUBE, OTHER = 7, 8


def rows(*items: int) -> Rows:
    return np.array(items, dtype=np.int64)


def entries(*texts: str, first: int = 1, version: int = 1) -> list[TextEntry]:
    """One entry per text, with the items numbered from ``first``."""
    return [TextEntry(first + i, version, text) for i, text in enumerate(texts)]


def found(index: TextIndex, query: str, *, cube: int = CUBE, limit: int = 10) -> list[int]:
    return [hit.item for hit in index.search(cube, query, limit=limit)]


class TextIndexTests:
    """Every sentence of ``TextIndex``, run against a real engine."""

    k1 = 1.2
    b = 0.75

    def make(self, tmp_path: Path) -> TextIndex:
        """A new, empty index that the test may keep files for in ``tmp_path``."""
        raise NotImplementedError

    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[TextIndex]:
        index = self.make(tmp_path)
        yield index
        index.close()

    # What is found, and in which order

    def test_it_is_a_text_index(self, index: TextIndex) -> None:
        assert isinstance(index, TextIndex)

    def test_items_that_share_a_word_with_the_query_are_found(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("a red kite", "a blue boat", "the kite is blue"))
        assert sorted(found(index, "kite")) == [1, 3]

    def test_hits_carry_item_version_and_score_as_plain_numbers(self, index: TextIndex) -> None:
        index.upsert(CUBE, [TextEntry(41, 3, "a red kite")])
        [hit] = index.search(CUBE, "kite", limit=5)
        assert (hit.item, hit.version) == (41, 3)
        assert (type(hit.item), type(hit.version), type(hit.score)) == (int, int, float)

    def test_all_words_of_the_query_beat_a_part_of_them(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red boat", "red kite", "blue kite", "green car"))
        assert found(index, "red kite")[0] == 2

    def test_a_rare_word_weighs_more_than_a_common_one(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("kite boat", "kite car", "kite lamp", "quartz tree"))
        assert found(index, "kite quartz")[0] == 4

    def test_a_short_text_beats_a_long_one_that_says_it_once(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("kite with boat car lamp tree stone river", "red kite"))
        assert found(index, "kite") == [2, 1]

    def test_a_word_said_again_scores_higher(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("kite boat lamp", "kite kite lamp"))
        assert found(index, "kite") == [2, 1]

    def test_words_are_found_in_other_forms(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("She was painting two portraits"))
        assert found(index, "PAINTED portrait") == [1]

    def test_equal_scores_are_ordered_by_item(self, index: TextIndex) -> None:
        index.upsert(CUBE, [TextEntry(item, 1, "red kite") for item in (9, 2, 30, 4, 11, 7)])
        assert found(index, "kite", limit=4) == [2, 4, 7, 9]

    def test_limit_cuts_after_the_best(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries(*(f"kite {'boat ' * n}" for n in range(20))))
        every = found(index, "kite", limit=100)
        assert len(every) == 20
        for limit in (0, 1, 5, 19, 20):
            assert found(index, "kite", limit=limit) == every[:limit]

    def test_a_question_asked_twice_gets_the_same_answer(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite", "blue kite", "kite on a boat"))
        ask = "the kite on the red boat"
        assert index.search(CUBE, ask, limit=3) == index.search(CUBE, ask, limit=3)

    # What a score means

    def test_scores_lie_between_0_and_1(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("kite", "kite " * 5000, "kite boat " * 50))
        scores = [hit.score for hit in index.search(CUBE, "kite boat", limit=9)]
        assert len(scores) == 3
        assert all(0 < score <= 1 for score in scores)

    def test_a_word_said_without_end_comes_near_1(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("kite " * 5000, "boat " * 5000))
        assert index.search(CUBE, "kite", limit=1)[0].score > 0.99

    def test_a_word_repeated_in_the_query_counts_once(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite", "blue boat"))
        once, thrice = (index.scores(CUBE, ask, rows(1, 2)) for ask in ("kite", "kite kite kite"))
        assert once.tolist() == thrice.tolist()

    def test_words_that_no_item_has_lower_the_share(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite", "blue boat"))
        [known, mixed] = (index.scores(CUBE, ask, rows(1))[0] for ask in ("kite", "kite zeppelin"))
        assert 0 < mixed < known

    def test_scores_come_in_the_order_asked(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite", "blue boat", "kite kite"))
        hits = {hit.item: hit.score for hit in index.search(CUBE, "kite", limit=9)}
        scores = index.scores(CUBE, "kite", rows(3, 2, 99, 1, 3))
        assert scores.dtype == np.float32
        assert scores.tolist() == pytest.approx([hits[3], 0, 0, hits[1], hits[3]])

    def test_scores_of_no_items_are_no_scores(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite"))
        assert index.scores(CUBE, "kite", rows()).shape == (0,)

    def test_scores_of_an_unknown_cube_are_0(self, index: TextIndex) -> None:
        assert index.scores(CUBE, "kite", rows(1, 2)).tolist() == [0, 0]

    @pytest.mark.parametrize("query", ["", "   ", "?!...", "who was it that is the", "zeppelin"])
    def test_a_query_without_a_known_word_finds_nothing(self, index: TextIndex, query: str) -> None:
        index.upsert(CUBE, entries("who was it that is the kite", "?!..."))
        assert index.search(CUBE, query, limit=5) == []
        assert index.scores(CUBE, query, rows(1, 2)).tolist() == [0, 0]

    # Writing

    def test_a_newer_version_replaces_the_words(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite", "red boat"))
        index.upsert(CUBE, [TextEntry(1, 2, "blue lamp")])
        assert found(index, "kite") == []
        assert index.search(CUBE, "lamp", limit=5)[0].version == 2

    def test_an_older_version_changes_nothing(self, index: TextIndex) -> None:
        index.upsert(CUBE, [TextEntry(1, 5, "red kite")])
        index.upsert(CUBE, [TextEntry(1, 4, "blue lamp")])
        assert found(index, "lamp") == []
        assert found(index, "kite") == [1]
        assert dict(index.versions(CUBE)) == {1: 5}

    def test_the_newest_of_one_batch_wins(self, index: TextIndex) -> None:
        index.upsert(CUBE, [TextEntry(1, v, f"kite word{v}") for v in (1, 3, 2)])
        assert [found(index, f"word{v}") for v in (1, 2, 3)] == [[], [], [1]]
        assert found(index, "kite") == [1]

    def test_writing_the_same_again_changes_no_score(self, index: TextIndex) -> None:
        batch = entries("red kite", "blue kite boat", "green lamp")
        index.upsert(CUBE, batch)
        before = index.search(CUBE, "blue kite", limit=5)
        for _ in range(3):
            index.upsert(CUBE, batch)
        assert index.search(CUBE, "blue kite", limit=5) == before

    def test_a_deleted_item_is_never_proposed(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite", "blue kite"))
        index.delete(CUBE, [1])
        assert found(index, "red kite") == [2]
        assert index.scores(CUBE, "kite", rows(1)).tolist() == [0]
        assert dict(index.versions(CUBE)) == {2: 1}

    def test_deleting_unknown_items_is_no_error(self, index: TextIndex) -> None:
        index.delete(CUBE, [1])
        index.upsert(CUBE, entries("red kite"))
        index.delete(CUBE, [5, 5, 6])
        index.delete(CUBE, [])
        assert found(index, "kite") == [1]

    def test_an_index_emptied_by_deletes_answers_nothing(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite", "blue kite"))
        index.delete(CUBE, [1, 2])
        assert found(index, "kite") == []
        assert dict(index.versions(CUBE)) == {}

    def test_a_deleted_item_can_come_back(self, index: TextIndex) -> None:
        index.upsert(CUBE, [TextEntry(1, 4, "red kite")])
        index.delete(CUBE, [1])
        index.upsert(CUBE, [TextEntry(1, 5, "blue lamp")])
        assert (found(index, "kite"), found(index, "lamp")) == ([], [1])

    def test_a_deleted_item_leaves_the_word_statistics(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite", "blue boat"))
        before = index.search(CUBE, "red kite", limit=5)
        index.upsert(CUBE, entries(*["kite lamp tree"] * 5, first=100))
        assert index.search(CUBE, "red kite", limit=5, within=rows(1)) != before
        index.delete(CUBE, range(100, 105))
        assert index.search(CUBE, "red kite", limit=5) == before

    def test_an_item_without_words_is_held_but_not_found(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("", "the of and", "red kite"))
        assert dict(index.versions(CUBE)) == {1: 1, 2: 1, 3: 1}
        assert found(index, "the kite") == [3]

    def test_an_empty_batch_is_no_error(self, index: TextIndex) -> None:
        index.upsert(CUBE, [])
        assert found(index, "kite") == []
        assert dict(index.versions(CUBE)) == {}

    def test_item_numbers_may_be_any_row_number(self, index: TextIndex) -> None:
        top = 2**62
        index.upsert(CUBE, [TextEntry(top, top, "red kite"), TextEntry(1, 1, "boat")])
        assert index.search(CUBE, "kite", limit=1, within=rows(1, top))[0].version == top
        assert index.scores(CUBE, "kite", rows(top))[0] > 0

    # Cubes

    def test_cubes_do_not_see_each_other(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite"))
        index.upsert(OTHER, entries("blue kite", first=50))
        assert found(index, "red kite") == [1]
        assert found(index, "red kite", cube=OTHER) == [50]
        index.delete(OTHER, [1])
        assert found(index, "kite") == [1]

    def test_word_statistics_are_of_one_cube(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite", "blue boat"))
        before = index.search(CUBE, "red kite", limit=5)
        index.upsert(OTHER, entries(*["kite " * 9] * 20))
        assert index.search(CUBE, "red kite", limit=5) == before

    def test_a_dropped_cube_is_forgotten_and_can_be_filled_again(self, index: TextIndex) -> None:
        index.upsert(CUBE, [TextEntry(1, 9, "red kite")])
        index.upsert(OTHER, entries("red kite"))
        index.drop(CUBE)
        index.drop(12345)
        assert (found(index, "kite"), dict(index.versions(CUBE))) == ([], {})
        assert found(index, "kite", cube=OTHER) == [1]
        index.upsert(CUBE, entries("blue lamp"))
        assert found(index, "kite lamp") == [1]

    # Filters

    def test_within_is_applied_before_the_limit(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries(*["kite"] * 50, "kite boat lamp tree car stone"))
        hits = index.search(CUBE, "kite", limit=1, within=rows(51, 999))
        assert [hit.item for hit in hits] == [51]

    def test_within_changes_no_score(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite", "blue kite", "kite on a boat"))
        free = {hit.item: hit.score for hit in index.search(CUBE, "kite boat", limit=9)}
        kept = index.search(CUBE, "kite boat", limit=9, within=rows(3, 1))
        assert {hit.item: hit.score for hit in kept} == {item: free[item] for item in (1, 3)}

    def test_within_nothing_finds_nothing(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("red kite"))
        assert index.search(CUBE, "kite", limit=5, within=rows()) == []

    # Texts as people write them

    @pytest.mark.parametrize(
        ("text", "query"),
        [
            ("我昨天去了北京大学看朋友", "你在北京做什么"),
            ("東京で寿司を食べました", "寿司はどこで食べた"),
            ("한국어를 공부합니다", "한국어 수업"),
            ("Мы едем в Москву завтра", "москву"),
            ("हम हिन्दी में बात करते हैं", "हिन्दी"),
            ("Meet me at the Café Zoë", "cafe zoe"),
            ("naïve cafe\u0301", "CAFÉ"),
            ("ｆｕｌｌ ｗｉｄｔｈ", "full"),
            ("so happy 🎉🎉", "🎉"),
            ("ticket PROJ-123 is done", "proj-123"),
            ("ticket PROJ-123 is done", "123"),
            ("write to ann.smith@example.com", "smith"),
            ("Melanie's kids", "Melanie"),
            ("it cost 1500 dollars", "1500"),
        ],
    )
    def test_text_is_found_by_its_words(self, index: TextIndex, text: str, query: str) -> None:
        index.upsert(CUBE, entries("something else altogether", text, "完全不同的内容"))
        assert found(index, query) == [2]

    @pytest.mark.parametrize(
        "query",
        [
            '"kite',
            "kite*",
            "kite OR boat AND NOT lamp",
            "NEAR(kite boat, 5)",
            "text:kite",
            "kite^2 -boat +lamp",
            "'; DROP TABLE item; -- kite",
            "kite\x00boat",
            "(((kite",
            "{kite} [boat] \\ % _",
            "\ud800 kite",
        ],
    )
    def test_query_syntax_is_only_words(self, index: TextIndex, query: str) -> None:
        index.upsert(CUBE, entries("red kite", "silver spoon"))
        assert found(index, query) == [1]

    def test_a_prefix_sign_matches_no_longer_word(self, index: TextIndex) -> None:
        index.upsert(CUBE, entries("kitesurfing"))
        assert found(index, "kite*") == []

    def test_huge_texts_and_queries_are_taken(self, index: TextIndex) -> None:
        words = " ".join(f"word{i}" for i in range(100_000))
        started = time.monotonic()
        index.upsert(CUBE, entries(words, "x" * 1_000_000, "e\u0301\u0323" * 300_000, "word7"))
        assert found(index, "word7") == [4, 1]
        assert set(found(index, words[:100_000])) == {4, 1}
        assert time.monotonic() - started < 10

    # The formula

    @pytest.mark.parametrize("seed", range(6))
    def test_every_score_is_that_of_the_formula_after_any_writes(
        self, index: TextIndex, seed: int
    ) -> None:
        chance = random.Random(seed)
        model: dict[int, TextEntry] = {}
        for _ in range(30):
            self._write(index, model, chance)
            query = _some_words(chance, chance.randint(1, 5)) + " unheard"
            within = [item for item in range(1, 60) if chance.random() < 0.6]
            self._compare(index, model, query, within)
        assert dict(index.versions(CUBE)) == {item: e.version for item, e in model.items()}

    def _write(self, index: TextIndex, model: dict[int, TextEntry], chance: random.Random) -> None:
        if chance.random() < 0.3:
            gone = chance.sample(range(1, 60), 15)
            index.delete(CUBE, gone)
            for item in gone:
                model.pop(item, None)
            return
        batch = [
            TextEntry(chance.randint(1, 59), chance.randint(1, 9), _some_words(chance))
            for _ in range(chance.randint(1, 25))
        ]
        index.upsert(CUBE, batch)
        for entry in batch:
            if entry.item not in model or entry.version >= model[entry.item].version:
                model[entry.item] = entry

    def _compare(
        self, index: TextIndex, model: Mapping[int, TextEntry], query: str, within: list[int]
    ) -> None:
        shares = bm25_shares(model, query, k1=self.k1, b=self.b)
        asked = index.scores(CUBE, query, rows(*range(1, 60)))
        assert asked.tolist() == pytest.approx(
            [shares.get(item, 0) for item in range(1, 60)], abs=1e-4
        )
        hits = index.search(CUBE, query, limit=5, within=rows(*within))
        assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.item))
        allowed = sorted((shares.get(item, 0) for item in within), reverse=True)
        assert [hit.score for hit in hits] == pytest.approx(
            [share for share in allowed[:5] if share], abs=1e-4
        )
        assert all(hit.item in within for hit in hits)
        assert all(hit.version == model[hit.item].version for hit in hits)

    # Threads

    def test_readers_see_whole_writes_while_one_writes(self, index: TextIndex) -> None:
        index.upsert(CUBE, [TextEntry(item, 1, "kite stays") for item in range(1, 41)])
        done = threading.Event()

        def read() -> list[list[Proposal]]:
            answers = [index.search(CUBE, "stays", limit=100)]
            while not done.is_set():
                answers.append(index.search(CUBE, "stays", limit=100))
                index.scores(CUBE, "kite", rows(1, 2, 3))
            return answers

        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read) for _ in range(3)]
            try:
                for version in range(2, 120):
                    batch = [TextEntry(item, version, "kite stays") for item in range(1, 41)]
                    index.upsert(CUBE, [*batch, *entries("boat", first=1000 + version)])
                    index.delete(CUBE, [1000 + version])
            finally:
                done.set()
            answers = [answer for reader in readers for answer in reader.result()]
        assert all([hit.item for hit in hits] == list(range(1, 41)) for hits in answers)
        assert all(len({hit.version for hit in hits}) == 1 for hits in answers)

    def test_writers_of_one_cube_lose_nothing(self, index: TextIndex) -> None:
        def write(worker: int) -> None:
            for i in range(30):
                index.upsert(CUBE, [TextEntry(worker * 100 + i, 1, f"kite worker{worker}")])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        assert len(found(index, "kite", limit=1000)) == 120
        assert len(index.versions(CUBE)) == 120


def bm25_shares(
    model: Mapping[int, TextEntry], query: str, *, k1: float, b: float
) -> dict[int, float]:
    """Item -> share, straight from the formula, for texts of words that no stemmer changes."""
    texts = {item: Counter(entry.text.split()) for item, entry in model.items()}
    mean = sum(text.total() for text in texts.values()) / max(len(texts), 1)
    words = sorted(set(query.split()))
    idf = {word: _idf(word, list(texts.values())) for word in words}
    shares: dict[int, float] = {}
    for item, text in texts.items():
        norm = k1 * (1 - b + b * text.total() / mean) if mean else k1
        score = sum(idf[word] * text[word] / (text[word] + norm) for word in words)
        if score:
            shares[item] = score / sum(idf.values())
    return shares


def _idf(word: str, texts: Sequence[Counter[str]]) -> float:
    held = sum(word in text for text in texts)
    return math.log(1 + (len(texts) - held + 0.5) / (held + 0.5))


def _some_words(chance: random.Random, count: int | None = None) -> str:
    length = chance.randint(0, 12) if count is None else count
    return " ".join(f"w{min(int(chance.expovariate(0.15)), 30)}" for _ in range(length))
