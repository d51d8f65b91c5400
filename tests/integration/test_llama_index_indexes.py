"""Our stores under LlamaIndex's own indexes, engines and pipelines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import (
    PropertyGraphIndex,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.graph_stores.types import KG_NODES_KEY, KG_RELATIONS_KEY, EntityNode, Relation
from llama_index.core.indices.property_graph import VectorContextRetriever
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    BaseNode,
    Document,
    NodeWithScore,
    TextNode,
    TransformComponent,
)
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.index_store.keyval_index_store import KVIndexStore
from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery

from llama_index_memos import (
    MemOSKVStore,
    MemOSPostprocessor,
    MemOSPropertyGraphStore,
    MemOSRetriever,
    MemOSVectorStore,
)
from llama_index_memos.nodes import node_of
from memos_integrations import MOS, Settings, errors
from tests.integration.llama_index_parts import WordEmbedding

DOCUMENTS = [
    Document(id_="boats", text="The harbour master keeps the boats", metadata={"place": "harbour"}),
    Document(id_="bread", text="The baker bakes rye bread at night", metadata={"place": "bakery"}),
]


@pytest.fixture
def mos() -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(None, embedder=None, settings=settings) as mos:
        yield mos


def indexed(store: MemOSVectorStore) -> VectorStoreIndex:
    context = StorageContext.from_defaults(vector_store=store)
    splitter = SentenceSplitter(chunk_size=200, tokenizer=str.split)
    return VectorStoreIndex.from_documents(
        DOCUMENTS,
        storage_context=context,
        embed_model=WordEmbedding(),
        transformations=[splitter],
    )


def texts(nodes: Sequence[NodeWithScore]) -> list[str]:
    return [each.node.get_content() for each in nodes]


def test_a_query_engine_answers_from_governed_nodes(mos: MOS) -> None:
    index = indexed(MemOSVectorStore(mos, user="ann"))
    answer = index.as_query_engine(llm=MockLLM(), similarity_top_k=1).query("who bakes bread?")
    assert "The baker bakes rye bread at night" in str(answer)
    assert texts(answer.source_nodes) == ["The baker bakes rye bread at night"]
    assert 0 < (answer.source_nodes[0].score or 0) <= 1
    assert [line.action for line in mos.audit(user="ann", cube="users/ann/nodes")].count("add") == 1


async def test_the_async_half_of_an_index_finds_the_same(mos: MOS) -> None:
    retriever = indexed(MemOSVectorStore(mos, user="ann")).as_retriever(similarity_top_k=2)
    found = await retriever.aretrieve("boats in the harbour")
    assert texts(found) == texts(retriever.retrieve("boats in the harbour"))
    assert texts(found)[0] == "The harbour master keeps the boats"


def test_an_index_is_there_again_when_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with MOS(path, embedder=None) as mos:
        indexed(MemOSVectorStore(mos, user="ann"))
    with MOS(path, embedder=None) as mos:
        store = MemOSVectorStore(mos, user="ann")
        index = VectorStoreIndex.from_vector_store(store, embed_model=WordEmbedding())
        assert texts(index.as_retriever(similarity_top_k=1).retrieve("rye bread")) == [
            "The baker bakes rye bread at night"
        ]


def test_a_whole_storage_context_lies_in_one_file(tmp_path: Path) -> None:
    def context(mos: MOS) -> StorageContext:
        records = MemOSKVStore(mos, user="ann")
        return StorageContext.from_defaults(
            vector_store=MemOSVectorStore(mos, user="ann"),
            docstore=KVDocumentStore(records),
            index_store=KVIndexStore(records),
        )

    with MOS(tmp_path / "index.db", embedder=None) as mos:
        VectorStoreIndex.from_documents(
            DOCUMENTS,
            storage_context=context(mos),
            embed_model=WordEmbedding(),
            store_nodes_override=True,
        )
    with MOS(tmp_path / "index.db", embedder=None) as mos:
        index = load_index_from_storage(
            context(mos), embed_model=WordEmbedding(), store_nodes_override=True
        )
        assert sorted(index.docstore.get_all_ref_doc_info() or {}) == ["boats", "bread"]
        assert texts(index.as_retriever(similarity_top_k=1).retrieve("rye bread")) == [
            "The baker bakes rye bread at night"
        ]
        index.delete_ref_doc("bread", delete_from_docstore=True)
        assert sorted(index.docstore.get_all_ref_doc_info() or {}) == ["boats"]
        assert len(index.as_retriever(similarity_top_k=5).retrieve("rye bread")) == 1


def test_deleting_at_once_from_several_threads_ends_well(mos: MOS) -> None:
    store = MemOSVectorStore(mos, user="ann")
    store.add([TextNode(id_=f"{n}", text=f"{n}", embedding=[1.0, n]) for n in range(20)])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.clear(), range(4)))
    assert store.get_nodes() == []


def test_a_node_under_legal_hold_is_not_deleted_and_neither_are_its_neighbours(mos: MOS) -> None:
    index = indexed(MemOSVectorStore(mos, user="ann"))
    store = index.vector_store
    held = mos.list(user="ann", cube="users/ann/nodes", filter={"source": "bread"})[0]
    mos.freeze(held.id, user="ann", cube="users/ann/nodes")
    with pytest.raises(errors.ItemFrozen):
        store.clear()
    assert len(store.get_nodes()) == 2


def test_a_deleted_document_is_found_no_more_and_known_to_the_past(mos: MOS) -> None:
    index = indexed(MemOSVectorStore(mos, user="ann"))
    before = mos.version(user="ann", cube="users/ann/nodes")
    index.delete_ref_doc("bread")
    found = index.as_retriever(similarity_top_k=5).retrieve("rye bread")
    assert texts(found) == ["The harbour master keeps the boats"]
    past = mos.as_of(before)
    assert [hit.text for hit in past.search("bread", user="ann", cube="users/ann/nodes")] == [
        "The baker bakes rye bread at night"
    ]


def test_erasing_a_document_leaves_nothing_to_find(mos: MOS) -> None:
    index = indexed(MemOSVectorStore(mos, user="ann"))
    receipt = mos.erase(source="bread", user="ann", cube="users/ann/nodes")
    assert (len(receipt.erased), receipt.scan.found) == (1, 0)
    found = index.as_retriever(similarity_top_k=5).retrieve("rye bread")
    assert texts(found) == ["The harbour master keeps the boats"]


def test_filters_and_modes_reach_the_store_through_the_index(mos: MOS) -> None:
    index = indexed(MemOSVectorStore(mos, user="ann"))
    place = MetadataFilters(filters=[MetadataFilter(key="place", value="harbour")])
    assert texts(index.as_retriever(filters=place, similarity_top_k=9).retrieve("rye bread")) == [
        "The harbour master keeps the boats"
    ]
    words = index.as_retriever(vector_store_query_mode="text_search", similarity_top_k=9)
    assert texts(words.retrieve("what about bread")) == ["The baker bakes rye bread at night"]
    both = index.as_retriever(vector_store_query_mode="hybrid", alpha=0.3, similarity_top_k=1)
    assert texts(both.retrieve("bread")) == ["The baker bakes rye bread at night"]


def test_a_grant_opens_an_index_and_its_end_closes_it(mos: MOS) -> None:
    indexed(MemOSVectorStore(mos, user="ann"))
    theirs = MemOSVectorStore(mos, user="ben", cube="users/ann/nodes")
    index = VectorStoreIndex.from_vector_store(theirs, embed_model=WordEmbedding())
    with pytest.raises(errors.AccessDenied):
        index.as_retriever().retrieve("bread")
    mos.share(to="ben", user="ann", cube="users/ann/nodes")
    assert len(index.as_retriever().retrieve("bread")) == 2
    with pytest.raises(errors.AccessDenied):
        index.delete_ref_doc("bread")
    mos.revoke(to="ben", user="ann", cube="users/ann/nodes")
    with pytest.raises(errors.AccessDenied):
        index.as_retriever().retrieve("bread")


def test_the_postprocessor_drops_what_may_no_longer_be_read(mos: MOS) -> None:
    store = MemOSVectorStore(mos, user="ann")
    index = indexed(store)
    retrieved = index.as_retriever(similarity_top_k=5).retrieve("bread and boats")
    check = MemOSPostprocessor(mos, user="ann", cubes=["users/ann/nodes"])
    assert len(check.postprocess_nodes(retrieved)) == 2
    store.delete("bread")
    assert texts(check.postprocess_nodes(retrieved)) == ["The harbour master keeps the boats"]
    other = MemOSPostprocessor(mos, user="ben", cubes=["users/ann/nodes"])
    assert other.postprocess_nodes(retrieved) == []


async def test_a_query_engine_retrieves_memories_and_checks_them_again(mos: MOS) -> None:
    kept = mos.add("I am allergic to peanuts", user="ann").id
    mos.add("The peanuts are in the red tin on the shelf", user="ann")
    engine = RetrieverQueryEngine.from_args(
        MemOSRetriever(mos, user="ann", limit=5),
        llm=MockLLM(),
        node_postprocessors=[MemOSPostprocessor(mos, user="ann", budget_tokens=60)],
    )
    answer = await engine.aquery("peanuts")
    assert kept in [node.node.node_id for node in answer.source_nodes]
    assert "allergic to peanuts" in str(answer)
    found = MemOSRetriever(mos, user="ann").retrieve("peanuts")
    short = MemOSPostprocessor(mos, user="ann", budget_tokens=45).postprocess_nodes(found)
    assert 0 < len(short) < len(found)
    foreign = [NodeWithScore(node=TextNode(text="from elsewhere"), score=1.0)]
    assert MemOSPostprocessor(mos, user="ann").postprocess_nodes(foreign) == []
    keeping = MemOSPostprocessor(mos, user="ann", foreign="keep")
    assert keeping.postprocess_nodes(foreign) == foreign


def test_a_correction_shows_in_what_was_retrieved_before_it(mos: MOS) -> None:
    kept = mos.add("The board meets on Tuesday", user="ann").id
    assert kept is not None
    found = MemOSRetriever(mos, user="ann").retrieve("board")
    mos.update(kept, "The board meets on Thursday", user="ann")
    now = MemOSPostprocessor(mos, user="ann").postprocess_nodes(found)
    assert texts(now) == ["The board meets on Thursday"]


def test_a_retriever_looks_into_the_past(mos: MOS) -> None:
    kept = mos.add("The board meets on Tuesday", user="ann").id
    assert kept is not None
    then = mos.version(user="ann")
    mos.update(kept, "The board meets on Thursday", user="ann")
    assert texts(MemOSRetriever(mos.as_of(then), user="ann").retrieve("board")) == [
        "The board meets on Tuesday"
    ]
    assert texts(MemOSRetriever(mos, user="ann").retrieve("board")) == [
        "The board meets on Thursday"
    ]
    assert MemOSRetriever(mos, user="ann").retrieve(" ") == []


@pytest.mark.parametrize("strategy", [DocstoreStrategy.UPSERTS, DocstoreStrategy.DUPLICATES_ONLY])
def test_an_ingestion_pipeline_takes_each_document_once(
    mos: MOS, strategy: DocstoreStrategy
) -> None:
    store = MemOSVectorStore(mos, user="ann")
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=200, tokenizer=str.split), WordEmbedding()],
        docstore=KVDocumentStore(MemOSKVStore(mos, user="ann")),
        vector_store=store,
        docstore_strategy=strategy,
    )
    assert len(pipeline.run(documents=DOCUMENTS)) == 2
    assert pipeline.run(documents=DOCUMENTS) == []
    assert len(store.get_nodes()) == 2


async def test_a_slow_read_is_not_overtaken_by_the_delete_gathered_with_it(mos: MOS) -> None:
    class Slow(MemOSKVStore):
        def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
            time.sleep(0.02)
            return super().get(key, collection)

    store = Slow(mos, user="ann")
    store.put("key", {"a": 1})
    found, gone = await asyncio.gather(store.aget("key"), store.adelete("key"))
    assert (found, gone) == ({"a": 1}, True)


async def test_an_ingestion_pipeline_replaces_a_changed_document(mos: MOS) -> None:
    store = MemOSVectorStore(mos, user="ann")
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=200, tokenizer=str.split), WordEmbedding()],
        docstore=KVDocumentStore(MemOSKVStore(mos, user="ann")),
        vector_store=store,
        docstore_strategy=DocstoreStrategy.UPSERTS,
    )
    await pipeline.arun(documents=DOCUMENTS)
    changed = Document(id_="bread", text="The baker has left town", metadata={"place": "bakery"})
    await pipeline.arun(documents=[DOCUMENTS[0], changed])
    assert sorted(node.get_content() for node in store.get_nodes()) == [
        "The baker has left town",
        "The harbour master keeps the boats",
    ]


class Bakers(TransformComponent):
    """Reads "X bakes Y" out of a text."""

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        for node in nodes:
            node.metadata[KG_NODES_KEY], node.metadata[KG_RELATIONS_KEY] = [], []
            words = node.get_content().split()
            if "bakes" in words:
                at = words.index("bakes")
                who, what = words[at - 1], words[at + 1]
                node.metadata[KG_NODES_KEY] = [EntityNode(name=who), EntityNode(name=what)]
                bakes = Relation(label="BAKES", source_id=who, target_id=what)
                node.metadata[KG_RELATIONS_KEY] = [bakes]
        return nodes


def test_a_property_graph_index_is_built_on_it_and_found_by_vectors(mos: MOS) -> None:
    graph = MemOSPropertyGraphStore(mos, user="ann")
    index = PropertyGraphIndex.from_documents(
        DOCUMENTS,
        property_graph_store=graph,
        kg_extractors=[Bakers()],
        embed_model=WordEmbedding(),
        transformations=[SentenceSplitter(chunk_size=200, tokenizer=str.split)],
        llm=MockLLM(),
        use_async=False,
    )
    bakes = graph.get_triplets(relation_names=["BAKES"])
    assert [(a.id, r.id, b.id) for a, r, b in bakes] == [("baker", "BAKES", "rye")]
    baker = str(graph.get(ids=["baker"])[0])  # an entity is embedded with its properties
    asked = WordEmbedding().get_query_embedding(baker)
    nearest, scores = graph.vector_query(
        VectorStoreQuery(query_embedding=asked, similarity_top_k=1)
    )
    assert ([node.id for node in nearest], scores) == (["baker"], [pytest.approx(1.0)])
    retriever = VectorContextRetriever(
        graph, embed_model=WordEmbedding(), similarity_top_k=1, path_depth=1, include_text=True
    )
    found = index.as_retriever(sub_retrievers=[retriever]).retrieve(baker)
    assert any("bakes rye bread" in text for text in texts(found))
    graph.delete_llama_nodes(ref_doc_ids=["bread"])
    assert graph.get_triplets(relation_names=["BAKES"]) == []
    assert [str(node) for node in graph.get()] == ["The harbour master keeps the boats"]


def test_a_graph_shows_to_each_what_they_may_see(mos: MOS) -> None:
    graph = MemOSPropertyGraphStore(mos, user="ann")
    graph.upsert_relations([Relation(label="KNOWS", source_id="a", target_id="b")])
    theirs = MemOSPropertyGraphStore(mos, user="ben", cube="users/ann/graph")
    with pytest.raises(errors.AccessDenied):
        theirs.get()
    mos.share(to="ben", user="ann", cube="users/ann/graph")
    assert len(theirs.get_triplets(ids=["a"])) == 1
    hidden = mos.list(user="ann", cube="users/ann/graph", filter={"info.id": "b"})[0]
    mos.deny(hidden.id, to="ben", user="ann", cube="users/ann/graph")
    assert theirs.get_triplets(ids=["a"]) == []
    assert len(graph.get_triplets(ids=["a"])) == 1


def test_what_is_no_node_raises_and_runs_nothing(mos: MOS) -> None:
    store = MemOSVectorStore(mos, user="ann")
    store.add([TextNode(id_="x", text="words", embedding=[1.0, 0.0])])
    (item,) = mos.list(user="ann", cube="users/ann/nodes")
    for data in (
        {},
        {"type": "os.system", "node": {}},
        {"type": "TextNode", "node": []},
        {"type": "TextNode", "node": {"metadata": 3}},
        {"type": "TextNode", "node": {"relationships": {"7": {}}}},
    ):
        hostile = item.model_copy(update={"data": data})
        with pytest.raises(errors.VaultDamaged):
            node_of(hostile)


def test_a_node_of_a_kind_nobody_knows_is_refused(mos: MOS) -> None:
    class OddNode(TextNode):
        @classmethod
        def class_name(cls) -> str:
            return "OddNode"

    store = MemOSVectorStore(mos, user="ann")
    with pytest.raises(errors.InvalidInput, match="OddNode"):
        store.add([OddNode(text="odd", embedding=[1.0, 0.0])])
    with pytest.raises(errors.InvalidInput):
        store.add([TextNode(text="odd\x00", embedding=[1.0, 0.0])])
    assert store.get_nodes() == []


def test_secrets_in_nodes_are_masked_before_they_are_stored(mos: MOS) -> None:
    store = MemOSVectorStore(mos, user="ann")
    key = "AKIAIOSFODNN7EXAMPLE"
    store.add([TextNode(text=f"the key is {key}", embedding=[1.0, 0.0], metadata={"key": key})])
    (node,) = store.get_nodes()
    assert key not in node.get_content() + str(node.metadata)
    assert "the key is" in node.get_content()
