"""LangChain's stores against plain Python: whatever is done in whatever order, they agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("langchain_core", reason="the langchain extra is not installed")

from langchain_core.embeddings import Embeddings

from langchain_memos import MemOSByteStore, MemOSVectorStore
from memos_integrations import MOS, Settings

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
IDS = st.sampled_from(["a", "b", "c", "d", "e"])
WORDS = st.lists(st.sampled_from(["tea", "cup", "pot", "jar"]), min_size=1, max_size=3)
METADATA = st.dictionaries(
    st.sampled_from(["n", "s"]), st.one_of(st.integers(0, 3), st.sampled_from(["x", "y"]))
)
FILTERS: list[tuple[dict[str, Any] | None, Any]] = [
    (None, lambda m: True),
    ({"n": 1}, lambda m: m.get("n") == 1),
    ({"n": {"$gt": 1}}, lambda m: isinstance(m.get("n"), int) and m["n"] > 1),
    ({"s": {"$in": ["x", 2]}}, lambda m: m.get("s") in ("x", 2)),
    ({"$not": {"s": {"exists": True}}}, lambda m: m.get("s") is None),
    ({"$or": [{"n": 0}, {"s": "y"}]}, lambda m: m.get("n") == 0 or m.get("s") == "y"),
]


class Counts(Embeddings):
    """How often each word occurs; never the zero vector."""

    model = "counts"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0 + 3 * text.count(word) for word in ("tea", "cup", "pot", "jar")]


@pytest.fixture(scope="module")
def mos() -> Iterator[MOS]:
    chosen = Settings(worker=False, synchronous="normal")
    with MOS(embedder=None, settings=chosen) as opened:
        yield opened


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.lists(st.tuples(KEYS, st.binary(max_size=4)), max_size=4)),
            st.tuples(st.just("delete"), st.lists(KEYS, max_size=3)),
            st.tuples(st.just("keys"), KEYS),
        ),
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_byte_store_does_what_a_dict_does(mos: MOS, steps: list[Any]) -> None:
    store, model = MemOSByteStore(mos, user="alice"), dict[str, bytes]()
    store.mdelete(list(store.yield_keys()))
    for what, argument in steps:
        if what == "set":
            store.mset(argument)
            model |= dict(argument)
        elif what == "delete":
            store.mdelete(argument)
            model = {key: value for key, value in model.items() if key not in argument}
        else:
            begins = argument[:1]
            wanted = sorted(key for key in model if key.startswith(begins))
            assert list(store.yield_keys(prefix=begins)) == wanted
    assert store.mget([*model, "never \u2603 there"]) == [*model.values(), None]


def nearest(model: dict[str, Any], question: str, passes: Any) -> list[tuple[str, float]]:
    made = Counts()
    asked = np.array(made.embed_query(question))
    found: list[tuple[str, float]] = []
    for key, (text, metadata) in model.items():
        vector = np.array(made.embed_query(text))
        cosine = float(asked @ vector / np.linalg.norm(asked) / np.linalg.norm(vector))
        if passes(metadata):
            found.append((key, cosine))
    return sorted(found, key=lambda pair: -pair[1])


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.lists(st.tuples(IDS, WORDS, METADATA), max_size=3)),
            st.tuples(st.just("delete"), st.lists(IDS, max_size=2)),
        ),
        max_size=6,
    ),
    question=WORDS,
    k=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_vector_store_finds_what_an_exhaustive_search_finds(
    mos: MOS, steps: list[Any], question: list[str], k: int
) -> None:
    store = MemOSVectorStore(Counts(), mos=mos, user="alice")
    store.delete()
    model: dict[str, Any] = {}
    for what, argument in steps:
        if what == "put":
            texts = [" ".join(words) for _, words, _ in argument]
            keys = [key for key, _, _ in argument]
            store.add_texts(texts, [each for _, _, each in argument], ids=keys)
            model |= {
                key: (text, metadata)
                for (key, _, metadata), text in zip(argument, texts, strict=True)
            }
        else:
            store.delete(argument)
            model = {key: value for key, value in model.items() if key not in argument}
    assert {d.id: (d.page_content, d.metadata) for d in store.get_by_ids(list("abcde"))} == model
    for where, passes in FILTERS:
        found = store.similarity_search_with_score(" ".join(question), k, filter=where)
        wanted = nearest(model, " ".join(question), passes)
        assert [score for _, score in found] == pytest.approx(
            [score for _, score in wanted[:k]], abs=1e-5
        )
        assert {d.id for d, _ in found} <= {key for key, _ in wanted}
