"""The contract of metadata filters: every operator, every condition, nested, against an oracle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

AND, OR, NOT = FilterCondition.AND, FilterCondition.OR, FilterCondition.NOT
METADATA: Final[Mapping[str, dict[str, Any]]] = {
    "n1": {"rank": "a", "weight": 1.0, "tags": ["alpha", "beta"], "code": "ABC123", "n": 1},
    "n2": {"rank": "b", "weight": 2.0, "tags": ["beta"], "code": "abc456", "n": 2, "a.b": "x"},
    "n3": {"rank": "c", "weight": 3.0, "tags": [], "code": "XYZ 100%", "n": 3, "gone": None},
    "n4": {"rank": "", "weight": -1.5, "numbers": [1, 2], "code": "a_c\\", "n": 4, "on": True},
    "n5": {},
}


def one(key: str, operator: str, value: Any = None) -> MetadataFilter:
    """One condition."""
    return MetadataFilter(key=key, operator=FilterOperator(operator), value=value)


def group(*parts: Any, condition: FilterCondition | None = AND) -> MetadataFilters:
    """Several conditions in one group."""
    return MetadataFilters(filters=list(parts), condition=condition)


CASES: Final[list[tuple[Any, set[str]]]] = [
    (one("rank", "==", "a"), {"n1"}),
    (one("rank", "==", ""), {"n4"}),
    (one("rank", "==", "A"), set()),
    (one("n", "==", 2), {"n2"}),
    (one("weight", "==", 2), {"n2"}),
    (one("a.b", "==", "x"), {"n2"}),
    (one("missing", "==", "x"), set()),
    (one("rank", "!=", "a"), {"n2", "n3", "n4", "n5"}),
    (one("missing", "!=", "x"), {"n1", "n2", "n3", "n4", "n5"}),
    (one("weight", ">", 1.0), {"n2", "n3"}),
    (one("weight", ">=", 1), {"n1", "n2", "n3"}),
    (one("weight", "<", 1.0), {"n4"}),
    (one("weight", "<=", 1.0), {"n1", "n4"}),
    (one("rank", ">", "a"), {"n2", "n3"}),
    (one("missing", ">", 1), set()),
    (one("rank", "in", ["a", "c", "z"]), {"n1", "n3"}),
    (one("n", "in", [1, 4]), {"n1", "n4"}),
    (one("missing", "in", ["a"]), set()),
    (one("rank", "nin", ["a", "c"]), {"n2", "n4", "n5"}),
    (one("missing", "nin", ["a"]), {"n1", "n2", "n3", "n4", "n5"}),
    (one("tags", "any", ["alpha", "z"]), {"n1"}),
    (one("tags", "any", ["alpha", "beta"]), {"n1", "n2"}),
    (one("tags", "all", ["alpha", "beta"]), {"n1"}),
    (one("tags", "all", ["beta"]), {"n1", "n2"}),
    (one("tags", "contains", "beta"), {"n1", "n2"}),
    (one("tags", "contains", "bet"), set()),
    (one("numbers", "contains", 2), {"n4"}),
    (one("code", "contains", "C1"), {"n1"}),
    (one("code", "text_match", "bc4"), {"n2"}),
    (one("code", "text_match", "BC"), {"n1"}),
    (one("code", "text_match", "0%"), {"n3"}),
    (one("code", "text_match", "a_c"), {"n4"}),
    (one("code", "text_match_insensitive", "aBc"), {"n1", "n2"}),
    (one("code", "text_match_insensitive", "%"), {"n3"}),
    (one("code", "text_match_insensitive", "\\"), {"n4"}),
    (one("code", "text_match_insensitive", "A_C"), {"n4"}),
    (one("tags", "is_empty"), {"n3", "n4", "n5"}),
    (one("rank", "is_empty"), {"n4", "n5"}),
    (one("gone", "is_empty"), {"n1", "n2", "n3", "n4", "n5"}),
    (one("n", "is_empty"), {"n5"}),
]
GROUPS: Final[list[tuple[MetadataFilters, set[str]]]] = [
    (group(one("rank", "!=", "a"), one("weight", ">=", 2.0)), {"n2", "n3"}),
    (group(one("rank", "!=", "a"), one("weight", ">=", 2.0), condition=None), {"n2", "n3"}),
    (group(one("rank", "==", "a"), one("rank", "==", "c"), condition=OR), {"n1", "n3"}),
    (group(one("rank", "==", "a"), one("n", "==", 2), condition=NOT), {"n3", "n4", "n5"}),
    (group(one("rank", "==", "a"), condition=NOT), {"n2", "n3", "n4", "n5"}),
    (group(one("n", "==", 2), one("n", "==", 3)), set()),
]
NESTED: Final[list[tuple[MetadataFilters, set[str]]]] = [
    (group(group(one("rank", "==", "a"))), {"n1"}),
    (
        group(group(one("n", "==", 1), one("n", "==", 2), condition=OR), one("weight", ">", 1)),
        {"n2"},
    ),
    (
        group(
            group(one("n", ">", 1), one("n", "<", 4)),
            group(one("tags", "contains", "alpha")),
            condition=OR,
        ),
        {"n1", "n2", "n3"},
    ),
    (group(group(one("n", "==", 1), condition=NOT), condition=NOT), {"n1"}),
    (
        group(group(one("rank", "==", "a"), one("rank", "==", "b"), condition=OR), condition=NOT),
        {"n3", "n4", "n5"},
    ),
]
BAD: Final = [
    one("rank", "in", "a"),
    one("tags", "any", "alpha"),
    one("tags", "all", "alpha"),
    one("code", "text_match", 1),
    one("code", "text_match_insensitive", 1),
]


def _named(value: object) -> str:
    """Sets in order: test runners that work side by side must give a case the same name."""
    return ",".join(sorted(value)) if isinstance(value, set) else str(value)[:60]


class VectorFilterTests(ABC):
    """Inherit, write ``make``, and name the class ``Test...``."""

    @abstractmethod
    def make(self) -> BasePydanticVectorStore:
        """A new, empty store."""

    @pytest.fixture
    def store(self) -> BasePydanticVectorStore:
        store = self.make()
        store.add(
            [
                TextNode(
                    id_=name,
                    text=f"text of {name}",
                    embedding=[1.0, float(n)],
                    metadata=metadata,
                    relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc-{n}")},
                )
                for n, (name, metadata) in enumerate(METADATA.items())
            ]
        )
        return store

    def found(self, store: BasePydanticVectorStore, filters: MetadataFilters) -> set[str]:
        """The ids a query with these filters finds."""
        query = VectorStoreQuery(query_embedding=[1.0, 1.0], similarity_top_k=10, filters=filters)
        return set(store.query(query).ids or [])

    @pytest.mark.parametrize(("condition", "expected"), CASES, ids=_named)
    def test_operator(
        self, store: BasePydanticVectorStore, condition: MetadataFilter, expected: set[str]
    ) -> None:
        assert self.found(store, group(condition)) == expected

    @pytest.mark.parametrize(("filters", "expected"), GROUPS)
    def test_condition(
        self, store: BasePydanticVectorStore, filters: MetadataFilters, expected: set[str]
    ) -> None:
        assert self.found(store, filters) == expected

    @pytest.mark.parametrize(("filters", "expected"), NESTED)
    def test_nested_groups(
        self, store: BasePydanticVectorStore, filters: MetadataFilters, expected: set[str]
    ) -> None:
        assert self.found(store, filters) == expected

    @pytest.mark.parametrize(
        "parts", [[("rank", "!=", "x"), ("rank", "==", "x")], [("n", "nin", [2]), ("n", "in", [2])]]
    )
    def test_a_negated_operator_is_the_negation(
        self, store: BasePydanticVectorStore, parts: list[tuple[str, str, Any]]
    ) -> None:
        negated, positive = (one(*part) for part in parts)
        assert self.found(store, group(negated)) == self.found(
            store, group(positive, condition=NOT)
        )

    def test_no_condition_asks_for_nothing(self, store: BasePydanticVectorStore) -> None:
        assert self.found(store, MetadataFilters(filters=[])) == set(METADATA)

    @pytest.mark.parametrize("key", ["doc_id", "document_id", "ref_doc_id"])
    def test_the_document_is_a_field(self, store: BasePydanticVectorStore, key: str) -> None:
        assert self.found(store, group(one(key, "==", "doc-2"))) == {"n3"}

    @pytest.mark.parametrize("condition", BAD, ids=str)
    def test_a_value_of_the_wrong_kind_is_an_error(
        self, store: BasePydanticVectorStore, condition: MetadataFilter
    ) -> None:
        with pytest.raises((TypeError, ValueError)):
            self.found(store, group(condition))

    def test_filters_select_what_is_deleted(self, store: BasePydanticVectorStore) -> None:
        store.delete_nodes(filters=group(one("n", ">=", 2), one("n", "<=", 3)))
        assert self.found(store, MetadataFilters(filters=[])) == {"n1", "n4", "n5"}
