"""``DistilNode``: has a hosted model learn lasting memories, once somebody has approved of it.

Add it with ``defer=True``: it then runs when the rest of the graph has. Called by LangGraph, calls
the facade. What waits for approval is told by ids: the words stay in memory, where an erase reaches
them, and whoever decides reads them there.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as Collection
from contextlib import suppress
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_memos.asking import asker_of, task_key
from langgraph_memos.lines import Place, place_of
from langgraph_memos.state import Distillation, DistilState, MemoryState
from langgraph_memos.told import Told
from langgraph_memos.trace import Trace
from memos_integrations.cube.errors import Conflict, TaskFailed, TaskTimeout
from memos_integrations.infrastructure.parametric.recipe import Gates, Recipe
from memos_integrations.interface.adapter_info import DistilledShard, DistilResult
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.record_verbs import Records
from memos_integrations.interface.scope import CubeName, Where

STAGED: Final = "langgraph.distil"
"""The space of records in which a node notes what it staged and what became of it."""
_KEPT_SECONDS: Final = 30 * 86_400.0
_ALL: Final = "all"


class DistilNode:
    """Stages what ``MOS.distil`` would learn, asks, and queues it: ``{"distillation": {...}}``.

    The run is interrupted with ``{"memory": "distil", "model", "shards": [{"cube", "shard",
    "items", "versions"}], "skipped", "digest", "turn"}``; go on with ``Command(resume=True)`` or
    ``False``. Refused, nothing is learnt and nothing is left but that answer. Approved, the durable
    tasks are queued once, however often the node is resumed or run again. Only what was told is
    learnt, for whoever was asked: ``digest`` is of both, and where either is another one by then,
    the node asks again. A memory that is corrected later takes what was learnt of it out of use
    and is not learnt again by itself: the next run of the node proposes it. ``approval=False``
    asks nobody, and has corrections learnt as they come.

    The model must be hosted in this program under the name ``model``; it is trained in the
    background, or by ``mos.work()`` where no worker runs. ``wait_seconds`` waits for it. A training
    that fails or takes longer fails no run: the state says so.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        model: str,
        approval: bool = True,
        cube: CubeName | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        recipe: Recipe | None = None,
        gates: Gates | None = None,
        stable_seconds: float = 0.0,
        wait_seconds: float = 0.0,
        agent: str | None = None,
    ) -> None:
        self._mos, self._model, self._approval = mos, model, approval
        self._cube, self._filter = cube, filter
        self._how: Mapping[str, Any] = {
            "recipe": recipe,
            "gates": gates,
            "stable_seconds": stable_seconds,
            "rebuild": not approval,
        }
        self._seconds, self._agent = wait_seconds, agent

    def __call__(
        self, state: MemoryState, config: RunnableConfig, runtime: Runtime[Any] | None = None
    ) -> dict[str, Any]:
        asker = asker_of(config, runtime, agent=self._agent)
        place = place_of(self._mos, asker, state.get("memory_version"), config, runtime)
        if place.forked:
            return {"distillation": None}  # a branch is for trying out, not for keeping
        trace = Trace(config, runtime)
        notes = _Notes(
            self._mos.records(STAGED, cube=self._cube, **asker.keywords()),
            task_key(config, runtime, "distil"),
        )
        done = self._done(place, notes, Told(config, runtime), trace)
        if done is None:
            return {"distillation": None}
        told = self._waited(done, place)
        trace.tell("distilled", model=self._model, **told)
        return {"distillation": told}

    def _done(self, place: Place, notes: _Notes, told: Told, trace: Trace) -> Distillation | None:
        """What came of it: what was noted by an earlier attempt, or what is decided now."""
        if notes.tasks is not None:
            return _distillation("queued" if notes.tasks else "refused", notes.tasks)
        while staged := self._staged(place, notes):
            if self._approval and not self._approved(place, staged, told, notes.skipped, trace):
                return notes.settled("refused", [])
            with suppress(Conflict):  # then it is told anew, and asked for again
                found = self._distil(place, expected=staged)
                return notes.settled("queued", found.task_ids)
        return self._of_earlier(place, notes)

    def _staged(self, place: Place, notes: _Notes) -> list[DistilledShard]:
        """What would be learnt now, noted."""
        found = self._distil(place, dry_run=True)
        new = [shard for shard in found.shards if not shard.unchanged]
        if new:
            notes.stage(new, skipped=len(found.skipped))
        return new

    def _of_earlier(self, place: Place, notes: _Notes) -> Distillation | None:
        """What an attempt had queued that died before it noted the tasks; ``None`` for nothing."""
        if not notes.staged:
            return None
        wanted = {(shard.cube, shard.shard) for shard in notes.staged}
        who = place.asker  # adapters are of whole cubes: an agent beside a user narrows nothing
        agent = who.agent if who.user is None else None
        made = self._mos.adapters(model=self._model, cube=self._cube, user=who.user, agent=agent)
        tasks = {
            (each.cube, each.shard): each.task
            for each in made
            if (each.cube, each.shard) in wanted and each.state in ("candidate", "published")
        }
        return notes.settled("queued", [task for task in tasks.values() if task is not None])

    def _approved(
        self,
        place: Place,
        staged: Sequence[DistilledShard],
        told: Told,
        skipped: int,
        trace: Trace,
    ) -> bool:
        shards = [_plain(shard) for shard in staged]
        trace.tell(
            "held",
            by="distil",
            model=self._model,
            ids=[item for shard in staged for item in shard.items],
        )
        question = {
            "memory": "distil",
            "model": self._model,
            "shards": shards,
            "skipped": skipped,
            "digest": _digest([place.asker.keywords(), self._model, shards]),
        }
        return bool(told.approved(question, [_ALL]))

    def _distil(self, place: Place, **how: Any) -> DistilResult:
        who = place.asker.keywords()
        # A whole cube: beside a user, an agent would narrow it to what it noted itself.
        agent = who["agent"] if who["user"] is None else None
        return self._mos.distil(
            model=self._model,
            user=who["user"],
            agent=agent,
            cube=self._cube,
            filter=self._filter,
            **self._how,
            **how,
        )

    def _waited(self, done: Distillation, place: Place) -> Distillation:
        who, deadline = place.asker.keywords(), time.monotonic() + self._seconds
        results: list[dict[str, str]] = []
        states: set[str] = set()
        for task in done["tasks"]:
            left = deadline - time.monotonic()
            if left > 0:
                with suppress(TaskFailed, TaskTimeout):  # the status below says it
                    self._mos.wait(task, timeout_seconds=left, cube=self._cube, **who)
            status = self._mos.task_status(task, cube=self._cube, **who)
            states.add(status.state)
            if status.result is not None:
                results.append(json.loads(status.result))
        return Distillation(
            state=_of_all(done["state"], states), tasks=done["tasks"], results=results
        )


class _Notes:
    """What a node notes of itself, so that whoever resumes it goes on where it was."""

    def __init__(self, records: Records, key: str | None) -> None:
        self._records, self._key = records, key
        noted = b"" if key is None else records.get([key]).get(key, b"")
        told: dict[str, Any] = json.loads(noted) if noted else {}
        self.staged = [_shard(each) for each in told.get("shards", [])]
        self.skipped = int(told.get("skipped", 0))
        self.tasks: list[str] | None = told.get("tasks")

    def stage(self, shards: list[DistilledShard], *, skipped: int) -> None:
        """Note what is to be asked about."""
        self.staged = shards
        self.skipped = skipped
        self._write()

    def settled(self, state: DistilState, tasks: Sequence[str]) -> Distillation:
        """Note what was decided: no tasks where it was refused."""
        self.tasks = list(tasks)
        self._write()
        return _distillation(state, self.tasks)

    def _write(self) -> None:
        if self._key is None:
            return
        shards = [_plain(shard) for shard in self.staged]
        told = {"shards": shards, "skipped": self.skipped, "tasks": self.tasks}
        # What waits is kept for as long as somebody may take to decide.
        kept = None if self.tasks is None else _KEPT_SECONDS
        self._records.put({self._key: json.dumps(told).encode()}, ttl_seconds=kept)


def _plain(shard: DistilledShard) -> dict[str, Any]:
    """Ids and versions alone."""
    return {
        "cube": shard.cube,
        "shard": shard.shard,
        "items": list(shard.items),
        "versions": list(shard.versions),
    }


def _digest(told: object) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _shard(told: Mapping[str, Any]) -> DistilledShard:
    return DistilledShard(
        told["cube"], told["shard"], tuple(told["items"]), versions=tuple(told["versions"])
    )


def _distillation(state: DistilState, tasks: list[str]) -> Distillation:
    return Distillation(state=state, tasks=tasks, results=[])


def _of_all(state: DistilState, tasks: Collection[str]) -> DistilState:
    """The state of all tasks together: one that is not over counts first, then one that failed."""
    if not tasks or tasks & {"waiting", "running"}:
        return state
    return "completed" if tasks == {"completed"} else "failed"
