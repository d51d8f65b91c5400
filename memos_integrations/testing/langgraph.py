"""What every LangGraph ``BaseStore`` must do, as a suite that any implementation can run.

    from memos_integrations.testing.langgraph import BaseStoreTests

    class TestMyStore(BaseStoreTests):
        def make_store(self, *, index=None, ttl=None):
            return MyStore(index=index, ttl=ttl)

Needs pytest and langgraph, no plugin for asyncio. Each test runs twice: through the methods that
are called and through those that are awaited. As a pytest plugin (``-p
memos_integrations.testing.langgraph``, or named in ``pytest_plugins``) it has pytest explain failed
assertions. Asked for is what LangGraph's documentation of ``BaseStore`` and its operations says,
and what callers take for granted: a batch is one thing, a value is the caller's own copy, and
nothing that is not understood is passed over.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar, TypedDict, cast

import pytest
from langchain_core.embeddings import Embeddings
from langgraph.config import get_store
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

Namespace = tuple[str, ...]
DOCS: Namespace = ("docs",)
VOCABULARY = ("apple", "pear", "plum", "train", "bus", "ship", "red", "blue")
DIMS = len(VOCABULARY)


def embed_words(texts: Sequence[str]) -> list[list[float]]:
    """One dimension for each word of ``VOCABULARY``: how often a text says it."""
    return [[float(text.lower().count(word)) for word in VOCABULARY] for text in texts]


async def aembed_words(texts: Sequence[str]) -> list[list[float]]:
    """As ``embed_words``, to be awaited."""
    await asyncio.sleep(0)
    return embed_words(texts)


class WordEmbeddings(Embeddings):
    """As ``embed_words``, as a LangChain model."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return embed_words(texts)

    def embed_query(self, text: str) -> list[float]:
        return embed_words([text])[0]


class Half:
    """One half of a store: the methods that are called, or those that are awaited."""

    def __init__(self, store: BaseStore, runner: asyncio.Runner | None) -> None:
        self.store = store
        self._runner = runner

    @property
    def awaited(self) -> bool:
        return self._runner is not None

    def _do(self, name: str, *args: Any, **more: Any) -> Any:
        if self._runner is None:
            return getattr(self.store, name)(*args, **more)
        return self._runner.run(getattr(self.store, f"a{name}")(*args, **more))

    def put(self, namespace: Any, key: Any, value: Any, index: Any = None, **more: Any) -> None:
        self._do("put", namespace, key, value, index, **more)

    def get(self, namespace: Any, key: Any, **more: Any) -> Item | None:
        return cast("Item | None", self._do("get", namespace, key, **more))

    def value(self, namespace: Any, key: Any, **more: Any) -> Any:
        """The value under a name; ``None`` where there is none."""
        found = self.get(namespace, key, **more)
        return None if found is None else found.value

    def delete(self, namespace: Any, key: Any) -> None:
        self._do("delete", namespace, key)

    def search(self, prefix: Any = (), /, **more: Any) -> list[SearchItem]:
        return cast("list[SearchItem]", self._do("search", prefix, **more))

    def keys(self, prefix: Any = (), /, **more: Any) -> list[str]:
        """The keys that a search finds, in its order."""
        return [found.key for found in self.search(prefix, **more)]

    def namespaces(self, **more: Any) -> list[Namespace]:
        return cast("list[Namespace]", self._do("list_namespaces", **more))

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return cast("list[Result]", self._do("batch", ops))

    def together(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """The results of several calls made at once, by threads or by tasks."""
        if self._runner is None:
            with ThreadPoolExecutor(8) as pool:
                made = [pool.submit(getattr(self.store, name), *args) for name, args in calls]
                return [each.result() for each in made]

        async def gathered() -> list[Any]:
            awaited = [getattr(self.store, f"a{name}")(*args) for name, args in calls]
            return list(await asyncio.gather(*awaited))

        return self._runner.run(gathered())


Open = Callable[..., Half]


class BaseStoreTests(ABC):
    """Inherit, write ``make_store``, and name the class ``Test...``."""

    rich_filters: ClassVar[bool] = True
    """Whether the store reads ``$in $nin $exists $and $or $not`` and dotted paths. One that does
    not must refuse them: a filter that is not understood must never be passed over."""
    halves: ClassVar[tuple[str, ...]] = ("sync", "async")
    """The halves the store offers; an asynchronous one may have nothing that is called."""
    ttl_minutes: ClassVar[float] = 0.02
    """A short time to live; tests wait for parts of it."""

    @abstractmethod
    def make_store(
        self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None
    ) -> BaseStore | Awaitable[BaseStore]:
        """A new and empty store. For the awaited half it is called while a loop is running, and
        what it gives may be awaited."""

    def close_store(self, store: BaseStore) -> Awaitable[None] | None:
        """Release what ``make_store`` took; by default by the store's own ``close``."""
        close: Any = getattr(store, "close", None)
        return None if close is None else cast("Awaitable[None] | None", close())

    def pass_minutes(self, minutes: float) -> None:
        """Let time pass; a store with a clock of its own can be quicker than waiting."""
        time.sleep(minutes * 60)

    # -- fixtures -----------------------------------------------------------------------------

    @pytest.fixture(params=["sync", "async"])
    def open_store(self, request: pytest.FixtureRequest) -> Iterator[Open]:
        """Opens stores of one half, and closes them at the end."""
        if request.param not in self.halves:
            pytest.skip(f"the store has no {request.param} half")
        made: list[BaseStore] = []
        runner = asyncio.Runner() if request.param == "async" else None

        async def in_loop(act: Callable[[], Any]) -> Any:
            found = act()
            return await found if inspect.isawaitable(found) else found

        def done(act: Callable[[], Any]) -> Any:
            return act() if runner is None else runner.run(in_loop(act))

        def opened(**config: Any) -> Half:
            made.append(done(lambda: self.make_store(**config)))
            return Half(made[-1], runner)

        yield opened
        while made:
            done(lambda: self.close_store(made.pop()))
        if runner is not None:
            runner.close()

    @pytest.fixture
    def store(self, open_store: Open) -> Half:
        """A store without any configuration."""
        return open_store()

    @pytest.fixture
    def indexed(self, open_store: Open) -> Half:
        """A store that searches the fields ``text`` and ``title``."""
        return open_store(index={"dims": DIMS, "embed": embed_words, "fields": ["text", "title"]})

    @pytest.fixture
    def mortal(self, open_store: Open) -> Half:
        """A store with times to live, none of them set by default."""
        config: TTLConfig = {"refresh_on_read": True, "default_ttl": None, "omit_expired": True}
        return self._with_ttl(open_store, config)

    def _with_ttl(self, open_store: Open, config: TTLConfig) -> Half:
        probe = open_store()
        if not probe.store.supports_ttl:
            pytest.skip("the store has no times to live")
        return open_store(ttl=config)

    # -- one name -----------------------------------------------------------------------------

    def test_what_was_put_is_got(self, store: Half) -> None:
        store.put(DOCS, "a", {"text": "apple"})
        found = store.get(DOCS, "a")
        assert isinstance(found, Item)
        assert (found.namespace, found.key, found.value) == (DOCS, "a", {"text": "apple"})

    def test_an_unknown_name_gives_none(self, store: Half) -> None:
        store.put(DOCS, "a", {"n": 1})
        assert store.get(DOCS, "b") is None
        assert store.get(("other",), "a") is None
        assert store.get((*DOCS, "deeper"), "a") is None

    def test_times_are_aware_and_in_order(self, store: Half) -> None:
        store.put(DOCS, "a", {"n": 1})
        found = store.get(DOCS, "a")
        assert found is not None
        for when in (found.created_at, found.updated_at):
            assert isinstance(when, datetime)
            assert when.tzinfo is not None
        assert found.created_at <= found.updated_at

    def test_an_update_keeps_when_it_was_created(self, store: Half) -> None:
        store.put(DOCS, "a", {"n": 1})
        first = store.get(DOCS, "a")
        assert first is not None
        created, updated = first.created_at, first.updated_at
        self.pass_minutes(0.0005)
        store.put(DOCS, "a", {"n": 2})
        second = store.get(DOCS, "a")
        assert second is not None
        assert second.created_at == created
        assert second.updated_at > updated

    def test_a_name_that_was_deleted_is_created_anew(self, store: Half) -> None:
        store.put(DOCS, "a", {"n": 1})
        first = store.get(DOCS, "a")
        assert first is not None
        created = first.created_at
        store.delete(DOCS, "a")
        self.pass_minutes(0.0005)
        store.put(DOCS, "a", {"n": 2})
        second = store.get(DOCS, "a")
        assert second is not None
        assert second.created_at > created

    def test_an_update_replaces_the_whole_value(self, store: Half) -> None:
        store.put(DOCS, "a", {"x": 1, "y": {"z": 1}})
        store.put(DOCS, "a", {"y": {"w": 2}})
        assert store.value(DOCS, "a") == {"y": {"w": 2}}

    def test_what_was_deleted_is_gone(self, store: Half) -> None:
        store.put(DOCS, "a", {"n": 1})
        store.put(DOCS, "b", {"n": 2})
        store.delete(DOCS, "a")
        assert store.get(DOCS, "a") is None
        assert store.keys(DOCS) == ["b"]

    def test_deleting_what_is_not_there_is_no_error(self, store: Half) -> None:
        store.delete(DOCS, "a")
        store.put(DOCS, "a", {"n": 1})
        store.delete(DOCS, "a")
        store.delete(DOCS, "a")
        assert store.get(DOCS, "a") is None

    def test_putting_none_in_a_batch_deletes(self, store: Half) -> None:
        store.put(DOCS, "a", {"n": 1})
        store.batch([PutOp(DOCS, "a", None)])
        assert store.get(DOCS, "a") is None

    def test_the_same_key_in_other_namespaces_is_another_name(self, store: Half) -> None:
        for n, namespace in enumerate([("a",), ("a", "b"), ("b",), ("b", "a"), ("a", "b", "a")]):
            store.put(namespace, "k", {"n": n})
        assert store.value(("a",), "k") == {"n": 0}
        assert store.value(("a", "b"), "k") == {"n": 1}
        assert store.value(("b", "a"), "k") == {"n": 3}
        store.delete(("a",), "k")
        assert store.value(("a", "b"), "k") == {"n": 1}

    @pytest.mark.parametrize(
        "label",
        ["user@x", "a/b", "a|b", "a:b", 'say "hi"', "it's", "50%", "a_b", "é", "日本", " a "],
    )
    def test_labels_and_keys_may_hold_any_sign_but_the_period(
        self, store: Half, label: str
    ) -> None:
        store.put((label, "x"), label, {"v": label})
        assert store.value((label, "x"), label) == {"v": label}
        assert store.keys((label,)) == [label]
        assert store.namespaces() == [(label, "x")]

    def test_a_key_may_hold_a_period(self, store: Half) -> None:
        store.put(DOCS, "report.pdf", {"n": 1})
        assert store.value(DOCS, "report.pdf") == {"n": 1}
        assert store.get(DOCS, "report") is None

    def test_signs_that_mean_something_to_databases_match_themselves_only(
        self, store: Half
    ) -> None:
        store.put(("a_c",), "k", {"n": 1})
        store.put(("abc",), "k", {"n": 2})
        store.put(("a%",), "k", {"n": 3})
        assert [found.value["n"] for found in store.search(("a_c",))] == [1]
        assert [found.value["n"] for found in store.search(("a%",))] == [3]
        assert store.namespaces(prefix=("a_c",)) == [("a_c",)]

    def test_keys_are_made_text(self, store: Half) -> None:
        store.put(DOCS, 7, {"n": 1})
        assert store.value(DOCS, "7") == {"n": 1}

    def test_every_kind_of_json_comes_back_as_it_was(self, store: Half) -> None:
        value = {
            "text": "naïve 日本 🙂 \n \\ \" '",
            "whole": 2**53 + 1,
            "real": 0.1,
            "yes": True,
            "no": False,
            "nothing": None,
            "list": [1, "a", [], {"deep": [None]}],
            "object": {"a b": {"c.d": 1}},
        }
        store.put(DOCS, "a", value)
        assert store.value(DOCS, "a") == value
        assert json.dumps(store.value(DOCS, "a"), sort_keys=True) == json.dumps(
            value, sort_keys=True
        )

    def test_an_empty_value_is_a_value(self, store: Half) -> None:
        store.put(DOCS, "a", {})
        assert store.value(DOCS, "a") == {}
        assert store.keys(DOCS) == ["a"]

    def test_a_value_of_a_hundred_thousand_signs_comes_back(self, store: Half) -> None:
        store.put(DOCS, "a", {"text": "apple " * 20_000})
        assert store.value(DOCS, "a") == {"text": "apple " * 20_000}

    def test_any_mapping_can_be_put(self, store: Half) -> None:
        store.put(DOCS, "a", MappingProxyType({"n": 1}))
        found = store.value(DOCS, "a")
        assert found == {"n": 1}
        assert isinstance(found, dict)

    # -- values are the caller's own ----------------------------------------------------------

    def test_changing_what_was_put_changes_nothing_stored(self, store: Half) -> None:
        value = {"list": [1], "object": {"n": 1}}
        store.put(DOCS, "a", value)
        value["list"].append(2)  # type: ignore[attr-defined]
        value["object"]["n"] = 2  # type: ignore[index]
        assert store.value(DOCS, "a") == {"list": [1], "object": {"n": 1}}

    def test_changing_what_was_got_changes_nothing_stored(self, store: Half) -> None:
        store.put(DOCS, "a", {"list": [1], "n": 1})
        found = store.value(DOCS, "a")
        found["list"].append(2)
        found["n"] = 2
        assert store.value(DOCS, "a") == {"list": [1], "n": 1}

    def test_changing_what_was_found_changes_nothing_stored(self, store: Half) -> None:
        store.put(DOCS, "a", {"list": [1]})
        store.search(DOCS)[0].value["list"].append(2)
        assert store.value(DOCS, "a") == {"list": [1]}

    # -- what is refused ----------------------------------------------------------------------

    @pytest.mark.parametrize(
        "namespace",
        [(), ("",), ("a", ""), ("a.b",), ("a", 1), ("langgraph",), ("langgraph", "a"), ("a\0b",)],
        ids=repr,
    )
    def test_a_namespace_that_cannot_be_is_refused_by_put(
        self, store: Half, namespace: Any
    ) -> None:
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "a", {"n": 1})
        assert store.search(()) == []

    @pytest.mark.parametrize("namespace", [("",), ("a.b",), ("a", None)], ids=repr)
    def test_a_namespace_that_cannot_be_is_refused_by_every_method(
        self, store: Half, namespace: Any
    ) -> None:
        for act in (
            lambda: store.get(namespace, "a"),
            lambda: store.delete(namespace, "a"),
            lambda: store.search(namespace),
            lambda: store.namespaces(prefix=namespace),
            lambda: store.namespaces(suffix=namespace),
        ):
            with pytest.raises(InvalidNamespaceError):
                act()

    @pytest.mark.parametrize(
        "op",
        [
            PutOp(("a.b",), "k", {"n": 1}),
            GetOp(("a.b",), "k"),
            SearchOp(("",)),
            ListNamespacesOp((MatchCondition("prefix", ("a.b",)),)),
        ],
        ids=lambda op: type(op).__name__,
    )
    def test_operations_of_a_batch_are_checked_as_well(self, store: Half, op: Op) -> None:
        store.put(("a", "b"), "k", {"n": 0})
        with pytest.raises(InvalidNamespaceError):
            store.batch([op])
        assert store.value(("a", "b"), "k") == {"n": 0}

    @pytest.mark.parametrize(
        "value",
        [{"x": object()}, {"x": {"y": print}}, {"x": [b"raw"]}],
        ids=["object", "function", "bytes"],
    )
    def test_a_value_that_json_cannot_carry_is_refused(self, store: Half, value: Any) -> None:
        with pytest.raises((TypeError, ValueError)):
            store.put(DOCS, "a", value)
        assert store.get(DOCS, "a") is None

    @pytest.mark.parametrize("value", [[1], "text", 7], ids=repr)
    def test_a_value_that_is_no_mapping_is_refused(self, store: Half, value: Any) -> None:
        with pytest.raises((TypeError, ValueError, AttributeError)):
            store.put(DOCS, "a", value)
        assert store.get(DOCS, "a") is None

    def test_a_batch_with_a_bad_value_writes_nothing(self, store: Half) -> None:
        with pytest.raises((TypeError, ValueError)):
            store.batch([PutOp(DOCS, "a", {"n": 1}), PutOp(DOCS, "b", {"x": object()})])
        assert store.search(()) == []

    def test_a_batch_with_a_bad_name_writes_nothing(self, store: Half) -> None:
        with pytest.raises(InvalidNamespaceError):
            store.batch([PutOp(DOCS, "a", {"n": 1}), PutOp(("a.b",), "b", {"n": 1})])
        assert store.search(()) == []

    def test_a_batch_with_a_bad_filter_writes_nothing(self, store: Half) -> None:
        store.put(DOCS, "old", {"n": 1})
        with pytest.raises((ValueError, TypeError, NotImplementedError)):
            store.batch([PutOp(DOCS, "a", {"n": 1}), SearchOp(DOCS, {"n": {"$near": 1}})])
        assert store.get(DOCS, "a") is None

    def test_what_is_no_operation_is_refused(self, store: Half) -> None:
        with pytest.raises((TypeError, ValueError, AttributeError, NotImplementedError)):
            store.batch(["get everything"])  # type: ignore[list-item]

    # -- batches ------------------------------------------------------------------------------

    def test_an_empty_batch_gives_nothing(self, store: Half) -> None:
        assert store.batch([]) == []

    def test_results_come_in_the_order_of_the_operations(self, store: Half) -> None:
        store.put(DOCS, "a", {"n": 1})
        store.put(DOCS, "b", {"n": 2})
        got, none, put, listed, found = store.batch(
            [
                GetOp(DOCS, "b"),
                GetOp(DOCS, "c"),
                PutOp(DOCS, "c", {"n": 3}),
                ListNamespacesOp(),
                SearchOp(DOCS, {"n": 1}),
            ]
        )
        assert isinstance(got, Item)
        assert got.value == {"n": 2}
        assert (none, put, listed) == (None, None, [DOCS])
        assert isinstance(found, list)
        assert [each.key for each in cast("list[Item]", found)] == ["a"]

    def test_a_batch_may_be_any_iterable(self, store: Half) -> None:
        assert store.batch(PutOp(DOCS, f"k{n}", {"n": n}) for n in range(3)) == [None] * 3
        assert len(store.search(DOCS)) == 3

    def test_reads_of_a_batch_see_the_state_before_its_writes(self, store: Half) -> None:
        store.put(DOCS, "a", {"n": 1})
        results = store.batch(
            [
                PutOp(DOCS, "a", {"n": 2}),
                PutOp(DOCS, "b", {"n": 3}),
                PutOp(("new",), "c", {"n": 4}),
                GetOp(DOCS, "a"),
                GetOp(DOCS, "b"),
                SearchOp(()),
                ListNamespacesOp(),
            ]
        )
        got, new, found, listed = results[3:]
        assert isinstance(got, Item)
        assert got.value == {"n": 1}
        assert new is None
        assert [each.value for each in cast("list[Item]", found)] == [{"n": 1}]
        assert listed == [DOCS]
        assert (store.value(DOCS, "a"), store.value(("new",), "c")) == ({"n": 2}, {"n": 4})

    def test_the_last_put_of_a_batch_wins(self, store: Half) -> None:
        store.batch([PutOp(DOCS, "a", {"n": n}) for n in range(5)])
        assert store.value(DOCS, "a") == {"n": 4}
        assert len(store.search(DOCS)) == 1

    def test_the_last_write_wins_over_a_deletion_and_the_other_way_round(self, store: Half) -> None:
        store.batch([PutOp(DOCS, "a", None), PutOp(DOCS, "a", {"n": 1})])
        store.batch([PutOp(DOCS, "b", {"n": 1}), PutOp(DOCS, "b", None)])
        assert (store.value(DOCS, "a"), store.get(DOCS, "b")) == ({"n": 1}, None)

    def test_a_batch_takes_a_thousand_puts(self, store: Half) -> None:
        store.batch([PutOp((f"n{n % 7}",), f"k{n}", {"n": n}) for n in range(1_000)])
        assert len(store.search((), limit=2_000)) == 1_000
        assert store.value(("n5",), "k999") == {"n": 999}

    def test_searches_of_a_batch_do_not_mix(self, store: Half) -> None:
        for n in range(4):
            store.put((f"n{n % 2}",), f"k{n}", {"n": n})
        ops: list[Op] = [SearchOp(("n0",)), SearchOp(("n1",)), SearchOp((), {"n": 3})]
        found = [[each.key for each in cast("list[Item]", r)] for r in store.batch(ops)]
        assert [sorted(each) for each in found] == [["k0", "k2"], ["k1", "k3"], ["k3"]]

    # -- searching by place -------------------------------------------------------------------

    def test_a_prefix_matches_whole_labels(self, store: Half) -> None:
        for namespace in [("user",), ("users",), ("user", "a"), ("user", "ab"), ("x", "user")]:
            store.put(namespace, "/".join(namespace), {"n": 1})
        assert sorted(store.keys(("user",))) == ["user", "user/a", "user/ab"]
        assert store.keys(("user", "a")) == ["user/a"]

    def test_the_empty_prefix_finds_everything(self, store: Half) -> None:
        for namespace in [("a",), ("b", "c"), ("d", "e", "f")]:
            store.put(namespace, "k", {"n": 1})
        assert len(store.search(())) == 3

    def test_a_search_gives_search_items_with_all_they_have(self, store: Half) -> None:
        store.put(("a", "b"), "k", {"n": 1})
        (found,) = store.search(("a",))
        got = store.get(("a", "b"), "k")
        assert isinstance(found, SearchItem)
        assert got is not None
        assert (found.namespace, found.key, found.value, found.score) == (
            ("a", "b"),
            "k",
            {"n": 1},
            None,
        )
        assert (found.created_at, found.updated_at) == (got.created_at, got.updated_at)

    def test_pages_show_everything_once(self, store: Half) -> None:
        store.batch([PutOp((f"n{n % 3}",), f"k{n:02}", {"n": n}) for n in range(25)])
        pages = [store.keys((), limit=10, offset=at) for at in (0, 10, 20, 30)]
        assert [len(page) for page in pages] == [10, 10, 5, 0]
        assert sorted(key for page in pages for key in page) == [f"k{n:02}" for n in range(25)]

    def test_ten_is_the_limit_where_none_is_said(self, store: Half) -> None:
        store.batch([PutOp(DOCS, f"k{n}", {"n": n}) for n in range(12)])
        assert len(store.search(DOCS)) == 10

    # -- filters ------------------------------------------------------------------------------

    FILTERED: ClassVar[dict[str, dict[str, Any]]] = {
        "a": {
            "kind": "fruit",
            "n": 1,
            "ok": True,
            "meta": {"by": "ann", "year": 2024},
            "tags": ["x"],
        },
        "b": {"kind": "fruit", "n": 2.5, "ok": False, "meta": {"by": "bob", "year": 2025}},
        "c": {"kind": "bus", "n": 10, "meta": {"by": "ann"}, "tags": ["x", "y"], "none": None},
        "d": {"kind": "ship", "name": "n"},
    }

    def _filtered(self, store: Half, given: dict[str, Any]) -> list[str]:
        store.batch([PutOp(DOCS, key, value) for key, value in self.FILTERED.items()])
        return sorted(store.keys(DOCS, filter=given))

    @pytest.mark.parametrize(
        ("given", "keys"),
        [
            ({"kind": "fruit"}, "ab"),
            ({"kind": "fruit", "n": 1}, "a"),
            ({"kind": "plane"}, ""),
            ({"ok": False}, "b"),
            ({"n": 2.5}, "b"),
            ({"missing": "x"}, ""),
            ({}, "abcd"),
        ],
    )
    def test_a_filter_asks_for_equality_of_all_its_keys(
        self, store: Half, given: dict[str, Any], keys: str
    ) -> None:
        assert self._filtered(store, given) == list(keys)

    @pytest.mark.parametrize(
        ("given", "keys"),
        [
            ({"kind": {"$eq": "bus"}}, "c"),
            ({"kind": {"$ne": "fruit"}}, "cd"),
            ({"n": {"$gt": 2.5}}, "c"),
            ({"n": {"$gte": 2.5}}, "bc"),
            ({"n": {"$lt": 2.5}}, "a"),
            ({"n": {"$lte": 2.5}}, "ab"),
            ({"n": {"$gt": 1, "$lt": 10}}, "b"),
            ({"kind": "fruit", "n": {"$gte": 2}}, "b"),
        ],
    )
    def test_the_documented_operators_compare(
        self, store: Half, given: dict[str, Any], keys: str
    ) -> None:
        assert self._filtered(store, given) == list(keys)

    def test_ne_holds_where_there_is_no_value(self, store: Half) -> None:
        assert self._filtered(store, {"meta": {"$ne": 5}}) == list("abcd")
        assert self._filtered(store, {"ok": {"$ne": True}}) == list("bcd")

    def test_an_order_holds_for_no_value_of_another_kind(self, store: Half) -> None:
        assert self._filtered(store, {"name": {"$gt": 0}}) == []
        assert self._filtered(store, {"meta": {"$lt": 5}}) == []

    def test_a_nested_object_is_matched_by_some_of_its_keys(self, store: Half) -> None:
        assert self._filtered(store, {"meta": {"by": "ann"}}) == list("ac")
        assert self._filtered(store, {"meta": {"by": "ann", "year": 2024}}) == ["a"]
        assert self._filtered(store, {"meta": {"year": {"$gt": 2024}}}) == ["b"]

    def test_a_list_is_matched_as_a_whole(self, store: Half) -> None:
        assert self._filtered(store, {"tags": ["x", "y"]}) == ["c"]
        assert self._filtered(store, {"tags": ["y", "x"]}) == []
        assert self._filtered(store, {"tags": {"$eq": ["x"]}}) == ["a"]

    def test_true_is_true_and_text_is_text(self, store: Half) -> None:
        assert self._filtered(store, {"ok": True}) == ["a"]
        assert self._filtered(store, {"n": "1"}) == []
        assert self._filtered(store, {"ok": "True"}) == []

    @pytest.mark.parametrize(
        "given",
        [
            {"n": {"$near": 1}},
            {"n": {"$regex": "1"}},
            {"n": {"$gt": 0, "$about": 1}},
            {"$nor": [{"n": 1}]},
        ],
        ids=json.dumps,
    )
    def test_an_operator_that_does_not_exist_is_an_error(
        self, store: Half, given: dict[str, Any]
    ) -> None:
        with pytest.raises((ValueError, TypeError, NotImplementedError)):
            self._filtered(store, given)

    RICH: ClassVar[list[tuple[dict[str, Any], str]]] = [
        ({"kind": {"$in": ["bus", "ship"]}}, "cd"),
        ({"kind": {"$nin": ["bus", "ship"]}}, "ab"),
        ({"n": {"$nin": [1]}}, "bcd"),
        ({"tags": {"$exists": True}}, "ac"),
        ({"n": {"$exists": False}}, "d"),
        ({"$or": [{"kind": "bus"}, {"n": 1}]}, "ac"),
        ({"$and": [{"kind": "fruit"}, {"$or": [{"n": {"$gt": 2}}, {"ok": True}]}]}, "ab"),
        ({"$not": {"kind": "fruit"}}, "cd"),
        ({"n": {"$not": {"$gt": 2}}}, "ad"),
        ({"meta.by": "bob"}, "b"),
        ({"meta.year": {"$gte": 2024}}, "ab"),
        ({"meta.year": {"$ne": 2024}}, "bcd"),
        ({"kind": {"$in": []}}, ""),
    ]

    @pytest.mark.parametrize(("given", "keys"), RICH, ids=[json.dumps(each) for each, _ in RICH])
    def test_richer_filters_mean_what_they_say_or_are_refused(
        self, store: Half, given: dict[str, Any], keys: str
    ) -> None:
        if self.rich_filters:
            assert self._filtered(store, given) == list(keys)
            return
        with pytest.raises((ValueError, TypeError, NotImplementedError)):
            self._filtered(store, given)

    def test_a_key_with_a_period_in_it_is_found_as_it_is(self, store: Half) -> None:
        store.put(DOCS, "a", {"v1.2": "x"})
        store.put(DOCS, "b", {"v1": "x"})
        assert store.keys(DOCS, filter={"v1.2": "x"}) == ["a"]

    def test_a_filter_costs_no_results(self, store: Half) -> None:
        store.batch([PutOp(DOCS, f"k{n:02}", {"odd": n % 2 == 1}) for n in range(40)])
        assert len(store.search(DOCS, filter={"odd": True}, limit=20)) == 20
        assert len(store.search(DOCS, filter={"odd": True}, limit=20, offset=15)) == 5

    # -- searching by meaning -----------------------------------------------------------------

    def test_the_closest_comes_first(self, indexed: Half) -> None:
        indexed.put(DOCS, "both", {"text": "apple train"})
        indexed.put(DOCS, "apple", {"text": "apple"})
        indexed.put(DOCS, "ship", {"text": "ship apple red blue"})
        found = indexed.search(DOCS, query="apple")
        assert [each.key for each in found] == ["apple", "both", "ship"]
        scores = [cast("float", each.score) for each in found]
        assert scores == pytest.approx([1.0, 0.5**0.5, 0.5], abs=1e-3)

    def test_a_value_is_found_right_after_it_was_put(self, indexed: Half) -> None:
        for n, word in enumerate(VOCABULARY):
            indexed.put(DOCS, word, {"text": word, "n": n})
            assert indexed.search(DOCS, query=word, limit=1)[0].key == word

    def test_only_the_configured_fields_are_searched(self, indexed: Half) -> None:
        indexed.put(DOCS, "text", {"text": "apple", "other": "train"})
        indexed.put(DOCS, "other", {"text": "train", "other": "apple"})
        first, second = indexed.search(DOCS, query="apple")
        assert first.key == "text"
        assert first.score == pytest.approx(1.0, abs=1e-3)
        assert second.score == pytest.approx(0.0, abs=1e-3)

    def test_each_field_is_compared_by_itself_and_the_closest_counts(self, indexed: Half) -> None:
        indexed.put(DOCS, "fields", {"text": "train bus ship", "title": "apple"})
        indexed.put(DOCS, "mixed", {"text": "apple train bus ship"})
        found = indexed.search(DOCS, query="apple")
        assert [each.key for each in found] == ["fields", "mixed"]
        assert found[0].score == pytest.approx(1.0, abs=1e-3)

    def test_a_value_with_several_close_fields_is_found_once(self, indexed: Half) -> None:
        for n in range(4):
            indexed.put(DOCS, f"k{n}", {"text": "apple", "title": "apple pear"})
        assert sorted(indexed.keys(DOCS, query="apple")) == ["k0", "k1", "k2", "k3"]
        pages = [indexed.keys(DOCS, query="apple", limit=2, offset=at) for at in (0, 2, 4)]
        assert sorted(key for page in pages for key in page) == ["k0", "k1", "k2", "k3"]

    def test_a_put_may_name_its_own_fields(self, indexed: Half) -> None:
        indexed.put(DOCS, "own", {"text": "train", "note": "apple"}, index=["note"])
        indexed.put(DOCS, "usual", {"text": "train", "note": "apple"})
        first = indexed.search(DOCS, query="apple")[0]
        assert first.key == "own"
        assert first.score == pytest.approx(1.0, abs=1e-3)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("a.b.c", {"a": {"b": {"c": "apple"}}}),
            ("list[0]", {"list": ["apple", "train"]}),
            ("list[-1]", {"list": ["train", "apple"]}),
            ("list[*]", {"list": ["train", "bus", "apple"]}),
            ("parts[*].text", {"parts": [{"text": "train"}, {"text": "apple"}, {"no": 1}]}),
            ("a[*].b[*].c", {"a": [{"b": [{"c": "bus"}, {"c": "apple"}]}, {"b": []}]}),
        ],
    )
    def test_fields_are_paths(self, indexed: Half, field: str, value: dict[str, Any]) -> None:
        indexed.put(DOCS, "path", value, index=[field])
        indexed.put(DOCS, "other", {"text": "apple train bus"})
        first = indexed.search(DOCS, query="apple")[0]
        assert first.key == "path"
        assert first.score == pytest.approx(1.0, abs=1e-3)

    def test_without_fields_the_whole_value_is_searched(self, open_store: Open) -> None:
        store = open_store(index={"dims": DIMS, "embed": embed_words})
        store.put(DOCS, "a", {"x": {"y": ["apple"]}})
        store.put(DOCS, "b", {"x": "train"})
        assert store.keys(DOCS, query="apple", limit=1) == ["a"]

    def test_a_missing_field_is_passed_over(self, indexed: Half) -> None:
        indexed.put(DOCS, "none", {"n": 1})
        indexed.put(DOCS, "title", {"title": "apple"})
        assert indexed.search(DOCS, query="apple")[0].key == "title"
        assert indexed.value(DOCS, "none") == {"n": 1}

    def test_what_is_not_indexed_is_kept_but_no_query_finds_it(self, indexed: Half) -> None:
        indexed.put(DOCS, "hidden", {"text": "apple"}, index=False)
        indexed.put(DOCS, "shown", {"text": "train"})
        assert indexed.keys(DOCS, query="apple") == ["shown"]
        assert indexed.value(DOCS, "hidden") == {"text": "apple"}
        assert sorted(indexed.keys(DOCS)) == ["hidden", "shown"]
        assert indexed.keys(DOCS, filter={"text": "apple"}) == ["hidden"]

    def test_what_is_no_longer_indexed_is_no_longer_found(self, indexed: Half) -> None:
        indexed.put(DOCS, "a", {"text": "apple"})
        indexed.put(DOCS, "a", {"text": "apple"}, index=False)
        found = indexed.search(DOCS, query="apple")
        assert [each.key for each in found if each.score is not None] == []

    def test_a_new_value_is_no_longer_found_by_old_words(self, indexed: Half) -> None:
        indexed.put(DOCS, "a", {"text": "apple", "title": "apple"})
        indexed.put(DOCS, "a", {"text": "train"})
        assert indexed.search(DOCS, query="apple")[0].score == pytest.approx(0.0, abs=1e-3)
        assert indexed.search(DOCS, query="train")[0].score == pytest.approx(1.0, abs=1e-3)

    def test_what_was_deleted_is_no_longer_found(self, indexed: Half) -> None:
        indexed.put(DOCS, "a", {"text": "apple"})
        indexed.put(DOCS, "b", {"text": "train"})
        indexed.delete(DOCS, "a")
        assert indexed.keys(DOCS, query="apple") == ["b"]
        indexed.put(DOCS, "a", {"title": "bus"})
        found = {each.key: each.score for each in indexed.search(DOCS, query="apple")}
        assert found["a"] == pytest.approx(0.0, abs=1e-3)

    def test_a_query_looks_under_the_prefix_only(self, indexed: Half) -> None:
        indexed.put(("a",), "k", {"text": "apple"})
        indexed.put(("ab",), "k", {"text": "apple"})
        indexed.put(("a", "b"), "k", {"text": "apple"})
        found = indexed.search(("a",), query="apple")
        assert sorted(each.namespace for each in found) == [("a",), ("a", "b")]

    def test_a_filter_comes_before_the_ranking(self, indexed: Half) -> None:
        ops: list[Op] = [PutOp(DOCS, f"k{n}", {"text": "apple", "n": n}) for n in range(30)]
        indexed.batch([*ops, PutOp(DOCS, "far", {"text": "train apple", "n": -1})])
        assert indexed.keys(DOCS, query="apple", filter={"n": {"$lt": 0}}, limit=3) == ["far"]
        assert len(indexed.search(DOCS, query="apple", filter={"n": {"$gte": 20}}, limit=10)) == 10

    def test_equal_texts_in_one_batch_are_both_found(self, indexed: Half) -> None:
        indexed.batch([PutOp(DOCS, key, {"text": "apple"}) for key in ("a", "b")])
        found = indexed.search(DOCS, query="apple")
        assert sorted(each.key for each in found) == ["a", "b"]
        assert all(each.score == pytest.approx(1.0, abs=1e-3) for each in found)

    def test_several_queries_of_a_batch_do_not_mix(self, indexed: Half) -> None:
        for word in ("apple", "train", "ship"):
            indexed.put(DOCS, word, {"text": word})
        ops: list[Op] = [
            SearchOp(DOCS, limit=1, query="ship"),
            SearchOp(DOCS, limit=1, query="apple"),
            SearchOp(DOCS, limit=1),
        ]
        ship, apple, plain = (cast("list[SearchItem]", r) for r in indexed.batch(ops))
        assert (ship[0].key, apple[0].key, plain[0].score) == ("ship", "apple", None)

    def test_a_langchain_model_can_embed(self, open_store: Open) -> None:
        store = open_store(index={"dims": DIMS, "embed": WordEmbeddings(), "fields": ["text"]})
        store.put(DOCS, "a", {"text": "apple"})
        store.put(DOCS, "b", {"text": "train"})
        assert store.keys(DOCS, query="train") == ["b", "a"]

    def test_a_coroutine_function_can_embed(self, open_store: Open) -> None:
        store = open_store(index={"dims": DIMS, "embed": aembed_words, "fields": ["text"]})
        if not store.awaited:
            return  # what must be awaited need not be called
        store.put(DOCS, "a", {"text": "apple"})
        store.put(DOCS, "b", {"text": "train"})
        assert store.keys(DOCS, query="train") == ["b", "a"]

    def test_a_store_without_an_index_takes_index_and_query_without_harm(self, store: Half) -> None:
        store.put(DOCS, "a", {"text": "apple"}, index=["text"])
        store.put(DOCS, "b", {"text": "train"}, index=["text"])
        assert sorted(store.keys(DOCS, query="apple")) == ["a", "b"]

    # -- namespaces ---------------------------------------------------------------------------

    TREE: ClassVar[list[Namespace]] = [
        ("a", "b", "c"),
        ("a", "b", "d", "e"),
        ("a", "b", "d", "i"),
        ("a", "b", "f"),
        ("a", "c", "f"),
        ("users", "v1"),
    ]

    @pytest.fixture
    def tree(self, store: Half) -> Half:
        """A store with entries in ``TREE``, two in each namespace."""
        store.batch([PutOp(each, key, {"n": 1}) for each in self.TREE for key in ("x", "y")])
        return store

    def test_namespaces_are_listed_once_and_in_order(self, tree: Half) -> None:
        assert tree.namespaces() == sorted(self.TREE)

    def test_max_depth_cuts_and_each_is_still_listed_once(self, tree: Half) -> None:
        cut = tree.namespaces(prefix=("a", "b"), max_depth=3)
        assert cut == [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]
        assert tree.namespaces(max_depth=1) == [("a",), ("users",)]

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"prefix": ("a", "c")}, [("a", "c", "f")]),
            ({"prefix": ("a", "*", "f")}, [("a", "b", "f"), ("a", "c", "f")]),
            ({"prefix": ("*", "v1")}, [("users", "v1")]),
            ({"suffix": ("f",)}, [("a", "b", "f"), ("a", "c", "f")]),
            ({"suffix": ("d", "*")}, [("a", "b", "d", "e"), ("a", "b", "d", "i")]),
            ({"suffix": ("*", "f")}, [("a", "b", "f"), ("a", "c", "f")]),
            ({"prefix": ("a", "b"), "suffix": ("f",)}, [("a", "b", "f")]),
            ({"prefix": ("a", "b", "c", "d")}, []),
            ({"prefix": ("b",)}, []),
            ({"suffix": ("b",)}, []),
        ],
        ids=repr,
    )
    def test_namespaces_are_matched_label_by_label(
        self, tree: Half, given: dict[str, Any], expected: list[Namespace]
    ) -> None:
        assert tree.namespaces(**given) == expected

    def test_namespaces_come_in_pages(self, tree: Half) -> None:
        pages = [tree.namespaces(limit=2, offset=at) for at in (0, 2, 4, 6)]
        assert [each for page in pages for each in page] == sorted(self.TREE)
        assert pages[-1] == []

    def test_several_conditions_of_one_kind_must_all_hold(self, tree: Half) -> None:
        conditions = (MatchCondition("prefix", ("a", "*")), MatchCondition("prefix", ("*", "b")))
        (found,) = tree.batch([ListNamespacesOp(conditions, max_depth=2)])
        assert found == [("a", "b")]

    def test_an_emptied_namespace_vanishes(self, tree: Half) -> None:
        tree.delete(("users", "v1"), "x")
        assert ("users", "v1") in tree.namespaces()
        tree.delete(("users", "v1"), "y")
        assert ("users", "v1") not in tree.namespaces()
        assert tree.namespaces(prefix=("users",)) == []

    def test_looking_makes_no_namespace(self, store: Half) -> None:
        store.get(("ghost",), "k")
        store.search(("ghost", "two"))
        store.delete(("ghost", "three"), "k")
        assert store.namespaces() == []

    # -- time to live -------------------------------------------------------------------------

    def test_a_store_without_times_to_live_says_so(self, store: Half) -> None:
        if store.store.supports_ttl:
            return
        with pytest.raises(NotImplementedError):
            store.put(DOCS, "a", {"n": 1}, ttl=5)
        assert store.get(DOCS, "a") is None

    def test_a_value_ends_with_its_time(self, mortal: Half) -> None:
        mortal.put(DOCS, "a", {"n": 1}, ttl=self.ttl_minutes)
        mortal.put(DOCS, "b", {"n": 2})
        assert mortal.value(DOCS, "a", refresh_ttl=False) == {"n": 1}
        self.pass_minutes(self.ttl_minutes * 1.2)
        assert mortal.get(DOCS, "a") is None
        assert mortal.keys(DOCS) == ["b"]
        assert mortal.value(DOCS, "b") == {"n": 2}

    def test_the_last_value_that_ends_takes_its_namespace_along(self, mortal: Half) -> None:
        mortal.put(DOCS, "a", {"n": 1}, ttl=self.ttl_minutes)
        self.pass_minutes(self.ttl_minutes * 1.2)
        assert mortal.namespaces() == []

    def test_reading_puts_the_end_off(self, mortal: Half) -> None:
        mortal.put(DOCS, "a", {"n": 1}, ttl=self.ttl_minutes)
        for _ in range(3):
            self.pass_minutes(self.ttl_minutes * 0.6)
            assert mortal.value(DOCS, "a") == {"n": 1}

    def test_searching_puts_the_end_off(self, mortal: Half) -> None:
        mortal.put(DOCS, "a", {"n": 1}, ttl=self.ttl_minutes)
        for _ in range(3):
            self.pass_minutes(self.ttl_minutes * 0.6)
            assert mortal.keys(DOCS) == ["a"]

    def test_reading_can_leave_the_end_where_it_is(self, mortal: Half) -> None:
        mortal.put(DOCS, "a", {"n": 1}, ttl=self.ttl_minutes)
        self.pass_minutes(self.ttl_minutes * 0.6)
        assert mortal.value(DOCS, "a", refresh_ttl=False) == {"n": 1}
        assert mortal.keys(DOCS, refresh_ttl=False) == ["a"]
        self.pass_minutes(self.ttl_minutes * 0.6)
        assert mortal.get(DOCS, "a") is None

    def test_the_store_may_say_that_reading_leaves_it(self, open_store: Open) -> None:
        store = self._with_ttl(open_store, {"refresh_on_read": False, "omit_expired": True})
        store.put(DOCS, "a", {"n": 1}, ttl=self.ttl_minutes)
        self.pass_minutes(self.ttl_minutes * 0.6)
        assert store.value(DOCS, "a") == {"n": 1}
        self.pass_minutes(self.ttl_minutes * 0.6)
        assert store.get(DOCS, "a") is None

    def test_the_store_may_have_a_default(self, open_store: Open) -> None:
        config: TTLConfig = {"default_ttl": self.ttl_minutes, "omit_expired": True}
        store = self._with_ttl(open_store, config)
        store.put(DOCS, "a", {"n": 1})
        store.put(DOCS, "b", {"n": 2}, ttl=None)
        self.pass_minutes(self.ttl_minutes * 1.2)
        assert (store.get(DOCS, "a"), store.value(DOCS, "b")) == (None, {"n": 2})

    def test_a_new_value_has_its_own_time(self, mortal: Half) -> None:
        mortal.put(DOCS, "a", {"n": 1}, ttl=self.ttl_minutes)
        mortal.put(DOCS, "a", {"n": 2}, ttl=None)
        self.pass_minutes(self.ttl_minutes * 1.2)
        assert mortal.value(DOCS, "a") == {"n": 2}

    # -- at once ------------------------------------------------------------------------------

    def test_puts_at_once_are_all_kept(self, store: Half) -> None:
        store.together([("put", (DOCS, f"k{n}", {"n": n})) for n in range(40)])
        found = store.search(DOCS, limit=100)
        assert sorted(each.value["n"] for each in found) == list(range(40))

    def test_puts_of_one_name_at_once_leave_one_whole_value(self, store: Half) -> None:
        values = [{"n": n, "again": [n] * 5} for n in range(20)]
        store.together([("put", (DOCS, "k", value)) for value in values])
        assert store.value(DOCS, "k") in values
        assert len(store.search(DOCS)) == 1

    def test_reads_beside_writes_see_whole_values(self, store: Half) -> None:
        store.put(DOCS, "k", {"a": 0, "b": 0})
        puts = [("put", (DOCS, "k", {"a": n, "b": n})) for n in range(1, 15)]
        gets = [("get", (DOCS, "k"))] * 15
        calls = [call for pair in zip(puts, gets, strict=False) for call in pair]
        found = [each for each in store.together(calls) if each is not None]
        assert found
        assert all(each.value["a"] == each.value["b"] for each in found)

    # -- in a graph ---------------------------------------------------------------------------

    def test_a_graph_reads_and_writes_its_store(self, store: Half) -> None:
        class State(TypedDict):
            n: int

        def remember(state: State) -> dict[str, int]:
            kept = get_store()
            if not isinstance(kept, BaseStore):
                raise TypeError("the graph has another store")
            kept.put(("runs",), str(state["n"]), {"n": state["n"]})
            return {"n": state["n"] + 1}

        async def aremember(state: State) -> dict[str, int]:
            await get_store().aput(("runs",), str(state["n"]), {"n": state["n"]})
            return {"n": state["n"] + 1}

        builder = StateGraph(State)
        node: Any = aremember if store.awaited else remember
        builder.add_node("remember", node)
        builder.add_edge(START, "remember")
        builder.add_edge("remember", END)
        graph: Any = builder.compile(store=store.store)
        runner = store._runner  # pyright: ignore[reportPrivateUsage]  -- the half's own loop
        done = graph.invoke({"n": 1}) if runner is None else runner.run(graph.ainvoke({"n": 1}))
        assert done == {"n": 2}
        assert store.value(("runs",), "1") == {"n": 1}
