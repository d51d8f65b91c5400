"""Memories as nodes: what a query engine retrieves from."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from llama_index_memos.asker import Room, checked
from memos_integrations.cube.item import Hit, MemoryItem
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import CubeName, Where

ID_KEY = "memory_id"
CUBE_KEY = "memory_cube"
_HIDDEN = [ID_KEY, CUBE_KEY, "memory_version"]
"""Metadata that neither a model nor an embedding needs to read."""


class MemOSRetriever(BaseRetriever):
    """Finds memories by words and meaning, with the rights of ``user`` and ``agent``.

    ``memory`` is a ``MOS``, or ``mos.as_of(...)`` to retrieve from the past. Raises as
    ``MOS.search``.
    """

    def __init__(
        self,
        memory: Reads,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        limit: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._memory = checked(memory, Reads)
        self._asker = Room(user, agent)
        self._session = session
        self._cube = cube
        self._filter = filter
        self._limit = limit

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if not query_bundle.query_str.strip():
            return []
        hits = self._memory.search(
            query_bundle.query_str,
            user=self._asker.user,
            agent=self._asker.agent,
            session=self._session,
            cube=self._cube,
            filter=self._filter,
            limit=self._limit,
        )
        return [scored(hit) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def scored(hit: Hit) -> NodeWithScore:
    """The memory as a node with its score."""
    return NodeWithScore(node=memory_node(hit.item), score=hit.score)


def memory_node(item: MemoryItem) -> TextNode:
    """The memory as a node: its words, and who said them when, with what trust."""
    header = item.header
    told = {
        "speaker": header.speaker or header.role,
        "time": header.time.isoformat(),
        "source": header.source,
        "trust": header.trust.value,
    }
    return TextNode(
        id_=item.id,
        text=item.text,
        metadata={
            **{key: value for key, value in told.items() if value is not None},
            ID_KEY: item.id,
            CUBE_KEY: item.cube,
            "memory_version": item.version,
        },
        excluded_embed_metadata_keys=list(_HIDDEN),
        excluded_llm_metadata_keys=list(_HIDDEN),
    )
