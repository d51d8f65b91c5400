"""The contract of a ``PropertyGraphStore``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import pytest
from llama_index.core.graph_stores.types import (
    TRIPLET_SOURCE_KEY,
    ChunkNode,
    EntityNode,
    PropertyGraphStore,
    Relation,
    Triplet,
)
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

from memos_integrations.testing.llama_index.halves import HALVES, Half, Through

CHAIN = [("A", "R", "B"), ("B", "R", "C"), ("C", "R", "D")]


def relations(edges: Iterable[tuple[str, str, str]]) -> list[Relation]:
    """A relation for each edge."""
    return [Relation(source_id=a, label=label, target_id=b) for a, label, b in edges]


def edges_of(triplets: Iterable[Triplet]) -> list[tuple[str, str, str]]:
    """The ids of each triplet."""
    return [(a.id, relation.id, b.id) for a, relation, b in triplets]


def names(nodes: Iterable[Any]) -> list[str]:
    """The ids of the nodes, sorted."""
    return sorted(node.id for node in nodes)


class PropertyGraphStoreTests(ABC):
    """Inherit, write ``make``, and name the class ``Test...``."""

    @abstractmethod
    def make(self) -> PropertyGraphStore:
        """A new, empty store."""

    @pytest.fixture(params=HALVES)
    def store(self, request: pytest.FixtureRequest) -> Through:
        half: Half = request.param
        return Through(self.make(), half)

    @pytest.fixture
    def chain(self, store: Through) -> Through:
        store.upsert_relations(relations(CHAIN))
        return store

    def test_an_empty_graph_has_nothing(self, store: Through) -> None:
        assert store.get() == []
        assert store.get_triplets(entity_names=["A"]) == []
        assert store.get_rel_map([EntityNode(name="A")]) == []
        store.delete(ids=["A"])

    def test_nodes_come_back_whole(self, store: Through) -> None:
        given = [
            EntityNode(name="Zoë", label="person", properties={"age": 3, "deep": {"a": [1, None]}}),
            ChunkNode(text="naïve 我喜欢 🎉", id_="c1", properties={"page": 1}),
        ]
        store.upsert_nodes(given)
        assert store.get(ids=["Zoë", "c1"]) == given
        assert store.get() == given

    def test_a_chunk_without_an_id_keeps_the_one_it_has(self, store: Through) -> None:
        chunk = ChunkNode(text="words")
        store.upsert_nodes([chunk])
        assert names(store.get()) == [chunk.id]
        assert names(store.get(ids=[chunk.id])) == [chunk.id]

    @pytest.mark.parametrize("name", ["a/b", "我", "a'b\"c", "x" * 2000, "a\nb", "%", "_", "{}"])
    def test_any_text_is_a_name(self, store: Through, name: str) -> None:
        node = EntityNode(name=name)
        store.upsert_nodes([node, EntityNode(name="other")])
        store.upsert_relations([Relation(label="R", source_id=node.id, target_id="other")])
        assert store.get(ids=[node.id]) == [node]
        assert edges_of(store.get_triplets(ids=[node.id])) == [(node.id, "R", "other")]
        store.delete(ids=[node.id])
        assert names(store.get()) == ["other"]

    def test_nodes_are_got_by_ids_and_by_any_property(self, store: Through) -> None:
        store.upsert_nodes(
            [
                EntityNode(name="a", properties={"x": 1, "y": "p"}),
                EntityNode(name="b", properties={"x": 2, "a.b": True}),
                EntityNode(name="c"),
            ]
        )
        assert names(store.get(properties={"x": 1})) == ["a"]
        assert names(store.get(properties={"x": 2, "y": "p"})) == ["a", "b"]
        assert names(store.get(properties={"a.b": True})) == ["b"]
        assert names(store.get(properties={"x": 2}, ids=["a", "b"])) == ["b"]
        assert names(store.get(ids=["c", "unknown"])) == ["c"]

    def test_an_empty_list_of_ids_asks_for_no_node(self, chain: Through) -> None:
        assert chain.get(ids=[]) == []

    def test_upserting_a_node_replaces_it(self, store: Through) -> None:
        store.upsert_nodes([EntityNode(name="a", properties={"x": 1})])
        store.upsert_relations(relations([("a", "R", "b")]))
        store.upsert_nodes([EntityNode(name="a", label="new", properties={"y": 2})])
        assert store.get(ids=["a"]) == [EntityNode(name="a", label="new", properties={"y": 2})]
        assert edges_of(store.get_triplets(entity_names=["a"])) == [("a", "R", "b")]

    def test_upserting_a_relation_replaces_it(self, store: Through) -> None:
        store.upsert_relations(
            [Relation(label="R", source_id="a", target_id="b", properties={"x": 1})]
        )
        store.upsert_relations(
            [Relation(label="R", source_id="a", target_id="b", properties={"x": 2})]
        )
        ((_, relation, _),) = store.get_triplets(entity_names=["a"])
        assert relation.properties == {"x": 2}

    def test_ends_that_are_missing_are_made_and_others_left(self, store: Through) -> None:
        store.upsert_nodes([EntityNode(name="A", properties={"kept": True})])
        store.upsert_relations(relations(CHAIN))
        assert names(store.get()) == ["A", "B", "C", "D"]
        assert store.get(ids=["A"])[0].properties == {"kept": True}

    def test_triplets_are_found_by_ends_labels_properties_and_ids(self, store: Through) -> None:
        one, two = EntityNode(name="e1"), EntityNode(name="e2", properties={"key": "value"})
        relation = Relation(label="r", source_id="e1", target_id="e2", properties={"w": 1})
        store.upsert_nodes([one, two])
        store.upsert_relations([relation, *relations([("e3", "s", "e4")])])
        expected = [(one, relation, two)]
        for given in (
            {"entity_names": ["e1"]},
            {"entity_names": ["e2"]},
            {"relation_names": ["r"]},
            {"properties": {"key": "value"}},
            {"properties": {"w": 1}},
            {"ids": ["e1"]},
            {"entity_names": ["e1"], "relation_names": ["r", "s"]},
        ):
            assert store.get_triplets(**given) == expected, given
        assert store.get_triplets(entity_names=["e1"], relation_names=["s"]) == []
        assert store.get_triplets() == []

    def test_labels_between_the_same_ends_are_different_relations(self, store: Through) -> None:
        edges = [("A", "SUPPORTS", "B"), ("A", "CONTRADICTS", "B"), ("B", "SUPPORTS", "A")]
        store.upsert_relations(relations(edges))
        assert sorted(edges_of(store.get_triplets(entity_names=["A"]))) == sorted(edges)
        store.delete(relation_names=["CONTRADICTS"])
        assert edges_of(store.get_triplets(entity_names=["A"])) == [edges[0], edges[2]]
        assert names(store.get()) == ["A", "B"]

    def test_names_that_hold_separators_are_told_apart(self, store: Through) -> None:
        edges = [("a_b", "c", "d"), ("a", "b_c", "d"), ("a", "b", "c_d")]
        store.upsert_relations(relations(edges))
        found = store.get_triplets(ids=["a_b", "a"])
        assert sorted(edges_of(found)) == sorted(edges)

    @pytest.mark.parametrize("depth", [0, 1, 2, 3, 8])
    def test_a_map_goes_as_deep_as_asked_and_repeats_nothing(
        self, chain: Through, depth: int
    ) -> None:
        found = chain.get_rel_map([EntityNode(name="A")], depth=depth)
        assert edges_of(found) == CHAIN[:depth]

    @pytest.mark.parametrize("limit", [0, 1, 2, 3])
    def test_a_map_holds_at_most_limit_triplets(self, chain: Through, limit: int) -> None:
        found = chain.get_rel_map([EntityNode(name="A")], depth=3, limit=limit)
        assert edges_of(found) == CHAIN[:limit]

    def test_a_map_of_a_cycle_ends(self, store: Through) -> None:
        edges = [("A", "SELF", "A"), ("A", "R", "B"), ("B", "R", "A")]
        store.upsert_relations(relations(edges))
        found = edges_of(store.get_rel_map([EntityNode(name="A")], depth=10))
        assert sorted(found) == sorted(edges)

    def test_a_map_from_several_nodes_repeats_nothing(self, chain: Through) -> None:
        found = chain.get_rel_map([EntityNode(name="A"), EntityNode(name="B")], depth=3)
        assert sorted(edges_of(found)) == CHAIN

    def test_ignored_relations_are_walked_and_do_not_count(self, store: Through) -> None:
        store.upsert_relations(relations([("A", "IGNORE", "B"), ("B", "KEEP", "C")]))
        found = store.get_rel_map([EntityNode(name="A")], depth=3, limit=1, ignore_rels=["IGNORE"])
        assert edges_of(found) == [("B", "KEEP", "C")]

    def test_a_map_from_nowhere_is_empty(self, chain: Through) -> None:
        assert chain.get_rel_map([]) == []
        assert chain.get_rel_map([EntityNode(name="unknown")]) == []

    def test_deleting_a_node_takes_its_relations_and_leaves_its_neighbours(
        self, chain: Through
    ) -> None:
        chain.delete(entity_names=["B"])
        assert names(chain.get()) == ["A", "C", "D"]
        assert edges_of(chain.get_triplets(ids=["A", "C", "D"])) == CHAIN[2:]

    def test_what_is_given_and_given_back_are_copies(self, store: Through) -> None:
        node = EntityNode(name="a", properties={"list": [1]})
        store.upsert_nodes([node])
        node.properties["list"].append(2)
        store.get(ids=["a"])[0].properties["list"].append(3)
        assert store.get(ids=["a"])[0].properties == {"list": [1]}

    def test_deleting_by_property_takes_nodes_that_have_it(self, store: Through) -> None:
        store.upsert_nodes([EntityNode(name="a", properties={"x": 1}), EntityNode(name="b")])
        store.delete(properties={"x": 1})
        assert names(store.get()) == ["b"]

    def test_deleting_nothing_deletes_nothing(self, chain: Through) -> None:
        chain.delete(ids=[])
        chain.delete(ids=["unknown"], entity_names=[])
        assert len(chain.get()) == 4
        with pytest.raises(ValueError, match="delete"):
            chain.delete()
        assert len(chain.get()) == 4

    def nodes(self) -> list[TextNode]:
        """Two nodes, one of a document."""
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")}
        return [
            TextNode(id_="n1", text="one", metadata={"m": 1}, relationships=source),
            TextNode(id_="n2", text="two"),
        ]

    def test_llama_nodes_come_back_whole(self, store: Through) -> None:
        store.inner.upsert_llama_nodes(self.nodes())
        assert store.get_llama_nodes(["n1", "n2"]) == self.nodes()

    def test_llama_nodes_are_deleted_by_id_and_by_document(self, store: Through) -> None:
        store.inner.upsert_llama_nodes(self.nodes())
        drawn = EntityNode(name="drawn", properties={TRIPLET_SOURCE_KEY: "n2"})
        store.upsert_nodes([drawn, EntityNode(name="kept")])
        store.delete_llama_nodes(ref_doc_ids=["unknown"])
        store.delete_llama_nodes(node_ids=["unknown"])
        assert names(store.get()) == ["drawn", "kept", "n1", "n2"]
        store.delete_llama_nodes(ref_doc_ids=["doc"])
        assert names(store.get()) == ["drawn", "kept", "n2"]
        store.delete_llama_nodes(node_ids=["n2"])
        assert names(store.get()) == ["kept"]

    def test_vectors_find_the_nearest_nodes(self, store: Through) -> None:
        store.upsert_nodes(
            [
                EntityNode(name="right", embedding=[1.0, 0.0], properties={"n": 1}),
                EntityNode(name="up", embedding=[0.0, 1.0], properties={"n": 2}),
                EntityNode(name="none"),
            ]
        )
        nodes, scores = store.vector_query(
            VectorStoreQuery(query_embedding=[3.0, 4.0], similarity_top_k=5)
        )
        assert [node.id for node in nodes] == ["up", "right"]
        assert scores == pytest.approx([0.8, 0.6], abs=1e-6)
        filters = MetadataFilters(filters=[MetadataFilter(key="n", value=1)])
        nodes, _ = store.vector_query(
            VectorStoreQuery(query_embedding=[3.0, 4.0], similarity_top_k=1, filters=filters)
        )
        assert [node.id for node in nodes] == ["right"]

    def test_a_query_language_it_does_not_have_is_refused(self, store: Through) -> None:
        if store.inner.supports_structured_queries:
            pytest.skip("it has one")
        with pytest.raises(NotImplementedError):
            store.structured_query("MATCH (n) RETURN n", {})
