"""A LlamaIndex query engine whose index is governed: filtered, shared by grant, taken back, erased.

    python cookbook/05_llama_index_query_engine.py

Needs `pip install 'memos-integrations[llama-index]'`. No network, no key: the embedding here counts
words, and the model repeats what it was given.
"""

import hashlib

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.schema import Document
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from llama_index_memos import MemOSPostprocessor, MemOSVectorStore
from memos_integrations import MOS, errors

DOCUMENTS = [
    Document(id_="leave", text="Staff have 27 days of leave a year.", metadata={"team": "people"}),
    Document(id_="travel", text="Book trains through the travel desk.", metadata={"team": "desk"}),
    Document(id_="salary", text="Salaries are paid on the 25th.", metadata={"team": "people"}),
]


class WordCounts(BaseEmbedding):
    """Texts that share words are near. Put an embedding model of yours here."""

    def _get_text_embedding(self, text: str) -> list[float]:
        vector = [0.01] * 64
        for word in text.lower().replace(".", " ").replace("?", " ").split():
            vector[hashlib.sha256(word.encode()).digest()[0] % 64] += 1.0
        return vector

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def found(nodes: list) -> list[str]:
    """The documents that nodes are of."""
    return [each.node.ref_doc_id for each in nodes]


with MOS(embedder=None) as mos:  # MOS("index.db") keeps it
    store = MemOSVectorStore(mos, user="maya", embedding_name="word-counts")
    index = VectorStoreIndex.from_documents(
        DOCUMENTS,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=WordCounts(),
    )

    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=1)
    answer = engine.query("How many days of leave do staff have?")
    print("Rests on:", found(answer.source_nodes))
    print("Given to the model:", "27 days of leave" in str(answer))

    # LlamaIndex's filters are part of the search, so they never cost results.
    people = MetadataFilters(filters=[MetadataFilter(key="team", value="people")])
    asked = index.as_retriever(filters=people, similarity_top_k=5).retrieve("trains")
    print("Of the people team:", sorted(found(asked)))

    # By words, and by both.
    words = index.as_retriever(vector_store_query_mode="text_search", similarity_top_k=5)
    print("By words:", found(words.retrieve("when are salaries paid")))

    # Sam sees the index while a grant lasts.
    theirs = MemOSVectorStore(mos, user="sam", cube=store.cube, embedding_name="word-counts")
    sams = VectorStoreIndex.from_vector_store(theirs, embed_model=WordCounts()).as_retriever()
    mos.share(to="sam", user="maya", cube=store.cube)
    kept = sams.retrieve("leave")
    print("Sam finds:", len(kept))
    mos.revoke(to="sam", user="maya", cube=store.cube)
    try:
        sams.retrieve("leave")
    except errors.AccessDenied as refusal:
        print("Sam, later:", refusal)
    check = MemOSPostprocessor(mos, user="sam", cubes=[store.cube])
    print("What Sam had retrieved before, checked again:", len(check.postprocess_nodes(kept)))

    # A document that is deleted is gone from now on; the past still has it; an erase takes both.
    before = mos.version(user="maya", cube=store.cube)
    index.delete_ref_doc("salary")
    print("After the delete:", len(store.get_nodes()))
    past = mos.as_of(before).search("salaries", user="maya", cube=store.cube)
    print("As of before:", past[0].text)
    receipt = mos.erase(source="leave", user="maya", cube=store.cube)
    print("Erased, bytes still found:", receipt.scan.found)
    print("Left:", [node.ref_doc_id for node in store.get_nodes()])
