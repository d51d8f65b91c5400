"""MemOSSaver against LangGraph's saver in memory: the same calls, the same answers."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from langgraph_memos import MemOSSaver
from memos_integrations import MOS, Settings

THREADS = st.sampled_from(["t1", "t/2", "t%2F2", "ü"])
NAMESPACES = st.sampled_from(["", "child:1", "child:1|deep/er:2"])
CHANNELS = st.sampled_from(["a", "b/c", "messages"])
PLAIN = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.text("ab\x00é", max_size=5),
    st.binary(max_size=5),
    st.dictionaries(st.text("ab", max_size=2), st.integers(0, 9), max_size=2),
    st.sets(st.integers(0, 9), max_size=3),
)
MESSAGE = st.builds(HumanMessage, st.text("ab", max_size=3)) | st.builds(AIMessage, st.just("x"))
VALUES = PLAIN | st.lists(PLAIN, max_size=40) | st.lists(MESSAGE, min_size=10, max_size=40)
WRITTEN = st.sampled_from(["a", "b/c", ERROR, INTERRUPT, RESUME])


def told(found: CheckpointTuple | None) -> Any:
    if found is None:
        return None
    return (
        found.config["configurable"],
        found.checkpoint,
        found.metadata,
        found.parent_config and found.parent_config["configurable"],
        found.pending_writes,
    )


class SaverAgainstMemory(RuleBasedStateMachine):
    """Both savers get the same calls; the versions are those that the tested one gives."""

    @initialize()
    def open(self) -> None:
        self.mos = MOS(None, embedder=None, settings=Settings(worker=False, synchronous="normal"))
        self.ours, self.theirs = MemOSSaver(self.mos), InMemorySaver()
        self.saved: list[dict[str, Any]] = []
        """The configs that point to what was saved."""
        self.last: dict[tuple[str, str], Any] = {}

    def teardown(self) -> None:
        if hasattr(self, "mos"):
            self.mos.close()

    @rule(
        thread=THREADS,
        namespace=NAMESPACES,
        changed=st.dictionaries(CHANNELS, VALUES, max_size=3),
        emptied=st.sets(CHANNELS, max_size=1),
        step=st.integers(-1, 3),
        fork=st.integers(0, 5),
    )
    def put(
        self,
        thread: str,
        namespace: str,
        changed: dict[str, Any],
        emptied: set[str],
        step: int,
        fork: int,
    ) -> None:
        config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": namespace}}
        line = [c for c in self.saved if c.items() >= config["configurable"].items()]
        parent = line[-1 - fork % len(line)] if line else None
        old = self.theirs.get({"configurable": parent}) if parent else None
        if parent is not None:
            config["configurable"]["checkpoint_id"] = parent["checkpoint_id"]
        versions = dict(old["channel_versions"]) if old else {}
        new = {
            name: self.ours.get_next_version(versions.get(name), None)
            for name in {*changed, *emptied}
        }
        values = {**(old["channel_values"] if old else {}), **changed}
        checkpoint = {
            **empty_checkpoint(),
            "id": str(uuid6()),
            "channel_values": {k: v for k, v in values.items() if k not in emptied},
            "channel_versions": {**versions, **new},
        }
        given: Any = (config, checkpoint, {"source": "loop", "step": step, "parents": {}}, new)
        ours, theirs = self.ours.put(*given), self.theirs.put(*given)
        assert ours == theirs
        self.saved.append(dict(theirs["configurable"]))

    @rule(
        place=st.integers(0, 99),
        writes=st.lists(st.tuples(WRITTEN, PLAIN), min_size=1, max_size=3),
        task=st.sampled_from(["task1", "task/2"]),
        path=st.sampled_from(["", "~pull, a", "~push, b"]),
    )
    def put_writes(self, place: int, writes: list[Any], task: str, path: str) -> None:
        if self.saved:
            config: Any = {"configurable": self.saved[place % len(self.saved)]}
            self.ours.put_writes(config, writes, task, path)
            self.theirs.put_writes(config, writes, task, path)

    @rule(thread=THREADS)
    def delete(self, thread: str) -> None:
        self.ours.delete_thread(thread)
        self.theirs.delete_thread(thread)
        self.saved = [each for each in self.saved if each["thread_id"] != thread]

    @rule(
        thread=THREADS,
        namespace=st.one_of(st.none(), NAMESPACES),
        step=st.one_of(st.none(), st.integers(-1, 3)),
        limit=st.one_of(st.none(), st.integers(0, 3)),
        before=st.one_of(st.none(), st.integers(0, 99)),
    )
    def browse(
        self, thread: str, namespace: str | None, step: Any, limit: Any, before: int | None
    ) -> None:
        config: Any = {"configurable": {"thread_id": thread}}
        if namespace is not None:
            config["configurable"]["checkpoint_ns"] = namespace
        asked: dict[str, Any] = {"filter": None if step is None else {"step": step}}
        if before is not None and self.saved:
            asked["before"] = {"configurable": self.saved[before % len(self.saved)]}
        ours = [told(each) for each in self.ours.list(config, **asked, limit=limit)]
        theirs = [told(each) for each in self.theirs.list(config, **asked)]
        # Theirs are sorted within a namespace only.
        theirs.sort(key=lambda each: each[1]["id"], reverse=True)
        assert ours == theirs[:limit]

    @rule(place=st.integers(0, 99), channels=st.sets(CHANNELS))
    def history(self, place: int, channels: set[str]) -> None:
        if self.saved:
            config: Any = {"configurable": self.saved[place % len(self.saved)]}
            asked: dict[str, Any] = {"config": config, "channels": sorted(channels)}
            ours = self.ours.get_delta_channel_history(**asked)
            assert ours == self.theirs.get_delta_channel_history(**asked)

    @invariant()
    def every_checkpoint_is_the_same(self) -> None:
        for config in getattr(self, "saved", [])[-6:]:
            named: Any = {"configurable": config}
            assert told(self.ours.get_tuple(named)) == told(self.theirs.get_tuple(named))
            latest: Any = {"configurable": {k: config[k] for k in ("thread_id", "checkpoint_ns")}}
            assert told(self.ours.get_tuple(latest)) == told(self.theirs.get_tuple(latest))


@pytest.mark.parametrize("stories", [8, pytest.param(25, marks=pytest.mark.slow)])
def test_the_saver_answers_as_the_one_in_memory(stories: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        SaverAgainstMemory,
        settings=settings(max_examples=stories, stateful_step_count=20, deadline=None),
    )
