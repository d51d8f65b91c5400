"""MemOSStore in graphs and on its own: who asks, which cube, the past, its index, its life."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore, InvalidNamespaceError, PutOp

from langgraph_memos import IndexEmbedder, MemOSStore, user_of_first_segment
from memos_integrations import MOS, Principal, Settings
from memos_integrations.cube.errors import (
    AccessDenied,
    EmbedderMismatch,
    InvalidFilter,
    InvalidInput,
    UsageError,
)
from memos_integrations.testing.fakes import FakeEmbedder, ManualClock
from memos_integrations.testing.langgraph import (
    DIMS,
    WordEmbeddings,
    aembed_words,
    embed_words,
)

QUIET = Settings(worker=False)
NS = ("memories", "food")


def store_of(mos: MOS | str | Path | None = None, **more: Any) -> MemOSStore:
    if not isinstance(mos, MOS):
        more = {"embedder": None, "settings": QUIET} | more
    return MemOSStore(mos, **more)


# -- who asks ---------------------------------------------------------------------------------


class State(TypedDict):
    seen: list[str]


def remembering(store: MemOSStore) -> Any:
    """A graph whose one node writes a memory and reads all that it may see."""

    def node(state: State, runtime: Runtime[None]) -> dict[str, Any]:
        assert runtime.store is not None
        runtime.store.put(NS, f"k{len(state['seen'])}", {"n": len(state["seen"])})
        return {"seen": sorted(item.key for item in runtime.store.search(NS))}

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    return builder.compile(store=store)


def asked_by(user: str, thread: str = "t1") -> Any:
    return {"configurable": {"user_id": user, "thread_id": thread, "agent_id": "helper"}}


def test_each_user_of_a_graph_has_memories_of_their_own() -> None:
    with store_of() as store:
        graph = remembering(store)
        assert graph.invoke({"seen": []}, asked_by("alice"))["seen"] == ["k0"]
        assert graph.invoke({"seen": ["x"]}, asked_by("alice", "t2"))["seen"] == ["k0", "k1"]
        assert graph.invoke({"seen": []}, asked_by("bob"))["seen"] == ["k0"]
        assert store.mos.get_entry(NS, "k1", user="alice") is not None
        assert store.mos.get_entry(NS, "k1", user="bob") is None
        assert store.search(NS) == []  # outside of a run nobody is named
        store.mos.flush()
        lines = store.mos.audit(user="alice", cube="users/alice")
        puts = [line for line in lines if line.action == "put"]
        assert {(line.agent, line.session) for line in puts} == {("helper", "t1"), ("helper", "t2")}


async def test_who_asks_is_known_where_it_is_awaited() -> None:
    async with store_of() as store:

        async def node(state: State, runtime: Runtime[None]) -> dict[str, Any]:
            assert runtime.store is not None
            await runtime.store.aput(NS, "k", {"n": 1})
            return {"seen": [item.key for item in await runtime.store.asearch(())]}

        builder = StateGraph(State)
        builder.add_node("node", node)
        builder.add_edge(START, "node")
        graph: Any = builder.compile(store=store)
        runs = [graph.ainvoke({"seen": []}, asked_by(f"user{n}")) for n in range(8)]
        assert [done["seen"] for done in await asyncio.gather(*runs)] == [["k"]] * 8
        assert await store.aget(NS, "k") is None
        assert store.mos.get_entry(NS, "k", user="user3") is not None


def test_the_constructor_says_who_asks_where_no_run_does() -> None:
    with store_of() as store:
        mine = MemOSStore(store.mos, user="alice")
        mine.put(NS, "k", {"n": 1})
        assert store.mos.get_entry(NS, "k", user="alice") is not None
        assert store.get(NS, "k") is None
        auditor = Principal(user="eve")
        assert MemOSStore(store.mos, principal=auditor).get(NS, "k") is None
        assert MemOSStore(store.mos, principal=Principal(user="alice")).get(NS, "k") is not None


def test_a_shared_cube_asks_for_rights_at_each_operation() -> None:
    with store_of() as base:
        team = MemOSStore(base.mos, user="alice", cube="teams/acme/notes")
        assert team.get(NS, "k") is None
        team.put(NS, "k", {"n": 1})
        bob = MemOSStore(base.mos, user="bob", cube="teams/acme/notes")
        for act in (
            lambda: bob.get(NS, "k"),
            lambda: bob.search(()),
            bob.list_namespaces,
            lambda: bob.put(NS, "k", {"n": 2}),
            lambda: bob.delete(NS, "k"),
        ):
            with pytest.raises(AccessDenied):
                act()
        base.mos.share(to="bob", cube="teams/acme/notes", user="alice")
        assert bob.search(())[0].value == {"n": 1}
        with pytest.raises(AccessDenied):
            bob.batch([PutOp(NS, "k", {"n": 2})])
        base.mos.share(to="bob", permission="write", cube="teams/acme/notes", user="alice")
        bob.put(NS, "k", {"n": 2})
        assert team.search(NS)[0].value == {"n": 2}
        base.mos.revoke(to="bob", cube="teams/acme/notes", user="alice")
        with pytest.raises(AccessDenied):
            bob.get(NS, "k")


def test_the_first_segment_can_name_the_user() -> None:
    with store_of() as base:
        store = MemOSStore(base.mos, cube=user_of_first_segment, user="alice")
        store.put(("alice", "prefs"), "k", {"n": 1})
        assert base.mos.get_entry(("alice", "prefs"), "k", user="alice") is not None
        assert store.list_namespaces() == [("alice", "prefs")]
        assert store.list_namespaces(prefix=("alice",)) == [("alice", "prefs")]
        with pytest.raises(AccessDenied):
            store.put(("bob", "prefs"), "k", {"n": 1})
        with pytest.raises(AccessDenied):
            store.batch([PutOp(("alice",), "a", {"n": 1}), PutOp(("bob",), "b", {"n": 1})])
        assert store.get(("alice",), "a") is None
        served = MemOSStore(
            base.mos, cube=user_of_first_segment, principal=Principal(roles=frozenset({"admin"}))
        )
        served.put(("bob", "prefs"), "k", {"n": 2})
        assert base.mos.get_entry(("bob", "prefs"), "k", user="bob") is not None
        assert served.search(("alice",))[0].value == {"n": 1}


def test_tools_reach_the_store_of_their_run() -> None:
    from langchain_core.messages import AIMessage, HumanMessage
    from langchain_core.tools import tool
    from langgraph.prebuilt import ToolNode

    @tool
    def note(text: str, runtime: ToolRuntime) -> str:
        """Keep a note."""
        assert runtime.store is not None
        runtime.store.put(("notes",), "last", {"text": text})
        return "kept"

    with store_of() as store:
        builder = StateGraph(dict[str, Any])
        call = {"name": "note", "args": {"text": "buy plums"}, "id": "1", "type": "tool_call"}
        messages = [HumanMessage("x"), AIMessage("", tool_calls=[call])]
        builder.add_node("tools", ToolNode([note]))
        builder.add_edge(START, "tools")
        graph: Any = builder.compile(store=store)
        graph.invoke({"messages": messages}, asked_by("alice"))
        found = store.mos.get_entry(("notes",), "last", user="alice")
        assert found is not None
        assert found.value == {"text": "buy plums"}


# -- the past ---------------------------------------------------------------------------------


def test_a_view_answers_as_the_store_once_did() -> None:
    clock = ManualClock()
    with MOS(None, embedder=FakeEmbedder(128), clock=clock, settings=QUIET) as mos:
        store = MemOSStore(mos, user="alice")
        store.put(NS, "k", {"dish": "soup"})
        noon = clock.now()
        clock.advance(seconds=60)
        place = mos.version(user="alice")
        store.put(NS, "k", {"dish": "pie"})
        store.put(("new",), "n", {"dish": "rice"})
        store.delete(NS, "gone")
        for when in (place, noon, noon.isoformat()):
            view = store.view(as_of=when)
            assert [item.value for item in view.search((), query="soup")] == [{"dish": "soup"}]
            assert _value(view, "k") == {"dish": "soup"}
            assert asyncio.run(view.alist_namespaces()) == [NS]
            assert _in_a_run_of("bob", lambda v: v.search(()), view) == []
            assert _in_a_run_of("alice", lambda v: v.get(NS, "k").value, view) == {"dish": "soup"}
            with pytest.raises(UsageError, match="read-only"):
                view.put(NS, "k", {"n": 1})
            with pytest.raises(UsageError, match="read-only"):
                view.delete(NS, "k")
        assert _value(store, "k") == {"dish": "pie"}


def _value(store: BaseStore, key: str) -> Any:
    found = store.get(NS, key)
    return None if found is None else found.value


def _in_a_run_of(user: str, act: Any, store: BaseStore) -> Any:
    """What ``act`` gives inside a graph that this user runs."""
    found: list[Any] = []

    def node(_: State) -> dict[str, Any]:
        found.append(act(store))
        return {}

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.compile().invoke({"seen": []}, asked_by(user))
    return found[0]


# -- the index --------------------------------------------------------------------------------


def test_what_was_stored_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    index: Any = {"dims": DIMS, "embed": embed_words, "fields": ["text"]}
    with MemOSStore.from_conn_string(tmp_path / "m.db", index=index) as store:
        store.setup()
        store.put(NS, "a", {"text": "apple"})
        store.put(NS, "b", {"text": "train"})
    with MemOSStore.from_conn_string(str(tmp_path / "m.db"), index=index) as again:
        assert [item.key for item in again.search(NS, query="train")] == ["b", "a"]
        assert again.mos.check().findings == ()


async def test_a_connection_string_opens_for_async_with_too(tmp_path: Path) -> None:
    async with MemOSStore.from_conn_string(tmp_path / "m.db", embedder=None) as store:
        await store.aput(NS, "a", {"n": 1})
        assert (await store.asearch(NS))[0].value == {"n": 1}
        assert await store.asweep_ttl() == 0
    with pytest.raises(UsageError, match="closed"):
        store.put(NS, "a", {"n": 1})


def test_another_model_over_the_same_file_is_refused_with_a_way_out(tmp_path: Path) -> None:
    first: Any = {"dims": DIMS, "embed": embed_words}
    other: Any = {"dims": DIMS, "embed": WordEmbeddings()}
    with MemOSStore(tmp_path / "m.db", index=first) as store:
        store.put(NS, "a", {"text": "apple"})
        store.mos.wait()
    with MemOSStore(tmp_path / "m.db", index=other) as store:
        with pytest.raises(EmbedderMismatch, match="reembed"):
            store.search(NS, query="apple")
        store.mos.reembed()
        assert store.search(NS, query="apple")[0].score == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("embed", [embed_words, aembed_words, WordEmbeddings()])
def test_dims_are_checked_before_a_result_is_shown(embed: Any) -> None:
    with MemOSStore(index={"dims": DIMS + 1, "embed": embed}, settings=QUIET) as store:
        store.put(NS, "a", {"text": "apple"})
        with pytest.raises(UsageError, match=f"dims={DIMS + 1}"):
            store.search(NS, query="apple")
        assert store.get(NS, "a") is not None


def test_a_coroutine_function_embeds_in_both_halves_also_inside_a_loop() -> None:
    async def inside(store: MemOSStore) -> Any:
        return store.search(NS, query="apple"), await store.asearch(NS, query="apple")

    with MemOSStore(index={"dims": DIMS, "embed": aembed_words}) as store:
        store.put(NS, "a", {"text": "apple"})
        called, awaited = asyncio.run(inside(store))
        assert called[0].score == awaited[0].score == pytest.approx(1.0, abs=1e-3)


def test_a_text_without_a_direction_is_near_to_nothing() -> None:
    with MemOSStore(index={"dims": DIMS, "embed": embed_words}) as store:
        store.put(NS, "a", {"text": "apple"})
        store.put(NS, "zero", {"text": "nothing known"})
        found = {item.key: item.score for item in store.search(NS, query="apple")}
        assert found == {"a": pytest.approx(1.0, abs=1e-3), "zero": pytest.approx(0.0, abs=1e-3)}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"dims": 3}, "embed"),
        ({"embed": 7, "dims": 3}, "embed"),
        ({"embed": embed_words}, "dims"),
        ({"embed": embed_words, "dims": 0}, "dims"),
        ({"embed": embed_words, "dims": True}, "dims"),
    ],
)
def test_an_index_that_cannot_be_is_refused(given: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        IndexEmbedder(given)


def test_rows_that_are_no_vectors_are_refused() -> None:
    wrong: list[Any] = [[["x"]], [[1.0], [2.0]], [[float("nan"), 1.0]], [1.0, 2.0]]
    for rows in wrong:

        def answer(texts: Sequence[str], rows: Any = rows) -> Any:
            return rows

        with pytest.raises(UsageError):
            IndexEmbedder({"dims": 2, "embed": answer}).embed(["a"])


def test_a_mos_brings_its_own_embedder() -> None:
    with MOS(None, embedder=FakeEmbedder(64), settings=QUIET) as mos:
        with pytest.raises(UsageError, match="embedder"):
            MemOSStore(mos, index={"dims": DIMS, "embed": embed_words})
        store = MemOSStore(mos, index={"fields": ["text"]})  # type: ignore[typeddict-item]
        store.put(NS, "a", {"text": "apple", "other": "train"})
        hit = mos.search("apple")[0]
        assert (hit.text, hit.item.data) == ("apple", {"text": "apple", "other": "train"})


def test_without_an_index_a_query_still_puts_what_fits_first() -> None:
    with store_of() as store:
        for word in ("apple", "train", "ship"):
            store.put(NS, word, {"text": f"a {word} of mine"})
        found = store.search(NS, query="my ship")
        assert found[0].key == "ship"
        assert found[0].score is not None
        assert [item.score for item in found[1:]] == [None, None]


# -- bad input --------------------------------------------------------------------------------


def test_what_the_core_refuses_is_a_value_error_here() -> None:
    with store_of() as store:
        for act, error in (
            (lambda: store.search(NS, filter={"n": {"$near": 1}}), InvalidFilter),
            (lambda: store.search(NS, filter={"n": {"$gt": None}}), InvalidFilter),
            (lambda: store.search(NS, filter={"n": {"$in": 1}}), InvalidFilter),
            (lambda: store.search(NS, filter={"n": {"$exists": 1}}), InvalidFilter),
            (lambda: store.search(NS, filter={"n": {"$gt": 1, "m": 2}}), InvalidFilter),
            (lambda: store.search(NS, filter={"$or": []}), InvalidFilter),
            (lambda: store.search(NS, filter={7: 1}), InvalidFilter),  # type: ignore[dict-item]
            (lambda: store.search(NS, filter=["n"]), InvalidFilter),  # type: ignore[arg-type]
            (lambda: store.search(NS, limit=-1), InvalidInput),
            (lambda: store.put(NS, "", {"n": 1}), InvalidInput),
            (lambda: store.put(NS, "k", {"n": 1}, ttl=0), InvalidInput),
            (lambda: store.put(NS, "k", {"n": 1}, index=[]), InvalidInput),
            (lambda: store.put(("a\ud800",), "k", {"n": 1}), InvalidNamespaceError),
            (lambda: store.put(("a" * 5_000,), "k", {"n": 1}), InvalidNamespaceError),
        ):
            with pytest.raises(error) as caught:
                act()
            assert isinstance(caught.value, ValueError)
        deep: Any = 1
        for _ in range(2_000):
            deep = {"a": deep}
        with pytest.raises(InvalidFilter):
            store.search(NS, filter=deep)
        with pytest.raises(UsageError, match="cube"):
            MemOSStore(store.mos, cube=7)  # type: ignore[arg-type]
        assert store.search(()) == []


def test_a_secret_in_a_value_is_masked_before_it_is_stored() -> None:
    with store_of() as store:
        store.put(NS, "k", {"text": "the key is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"})
        assert "abcdefghij" not in str(store.get(NS, "k"))


# -- sweeping and closing ---------------------------------------------------------------------


def test_the_sweeper_runs_until_it_is_stopped() -> None:
    clock = ManualClock()
    with MOS(None, embedder=None, clock=clock, settings=QUIET) as mos:
        store = MemOSStore(mos, ttl={"default_ttl": 1})
        store.put(NS, "k", {"n": 1})
        clock.advance(seconds=61)
        ended = store.start_ttl_sweeper(sweep_interval_minutes=0.0005)
        assert store.start_ttl_sweeper() is ended
        deadline = time.monotonic() + 10
        while not _sweeps(mos) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _sweeps(mos) == 1
        assert not ended.done()
        assert store.stop_ttl_sweeper(timeout=10)
        assert ended.result(timeout=1) is None
        assert store.stop_ttl_sweeper()
        store.put(NS, "k", {"n": 2})
        clock.advance(seconds=61)
        assert (store.get(NS, "k"), store.sweep_ttl(), store.sweep_ttl()) == (None, 1, 0)
        with pytest.raises(UsageError):
            store.start_ttl_sweeper(-1)


def _sweeps(mos: MOS) -> int:
    lines = mos.audit(cube="users/default")
    return sum(len(line.items) for line in lines if line.action == "expire")


def test_without_a_ttl_configuration_there_is_nothing_to_sweep() -> None:
    with store_of() as store:
        assert store.start_ttl_sweeper().done()
        assert store.stop_ttl_sweeper()


def test_a_store_closes_what_it_opened_and_nothing_else() -> None:
    with MOS(None, embedder=None, settings=QUIET) as mos:
        with MemOSStore(mos) as store:
            store.put(NS, "k", {"n": 1})
        assert mos.get_entry(NS, "k") is not None
    own = store_of()
    own.close()
    own.close()
    with pytest.raises(UsageError, match="closed"):
        own.get(NS, "k")


def test_an_erased_person_leaves_nothing_in_the_store() -> None:
    with store_of() as base:
        store = MemOSStore(base.mos, user="alice")
        store.put(("axolotlspace",), "axolotlkey", {"text": "axolotlvalue"})
        receipt = base.mos.erase(subject="alice", user="alice")
        assert receipt.scan.found == 0
        raw = b"".join(p.read_bytes() for p in Path(base.mos.path).parent.iterdir() if p.is_file())
        assert b"axolotl" not in raw
        assert store.search(()) == []
