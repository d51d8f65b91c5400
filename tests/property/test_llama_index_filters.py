"""Random metadata and random nested filters: our store against a plain reading of LlamaIndex's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from llama_index_memos import MemOSVectorStore
from memos_integrations import MOS, Settings

KEYS = st.sampled_from(["a", "b", "c.d", "e f", "ü"])
WORDS = st.sampled_from(["", "x", "X", "xy", "%", "_", "a.b", "ü", "100"])
NUMBERS = st.one_of(st.integers(-2, 3), st.sampled_from([0.5, 1.0, -1.5]))
VALUES = st.one_of(WORDS, NUMBERS, st.lists(WORDS, max_size=3), st.none())
METADATA = st.dictionaries(KEYS, VALUES, max_size=4)
OP = FilterOperator


def one(operators: list[FilterOperator], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda key, operator, value: MetadataFilter(key=key, operator=operator, value=value),
        KEYS,
        st.sampled_from(operators),
        values,
    )


CONDITIONS = st.one_of(
    one([OP.EQ, OP.NE], st.one_of(WORDS, NUMBERS)),
    one([OP.GT, OP.GTE, OP.LT, OP.LTE], st.one_of(WORDS, NUMBERS)),
    one([OP.IN, OP.NIN], st.one_of(st.lists(WORDS, max_size=3), st.lists(st.integers(-2, 3)))),
    one([OP.ANY, OP.ALL], st.lists(WORDS, max_size=3)),
    one([OP.CONTAINS, OP.TEXT_MATCH], WORDS),
    one([OP.TEXT_MATCH_INSENSITIVE], WORDS.filter(str.isascii)),
    one([OP.IS_EMPTY], st.none()),
)
GROUPS = st.recursive(
    CONDITIONS,
    lambda parts: st.builds(
        lambda filters, condition: MetadataFilters(filters=filters, condition=condition),
        st.lists(parts, min_size=1, max_size=3),
        st.sampled_from([*FilterCondition, None]),
    ),
    max_leaves=6,
)


def passes(asked: MetadataFilter | MetadataFilters, metadata: dict[str, Any]) -> bool:
    """What LlamaIndex's own function says of each condition; groups nest as they read."""
    if isinstance(asked, MetadataFilters):
        held = [passes(part, metadata) for part in asked.filters]
        if asked.condition is FilterCondition.OR:
            return any(held)
        return not any(held) if asked.condition is FilterCondition.NOT else all(held)
    theirs = build_metadata_filter_fn(lambda _: metadata, MetadataFilters(filters=[asked]))
    try:
        return theirs("node")
    except TypeError:
        return False  # values of different kinds: an error there, no match here


@pytest.fixture(scope="module")
def mos() -> Iterator[MOS]:
    quick = Settings(worker=False, synchronous="normal", audit_reads=False)
    with MOS(None, embedder=None, settings=quick) as mos:
        yield mos


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(METADATA, min_size=1, max_size=8), st.lists(GROUPS, min_size=1, max_size=6))
@example([{"a": []}, {}], [MetadataFilter(key="a", operator=OP.ALL, value=[])])
def test_filters_select_what_llama_index_says(
    mos: MOS, metadata: list[dict[str, Any]], asked: list[MetadataFilter | MetadataFilters]
) -> None:
    store = MemOSVectorStore(mos, user=str(uuid4()))
    store.add(
        [
            TextNode(id_=str(n), text=f"node {n}", embedding=[1.0, float(n)], metadata=each)
            for n, each in enumerate(metadata)
        ]
    )
    for each in asked:
        filters = each if isinstance(each, MetadataFilters) else MetadataFilters(filters=[each])
        query = VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=9, filters=filters)
        expected = {str(n) for n, told in enumerate(metadata) if passes(each, told)}
        assert set(store.query(query).ids or []) == expected
        assert {node.node_id for node in store.get_nodes(filters=filters)} == expected
