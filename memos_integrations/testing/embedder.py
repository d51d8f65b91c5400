"""What every ``Embedder`` must do, as a suite that any implementation can run.

    class TestMyEmbedder(EmbedderTests):
        def make(self) -> Embedder:
            return MyEmbedder()

Needs pytest. A model behind a network can run it too: it makes some hundred small calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from memos_integrations.cube.ports import Embedder, Matrix

TEXTS = [
    "The cat sat on the mat.",
    "Quarterly revenue fell by three percent.",
    "hello",
    "Caroline adopted two guinea pigs in May 2023, and they have been inseparable ever since.",
    "A ship is safe in harbour, but that is not what ships are for.",
]
UNICODE = [
    "naïve café Ærø",
    "e\u0301 written as two characters",
    "我喜欢喝绿茶",
    "مرحبا بالعالم",
    "Привет, мир!",
    "🎉 👩\u200d👩\u200d👧 🔥",
    "nul \x00 and tab \t inside",
]


class EmbedderTests(ABC):
    """Inherit, write ``make``, and name the class ``Test...``."""

    tolerance = 1e-5
    """Largest difference per number that rounding may make between two calls."""

    @abstractmethod
    def make(self) -> Embedder:
        """A new embedder; each call must give one with the same model."""

    @pytest.fixture
    def embedder(self) -> Embedder:
        return self.make()

    def test_it_is_an_embedder(self, embedder: Embedder) -> None:
        assert isinstance(embedder, Embedder)

    def test_one_float32_row_of_the_stated_dimension_per_text(self, embedder: Embedder) -> None:
        rows = embedder.embed(TEXTS)
        assert isinstance(rows, np.ndarray)
        assert rows.shape == (len(TEXTS), embedder.dim)
        assert rows.dtype == np.float32

    def test_the_dimension_is_known_before_anything_is_embedded(self, embedder: Embedder) -> None:
        assert embedder.dim == embedder.embed(["hello"]).shape[1]

    def test_rows_have_unit_length(self, embedder: Embedder) -> None:
        assert_unit_rows(embedder.embed(TEXTS), count=len(TEXTS))

    def test_no_texts_give_no_rows(self, embedder: Embedder) -> None:
        rows = embedder.embed([])
        assert rows.shape == (0, embedder.dim)
        assert rows.dtype == np.float32

    def test_rows_stand_in_the_order_of_their_texts(self, embedder: Embedder) -> None:
        forwards, backwards = embedder.embed(TEXTS), embedder.embed(TEXTS[::-1])
        self._assert_same(backwards[::-1], forwards)

    def test_different_texts_have_different_vectors(self, embedder: Embedder) -> None:
        rows = embedder.embed(TEXTS)
        cosines = rows @ rows.T - 2 * np.eye(len(TEXTS), dtype=np.float32)
        assert cosines.max() < 0.999

    def test_a_text_embedded_again_has_the_same_vector(self, embedder: Embedder) -> None:
        self._assert_same(embedder.embed(TEXTS), embedder.embed(TEXTS))

    def test_a_text_twice_in_a_batch_has_the_same_vector_twice(self, embedder: Embedder) -> None:
        first, _, second = embedder.embed([TEXTS[0], TEXTS[1], TEXTS[0]])
        self._assert_same(first, second)

    def test_a_batch_gives_what_single_calls_give(self, embedder: Embedder) -> None:
        texts = [*TEXTS, "", "long " * 300]
        singles = np.concatenate([embedder.embed([text]) for text in texts])
        self._assert_same(embedder.embed(texts), singles)

    def test_any_sequence_of_texts_will_do(self, embedder: Embedder) -> None:
        self._assert_same(embedder.embed(tuple(TEXTS)), embedder.embed(TEXTS))

    @pytest.mark.parametrize("text", ["", " ", "\n\t\n"], ids=repr)
    def test_a_text_without_words_has_a_vector(self, embedder: Embedder, text: str) -> None:
        assert_unit_rows(embedder.embed([text]), count=1)

    def test_a_very_long_text_has_a_vector(self, embedder: Embedder) -> None:
        assert_unit_rows(embedder.embed(["All work and no play. " * 10_000]), count=1)

    def test_a_very_long_word_has_a_vector(self, embedder: Embedder) -> None:
        assert_unit_rows(embedder.embed(["x" * 100_000]), count=1)

    @pytest.mark.parametrize("text", UNICODE, ids=ascii)
    def test_text_of_any_script_has_a_vector(self, embedder: Embedder, text: str) -> None:
        assert_unit_rows(embedder.embed([text]), count=1)

    def test_threads_do_not_disturb_each_other(self, embedder: Embedder) -> None:
        """The first use is concurrent too, as that is when models are loaded."""
        batches = [TEXTS[i:] + TEXTS[:i] for i in range(len(TEXTS))] * 2
        with ThreadPoolExecutor(max_workers=4) as pool:
            found = list(pool.map(embedder.embed, batches))
        alone = dict(zip(TEXTS, embedder.embed(TEXTS), strict=True))
        for batch, rows in zip(batches, found, strict=True):
            self._assert_same(rows, np.stack([alone[text] for text in batch]))

    def test_the_fingerprint_names_the_model(self, embedder: Embedder) -> None:
        assert isinstance(embedder.fingerprint, str)
        assert embedder.fingerprint.strip()

    def test_the_fingerprint_does_not_change_with_use(self, embedder: Embedder) -> None:
        before = embedder.fingerprint
        embedder.embed(TEXTS)
        assert embedder.fingerprint == before

    def test_two_instances_of_one_fingerprint_agree(self, embedder: Embedder) -> None:
        other = self.make()
        assert (other.fingerprint, other.dim) == (embedder.fingerprint, embedder.dim)
        self._assert_same(other.embed(TEXTS), embedder.embed(TEXTS))

    def test_the_texts_given_are_not_changed(self, embedder: Embedder) -> None:
        texts = list(TEXTS)
        embedder.embed(texts)
        assert texts == TEXTS

    def test_writing_on_a_result_changes_no_later_one(self, embedder: Embedder) -> None:
        expected = embedder.embed(TEXTS).copy()
        embedder.embed(TEXTS)[:] = 0
        self._assert_same(embedder.embed(TEXTS), expected)

    def _assert_same(self, found: Matrix, expected: Matrix) -> None:
        np.testing.assert_allclose(found, expected, rtol=0, atol=self.tolerance)


def assert_unit_rows(rows: Matrix, *, count: int) -> None:
    """``rows`` is ``count`` finite vectors of length 1."""
    lengths = np.linalg.norm(rows, axis=1)
    assert lengths.shape == (count,)
    np.testing.assert_allclose(lengths, 1, rtol=0, atol=1e-5)
