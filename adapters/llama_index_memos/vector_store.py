"""A vector store of governed memories: LlamaIndex's nodes, found by LlamaIndex's own vectors.

Each node is an ordinary memory of one cube: filtered exactly and before it is ranked, versioned,
shared by grant, erased down to the bytes (``mos.erase(source=<ref_doc_id>)``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from pydantic import PrivateAttr

from llama_index_memos.asker import Room, delete_found, in_a_cube
from llama_index_memos.filters import Tree, every, one_of, tree_of
from llama_index_memos.nodes import KIND, PREFIX, embedded, key_of, node_of, readable, source_of
from memos_integrations.cube.embedded import KEY_FIELD
from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.item import Hit
from memos_integrations.interface.mos import MOS

_EVERYTHING = 2**31
_MOST_HITS = 10_000
_MMR_POOL = 4
_MMR_LEAST = 64
_BY_WORDS = (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE)


class MemOSVectorStore(BasePydanticVectorStore):
    """Keeps an index's nodes as memories in a cube of their own.

    The cube is ``cube``, else ``nodes`` under the home of ``user`` or ``agent``; it is made where
    it is missing. ``embedding_name`` names the embedding model: the cube takes vectors of no
    other. Deleted nodes stay in the cube's history until it is erased.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    embedding_name: str = "llama-index"
    user: str | None = None
    agent: str | None = None
    cube: str | None = None
    _mos: MOS = PrivateAttr()
    _asker: Room = PrivateAttr()

    def __init__(
        self,
        mos: MOS,
        *,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        embedding_name: str = "llama-index",
    ) -> None:
        asker = in_a_cube(mos, "nodes", user=user, agent=agent, cube=cube)
        fields: dict[str, Any] = {**asker.of(), "embedding_name": embedding_name}
        super().__init__(**fields)
        self._mos, self._asker = mos, asker

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes into what it serialises."""
        return "MemOSVectorStore"

    @property
    def client(self) -> MOS:
        """The memory behind it."""
        return self._mos

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Keep these nodes with their vectors, in one transaction; a node kept before is replaced.

        Raises ``ValueError`` for a node without a vector, and then keeps none of them.
        """
        for node in nodes:
            node.get_embedding()
        texts = [embedded(node) for node in nodes]
        self._mos.put_embedded(texts, model=self.embedding_name, **self._asker.of())
        return [node.node_id for node in nodes]

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The nodes of these ids that pass the filters, oldest first; all without either.

        As in a query, what is quarantined, stale, archived or expired is none of them.
        """
        where = every(_of_nodes(), _of_ids(node_ids), tree_of(filters))
        items = self._mos.list_showable(filter=where, limit=_EVERYTHING, **self._asker.of())
        return list(readable(reversed(items), node_of).values())

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete every node of this document; none is no error."""
        self._delete(every(_of_nodes(), {"source": source_of(ref_doc_id) or ""}))

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Delete the nodes of these ids that pass the filters.

        Raises ``UsageError`` without either: that would be ``clear``.
        """
        asked = every(_of_ids(node_ids), tree_of(filters))
        if asked is None:
            raise UsageError("delete_nodes needs node_ids or filters; clear() deletes everything")
        self._delete(every(_of_nodes(), asked))

    def clear(self) -> None:
        """Delete every node; other memories of the cube stay."""
        self._delete(_of_nodes())

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes that fit best, best first, with their scores.

        ``default`` ranks by cosine, ``text_search`` and ``sparse`` by the share of the question's
        words, ``hybrid`` by both (``alpha`` is the vector's part), ``mmr`` for variety. Raises
        ``UsageError`` for the other modes and for what a mode lacks.
        """
        where = every(
            _of_nodes(),
            # An index over a store that keeps the text sends an empty list for "any node".
            _of_ids(query.node_ids or None),
            None
            if query.doc_ids is None
            else one_of("source", [source_of(each) or "" for each in query.doc_ids]),
            tree_of(query.filters),
        )
        if _mode(query) is VectorStoreQueryMode.MMR:
            return self._varied(query, where, kwargs)
        return _result(self._nearest(query, where))

    def _nearest(self, query: VectorStoreQuery, where: Tree | None) -> list[Hit]:
        match _mode(query):
            case VectorStoreQueryMode.DEFAULT:
                return self._hits(_vector(query), "", 1.0, where, query.similarity_top_k)
            case VectorStoreQueryMode.HYBRID:
                share = 0.5 if query.alpha is None else query.alpha
                most = query.hybrid_top_k or query.similarity_top_k
                return self._hits(_vector(query), _words(query), share, where, most)
            case mode if mode in _BY_WORDS:
                most = query.sparse_top_k or query.similarity_top_k
                return self._hits(None, _words(query), 0.0, where, most)
            case _:
                raise UsageError(
                    f"query mode {_mode(query).value!r} is not supported; use default, hybrid, "
                    "text_search, sparse or mmr"
                )

    def _varied(
        self, query: VectorStoreQuery, where: Tree | None, kwargs: dict[str, Any]
    ) -> VectorStoreQueryResult:
        """The best of a larger pool, each less like those before it (LlamaIndex's own MMR)."""
        vector = _vector(query)
        factor = int(kwargs.get("mmr_prefetch_factor", _MMR_POOL))
        pool = int(kwargs.get("mmr_prefetch_k", max(_MMR_LEAST, factor * query.similarity_top_k)))
        hits = self._hits(vector, "", 1.0, where, pool)
        vectors = self._mos.vectors([hit.id for hit in hits], **self._asker.of())
        # Texts with details that are masked for who asks have no vector to compare: they come last.
        rest = [hit for hit in hits if hit.id not in vectors]
        hits = [hit for hit in hits if hit.id in vectors]
        threshold = query.mmr_threshold
        scores, ids = get_top_k_mmr_embeddings(
            vector,
            [vectors[hit.id] for hit in hits],
            similarity_top_k=query.similarity_top_k,
            embedding_ids=[hit.id for hit in hits],
            mmr_threshold=kwargs.get("mmr_threshold") if threshold is None else threshold,
        )
        by_id = {hit.id: hit for hit in hits}
        varied = [Hit(item=by_id[i].item, score=s) for s, i in zip(scores, ids, strict=True)]
        return _result([*varied, *rest][: query.similarity_top_k or None])

    def _hits(
        self,
        vector: list[float] | None,
        words: str,
        balance: float,
        where: Tree | None,
        most: int,
    ) -> list[Hit]:
        if most < 1:
            return []
        return self._mos.nearest(
            vector,
            words=words,
            balance=balance,
            filter=where,
            limit=min(most, _MOST_HITS),
            **self._asker.of(),
        )

    def _delete(self, where: Tree | None) -> None:
        def find() -> list[str]:
            found = self._mos.list(filter=where, limit=_EVERYTHING, **self._asker.of())
            return [item.id for item in found]

        delete_found(self._mos, self._asker, find)

    # -- the async half: the same bodies, in a thread ------------------------------------------

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As ``add``."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As ``get_nodes``."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As ``delete``."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """As ``delete_nodes``."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """As ``clear``."""
        await asyncio.to_thread(self.clear)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As ``query``."""
        return await asyncio.to_thread(self.query, query, **kwargs)


def _of_nodes() -> Tree:
    return {"info.kind": KIND, "memory_type": "document"}


def _of_ids(node_ids: Sequence[str] | None) -> Tree | None:
    if node_ids is None:
        return None
    return one_of(KEY_FIELD, [key_of(PREFIX, node_id) for node_id in node_ids])


def _mode(query: VectorStoreQuery) -> VectorStoreQueryMode:
    try:
        return VectorStoreQueryMode(query.mode)
    except ValueError as error:
        raise UsageError(f"there is no query mode {query.mode!r}") from error


def _vector(query: VectorStoreQuery) -> list[float]:
    if query.query_embedding is None:
        raise UsageError(f"query mode {_mode(query).value!r} needs query_embedding")
    return query.query_embedding


def _words(query: VectorStoreQuery) -> str:
    if not query.query_str or not query.query_str.strip():
        raise UsageError(f"query mode {_mode(query).value!r} needs query_str")
    return query.query_str


def _result(hits: Sequence[Hit]) -> VectorStoreQueryResult:
    nodes = readable([hit.item for hit in hits], node_of)
    return VectorStoreQueryResult(
        nodes=list(nodes.values()),
        similarities=[hit.score for hit in hits if hit.id in nodes],
        ids=[node.node_id for node in nodes.values()],
    )
