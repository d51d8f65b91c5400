"""LangChain's ``VectorStore`` over governed memories that are found by given vectors.

Called by LangChain, calls ``MOS.put_embedded`` and ``MOS.nearest``. Documents live in a cube of
their own, embedded by the store's own model: nothing is read out of them or folded into them, so
a search returns documents only and a delete is exact.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from langchain_memos.asker import Asker
from langchain_memos.documents import document_of, embedded, key_of
from langchain_memos.metadata_filters import metadata_filter
from langchain_memos.places import cube_beside, founded
from memos_integrations.cube.embedded import KEY_FIELD
from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.filters import Filter
from memos_integrations.cube.item import Hit, MemoryItem
from memos_integrations.infrastructure.backends.embedders import as_embedder, embed_query
from memos_integrations.interface.mos import MOS

_PAGE = 5_000
_BATCH = 256


class MemOSVectorStore(VectorStore):
    """Documents in a cube, found by the cosine of ``embedding``'s vectors; exact, also filtered.

    Over a ``mos`` of yours, or one of its own (``path``, or a file that goes with it). The cube is
    ``cube``, or one named ``collection`` under the home of ``user`` (or ``agent``); it is founded
    here and takes the vectors of one model only. Whoever the cube is shared with may read it by a
    store of theirs; every read is governed and audited.

    Scores are cosines, from -1 to 1, higher is nearer; relevance scores are the same without what
    is below 0. Metadata is JSON: tuples come back as lists and dates as ISO text, and what looks
    like a secret is masked in it and in the words. A deleted document is gone from every read and
    stays in history until ``mos.erase(id)``.
    """

    def __init__(
        self,
        embedding: Embeddings,
        *,
        mos: MOS | None = None,
        path: str | os.PathLike[str] | None = None,
        collection: str = "documents",
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        model: str | None = None,
    ) -> None:
        if mos is not None and path is not None:
            raise UsageError("give a mos or the path of one, not both")
        self._embedding = embedding
        self._embedder = as_embedder(embedding, fingerprint=model)
        self._own = MOS(path, embedder=None) if mos is None else None
        self._mos = self._own or mos
        self._asker = Asker(user, agent)
        where = cube or cube_beside(self.mos, self._asker, collection)
        self._cube = founded(self.mos, where, self._asker)

    @property
    def mos(self) -> MOS:
        """The memory that the documents lie in."""
        assert self._mos is not None  # noqa: S101  -- given, or made above
        return self._mos

    @property
    def cube(self) -> str:
        """The path of the documents' cube, to share or dump it by."""
        return self._cube

    @property
    def embeddings(self) -> Embeddings:
        """What embeds documents and questions."""
        return self._embedding

    def close(self) -> None:
        """Close a memory that the store has opened itself."""
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = _BATCH,
        **unknown: Any,
    ) -> list[str]:
        """Keep these documents, all or none of them; their ids, in order.

        An id that is there already is replaced, by one step of history. Without an id a document
        gets a new one. ``batch_size`` texts are embedded at once. Raises ``InvalidInput`` for a
        document that cannot be stored.
        """
        _refuse(unknown)
        words = list(texts)
        known = _as_many(metadatas, len(words), "metadatas")
        keys = [each or str(uuid4()) for each in _as_many(ids, len(words), "ids")]
        vectors = self._vectors(words, batch_size)
        documents = [
            embedded(key, text, vector, metadata or {})
            for key, text, vector, metadata in zip(keys, words, vectors, known, strict=True)
        ]
        if documents:
            self.mos.put_embedded(
                documents,
                model=self._embedder.fingerprint,
                cube=self._cube,
                **self._asker.keywords(),
            )
        return keys

    def _vectors(self, words: Sequence[str], size: int) -> list[list[float]]:
        if size < 1:
            raise UsageError("batch_size must be at least 1")
        made = [
            self._embedder.embed(words[start : start + size])
            for start in range(0, len(words), size)
        ]
        return [row.tolist() for part in made for row in part]

    def delete(self, ids: Sequence[str] | None = None, **unknown: Any) -> bool:
        """Delete these documents in one transaction, or all of them for ``None``.

        Ids that are not there are no error.
        """
        _refuse(unknown)
        found = self._everything() if ids is None else self._items(ids)
        if found:
            with self.mos.pipeline(cube=self._cube, **self._asker.keywords()) as pipeline:
                for item in found:
                    pipeline.delete(item.id)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents of these ids, in their order; those that are not there are left out."""
        found = {key_of(item): item for item in self._items(ids)}
        return [document_of(found[key]) for key in dict.fromkeys(ids) if key in found]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        filter: object = None,  # noqa: A002
        **unknown: Any,
    ) -> list[Document]:
        """The ``k`` documents nearest to the question, nearest first."""
        found = self.similarity_search_with_score(query, k, filter=filter, **unknown)
        return [document for document, _ in found]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: object = None,  # noqa: A002
        **unknown: Any,
    ) -> list[tuple[Document, float]]:
        """The same with their cosines."""
        _refuse(unknown)
        return [
            (document_of(hit.item), hit.score) for hit in self._near(self._asked(query), k, filter)
        ]

    def similarity_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        *,
        filter: object = None,  # noqa: A002
        **unknown: Any,
    ) -> list[Document]:
        """The ``k`` documents nearest to a vector of the store's model."""
        _refuse(unknown)
        return [document_of(hit.item) for hit in self._near(embedding, k, filter)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: object = None,  # noqa: A002
        **unknown: Any,
    ) -> list[Document]:
        """``k`` of the ``fetch_k`` nearest documents that are unlike each other."""
        asked = self._asked(query)
        return self.max_marginal_relevance_search_by_vector(
            asked, k, fetch_k, lambda_mult, filter=filter, **unknown
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: object = None,  # noqa: A002
        **unknown: Any,
    ) -> list[Document]:
        """As ``max_marginal_relevance_search``, for a vector of the store's model."""
        _refuse(unknown)
        near = self._near(embedding, max(k, fetch_k), filter)
        made = self.mos.vectors([hit.id for hit in near], cube=self._cube, **self._asker.keywords())
        # Texts with details that are masked for who asks have no vector to compare: they come last.
        rest = [hit for hit in near if hit.id not in made]
        near = [hit for hit in near if hit.id in made]
        vectors = [made[hit.id] for hit in near]
        asked = np.asarray(embedding, np.float32)
        picked = maximal_marginal_relevance(asked, vectors, lambda_mult, k) if vectors else []
        return [document_of(hit.item) for hit in [*(near[n] for n in picked), *rest][:k]]

    def _select_relevance_score_fn(self) -> Any:
        return _relevance

    def _asked(self, query: str) -> list[float]:
        vector: list[float] = embed_query(self._embedder, query).tolist()
        return vector

    def _near(self, vector: Sequence[float], k: int, given: object) -> list[Hit]:
        where = metadata_filter(given)
        return self.mos.nearest(
            vector, filter=where, limit=k, cube=self._cube, **self._asker.keywords()
        )

    def _items(self, ids: Sequence[str]) -> list[MemoryItem]:
        wanted = list(dict.fromkeys(ids))
        return [
            item
            for start in range(0, len(wanted), _PAGE)
            for item in self.mos.embedded(
                wanted[start : start + _PAGE], cube=self._cube, **self._asker.keywords()
            ).values()
        ]

    def _everything(self) -> list[MemoryItem]:
        return self._listed({KEY_FIELD: {"exists": True}})

    def _listed(self, where: Mapping[str, Any] | Filter) -> list[MemoryItem]:
        return self.mos.list(filter=where, limit=2**31, cube=self._cube, **self._asker.keywords())

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings,
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **made_with: Any,
    ) -> Self:
        """A store that holds these documents; ``made_with`` is for the constructor."""
        store = cls(embedding, **made_with)
        store.add_texts(texts, metadatas, ids=ids)
        return store


def _relevance(cosine: float) -> float:
    return min(max(cosine, 0.0), 1.0)


def _as_many(values: Sequence[Any] | None, count: int, what: str) -> list[Any]:
    if values is None:
        return [None] * count
    if len(values) != count:
        raise UsageError(f"{len(values)} {what} for {count} texts: give one for each")
    return list(values)


def _refuse(unknown: Mapping[str, object]) -> None:
    if unknown:
        raise UsageError(f"the vector store knows no option {sorted(unknown)[0]!r}")
