"""Retriever and vector store in real chains: whose documents, which filters, what is deleted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_core", reason="the langchain extra is not installed")

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_memos import MemOSRetriever, MemOSVectorStore
from memos_integrations import MOS, Settings, errors
from memos_integrations.cube.filters import Comparison

SUBJECTS = ("chess", "cello", "garden", "boat")


class Subjects(Embeddings):
    """A point per subject on a circle, so that every cosine is known beforehand."""

    model = "subjects"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        places = [n for n, name in enumerate(SUBJECTS) if name in text] or [len(SUBJECTS)]
        angle = math.radians(30 * sum(places) / len(places))
        return [math.cos(angle), math.sin(angle)]


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        yield opened


@pytest.fixture
def store(mos: MOS) -> MemOSVectorStore:
    made = MemOSVectorStore(Subjects(), mos=mos, user="alice")
    made.add_texts(
        ["about chess", "about the cello", "about the garden", "about the boat"],
        [
            {"year": 2019, "lang": "en", "who": {"name": "ann"}},
            {"year": 2020, "lang": "de", "who": {"name": "ben"}},
            {"year": 2021, "lang": "en", "tags": ["green", "out"]},
            {"year": 2022},
        ],
        ids=["chess", "cello", "garden", "boat"],
    )
    return made


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


def who(user: str) -> Any:
    return {"configurable": {"user_id": user}}


def on_disk(mos: MOS, words: bytes) -> bool:
    """Whether any file beside the memory's, its log included, holds these bytes."""
    files = [file for file in Path(mos.path).parent.rglob("*") if file.is_file()]
    assert files
    return any(words in file.read_bytes() for file in files)


# -- the retriever -------------------------------------------------------------------------------


def test_config_of_the_run_says_whose_memories_are_retrieved(mos: MOS) -> None:
    mos.add("I play chess.", user="alice")
    mos.add("I play the cello.", user="bob")
    retriever = MemOSRetriever(memory=mos)
    found = {user: retriever.invoke("What do I play?", who(user)) for user in ("alice", "bob")}
    assert [d.page_content for d in found["alice"]] == ["I play chess."]
    assert [d.page_content for d in found["bob"]] == ["I play the cello."]


def test_config_reaches_a_retriever_in_the_middle_of_a_chain(mos: MOS) -> None:
    mos.add("I play chess.", user="alice")
    prompt = ChatPromptTemplate.from_template("{known}\n\n{question}")
    known = MemOSRetriever(memory=mos) | RunnableLambda(lambda found: found[0].page_content)
    chain = {"known": known, "question": RunnablePassthrough()} | prompt
    assert "I play chess." in chain.invoke("What do I play?", who("alice")).to_string()


async def test_chain_runs_asynchronously_with_the_same_retriever(mos: MOS) -> None:
    mos.add("I play chess.", user="alice")
    known = MemOSRetriever(memory=mos) | RunnableLambda(lambda found: found[0].page_content)
    assert await known.ainvoke("What do I play?", who("alice")) == "I play chess."
    assert await known.abatch(["What do I play?"], who("alice")) == ["I play chess."]


def test_retriever_made_for_one_user_serves_no_other(mos: MOS) -> None:
    mos.add("I play chess.", user="alice")
    retriever = MemOSRetriever(memory=mos, user="alice")
    assert len(retriever.invoke("What do I play?")) == 1
    with pytest.raises(errors.AccessDenied, match="bob"):
        retriever.invoke("What do I play?", who("bob"))


def test_document_says_where_its_memory_comes_from(mos: MOS) -> None:
    kept = mos.add(
        [{"role": "user", "content": "I play chess.", "id": "m1", "name": "Maya"}],
        user="alice",
        session="t1",
        tags=["fun"],
        info={"team": "atlas"},
    )
    (document,) = MemOSRetriever(memory=mos, user="alice", explain=True).invoke("What do I play?")
    known = document.metadata
    assert document.id == kept.id
    assert (known["speaker"], known["session"], known["tags"]) == ("Maya", "t1", ["fun"])
    assert (known["info"], known["trust"], known["version"]) == ({"team": "atlas"}, "user", 1)
    assert known["provenance"][0]["source"] == "m1"
    assert known["score"] > 0
    assert "words" in known["why"]


def test_filters_and_least_scores_bound_what_is_retrieved(mos: MOS) -> None:
    mos.add("I play chess.", user="alice", tags=["fun"])
    mos.add("I play chess at work.", user="alice", tags=["work"])
    retriever = MemOSRetriever(memory=mos, user="alice", filter={"tags": "work"})
    assert [d.page_content for d in retriever.invoke("chess")] == ["I play chess at work."]
    assert len(retriever.invoke("chess", filter={"tags": {"exists": True}})) == 2
    assert retriever.invoke("chess", min_score=1e6) == []
    with pytest.raises(errors.InvalidFilter, match="tagz"):
        retriever.invoke("chess", filter={"tagz": "work"})


def test_retriever_of_the_past_answers_as_it_was(mos: MOS) -> None:
    kept = mos.add("I play chess.", user="alice")
    then = mos.get(kept.id, user="alice").header.seq
    mos.update(kept.id, "I play go.", user="alice")
    asked = "Which game do I play?"
    past = MemOSRetriever(memory=mos.as_of(then), user="alice").invoke(asked)
    assert [d.page_content for d in past] == ["I play chess."]
    now = MemOSRetriever(memory=mos, user="alice").invoke(asked)
    assert [d.page_content for d in now] == ["I play go."]


# -- the vector store ----------------------------------------------------------------------------


def test_scores_are_cosines_and_relevance_is_what_is_above_nought(store: MemOSVectorStore) -> None:
    found = store.similarity_search_with_score("chess", k=4)
    assert [d.id for d, _ in found] == ["chess", "cello", "garden", "boat"]
    wanted = [1.0, math.cos(math.radians(30)), 0.5, 0.0]
    assert [score for _, score in found] == pytest.approx(wanted, abs=1e-6)
    near = store.similarity_search_with_relevance_scores("chess", k=4, score_threshold=0.4)
    assert [d.id for d, _ in near] == ["chess", "cello", "garden"]


def test_search_by_vector_finds_what_the_question_finds(store: MemOSVectorStore) -> None:
    vector = Subjects().embed_query("garden")
    assert ids(store.similarity_search_by_vector(vector, k=2)) == ids(
        store.similarity_search("garden", k=2)
    )
    assert ids(store.similarity_search_by_vector([10 * x for x in vector], k=1)) == ["garden"]


def test_vector_of_another_length_is_refused(store: MemOSVectorStore) -> None:
    with pytest.raises(errors.EmbedderMismatch, match="2 dimensions"):
        store.similarity_search_by_vector([1.0, 0.0, 0.0])


def test_marginal_relevance_prefers_documents_unlike_each_other(mos: MOS) -> None:
    store = MemOSVectorStore(Subjects(), mos=mos, user="alice")
    store.add_texts(["chess one", "chess two", "cello", "garden"], ids=["1", "2", "3", "4"])
    assert ids(store.max_marginal_relevance_search("chess", k=2, lambda_mult=1.0)) == ["1", "2"]
    assert ids(store.max_marginal_relevance_search("chess", k=2, lambda_mult=0.1)) == ["1", "4"]
    assert ids(store.max_marginal_relevance_search("chess", k=2, fetch_k=3, lambda_mult=0.1)) == [
        "1",
        "3",
    ]
    assert store.max_marginal_relevance_search("chess", filter={"no": "such"}) == []


@pytest.mark.parametrize(
    ("given", "passing"),
    [
        ({"lang": "en"}, {"chess", "garden"}),
        ({"year": {"$gte": 2020, "$lt": 2022}}, {"cello", "garden"}),
        ({"year": {"gt": 2021}}, {"boat"}),
        ({"lang": {"$ne": "en"}}, {"cello", "boat"}),
        ({"lang": {"$in": ["de", "fr"]}}, {"cello"}),
        ({"lang": {"$nin": ["de"]}}, {"chess", "garden", "boat"}),
        ({"lang": {"exists": False}}, {"boat"}),
        ({"tags": {"contains": "green"}}, {"garden"}),
        ({"who.name": "ben"}, {"cello"}),
        ({"$or": [{"year": 2019}, {"year": 2022}]}, {"chess", "boat"}),
        ({"$and": [{"lang": "en"}, {"$not": {"year": 2019}}]}, {"garden"}),
        ({"lang": {"like": "E_"}}, {"chess", "garden"}),
        (Comparison("info.metadata.year", "=", 2020), {"cello"}),
        ({}, set(SUBJECTS)),
        (None, set(SUBJECTS)),
    ],
)
def test_filter_lets_exactly_what_passes_be_found(
    store: MemOSVectorStore, given: Any, passing: set[str]
) -> None:
    assert set(ids(store.similarity_search("chess", k=10, filter=given))) == passing


@pytest.mark.parametrize(
    "wrong",
    [
        lambda document: True,
        {"year": {"$near": 3}},
        {"$nor": [{"year": 1}]},
        {"year": {}},
        {"$or": []},
        [("year", 1)],
        "year = 1",
        {3: 4},
    ],
)
def test_filter_that_cannot_be_answered_is_an_error(store: MemOSVectorStore, wrong: Any) -> None:
    with pytest.raises(errors.InvalidFilter):
        store.similarity_search("chess", filter=wrong)


def test_key_of_metadata_may_hold_what_means_something_in_a_filter(mos: MOS) -> None:
    store = MemOSVectorStore(Subjects(), mos=mos, user="alice")
    store.add_texts(["chess"], [{"a.b": 1, "text": 2, "Header 1": "x"}], ids=["1"])
    for given in ({r"a\.b": 1}, {"text": 2}, {"Header 1": "x"}):
        assert ids(store.similarity_search("chess", filter=given)) == ["1"]


def test_documents_of_one_user_are_never_found_by_another(
    mos: MOS, store: MemOSVectorStore
) -> None:
    other = MemOSVectorStore(Subjects(), mos=mos, user="bob")
    other.add_texts(["about chess, by bob"], ids=["chess"])
    assert ids(other.similarity_search("chess", k=10)) == ["chess"]
    assert other.get_by_ids(["chess", "cello"])[0].page_content == "about chess, by bob"
    other.delete()
    assert len(store.similarity_search("chess", k=10)) == 4


def test_shared_collection_is_read_and_not_written(mos: MOS, store: MemOSVectorStore) -> None:
    with pytest.raises(errors.AccessDenied):
        MemOSVectorStore(Subjects(), mos=mos, user="bob", cube=store.cube)
    mos.share(to="bob", user="alice", cube=store.cube)
    theirs = MemOSVectorStore(Subjects(), mos=mos, user="bob", cube=store.cube)
    assert ids(theirs.similarity_search("chess", k=1)) == ["chess"]
    with pytest.raises(errors.AccessDenied):
        theirs.add_texts(["mine"])
    with pytest.raises(errors.AccessDenied):
        theirs.delete(["chess"])
    mos.revoke(to="bob", user="alice", cube=store.cube)
    with pytest.raises(errors.AccessDenied):
        theirs.similarity_search("chess", k=1)


def test_collections_and_conversations_are_apart(mos: MOS, store: MemOSVectorStore) -> None:
    mos.add("I play chess, chess, chess.", user="alice")
    mos.wait()
    other = MemOSVectorStore(Subjects(), mos=mos, user="alice", collection="a/b ü")
    assert other.similarity_search("chess") == []
    other.add_texts(["more chess"], ids=["chess"])
    assert len(store.similarity_search("chess", k=10)) == 4
    assert [hit.text for hit in mos.search("chess", user="alice")] == [
        "I play chess, chess, chess."
    ]


def test_deleted_document_is_gone_from_every_read_and_erased_from_the_file(
    mos: MOS, store: MemOSVectorStore
) -> None:
    item = next(i for i in mos.list(user="alice", cube=store.cube) if "chess" in i.text)
    store.delete(["chess", "no such id"])
    assert store.get_by_ids(["chess"]) == []
    assert "chess" not in ids(store.similarity_search("chess", k=10))
    receipt = mos.erase(item.id, user="alice", cube=store.cube)
    assert receipt.scan.found == 0
    assert not on_disk(mos, b"about chess")


def test_delete_without_ids_empties_the_collection(store: MemOSVectorStore) -> None:
    store.delete([])
    assert len(store.similarity_search("chess", k=10)) == 4
    store.delete()
    assert store.similarity_search("chess", k=10) == []
    store.add_texts(["about chess again"], ids=["chess"])
    assert ids(store.similarity_search("chess", k=10)) == ["chess"]


def test_document_put_again_has_a_history(mos: MOS, store: MemOSVectorStore) -> None:
    store.add_documents([Document("about chess, second edition", id="chess")])
    (now,) = store.get_by_ids(["chess"])
    assert (now.page_content, now.metadata) == ("about chess, second edition", {})
    assert len(store.similarity_search("chess", k=10)) == 4


def test_all_documents_of_a_call_are_kept_or_none(store: MemOSVectorStore) -> None:
    with pytest.raises(errors.InvalidInput, match="empty"):
        store.add_texts(["good chess", "  "], ids=["new", "bad"])
    assert store.get_by_ids(["new", "bad"]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"texts": ["a"], "metadatas": [{}, {}]},
        {"texts": ["a"], "ids": ["1", "2"]},
        {"texts": ["a"], "metadatas": [{"x": object()}]},
        {"texts": ["a"], "metadatas": [{"x": math.nan}]},
        {"texts": ["a"], "metadatas": ["x"]},
        {"texts": ["nul \x00"]},
        {"texts": ["a"], "ids": ["x" * 600]},
        {"texts": ["a"], "ids": ["line\nbreak"]},
        {"texts": ["a"], "batch_size": 0},
        {"texts": ["a"], "no_such_option": 1},
    ],
)
def test_documents_that_cannot_be_stored_are_refused(
    store: MemOSVectorStore, wrong: dict[str, Any]
) -> None:
    with pytest.raises(errors.UsageError):
        store.add_texts(**wrong)
    assert len(store.similarity_search("chess", k=100)) == 4


def test_unknown_options_of_a_search_are_refused(store: MemOSVectorStore) -> None:
    with pytest.raises(errors.UsageError, match="fetch_k"):
        store.similarity_search("chess", fetch_k=3)
    with pytest.raises(errors.UsageError, match="where"):
        store.as_retriever(search_kwargs={"where": {}}).invoke("chess")


def test_store_of_another_model_is_refused(mos: MOS, store: MemOSVectorStore) -> None:
    other = MemOSVectorStore(
        DeterministicFakeEmbedding(size=8), mos=mos, user="alice", cube=store.cube
    )
    with pytest.raises(errors.EmbedderMismatch):
        other.add_texts(["chess"])
    with pytest.raises(errors.EmbedderMismatch):
        other.similarity_search("chess")


def test_varied_results_hold_what_is_masked_for_the_reader_last(
    mos: MOS, store: MemOSVectorStore
) -> None:
    store.add_texts(["chess with maya@example.org"], ids=["masked"])
    mos.share(to="bob", user="alice", cube=store.cube)
    bobs = MemOSVectorStore(Subjects(), mos=mos, user="bob", cube=store.cube)
    varied = bobs.max_marginal_relevance_search("chess", k=5)
    assert len(varied) == 5
    assert varied[-1].page_content == "chess with [personal:email]"


def test_retriever_of_the_store_knows_every_kind_of_search(store: MemOSVectorStore) -> None:
    plain = store.as_retriever(search_kwargs={"k": 1, "filter": {"lang": "de"}})
    assert ids(plain.invoke("chess")) == ["cello"]
    mmr = store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "lambda_mult": 1.0})
    assert ids(mmr.invoke("chess")) == ["chess", "cello"]
    near = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.9}
    )
    assert ids(near.invoke("chess")) == ["chess"]


async def test_every_search_runs_asynchronously(store: MemOSVectorStore) -> None:
    assert ids(await store.asimilarity_search("chess", k=1, filter={"lang": "en"})) == ["chess"]
    assert [s for _, s in await store.asimilarity_search_with_score("chess", k=1)] == [
        pytest.approx(1.0)
    ]
    vector = Subjects().embed_query("boat")
    assert ids(await store.asimilarity_search_by_vector(vector, k=1)) == ["boat"]
    found = await store.amax_marginal_relevance_search("chess", k=2, lambda_mult=1.0)
    assert ids(found) == ["chess", "cello"]


async def test_store_is_made_of_texts_or_documents(mos: MOS) -> None:
    documents = [Document("chess", metadata={"n": 1}, id="one")]
    store = MemOSVectorStore.from_documents(documents, Subjects(), mos=mos, user="alice")
    assert store.get_by_ids(["one"]) == documents
    other = await MemOSVectorStore.afrom_texts(
        ["cello"], Subjects(), [{"n": 2}], ids=["two"], mos=mos, user="bob"
    )
    assert [d.metadata for d in other.similarity_search("cello")] == [{"n": 2}]


def test_store_of_its_own_file_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    with MemOSVectorStore(Subjects(), path=path) as store:
        store.add_texts(["about chess"], ids=["1"])
    with MemOSVectorStore(Subjects(), path=path) as again:
        assert ids(again.similarity_search("chess")) == ["1"]
    with pytest.raises(errors.UsageError, match="not both"):
        MemOSVectorStore(Subjects(), path=path, mos=again.mos)


def test_secret_in_a_document_is_masked_before_it_is_stored(
    mos: MOS, store: MemOSVectorStore
) -> None:
    key = "sk-proj-" + "a1B2" * 12
    store.add_texts(
        [f"the chess key is {key}"],
        [{"note": f"use {key}", "source": f"https://x/?k={key}"}],
        ids=["secret"],
    )
    (document,) = store.get_by_ids(["secret"])
    assert key not in document.page_content
    assert key not in str(document.metadata)
    assert not on_disk(mos, key.encode())


def test_source_of_a_document_can_be_erased_by_its_name(mos: MOS, store: MemOSVectorStore) -> None:
    texts = ["chess, page 1", "chess, page 2", "cello, page 1"]
    sources = [{"source": name} for name in ("rules.pdf", "rules.pdf", "score.pdf")]
    store.add_texts(texts, sources, ids=["r1", "r2", "s1"])
    receipt = mos.erase(source="rules.pdf", user="alice", cube=store.cube)
    assert (len(receipt.erased), receipt.scan.found) == (2, 0)
    assert ids(store.get_by_ids(["r1", "r2", "s1"])) == ["s1"]
    assert "r1" not in ids(store.similarity_search("chess", k=10))


def test_documents_are_untrusted_and_no_facts_are_read_out_of_them(
    mos: MOS, store: MemOSVectorStore
) -> None:
    store.add_texts(["I live in Lisbon and I love chess."], ids=["letter"])
    mos.wait()
    assert mos.facts(user="alice", cube=store.cube) == []
    assert {item.header.trust for item in mos.list(user="alice", cube=store.cube)} == {"import"}


def test_many_texts_are_embedded_in_batches(mos: MOS) -> None:
    calls: list[int] = []

    class Counting(Subjects):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            calls.append(len(texts))
            return super().embed_documents(texts)

    store = MemOSVectorStore(Counting(), mos=mos, user="alice")
    store.add_texts([f"chess {n}" for n in range(10)], batch_size=4)
    assert calls == [4, 4, 2]
    assert len(store.similarity_search("chess", k=100)) == 10
