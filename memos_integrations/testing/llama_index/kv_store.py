"""The contract of a ``BaseKVStore``, and of the document store that is composed of it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any

import pytest
from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.schema import Document, NodeRelationship, TextNode
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.index_store.keyval_index_store import KVIndexStore
from llama_index.core.storage.kvstore.types import BaseKVStore

from memos_integrations.testing.llama_index.halves import HALVES, Half, Through, at_once

VALUE: dict[str, Any] = {
    "text": "naïve 我喜欢 🎉",
    "number": 1.5,
    "whole": 2**53,
    "none": None,
    "list": [1, [True, {"deep": "er"}]],
    "empty": {},
}


class KVStoreTests(ABC):
    """Inherit, write ``make``, and name the class ``Test...``."""

    @abstractmethod
    def make(self) -> BaseKVStore:
        """A new, empty store."""

    @pytest.fixture
    def inner(self) -> BaseKVStore:
        return self.make()

    @pytest.fixture(params=HALVES)
    def store(self, request: pytest.FixtureRequest, inner: BaseKVStore) -> Through:
        half: Half = request.param
        return Through(inner, half)

    def test_a_value_comes_back_as_it_went_in(self, store: Through) -> None:
        store.put("key", VALUE)
        assert store.get("key") == VALUE

    def test_an_unknown_key_is_none_and_an_unknown_collection_empty(self, store: Through) -> None:
        store.put("key", VALUE)
        assert store.get("other") is None
        assert store.get("key", collection="elsewhere") is None
        assert store.get_all(collection="elsewhere") == {}

    def test_putting_again_replaces(self, store: Through) -> None:
        store.put("key", {"a": 1})
        store.put("key", {"b": 2})
        assert store.get("key") == {"b": 2}
        assert store.get_all() == {"key": {"b": 2}}

    def test_collections_are_apart_also_where_names_look_alike(self, store: Through) -> None:
        names = ["a", "a/b", "a%2Fb", "A", "data", "", "ä"]
        for name in names:
            store.put("b/key", {"in": name}, collection=name)
        for name in names:
            assert store.get_all(collection=name) == {"b/key": {"in": name}}, name

    @pytest.mark.parametrize(
        "key", ["", " ", "a/b", "我", "🎉", "a'b\"c", "x" * 1000, "%00", "a_c"]
    )
    def test_any_text_is_a_key(self, store: Through, key: str) -> None:
        store.put(key, {"for": key})
        store.put(f"{key}-", {"for": "another"})
        assert store.get(key) == {"for": key}
        assert store.delete(key) is True
        assert store.get_all() == {f"{key}-": {"for": "another"}}

    def test_delete_says_whether_it_was_there(self, store: Through) -> None:
        store.put("key", VALUE)
        store.put("kept", VALUE)
        assert store.delete("key", collection="elsewhere") is False
        assert store.delete("key") is True
        assert store.delete("key") is False
        assert store.get_all() == {"kept": VALUE}

    def test_what_is_given_back_is_a_copy(self, store: Through) -> None:
        value: dict[str, Any] = {"list": [1]}
        store.put("key", value)
        value["list"].append(2)
        store.get("key")["list"].append(3)
        store.get_all()["key"]["list"].append(4)
        assert store.get("key") == {"list": [1]}

    def test_many_values_are_put_in_batches_of_any_size(self, store: Through) -> None:
        pairs = [(f"key {n}", {"n": n}) for n in range(250)]
        store.put_all(pairs, collection="many", batch_size=100)
        assert store.get_all(collection="many") == dict(pairs)

    def test_a_batch_with_a_bad_value_stores_nothing(self, store: Through) -> None:
        with pytest.raises((TypeError, ValueError)):
            store.put_all([("good", {"a": 1}), ("bad", {"a": object()})])
        assert store.get_all() == {}

    @pytest.mark.parametrize("bad", [{"a": {1, 2}}, {"a": b"bytes"}, {"a": float("nan")}])
    def test_what_json_cannot_carry_is_refused_and_nothing_lost(
        self, store: Through, bad: dict[str, Any]
    ) -> None:
        store.put("key", {"a": 1})
        with pytest.raises((TypeError, ValueError)):
            store.put("key", bad)
        assert store.get("key") == {"a": 1}

    def test_threads_lose_nothing(self, inner: BaseKVStore) -> None:
        def put(n: int) -> None:
            inner.put(f"k{n}", {"n": n})

        at_once(put, 48)
        assert inner.get_all() == {f"k{n}": {"n": n} for n in range(48)}

    def test_a_document_store_is_made_of_it(self, inner: BaseKVStore) -> None:
        docstore = KVDocumentStore(inner)
        source = Document(text="source", id_="d1", metadata={"foo": "bar"})
        nodes = [TextNode(text=f"node {n}", id_=f"n{n}", metadata={"n": n}) for n in range(3)]
        for node in nodes:
            node.relationships[NodeRelationship.SOURCE] = source.as_related_node_info()
        docstore.add_documents([source, *nodes])
        assert docstore.get_document("d1") == source
        assert docstore.get_nodes(["n0", "n2"]) == [nodes[0], nodes[2]]
        info = docstore.get_ref_doc_info("d1")
        assert info is not None
        assert sorted(info.node_ids) == ["n0", "n1", "n2"]
        docstore.delete_document("n0")
        docstore.delete_ref_doc("d1")
        assert docstore.docs == {}
        assert docstore.get_all_ref_doc_info() == {}

    def test_a_document_store_deletes_whole_documents_asynchronously(
        self, inner: BaseKVStore
    ) -> None:
        docstore = KVDocumentStore(inner)
        source = Document(text="source", id_="d1")
        nodes = [TextNode(text=f"node {n}", id_=f"n{n}") for n in range(12)]
        for node in nodes:
            node.relationships[NodeRelationship.SOURCE] = source.as_related_node_info()

        async def come_and_go() -> None:
            await docstore.async_add_documents([source, *nodes])
            await docstore.adelete_document("n3")
            await docstore.adelete_ref_doc("d1")

        asyncio.run(come_and_go())
        for collection in ("docstore/data", "docstore/metadata", "docstore/ref_doc_info"):
            assert inner.get_all(collection=collection) == {}

    def test_a_document_store_tells_documents_of_equal_words_apart(
        self, inner: BaseKVStore
    ) -> None:
        docstore = KVDocumentStore(inner)
        docstore.add_documents([Document(text="same", id_="a"), Document(text="same", id_="b")])
        docstore.set_document_hash("a", "hash")
        assert docstore.get_document_hash("a") == "hash"
        assert set(docstore.docs) == {"a", "b"}

    def test_an_index_store_is_made_of_it(self, inner: BaseKVStore) -> None:
        index_store = KVIndexStore(inner)
        struct = IndexDict(index_id="one")
        struct.add_node(TextNode(text="x", id_="n"))
        index_store.add_index_struct(struct)
        assert index_store.get_index_struct("one") == struct
        assert len(KVIndexStore(inner).index_structs()) == 1
        index_store.delete_index_struct("one")
        assert index_store.index_structs() == []
