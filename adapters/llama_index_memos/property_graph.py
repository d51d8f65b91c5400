"""A property graph of governed memories: entities, chunks and relations, each a memory.

What the asker may not see is not in the graph: a relation shows only where both its ends do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.graph_stores.types import (
    TRIPLET_SOURCE_KEY,
    EntityNode,
    LabelledNode,
    PropertyGraphStore,
    Relation,
    Triplet,
)
from llama_index.core.vector_stores.types import VectorStoreQuery

from llama_index_memos.asker import delete_found, in_a_cube
from llama_index_memos.filters import Tree, every, one_of, tree_of
from llama_index_memos.graph_items import (
    OF_NODES,
    OF_RELATIONS,
    any_property,
    id_of,
    is_node,
    labels_of,
    node_of,
    node_text,
    nodes_where,
    relation_of,
    relation_text,
    touching,
)
from llama_index_memos.nodes import readable
from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.item import MemoryItem
from memos_integrations.interface.mos import MOS

_EVERYTHING = 2**31
_MOST_HITS = 10_000


class MemOSPropertyGraphStore(PropertyGraphStore):
    """Keeps a graph in a cube: ``cube``, else ``graph`` under the home of ``user`` or ``agent``.

    Upserts replace what has the same id (a relation: the same ends and label). Deleting a node
    takes its relations along and leaves its neighbours. Vector queries use the vectors the nodes
    came with; there is no query language, and ``structured_query`` says so.
    """

    supports_structured_queries: bool = False
    supports_vector_queries: bool = True

    def __init__(
        self,
        mos: MOS,
        *,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        embedding_name: str = "llama-index",
    ) -> None:
        self._mos = mos
        self._asker = in_a_cube(mos, "graph", user=user, agent=agent, cube=cube)
        self._embedding_name = embedding_name

    @property
    def client(self) -> MOS:
        """The memory behind it."""
        return self._mos

    def get(
        self, properties: dict[str, Any] | None = None, ids: list[str] | None = None
    ) -> list[LabelledNode]:
        """The nodes of these ids that have at least one of these properties, oldest first."""
        return list(readable(self._shown(nodes_where(properties, ids)), node_of).values())

    def get_triplets(
        self,
        entity_names: list[str] | None = None,
        relation_names: list[str] | None = None,
        properties: dict[str, Any] | None = None,
        ids: list[str] | None = None,
    ) -> list[Triplet]:
        """The triplets that pass every condition given, oldest first; none without any.

        An entity or id may stand at either end; a property may be of an end or of the relation.
        """
        if not (entity_names or relation_names or properties or ids):
            return []
        where = every(
            touching(entity_names) if entity_names else None,
            one_of("info.label", relation_names) if relation_names else None,
            self._with_properties(properties) if properties else None,
            touching(ids) if ids else None,
        )
        return self._triplets(where)

    def get_rel_map(
        self,
        graph_nodes: list[LabelledNode],
        depth: int = 2,
        limit: int = 30,
        ignore_rels: list[str] | None = None,
    ) -> list[Triplet]:
        """At most ``limit`` triplets within ``depth`` steps of these nodes, nearest first.

        Each stands once. Ignored relations are walked and not shown.
        """
        ignored = frozenset(ignore_rels or ())
        frontier = [node.id for node in graph_nodes]
        found: list[Triplet] = []
        seen: set[tuple[str, str, str]] = set()
        for _ in range(depth):
            step = self._new(frontier, seen) if frontier and len(found) < limit else []
            found += [each for each in step if each[1].id not in ignored]
            frontier = [target.id for _, _, target in step]
        return found[: max(limit, 0)]

    def upsert_nodes(self, nodes: Sequence[LabelledNode]) -> None:
        """Keep these nodes, all of them or none."""
        self._put([node_text(node) for node in nodes])

    def upsert_relations(self, relations: list[Relation]) -> None:
        """Keep these relations, all of them or none; an end that is missing becomes an entity."""
        ends = list(dict.fromkeys(e for r in relations for e in (r.source_id, r.target_id)))
        # One that may not be shown is there all the same, and not to be replaced.
        there = {id_of(item) for item in self._items(nodes_where(None, ends))}
        made = [node_text(EntityNode(name=end)) for end in ends if end not in there]
        self._put([*made, *(relation_text(each) for each in relations)])

    def delete(
        self,
        entity_names: list[str] | None = None,
        relation_names: list[str] | None = None,
        properties: dict[str, Any] | None = None,
        ids: list[str] | None = None,
    ) -> None:
        """Delete the nodes of these names, ids or properties, with their relations, and the
        relations of these names or properties. In one transaction; empty lists delete nothing.

        Raises ``UsageError`` without any condition: that would be everything.
        """
        if entity_names is None and relation_names is None and properties is None and ids is None:
            raise UsageError("delete needs names, ids or properties")
        named = [*(entity_names or ()), *(ids or ())]

        def find() -> list[str]:
            return [item.id for item in self._doomed(named, relation_names or [], properties or {})]

        delete_found(self._mos, self._asker, find)

    def delete_llama_nodes(
        self, node_ids: list[str] | None = None, ref_doc_ids: list[str] | None = None
    ) -> None:
        """Delete the chunks of these ids and documents, and what was drawn from them."""
        documents = ref_doc_ids or []
        chunks = [*(node_ids or []), *self._with("ref_doc_id", documents)]
        self.delete(ids=[*chunks, *documents, *self._with(TRIPLET_SOURCE_KEY, chunks)])

    def structured_query(self, query: str, param_map: dict[str, Any] | None = None) -> Any:
        """Refused: there is no query language here. Raises ``NotImplementedError``."""
        rather = "use get, get_triplets, get_rel_map or vector_query"
        raise NotImplementedError(f"MemOSPropertyGraphStore has no query language: {rather}")

    def vector_query(
        self, query: VectorStoreQuery, **kwargs: Any
    ) -> tuple[list[LabelledNode], list[float]]:
        """The nodes whose vectors are nearest to the query's, best first, with the cosines."""
        if query.query_embedding is None:
            raise UsageError("a vector query needs query_embedding")
        if query.similarity_top_k < 1:
            return [], []
        hits = self._mos.nearest(
            query.query_embedding,
            filter=every(nodes_where(None, query.node_ids or None), tree_of(query.filters)),
            limit=min(query.similarity_top_k, _MOST_HITS),
            **self._asker.of(),
        )
        nodes = readable([hit.item for hit in hits], node_of)
        return list(nodes.values()), [hit.score for hit in hits if hit.id in nodes]

    def get_schema(self, refresh: bool = False) -> dict[str, list[str]]:
        """The labels of the graph's nodes and relations."""
        nodes, relations = self._shown(OF_NODES), self._shown(OF_RELATIONS)
        return {"nodes": labels_of(nodes), "relations": labels_of(relations)}

    # -- what they share -----------------------------------------------------------------------

    def _shown(self, where: Tree | None) -> list[MemoryItem]:
        """What passes and a search may show, oldest first."""
        found = self._mos.list_showable(filter=where, limit=_EVERYTHING, **self._asker.of())
        return found[::-1]

    def _items(self, where: Tree | None) -> list[MemoryItem]:
        """What passes, oldest first, also what may not be shown: a delete takes it along."""
        found = self._mos.list(filter=where, limit=_EVERYTHING, **self._asker.of())
        return found[::-1]

    def _triplets(self, where: Tree | None) -> list[Triplet]:
        shown = self._shown(every(OF_RELATIONS, where))
        relations = list(readable(shown, relation_of).values())
        ends = {end for each in relations for end in (each.source_id, each.target_id)}
        nodes = {node.id: node for node in self.get(ids=list(ends))}
        return [
            (nodes[each.source_id], each, nodes[each.target_id])
            for each in relations
            if each.source_id in nodes and each.target_id in nodes
        ]

    def _with(self, name: str, values: Sequence[str]) -> list[str]:
        """The ids of all nodes with one of these values of a property, hidden ones too."""
        found = [i for each in values for i in self._items(nodes_where({name: each}, None))]
        return [id_of(item) for item in found]

    def _with_properties(self, properties: dict[str, Any]) -> Tree:
        holders = [node.id for node in self.get(properties=properties)]
        return {"or": [any_property(properties), touching(holders)]}

    def _new(self, frontier: list[str], seen: set[tuple[str, str, str]]) -> list[Triplet]:
        """The triplets at these nodes that were not seen before; they are seen then."""
        step: list[Triplet] = []
        for each in self._triplets(touching(frontier)):
            name = (each[0].id, each[1].id, each[2].id)
            if name not in seen:
                seen.add(name)
                step.append(each)
        return step

    def _put(self, texts: Sequence[Any]) -> None:
        self._mos.put_embedded(texts, model=self._embedding_name, **self._asker.of())

    def _doomed(
        self, named: list[str], labels: list[str], properties: dict[str, Any]
    ) -> list[MemoryItem]:
        """The nodes and relations that a delete takes, with what hangs on the nodes."""
        doomed = self._items(nodes_where(None, named)) if named else []
        if properties:
            doomed += self._items(nodes_where(properties, None))
            doomed += self._items(every(OF_RELATIONS, any_property(properties)))
        if labels:
            doomed += self._items(every(OF_RELATIONS, one_of("info.label", labels)))
        gone = [id_of(item) for item in doomed if is_node(item)]
        return doomed + (self._items(every(OF_RELATIONS, touching(gone))) if gone else [])

    # -- the async half: the same bodies, in a thread ------------------------------------------

    async def aget(
        self, properties: dict[str, Any] | None = None, ids: list[str] | None = None
    ) -> list[LabelledNode]:
        """As ``get``."""
        return await asyncio.to_thread(self.get, properties, ids)

    async def aget_triplets(
        self,
        entity_names: list[str] | None = None,
        relation_names: list[str] | None = None,
        properties: dict[str, Any] | None = None,
        ids: list[str] | None = None,
    ) -> list[Triplet]:
        """As ``get_triplets``."""
        return await asyncio.to_thread(
            self.get_triplets, entity_names, relation_names, properties, ids
        )

    async def aget_rel_map(
        self,
        graph_nodes: list[LabelledNode],
        depth: int = 2,
        limit: int = 30,
        ignore_rels: list[str] | None = None,
    ) -> list[Triplet]:
        """As ``get_rel_map``."""
        return await asyncio.to_thread(self.get_rel_map, graph_nodes, depth, limit, ignore_rels)

    async def aupsert_nodes(self, nodes: list[LabelledNode]) -> None:
        """As ``upsert_nodes``."""
        await asyncio.to_thread(self.upsert_nodes, nodes)

    async def aupsert_relations(self, relations: list[Relation]) -> None:
        """As ``upsert_relations``."""
        await asyncio.to_thread(self.upsert_relations, relations)

    async def adelete(
        self,
        entity_names: list[str] | None = None,
        relation_names: list[str] | None = None,
        properties: dict[str, Any] | None = None,
        ids: list[str] | None = None,
    ) -> None:
        """As ``delete``."""
        await asyncio.to_thread(self.delete, entity_names, relation_names, properties, ids)

    async def adelete_llama_nodes(
        self, node_ids: list[str] | None = None, ref_doc_ids: list[str] | None = None
    ) -> None:
        """As ``delete_llama_nodes``."""
        await asyncio.to_thread(self.delete_llama_nodes, node_ids, ref_doc_ids)

    async def avector_query(
        self, query: VectorStoreQuery, **kwargs: Any
    ) -> tuple[list[LabelledNode], list[float]]:
        """As ``vector_query``."""
        return await asyncio.to_thread(self.vector_query, query, **kwargs)
