"""Whatever order nodes begin and end in, no result is served for newer memory than its own."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langgraph_memos import MemOSNodeCache
from memos_integrations import MOS, Settings

KEYS = st.sampled_from([(("__pregel_ns_writes", "f", "node"), name) for name in ("k1", "k2")])
CACHES = st.integers(0, 1)


class Interleavings(RuleBasedStateMachine):
    """A result is the version that memory had when its node began, so staleness shows in it."""

    @initialize()
    def open(self) -> None:
        self.mos = MOS(None, embedder=None, settings=Settings(worker=False, synchronous="normal"))
        self.mos.add("first", user="alice")
        self.caches = [MemOSNodeCache(self.mos, user="alice") for _ in range(2)]
        self.running: list[tuple[int, Any, int]] = []

    def teardown(self) -> None:
        if hasattr(self, "mos"):
            self.mos.close()

    @rule(cache=CACHES, key=KEYS)
    def begin(self, cache: int, key: Any) -> None:
        now = self.mos.version(user="alice")
        found = self.caches[cache].get([key])
        if key in found:
            assert found[key] == now
        else:
            self.running.append((cache, key, now))

    @rule(which=st.integers(0, 9))
    def end(self, which: int) -> None:
        if self.running:
            cache, key, began = self.running.pop(which % len(self.running))
            self.caches[cache].set({key: (began, None)})

    @rule(which=st.integers(0, 9))
    def fail(self, which: int) -> None:
        if self.running:
            self.running.pop(which % len(self.running))

    @rule()
    def memory_moves(self) -> None:
        self.mos.add(f"more {self.mos.version(user='alice')}", user="alice")

    @rule(key=KEYS)
    def clear(self, key: Any) -> None:
        self.caches[0].clear([key[0]])


def test_no_result_is_served_for_newer_memory_than_it_was_made_of() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Interleavings,
        settings=settings(max_examples=40, stateful_step_count=25, deadline=None),
    )
