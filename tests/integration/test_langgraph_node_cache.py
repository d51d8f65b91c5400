"""MemOSNodeCache in real graphs: a result is used while the memory it was made of stands still."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langchain_core.runnables import RunnableConfig
from langgraph._internal import _constants
from langgraph.cache.base import BaseCache
from langgraph.cache.memory import InMemoryCache
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import CachePolicy

from langgraph_memos import MemOSNodeCache, StrictSerializer, node_cache
from memos_integrations import MOS, Principal, Settings
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.vault.scrub import holds, vault_files
from memos_integrations.interface.record_verbs import Records

QUIET = Settings(worker=False, synchronous="normal")
Graph = CompiledStateGraph[Any, Any, Any, Any]
Run = Callable[..., Any]


class Question(TypedDict):
    asked: str
    found: list[str]


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    with MOS(tmp_path / "memory.db", embedder=None, settings=QUIET) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    def call(graph: Graph, *args: Any) -> list[str]:
        if request.param == "sync":
            return list(graph.invoke(*args)["found"])
        return list(asyncio.run(graph.ainvoke(*args))["found"])

    return call


class Recall:
    """A node that says what it finds in memory, and how often it was asked to."""

    def __init__(self, mos: MOS, *, cube: str | None = None) -> None:
        self.mos, self.cube, self.times = mos, cube, 0
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, state: Question, config: RunnableConfig) -> Any:
        self.times += 1
        user = config["configurable"].get("user_id", "alice")
        found = [item.text for item in self.mos.list(user=user, cube=self.cube)]
        self.meanwhile()
        return {"found": sorted(found)}


def graph_of(
    node: Recall, cache: BaseCache[Any], *, ttl: int | None = None, **policy: Any
) -> Graph:
    builder = StateGraph(Question)
    builder.add_node("recall", node, cache_policy=CachePolicy(ttl=ttl, **policy))
    return builder.add_edge(START, "recall").compile(cache=cache)


def who(user: str) -> Any:
    return {"configurable": {"user_id": user}}


SAME: Any = {"asked": "what do I like?", "found": []}


def test_a_result_is_used_until_memory_has_moved(mos: MOS, run: Run) -> None:
    mos.add("I like tea", user="alice")
    node = Recall(mos)
    graph = graph_of(node, MemOSNodeCache(mos, user="alice"))
    assert run(graph, SAME) == run(graph, SAME) == ["I like tea"]
    assert node.times == 1
    mos.add("I like coffee", user="bob")
    mos.records("anything", user="alice").put({"k": b"1"})
    run(graph, SAME)
    assert node.times == 1
    added = mos.add("I like cake", user="alice")
    assert run(graph, SAME) == ["I like cake", "I like tea"]
    assert node.times == 2
    mos.delete(added.ids[0], user="alice")
    assert run(graph, SAME) == ["I like tea"]
    assert run(graph, SAME) == ["I like tea"]
    assert node.times == 3


def test_a_cache_that_knows_of_no_memory_serves_what_is_out_of_date(mos: MOS, run: Run) -> None:
    """So that the test above cannot pass without what it tests."""
    mos.add("I like tea", user="alice")
    node = Recall(mos)
    graph = graph_of(node, InMemoryCache())
    run(graph, SAME)
    mos.add("I like cake", user="alice")
    assert run(graph, SAME) == ["I like tea"]


def test_another_process_moves_memory_and_shares_results(mos: MOS, run: Run) -> None:
    mos.add("I like tea", user="alice")
    here, there = Recall(mos), Recall(mos)
    with MOS(mos.path, embedder=None, settings=QUIET) as other:
        first = graph_of(here, MemOSNodeCache(mos, user="alice"))
        second = graph_of(here, MemOSNodeCache(other, user="alice"))
        run(first, SAME)
        assert run(second, SAME) == ["I like tea"]
        assert here.times == 1
        other.add("I like cake", user="alice")
        assert run(first, SAME) == ["I like cake", "I like tea"]
        assert (here.times, there.times) == (2, 0)


def test_memory_that_moves_while_a_node_runs_makes_its_result_out_of_date(
    mos: MOS, run: Run
) -> None:
    mos.add("I like tea", user="alice")
    node = Recall(mos)
    node.meanwhile = lambda: mos.add("I like cake", user="alice") if node.times == 1 else None
    graph = graph_of(node, MemOSNodeCache(mos, user="alice"))
    assert run(graph, SAME) == ["I like tea"]
    assert run(graph, SAME) == ["I like cake", "I like tea"]


def test_a_slow_node_that_ends_last_is_not_taken_for_a_newer_one(mos: MOS) -> None:
    mos.add("I like tea", user="alice")
    slow, quick = Recall(mos), Recall(mos)
    cache = MemOSNodeCache(mos, user="alice")
    began, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        if slow.times == 1:
            began.set()
            assert go_on.wait(10)

    slow.meanwhile = wait
    graph = graph_of(slow, cache)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(graph.invoke, SAME)
        assert began.wait(10)
        mos.add("I like cake", user="alice")
        assert graph.invoke(SAME)["found"] == ["I like cake", "I like tea"]
        go_on.set()
        assert first.result()["found"] == ["I like tea"]
    assert graph.invoke(SAME)["found"] == ["I like cake", "I like tea"]
    assert quick.times == 0


def test_a_result_ends_with_the_memory_it_was_made_of(mos: MOS, run: Run) -> None:
    mos.add("I like tea", user="alice")
    mos.add("The code is 1234", user="alice", ttl_seconds=1.0)
    node = Recall(mos)
    graph = graph_of(node, MemOSNodeCache(mos, user="alice"))
    assert run(graph, SAME) == ["I like tea", "The code is 1234"]
    time.sleep(1.1)
    assert run(graph, SAME) == ["I like tea"]


def test_nobody_is_served_what_was_made_of_anothers_memory(mos: MOS, run: Run) -> None:
    mos.add("I am Alice", user="alice")
    mos.add("I am Bob", user="bob")
    node = Recall(mos)
    cache = MemOSNodeCache(mos)
    graph = graph_of(node, cache)
    for _ in range(2):
        assert run(graph, SAME, cache.asked_by(who("alice"))) == ["I am Alice"]
        assert run(graph, SAME, cache.asked_by(who("bob"))) == ["I am Bob"]
    assert node.times == 2
    with pytest.raises(InvalidInput, match="asked_by"):
        run(graph, SAME, who("alice"))
    with pytest.raises(InvalidInput, match="user_id"):
        cache.asked_by({})


def test_a_result_ends_with_the_right_it_was_made_by(mos: MOS, run: Run) -> None:
    mos.create_cube("team/plans", user="carol")
    brief = mos.add("We ship on Friday", user="carol", cube="team/plans")
    lasting = mos.add("We ship to Porto", user="carol", cube="team/plans")
    assert brief.id is not None
    assert lasting.id is not None
    mos.share(brief.id, to="alice", user="carol", cube="team/plans", ttl_seconds=1.0)
    mos.share(lasting.id, to="alice", user="carol", cube="team/plans")
    assert 0 < (mos.changes_in(user="alice", cube="team/plans") or 0) <= 1
    node = Recall(mos, cube="team/plans")
    graph = graph_of(node, MemOSNodeCache(mos, user="alice", depends={"recall": "team/plans"}))
    assert run(graph, SAME) == ["We ship on Friday", "We ship to Porto"]
    time.sleep(1.1)
    assert run(graph, SAME) == ["We ship to Porto"]


def test_rights_that_end_by_themselves_are_known_beforehand(mos: MOS) -> None:
    mos.create_cube("team/plans", user="carol")
    mos.create_cube("else", user="carol")
    mos.share(to="alice", user="carol", cube="else", ttl_seconds=10)
    mos.share(to="bob", user="carol", cube="team/plans", ttl_seconds=20)
    mos.share(to="alice", user="carol", cube="team/plans")
    assert mos.changes_in(user="alice", cube="team/plans") is None
    mos.share(to="role:auditor", user="carol", cube="team/plans", ttl_seconds=30)
    assert mos.changes_in(user="alice", cube="team/plans") is None
    auditing = mos.acting(Principal(roles=frozenset({"auditor"})))
    assert 20 < (auditing.changes_in(user="alice", cube="team/plans") or 0) <= 30


@pytest.mark.parametrize("held", ["roles", "groups", "clearances"])
def test_nobody_is_served_what_they_saw_in_another_role(mos: MOS, run: Run, held: str) -> None:
    mos.create_cube("team/plans", user="carol")
    mos.share(to="alice", user="carol", cube="team/plans")
    named: dict[str, Any] = {held: frozenset({"secret"})}
    cleared = mos.acting(Principal(**named))
    if held == "clearances":
        mos.add("Codename Zebra", user="carol", cube="team/plans", labels=["secret"])
    else:
        item = mos.add("Codename Zebra", user="carol", cube="team/plans", visibility="private")
        mos.share(item.id, to=f"{held[:-1]}:secret", user="carol", cube="team/plans")
    mos.add("We ship on Friday", user="carol", cube="team/plans")
    depends = {"recall": "team/plans"}
    for seen, more in ((cleared, ["Codename Zebra"]), (mos, []), (cleared, ["Codename Zebra"])):
        node = Recall(seen, cube="team/plans")
        graph = graph_of(node, MemOSNodeCache(seen, user="alice", depends=depends))
        assert run(graph, SAME) == [*more, "We ship on Friday"]
    assert node.times == 0  # each has results of its own


def test_a_result_that_is_out_of_date_leaves_the_file(mos: MOS) -> None:
    secret = "the-secret-" + os.urandom(8).hex()
    kept = mos.add(f"My code is {secret}", user="alice")
    assert kept.id is not None
    node = Recall(mos)
    graph = graph_of(node, MemOSNodeCache(mos, user="alice"))
    graph.invoke(SAME)
    mos.erase(kept.id, user="alice")
    graph.invoke(SAME)
    assert node.times == 2
    (key,) = (records := mos.records(node_cache.SPACE, user="alice")).keys()
    assert secret.encode() not in records.get([key])[key]
    mos.close()  # with it goes the log, which still had the page
    assert not any(holds(file, secret.encode()) for file in vault_files(mos.path))


def test_a_result_ends_after_a_day_where_nothing_else_is_said(
    mos: MOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    put = Records.put
    monkeypatch.setattr(
        Records, "put", lambda self, values, **k: told.append(k) or put(self, values, **k)
    )
    for cache in (MemOSNodeCache(mos), MemOSNodeCache(mos, ttl_seconds=None)):
        cache.set({(("a",), "k"): (1, None)})
    assert [each["ttl_seconds"] for each in told] == [86_400.0, None]


def test_nodes_that_fail_take_no_more_room_for_ever(
    mos: MOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_cache, "_MOST_BEGUN", 3)
    cache = MemOSNodeCache(mos, user="alice")
    keys = [(("__pregel_ns_writes", "f", "node"), str(n)) for n in range(5)]
    for _ in range(20):
        cache.get(keys)
    assert len(cache._begun) == 3
    cache.set({keys[4]: ("unknown when it began", None)})
    assert cache.get(keys) == {}
    monkeypatch.setattr(node_cache, "_DAY_SECONDS", -1.0)
    cache.get(keys[4:])
    cache.set({keys[4]: ("good", None)})
    assert cache.get(keys) == {keys[4]: "good"}


def test_a_node_depends_on_the_cubes_it_names(mos: MOS, run: Run) -> None:
    mos.create_cube("team/plans", user="carol")
    mos.share(to="alice", permission="read", user="carol", cube="team/plans")
    mos.add("We ship on Friday", user="carol", cube="team/plans")
    node = Recall(mos, cube="team/plans")
    cache = MemOSNodeCache(mos, user="alice", depends={"recall": "team/plans"})
    graph = graph_of(node, cache)
    run(graph, SAME)
    mos.add("I like tea", user="alice")
    run(graph, SAME)
    assert node.times == 1
    mos.add("We ship on Monday", user="carol", cube="team/plans")
    assert run(graph, SAME) == ["We ship on Friday", "We ship on Monday"]
    mos.revoke(to="alice", user="carol", cube="team/plans")
    with pytest.raises(PermissionError):
        run(graph, SAME)


def test_tasks_of_the_functional_api_are_cached_too(mos: MOS) -> None:
    ran: list[int] = []

    @task(cache_policy=CachePolicy())
    def double(number: int) -> int:
        ran.append(number)
        return 2 * number

    @entrypoint(cache=MemOSNodeCache(mos, user="alice"))
    def flow(number: int) -> int:
        return double(number).result() + double(number).result()

    assert flow.invoke(3) == flow.invoke(3) == 12
    before = len(ran)
    assert before <= 2
    mos.add("I like tea", user="alice")
    assert flow.invoke(3) == 12
    assert len(ran) > before


def test_results_end_after_their_time_and_can_be_cleared(mos: MOS, run: Run) -> None:
    node = Recall(mos)
    graph = graph_of(node, MemOSNodeCache(mos, user="alice"), ttl=1)
    run(graph, SAME)
    run(graph, SAME)
    assert node.times == 1
    time.sleep(1.1)
    run(graph, SAME)
    assert node.times == 2
    graph.clear_cache(["recall"])
    run(graph, SAME)
    assert node.times == 3


def test_the_cache_holds_what_was_set_by_namespace_and_key(mos: MOS) -> None:
    cache: BaseCache[Any] = MemOSNodeCache(mos)
    one, other, near = (("a", "b"), "k"), (("a",), "b/k"), (("a", "bc"), "k")
    cache.set({one: ({"v": 1}, None), other: ([2], 60), near: ("three", None)})
    assert cache.get([one, other, near, (("z",), "k")]) == {
        one: {"v": 1},
        other: [2],
        near: "three",
    }
    cache.clear([("a", "b")])
    assert cache.get([one, other, near]) == {other: [2], near: "three"}
    cache.clear()
    assert cache.get([one, other, near]) == {}


async def test_the_awaited_half_is_the_same(mos: MOS) -> None:
    cache: BaseCache[Any] = MemOSNodeCache(mos)
    key = (("a",), "k")
    await cache.aset({key: (1, None)})
    assert await cache.aget([key]) == cache.get([key]) == {key: 1}
    await cache.aclear([("a",)])
    assert await cache.aget([key]) == {}


def test_erasing_a_user_erases_what_was_cached_for_them(mos: MOS) -> None:
    secret = "the-secret-" + os.urandom(8).hex()
    mos.add(f"My code is {secret}", user="alice")
    graph_of(Recall(mos), MemOSNodeCache(mos, user="alice")).invoke(SAME)
    assert any(holds(file, secret.encode()) for file in vault_files(mos.path))
    mos.erase(subject="alice", user="alice")
    assert not any(holds(file, secret.encode()) for file in vault_files(mos.path))


def test_stored_results_that_cannot_be_read_are_made_anew(mos: MOS, run: Run) -> None:
    node = Recall(mos)
    graph = graph_of(node, MemOSNodeCache(mos, user="alice"))
    run(graph, SAME)
    records = mos.records(node_cache.SPACE, user="alice")
    (key,) = records.keys()
    other = node_cache.encoded(StrictSerializer(), {"value": {"found": ["x"]}, "version": "9"})
    for raw in (other, b"", b"pickle\x00cos\nsystem\n(S'x'\ntR.", b"msgpack\x00\x92"):
        records.put({key: raw})
        before = node.times
        assert run(graph, SAME) == []
        assert node.times == before + 1


def test_what_changes_by_itself_is_known_beforehand(mos: MOS) -> None:
    assert mos.changes_in(user="alice") is None
    mos.add("For an hour", user="alice", ttl_seconds=3600)
    mos.add("For ever", user="alice")
    soon = mos.changes_in(user="alice")
    assert soon is not None
    assert 3590 < soon <= 3600
    ends = datetime.now(UTC) + timedelta(seconds=60)
    mos.add("Until then", user="alice", valid_to=ends)
    sooner = mos.changes_in(user="alice")
    assert sooner is not None
    assert 50 < sooner <= 60
    with pytest.raises(PermissionError):
        mos.changes_in(user="bob", cube="users/alice")


def test_langgraph_still_calls_things_by_these_names() -> None:
    assert _constants.CACHE_NS_WRITES == node_cache._OF_A_RUN
    assert _constants.CONFIG_KEY_CACHE == node_cache._CACHE_OF_A_RUN
