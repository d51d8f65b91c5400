"""``ConsolidateNode``: sums up what belongs together, as a durable task of the memory.

Add it with ``defer=True``: it then runs when the rest of the graph has. Called by LangGraph, calls
the facade.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_memos.asking import asker_of, task_key
from langgraph_memos.lines import Place, place_of
from langgraph_memos.state import Consolidation, MemoryState
from langgraph_memos.trace import Trace
from memos_integrations.cube.errors import NotFound, TaskFailed, TaskTimeout
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import CubeName

JOBS: Final = "langgraph.jobs"
"""The space of records in which a node's task is noted, so that a resumed node finds it."""


class ConsolidateNode:
    """Queues a consolidation of the cube and waits for it: ``{"consolidation": {...}}``.

    The task is in the memory's file before the wait begins. When the process dies, whoever opens
    the file next works it, and the resumed node waits for that same task. ``wait_seconds=0`` does
    not wait. A consolidation that fails or takes longer fails no run: the state says so.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        cube: CubeName | None = None,
        min_cluster: int = 3,
        wait_seconds: float = 60.0,
        agent: str | None = None,
    ) -> None:
        self._mos, self._cube, self._agent = mos, cube, agent
        self._least, self._seconds = min_cluster, wait_seconds

    def __call__(
        self, state: MemoryState, config: RunnableConfig, runtime: Runtime[Any] | None = None
    ) -> dict[str, Any]:
        asker = asker_of(config, runtime, agent=self._agent)
        place = place_of(self._mos, asker, state.get("memory_version"), config, runtime)
        if place.forked:
            return {"consolidation": None}  # a branch is for trying out, not for keeping
        task = self._task(place, task_key(config, runtime, "consolidate"))
        if task is None:
            return {"consolidation": None}
        done = self._waited(task, place)
        Trace(config, runtime).tell("consolidated", done["result"], task=task, state=done["state"])
        return {"consolidation": done}

    def _task(self, place: Place, key: str | None) -> str | None:
        """The task of this node: the one it queued before it was interrupted, or a new one."""
        who = place.asker.keywords()
        jobs = self._mos.records(JOBS, cube=self._cube, **who)
        noted = {} if key is None else jobs.get([key])
        if key is not None and key in noted:
            return noted[key].decode()
        try:
            # A whole cube: beside a user, an agent would narrow it to what it noted itself.
            agent = who["agent"] if who["user"] is None else None
            task = self._mos.consolidate(
                min_cluster=self._least, user=who["user"], agent=agent, cube=self._cube
            )
        except NotFound:  # nothing was remembered yet
            return None
        if key is not None:
            jobs.put({key: task.encode()}, ttl_seconds=30 * 86_400.0)
        return task

    def _waited(self, task: str, place: Place) -> Consolidation:
        who = place.asker.keywords()
        if self._seconds > 0:
            with suppress(TaskFailed, TaskTimeout):  # the status below says it
                self._mos.wait(task, timeout_seconds=self._seconds, cube=self._cube, **who)
        status = self._mos.task_status(task, cube=self._cube, **who)
        return Consolidation(task=task, state=status.state, result=status.result)
