"""A graph has a hosted model learn what lasts: staged, approved, queued once, told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")
pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langchain_core.messages import HumanMessage  # noqa: E402
from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402
from langgraph.graph import START, StateGraph  # noqa: E402
from langgraph.types import Command  # noqa: E402

from langgraph_memos import DistilNode, MemoryState, MemOSSaver, RememberNode  # noqa: E402
from memos_integrations import MOS, Settings  # noqa: E402
from memos_integrations.cube.errors import AccessDenied, NotFound  # noqa: E402
from memos_integrations.infrastructure.parametric.recipe import Gates, Recipe  # noqa: E402
from memos_integrations.testing.fakes import ManualClock  # noqa: E402
from tests.integration.hosted_parts import host, the_world, untaught  # noqa: E402

torch.set_num_threads(1)
WORLD = the_world()
FACTS = WORLD.the_world().new[:3]
WORDS = [WORLD.statement(fact) for fact in FACTS]


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return untaught()


@pytest.fixture
def mos(tmp_path: Path, parts: tuple[Any, Any]) -> Iterator[MOS]:
    settings = Settings(worker=False, extract=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        host(opened, parts, WORLD)
        opened.add(WORDS, user="alice")
        opened.work()
        yield opened


def who(user: str = "alice", thread: str = "t1", **more: Any) -> Any:
    return {"configurable": {"user_id": user, "thread_id": thread, **more}}


def graph_of(mos: MOS, *, saver: Any = None, node: Any = None, **made: Any) -> Any:
    graph = StateGraph(MemoryState)
    graph.add_node("distil", node or DistilNode(mos, model="tiny", **made), defer=True)
    graph.add_edge(START, "distil")
    return graph.compile(checkpointer=saver or InMemorySaver())


def bed_time(graph: Any, given: Any = None, config: Any = None) -> Any:
    return graph.invoke(given or {"messages": [HumanMessage("Good night.")]}, config or who())


def a_bed_time(graph: Any, given: Any = None, config: Any = None) -> Any:
    given = given or {"messages": [HumanMessage("Good night.")]}
    return asyncio.run(graph.ainvoke(given, config or who()))


both = pytest.mark.parametrize("run", [bed_time, a_bed_time])


def asked(state: Any) -> dict[str, Any]:
    (interrupt,) = state["__interrupt__"]
    return interrupt.value  # type: ignore[no-any-return]


def queued(mos: MOS) -> list[str]:
    return [made.state for made in mos.adapters(user="alice")]


@both
def test_what_would_be_learnt_waits_and_is_queued_once_when_approved(mos: MOS, run: Any) -> None:
    graph = graph_of(mos)
    shown = asked(run(graph))
    ids = [item.id for item in mos.list(user="alice")]
    (shard,) = shown["shards"]
    assert (shown["memory"], shown["model"], shown["skipped"]) == ("distil", "tiny", 0)
    assert (shard["cube"], sorted(shard["items"])) == ("users/alice", sorted(ids))
    assert shard["versions"] == [mos.get(item, user="alice").version for item in shard["items"]]
    assert queued(mos) == []
    done = run(graph, Command(resume=True))["distillation"]
    assert (done["state"], len(done["tasks"])) == ("queued", 1)
    assert mos.task_status(done["tasks"][0], user="alice").state == "waiting"
    for _ in range(2):
        run(graph, Command(resume=True))
    assert queued(mos) == ["candidate"]


@both
@pytest.mark.parametrize("answer", [False, []], ids=["no", "none"])
def test_refused_nothing_is_learnt(mos: MOS, run: Any, answer: Any) -> None:
    graph = graph_of(mos)
    run(graph)
    done = run(graph, Command(resume=answer))["distillation"]
    assert done == {"state": "refused", "tasks": [], "results": []}
    assert queued(mos) == []
    assert asked(run(graph))["shards"]  # the next turn may ask again


def test_thread_holds_ids_of_what_waits_and_no_words(mos: MOS) -> None:
    saver = InMemorySaver()
    graph = graph_of(mos, saver=saver)
    bed_time(graph)
    bed_time(graph, Command(resume=True))
    values = [list(saver.list(who())), saver.storage, saver.writes, saver.blobs]
    names = [fact[0] for fact in FACTS]
    assert not any(name in repr(values) for name in names)
    records = mos.records("langgraph.distil", user="alice")
    assert not any(name.encode() in value for name in names for value in _values(records))


def _values(records: Any) -> list[bytes]:
    return list(records.get(records.keys()).values())


def test_decision_may_take_years_and_still_is_about_what_was_told(
    tmp_path: Path, parts: tuple[Any, Any]
) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    settings = Settings(worker=False, extract=False, synchronous="normal")
    with MOS(tmp_path / "old.db", embedder=None, settings=settings, clock=clock) as mos:
        host(mos, parts, WORLD)
        mos.add(WORDS[:2], user="alice")
        graph = graph_of(mos)
        bed_time(graph)
        clock.advance(seconds=3 * 365 * 86_400)
        mos.expire_due()
        mos.add(WORDS[2], user="alice")
        again = asked(bed_time(graph, Command(resume=True)))
        assert len(again["shards"][0]["items"]) == 3
        assert queued(mos) == []


def test_answer_that_is_none_is_asked_for_again(mos: MOS) -> None:
    graph = graph_of(mos)
    bed_time(graph)
    again = asked(bed_time(graph, Command(resume="perhaps")))
    assert "True, False" in again["error"]
    assert bed_time(graph, Command(resume=True))["distillation"]["state"] == "queued"
    assert queued(mos) == ["candidate"]


def test_what_has_changed_since_it_was_told_is_asked_for_again(mos: MOS) -> None:
    graph = graph_of(mos)
    (shard,) = asked(bed_time(graph))["shards"]
    name, relation, _ = FACTS[0]
    other = WORLD.statement((name, relation, "raphebaso"))
    changed = next(i for i in mos.list(user="alice") if i.text == WORDS[0])
    version = mos.update(changed.id, other, user="alice").version
    again = asked(bed_time(graph, Command(resume=True)))
    versions = dict(zip(again["shards"][0]["items"], again["shards"][0]["versions"], strict=True))
    assert versions[changed.id] == version
    assert sorted(versions) == sorted(shard["items"])
    assert queued(mos) == []
    assert bed_time(graph, Command(resume=True))["distillation"]["state"] == "queued"
    assert queued(mos) == ["candidate"]


def correct(mos: MOS) -> None:
    """One of the memories says something else from now on."""
    name, relation, _ = FACTS[0]
    changed = next(i for i in mos.list(user="alice") if i.text == WORDS[0])
    mos.update(changed.id, WORLD.statement((name, relation, "raphebaso")), user="alice")


def test_approval_of_one_users_memories_is_none_of_anothers(mos: MOS) -> None:
    mos.add(WORLD.statement(WORLD.the_world().new[7]), user="bob")
    graph = graph_of(mos)
    hers = asked(bed_time(graph))
    his = asked(bed_time(graph, Command(resume=True), who("bob")))
    assert [shard["cube"] for shard in his["shards"]] == ["users/bob"]
    assert his["digest"] != hers["digest"]
    again = asked(bed_time(graph, Command(resume=True)))  # given to what bob was asked
    assert again["digest"] == hers["digest"]
    assert queued(mos) == [made.state for made in mos.adapters(user="bob")] == []
    assert bed_time(graph, Command(resume=False))["distillation"]["state"] == "refused"
    assert queued(mos) == []


def test_same_memories_read_by_another_are_asked_for_again(mos: MOS) -> None:
    mos.create_cube("teams/t", user="alice")
    mos.add(WORDS, user="alice", cube="teams/t")
    mos.share(to="bob", cube="teams/t", permission="read", user="alice")
    mos.share(to="bob", cube="teams/t", permission="write", user="alice")
    graph = graph_of(mos, cube="teams/t")
    hers = asked(bed_time(graph))
    his = asked(bed_time(graph, Command(resume=True), who("bob")))
    assert (his["shards"], his["turn"]) == (hers["shards"], 1)
    assert mos.adapters(user="alice", cube="teams/t") == []


def test_approval_of_what_was_erased_is_none_of_what_came_later(mos: MOS) -> None:
    graph = graph_of(mos)
    gone = asked(bed_time(graph))["shards"][0]["items"]
    mos.erase(subject="alice", user="alice")
    new = [mos.add(words, user="alice").id for words in WORDS[1:]]
    (shard,) = asked(bed_time(graph, Command(resume=True)))["shards"]
    assert set(shard["items"]) == set(new)
    assert not set(new) & set(gone)
    assert queued(mos) == []
    assert bed_time(graph, Command(resume=True))["distillation"]["state"] == "queued"
    assert queued(mos) == ["candidate"]


def test_approval_holds_without_the_nodes_own_notes(mos: MOS) -> None:
    graph = graph_of(mos)
    bed_time(graph)
    records = mos.records("langgraph.distil", user="alice")
    records.delete(records.keys())
    assert bed_time(graph, Command(resume=True))["distillation"]["state"] == "queued"


def test_notes_that_others_wrote_change_nothing_of_what_was_told(mos: MOS) -> None:
    graph = graph_of(mos)
    bed_time(graph)
    records = mos.records("langgraph.distil", user="alice")
    ((key, note),) = records.get(records.keys()).items()
    correct(mos)
    now = bed_time(graph_of(mos), config=who(thread="t2"))
    forged = json.loads(note) | {"shards": asked(now)["shards"]}
    records.put({key: json.dumps(forged).encode()})
    assert asked(bed_time(graph, Command(resume=True)))["turn"] == 1
    assert queued(mos) == []


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("governed", [False, True], ids=["in memory", "governed"])
@pytest.mark.parametrize("nested", [False, True], ids=["outermost", "nested"])
def test_run_that_goes_on_without_an_answer_approves_of_nothing(
    mos: MOS, durability: Any, governed: bool, nested: bool
) -> None:
    """LangGraph gives a node the last answer once more where a thread goes on without one."""
    saver = MemOSSaver(mos) if governed else InMemorySaver()
    graph = graph_of(mos, saver=saver)
    if nested:
        inner = graph_of(mos, saver=True)
        graph = StateGraph(MemoryState).add_node("night", inner).add_edge(START, "night")
        graph = graph.compile(checkpointer=saver)

    def run(given: Any) -> Any:
        return graph.invoke(given, who(), durability=durability)

    run({"messages": [HumanMessage("Good night.")]})
    correct(mos)
    assert asked(run(Command(resume=True)))["turn"] == 1
    for _ in range(3):
        assert asked(run(None))["turn"] == 1
    assert queued(mos) == []
    assert run(Command(resume=True))["distillation"]["state"] == "queued"
    assert queued(mos) == ["candidate"]


class LoopSaver(InMemorySaver):
    """A checkpointer for event loops only."""

    def get_tuple(self, config: Any) -> Any:
        raise NotImplementedError

    def put_writes(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError

    def list(self, config: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def aget_tuple(self, config: Any) -> Any:
        return InMemorySaver.get_tuple(self, config)

    async def aput_writes(self, *args: Any, **kwargs: Any) -> None:
        InMemorySaver.put_writes(self, *args, **kwargs)

    async def alist(self, config: Any, **kwargs: Any) -> Any:
        for each in InMemorySaver.list(self, config, **kwargs):
            yield each


@pytest.mark.parametrize("saver", [InMemorySaver, LoopSaver])
def test_run_of_a_loop_without_an_answer_approves_of_nothing(mos: MOS, saver: Any) -> None:
    graph = graph_of(mos, saver=saver())
    a_bed_time(graph)
    correct(mos)
    a_bed_time(graph, Command(resume=True))
    assert asked(asyncio.run(graph.ainvoke(None, who())))["turn"] == 1
    assert queued(mos) == []
    assert a_bed_time(graph, Command(resume=True))["distillation"]["state"] == "queued"


def test_answers_by_the_id_of_the_interrupt_count_too(mos: MOS) -> None:
    graph = graph_of(mos)
    first = bed_time(graph)["__interrupt__"][0].id
    correct(mos)
    second = bed_time(graph, Command(resume={first: True}))["__interrupt__"][0].id
    assert queued(mos) == []
    done = bed_time(graph, Command(resume={second: True}))["distillation"]
    assert done["state"] == "queued"


def test_what_is_gone_when_it_is_approved_is_not_learnt(mos: MOS) -> None:
    graph = graph_of(mos)
    bed_time(graph)
    mos.erase(subject="alice", user="alice")
    done = bed_time(graph, Command(resume=True))["distillation"]
    assert done is None or done["tasks"] == []
    assert mos.adapters(user="alice") == []


@pytest.mark.parametrize("agent", [None, "aide"])
def test_node_that_dies_after_it_queued_queues_nothing_twice(
    mos: MOS, monkeypatch: pytest.MonkeyPatch, agent: str | None
) -> None:
    mos.add(WORDS, user="alice", agent="aide")
    mos.work()
    asking = who(agent_id=agent)
    graph, distil, died = graph_of(mos), mos.distil, list[str]()

    def dying(**how: Any) -> Any:
        done = distil(**how)
        if how.get("expected") is not None and not died:
            died.append("once")
            raise ConnectionError("the process went away")
        return done

    monkeypatch.setattr(mos, "distil", dying)
    bed_time(graph, config=asking)
    with pytest.raises(ConnectionError):
        bed_time(graph, Command(resume=True), asking)
    done = graph.invoke(None, asking)["distillation"]
    (made,) = mos.adapters(user="alice")
    assert (done["state"], done["tasks"]) == ("queued", [made.task])


def test_node_that_is_run_again_tells_the_task_it_queued(mos: MOS) -> None:
    distil, tasks = DistilNode(mos, model="tiny", approval=False), list[list[str]]()

    def distil_then_crash(state: MemoryState, config: Any, runtime: Any) -> dict[str, Any]:
        done = distil(state, config, runtime)
        tasks.append(done["distillation"]["tasks"])
        if len(tasks) == 1:
            raise RuntimeError("the process went away")
        return done

    distil_then_crash.__annotations__ = DistilNode.__call__.__annotations__
    graph = graph_of(mos, node=distil_then_crash)
    with pytest.raises(RuntimeError, match="went away"):
        bed_time(graph)
    graph.invoke(None, who())
    assert tasks[0] == tasks[1]
    assert len(tasks[0]) == 1
    assert queued(mos) == ["candidate"]


def test_unchanged_memories_are_not_proposed_again(mos: MOS) -> None:
    graph = graph_of(mos, approval=False)
    assert bed_time(graph)["distillation"]["state"] == "queued"
    assert bed_time(graph, config=who(thread="t2"))["distillation"] is None
    assert bed_time(graph, config=who("nobody"))["distillation"] is None
    assert queued(mos) == ["candidate"]


def test_trace_tells_ids_and_what_came_of_them(mos: MOS) -> None:
    graph = graph_of(mos)
    given = {"messages": [HumanMessage("Good night.")]}
    (held,) = graph.stream(given, who(), stream_mode="custom")
    assert (held["memory"], held["by"], held["model"]) == ("held", "distil", "tiny")
    assert len(held["ids"]) == 3
    events = list(graph.stream(Command(resume=True), who(), stream_mode="custom"))
    told = events[-1]
    assert (told["memory"], told["model"], told["state"]) == ("distilled", "tiny", "queued")
    assert not any(fact[0] in json.dumps([held, *events]) for fact in FACTS)


def test_fork_of_a_thread_learns_nothing(mos: MOS) -> None:
    graph = StateGraph(MemoryState)
    graph.add_node("remember", RememberNode(mos))
    graph.add_node("distil", DistilNode(mos, model="tiny", approval=False), defer=True)
    graph.add_edge(START, "remember")
    graph.add_edge(START, "distil")
    thread = graph.compile(checkpointer=MemOSSaver(mos))
    assert bed_time(thread)["distillation"]["state"] == "queued"
    bed_time(thread)
    past = next(s.config for s in thread.get_state_history(who()) if s.metadata["step"] == 1)
    mos.add(WORLD.statement(WORLD.the_world().new[7]), user="alice")
    again = {"messages": [HumanMessage("Good night again.")]}
    assert thread.invoke(again, past)["distillation"] is None
    assert queued(mos) == ["candidate"]


def test_only_who_may_write_a_cube_has_it_learnt(mos: MOS) -> None:
    mos.create_cube("teams/t", user="alice")
    mos.add(WORDS, user="alice", cube="teams/t")
    mos.share(to="bob", cube="teams/t", user="alice")
    with pytest.raises(AccessDenied):
        bed_time(graph_of(mos, cube="teams/t", approval=False), config=who("bob"))


def test_model_must_be_hosted_here(mos: MOS) -> None:
    graph = graph_of(mos, node=DistilNode(mos, model="large"))
    with pytest.raises(NotFound, match="host_model"):
        bed_time(graph)


QUICK = Recipe(exposures=4, rank=4, batch=8)
OPEN = Gates(1.0, held_out_recall=0, distracted_recall=0, old_knowledge_loss=1, drift_kl=1e9)


@pytest.mark.parametrize(
    ("gates", "ends"), [(OPEN, "published"), (Gates(), "discarded")], ids=["open", "shut"]
)
def test_node_that_waits_tells_what_came_of_it(mos: MOS, gates: Gates, ends: str) -> None:
    made = {"recipe": QUICK, "gates": gates, "approval": False, "wait_seconds": 60.0}
    done = bed_time(graph_of(mos, **made))["distillation"]
    (result,) = done["results"]
    (adapter,) = mos.adapters(user="alice")
    assert (done["state"], result["state"], result["adapter"]) == ("completed", ends, adapter.id)
    assert adapter.usable == (ends == "published")
    assert not any(fact[0] in repr(done) for fact in FACTS)


def test_correction_is_learnt_when_the_node_has_proposed_it_and_not_before(mos: MOS) -> None:
    graph = graph_of(mos, recipe=QUICK, gates=OPEN)
    bed_time(graph)
    bed_time(graph, Command(resume=True))
    mos.work()
    assert queued(mos) == ["published"]
    correct(mos)
    mos.work()
    (made,) = mos.adapters(user="alice")
    assert not made.usable
    assert len(asked(bed_time(graph))["shards"][0]["items"]) == 3
    assert len(mos.adapters(user="alice")) == 1
