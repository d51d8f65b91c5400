"""The contract of a ``BasePydanticVectorStore``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pytest
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from memos_integrations.testing.llama_index.halves import HALVES, Half, Through, at_once

_ASYNC_NAMES: Final = {"add": "async_add"}
MODE = VectorStoreQueryMode
LEARNERS = (MODE.SVM, MODE.LINEAR_REGRESSION, MODE.LOGISTIC_REGRESSION)


def node(name: str, vector: Sequence[float], doc: str | None = None, **more: Any) -> TextNode:
    """A text node of a document."""
    related = {} if doc is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=doc)}
    given: dict[str, Any] = {"text": f"text of {name}", "relationships": related, **more}
    return TextNode(id_=name, embedding=list(vector), **given)


def three() -> list[TextNode]:
    """Nodes of three documents at angles of 0, 45 and 90 degrees."""
    return [
        node("a", [1.0, 0.0], "doc-1", metadata={"n": 1}),
        node("b", [1.0, 1.0], "doc-10", metadata={"n": 2}),
        node("c", [0.0, 1.0], "doc-2", metadata={"n": 3}),
    ]


def asking(vector: Sequence[float] = (1.0, 0.0), top: int = 10, **more: Any) -> VectorStoreQuery:
    """A query; ``more`` is the rest of it."""
    given: dict[str, Any] = {"query_str": "text", **more}
    return VectorStoreQuery(query_embedding=list(vector), similarity_top_k=top, **given)


class VectorStoreTests(ABC):
    """Inherit, write ``make``, and name the class ``Test...``.

    A store that keeps no text cannot give nodes back and fails the tests that ask for them.
    """

    modes: tuple[VectorStoreQueryMode, ...] = (MODE.DEFAULT, MODE.MMR)
    """The query modes it knows; ``HYBRID`` and ``TEXT_SEARCH`` have tests of their own."""

    @abstractmethod
    def make(self) -> BasePydanticVectorStore:
        """A new, empty store."""

    @pytest.fixture
    def inner(self) -> BasePydanticVectorStore:
        return self.make()

    @pytest.fixture(params=HALVES)
    def store(self, request: pytest.FixtureRequest, inner: BasePydanticVectorStore) -> Through:
        half: Half = request.param
        return Through(inner, half, _ASYNC_NAMES)

    def test_adding_gives_back_the_ids_in_order(self, store: Through) -> None:
        assert store.add(three()) == ["a", "b", "c"]
        assert store.add([]) == []

    def test_an_empty_store_finds_nothing(self, store: Through) -> None:
        for mode in self.modes:
            assert list(store.query(asking(mode=mode)).ids) == []
        store.delete("doc-1")
        store.clear()

    def test_the_nearest_come_first_with_their_cosines(self, store: Through) -> None:
        store.add(three())
        result = store.query(asking((2.0, 0.0)))
        assert result.ids == ["a", "b", "c"]
        assert result.similarities == pytest.approx([1.0, 0.5**0.5, 0.0], abs=1e-6)
        opposite = store.query(asking((-1.0, 0.0)))
        assert opposite.ids == ["c", "b", "a"]

    @pytest.mark.parametrize(
        ("top", "expected"), [(1, ["a"]), (2, ["a", "b"]), (99, ["a", "b", "c"])]
    )
    def test_at_most_top_k_are_found(self, store: Through, top: int, expected: list[str]) -> None:
        store.add(three())
        assert store.query(asking(top=top)).ids == expected

    def test_found_nodes_are_the_nodes_that_were_added(self, store: Through) -> None:
        store.add(three())
        found = store.query(asking()).nodes
        assert found is not None
        assert [n.model_copy(update={"embedding": None}) for n in found] == [
            n.model_copy(update={"embedding": None}) for n in three()
        ]

    @pytest.mark.parametrize(
        "given",
        [
            TextNode(
                id_="x",
                text="naïve 我喜欢 🎉\n\n  spaces  ",
                metadata={"deep": {"er": [1, None, {"x": 1.5}]}, "a.b": "c", "ä": "ö", "no": None},
                excluded_llm_metadata_keys=["ä"],
                excluded_embed_metadata_keys=["a.b"],
                text_template="{content} {metadata_str}",
                start_char_idx=3,
                end_char_idx=9,
                relationships={
                    NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d", metadata={"m": 1}),
                    NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c1", hash="f" * 64)],
                },
            ),
            TextNode(id_="x", text=""),
            TextNode(id_="x", text="  \n "),
            Document(id_="x", text="a document", metadata={"k": "v"}),
            IndexNode(id_="x", text="an index", index_id="other"),
            ImageNode(id_="x", text="", image="aGk=", image_mimetype="image/png"),
        ],
        ids=lambda n: f"{type(n).__name__}-{n.get_content()[:8]!r}",
    )
    def test_every_kind_of_node_comes_back_whole(self, store: Through, given: BaseNode) -> None:
        store.add([given.model_copy(update={"embedding": [1.0, 0.0]})])
        (found,) = store.get_nodes(["x"])
        assert type(found) is type(given)
        assert found.to_dict() == given.to_dict()

    @pytest.mark.parametrize(
        "name", ["a/b", "我", "🎉", "a'b\"c", "x" * 2000, "a\nb", "%", "_", " a"]
    )
    def test_any_text_is_an_id(self, store: Through, name: str) -> None:
        store.add([node(name, [1.0, 0.0], f"doc {name[:50]}"), node("other", [0.9, 0.1])])
        assert store.query(asking(top=1)).ids == [name]
        store.delete_nodes([name])
        assert store.query(asking()).ids == ["other"]

    def test_adding_an_id_again_replaces_its_node(self, store: Through) -> None:
        store.add(three())
        store.add([node("a", [0.0, 1.0], "doc-9", text="new words", metadata={"n": 9})])
        result = store.query(asking((0.0, 1.0)))
        assert sorted(result.ids) == ["a", "b", "c"]
        assert dict(zip(result.ids, result.similarities, strict=True))["a"] == pytest.approx(1.0)
        store.delete("doc-1")
        assert len(store.query(asking()).ids) == 3

    def test_an_id_twice_in_one_call_is_one_node(self, store: Through) -> None:
        store.add([node("a", [1.0, 0.0]), node("a", [0.0, 1.0])])
        result = store.query(asking((0.0, 1.0)))
        assert (result.ids, result.similarities) == (["a"], [pytest.approx(1.0)])

    def test_delete_takes_the_nodes_of_one_document(self, store: Through) -> None:
        store.add([*three(), node("d", [1.0, 0.1], "doc-1")])
        store.delete("doc-1")
        assert store.query(asking()).ids == ["b", "c"]
        store.delete("doc")
        store.delete("nothing of this name")
        assert store.query(asking()).ids == ["b", "c"]

    def test_delete_nodes_by_ids_and_filters(self, store: Through) -> None:
        store.add([*three(), node("d", [0.1, 1.0], metadata={"n": 3})])
        store.delete_nodes(["a", "unknown"])
        assert sorted(store.query(asking()).ids) == ["b", "c", "d"]
        third = MetadataFilters(filters=[MetadataFilter(key="n", value=3)])
        store.delete_nodes(["b", "c"], third)
        assert sorted(store.query(asking()).ids) == ["b", "d"]
        store.delete_nodes(filters=third)
        assert store.query(asking()).ids == ["b"]
        store.delete_nodes([])
        assert store.query(asking()).ids == ["b"]

    def test_a_cleared_store_can_be_used_again(self, store: Through) -> None:
        store.add(three())
        store.clear()
        assert store.query(asking()).ids == []
        store.add([node("z", [1.0, 0.0])])
        assert store.query(asking()).ids == ["z"]

    def test_nodes_are_got_by_ids_and_filters(self, store: Through) -> None:
        store.add(three())
        large = MetadataFilters(filters=[MetadataFilter(key="n", value=2, operator=">=")])  # type: ignore[arg-type]
        assert [n.node_id for n in store.get_nodes()] == ["a", "b", "c"]
        assert [n.node_id for n in store.get_nodes(["c", "a", "unknown"])] == ["a", "c"]
        assert [n.node_id for n in store.get_nodes(filters=large)] == ["b", "c"]
        assert [n.node_id for n in store.get_nodes(["a", "b"], large)] == ["b"]
        assert store.get_nodes([]) == []

    @pytest.mark.parametrize(
        ("more", "expected"),
        [
            ({"node_ids": ["c", "a"]}, ["a", "c"]),
            ({"node_ids": ["unknown"]}, []),
            ({"doc_ids": ["doc-1", "doc-2"]}, ["a", "c"]),
            ({"doc_ids": ["doc"]}, []),
            ({"doc_ids": []}, []),
            ({"doc_ids": ["doc-1", "doc-2"], "node_ids": ["b", "c"]}, ["c"]),
        ],
    )
    def test_ids_restrict_what_is_found(
        self, store: Through, more: dict[str, Any], expected: list[str]
    ) -> None:
        store.add(three())
        for mode in self.modes:
            assert store.query(asking(mode=mode, **more)).ids == expected, mode

    def test_ids_and_filters_intersect(self, store: Through) -> None:
        store.add([*three(), node("d", [1.0, 0.2], "doc-1", metadata={"n": 1})])
        first = MetadataFilters(filters=[MetadataFilter(key="n", value=1)])
        result = store.query(asking(filters=first, doc_ids=["doc-1"], node_ids=["d", "b"]))
        assert result.ids == ["d"]

    def test_a_filter_never_costs_results(self, store: Through) -> None:
        rows = np.random.default_rng(3).normal(size=(300, 6))
        store.add(
            [node(f"n{n}", row, metadata={"m": n % 60}) for n, row in enumerate(rows.tolist())]
        )
        wanted = MetadataFilters(filters=[MetadataFilter(key="m", value=7)])
        result = store.query(asking(rows[0].tolist(), top=5, filters=wanted))
        cosines = rows @ rows[0] / np.linalg.norm(rows, axis=1)
        expected = sorted((n for n in range(300) if n % 60 == 7), key=lambda n: -cosines[n])
        assert result.ids == [f"n{n}" for n in expected]

    def test_what_is_given_and_given_back_are_copies(self, store: Through) -> None:
        given = node("a", [1.0, 0.0], metadata={"list": [1]})
        store.add([given])
        given.metadata["list"].append(2)
        given.set_content("changed")
        store.get_nodes(["a"])[0].metadata["list"].append(3)
        found = store.get_nodes(["a"])[0]
        assert (found.metadata, found.get_content()) == ({"list": [1]}, "text of a")

    def test_a_node_without_a_vector_is_refused_and_nothing_kept(self, store: Through) -> None:
        with pytest.raises(ValueError, match="embedding"):
            store.add([node("a", [1.0, 0.0]), TextNode(id_="b", text="no vector")])
        assert store.query(asking()).ids == []

    @pytest.mark.parametrize("bad", [[1.0, 0.0, 0.0], [float("nan"), 1.0], [0.0, 0.0]])
    def test_a_vector_that_cannot_be_compared_is_refused(
        self, store: Through, bad: list[float]
    ) -> None:
        store.add(three())
        with pytest.raises(Exception):  # noqa: B017, PT011  -- of whatever kind
            store.add([node("d", bad)])
        assert sorted(store.query(asking()).ids) == ["a", "b", "c"]

    def test_a_query_of_another_length_is_an_error(self, store: Through) -> None:
        store.add(three())
        with pytest.raises(Exception):  # noqa: B017, PT011  -- of whatever kind
            store.query(asking((1.0, 0.0, 0.0)))

    def test_a_query_without_a_vector_is_an_error(self, store: Through) -> None:
        store.add(three())
        for mode in self.modes:
            if mode not in (MODE.TEXT_SEARCH, MODE.SPARSE):
                with pytest.raises((ValueError, TypeError)):
                    store.query(VectorStoreQuery(mode=mode, query_str="text"))

    def test_a_mode_it_does_not_know_is_an_error(self, store: Through) -> None:
        store.add(three())
        for mode in MODE:
            if mode not in self.modes:
                with pytest.raises(ValueError, match=mode.value):
                    store.query(asking(mode=mode))

    def test_mmr_prefers_what_is_unlike_the_first(self, store: Through) -> None:
        if MODE.MMR not in self.modes:
            pytest.skip("it has no mmr")
        store.add([node("a", [1.0, 0.1]), node("a2", [1.0, 0.11]), node("far", [0.8, -0.6])])
        plain = store.query(asking(top=2))
        assert plain.ids == ["a", "a2"]
        assert store.query(asking(top=2, mode=MODE.MMR), mmr_threshold=0.2).ids == ["a", "far"]
        assert store.query(asking(top=2, mode=MODE.MMR, mmr_threshold=0.2)).ids == ["a", "far"]
        assert store.query(asking(top=2, mode=MODE.MMR), mmr_threshold=1.0).ids == ["a", "a2"]

    def test_text_search_finds_by_words(self, store: Through) -> None:
        if MODE.TEXT_SEARCH not in self.modes:
            pytest.skip("it has no text search")
        store.add(
            [
                node("cat", [1.0, 0.0], text="the cat sat on the mat"),
                node("dog", [0.0, 1.0], text="the dog ran home"),
            ]
        )
        for mode in (MODE.TEXT_SEARCH, MODE.SPARSE):
            query = VectorStoreQuery(query_str="where is the dog", similarity_top_k=5, mode=mode)
            assert store.query(query).ids == ["dog"]
        with pytest.raises(ValueError, match="query_str"):
            store.query(asking(mode=MODE.TEXT_SEARCH, query_str=None))

    @pytest.mark.parametrize(("alpha", "first"), [(1.0, "cat"), (0.0, "dog"), (0.9, "cat")])
    def test_hybrid_weighs_by_alpha(self, store: Through, alpha: float, first: str) -> None:
        if MODE.HYBRID not in self.modes:
            pytest.skip("it has no hybrid")
        store.add(
            [
                node("cat", [1.0, 0.0], text="the cat sat on the mat"),
                node("dog", [0.0, 1.0], text="the dog ran home"),
            ]
        )
        query = asking(mode=MODE.HYBRID, query_str="dog", alpha=alpha)
        assert store.query(query).ids[0] == first

    def test_threads_lose_nothing(self, inner: BasePydanticVectorStore) -> None:
        def add(n: int) -> None:
            inner.add([node(f"n{n}", [1.0, float(n)])])

        at_once(add, 48)
        assert sorted(inner.query(asking(top=99)).ids or []) == sorted(f"n{n}" for n in range(48))
