"""``TickingSaver``: the scheduler's beat at superstep boundaries, around any checkpointer.

LangGraph saves a checkpoint at the end of each superstep, beside the next one (under
``durability="exit"`` only at the end of the run). That is where memories are promoted, demoted
and flushed: off the critical path, at a point that a resumed run knows. Called by LangGraph, calls
the wrapped checkpointer, then the facade.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

from langgraph_memos.asking import asker_of
from langgraph_memos.drain import flush_memory
from langgraph_memos.lines import Cubes
from langgraph_memos.schedule import rebalanced
from langgraph_memos.trace import Trace, Writer
from memos_integrations.cube.errors import MemosError
from memos_integrations.interface.mos import MOS

_log = logging.getLogger(__name__)
_RUNTIME: Final = "__pregel_runtime"
"""Where LangGraph keeps the runtime in a config; a test holds that it is there."""


class TickingSaver(BaseCheckpointSaver[Any]):
    """``saver`` with a tick of the memory's scheduler after each checkpoint it has saved.

    What a tick moved is told on the run's custom stream (``promoted``). ``least_seconds`` is the
    time between two ticks of one thread. A tick that fails is logged and told, and fails no run:
    the checkpoint is saved before it. A run that is asked to drain has its memory flushed.
    """

    def __init__(
        self,
        saver: BaseCheckpointSaver[Any],
        mos: MOS,
        *,
        cube: Cubes = None,
        least_seconds: float = 1.0,
    ) -> None:
        super().__init__(serde=saver.serde)
        self._saver, self._mos, self._cube = saver, mos, cube
        self._least_seconds = least_seconds
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    # -- the tick -----------------------------------------------------------------------------

    def _tick(self, config: RunnableConfig, metadata: CheckpointMetadata) -> None:
        named = config.get("configurable", {})
        runtime = named.get(_RUNTIME)
        trace = Trace(config, writer=_outside(config, getattr(runtime, "stream_writer", None)))
        if getattr(runtime, "drain_requested", False):
            flush_memory(self._mos)
            trace.tell("drained", reason=getattr(runtime, "drain_reason", None))
        if metadata.get("source") not in ("loop", "input") or not self._due(named):
            return
        try:
            tick = rebalanced(self._mos, asker_of(config, runtime), self._cube)
        except MemosError as error:
            _log.warning("a tick of the memory scheduler failed: %s", type(error).__name__)
            trace.tell("refused", step=metadata.get("step"), error=type(error).__name__)
            return
        if tick["moves"] or tick["forms"]:
            trace.tell("promoted", step=metadata.get("step"), **tick)

    def _due(self, named: dict[str, Any]) -> bool:
        thread, now = str(named.get("thread_id")), time.monotonic()
        with self._lock:
            last = self._last.get(thread)
            if last is not None and now - last < self._least_seconds:
                return False
            if len(self._last) > 10_000:
                self._last.clear()
            self._last[thread] = now
        return True

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        saved = self._saver.put(config, checkpoint, metadata, new_versions)
        self._tick(config, metadata)
        return saved

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        saved = await self._saver.aput(config, checkpoint, metadata, new_versions)
        await asyncio.to_thread(self._tick, config, metadata)
        return saved

    # -- handed on ----------------------------------------------------------------------------

    @property
    def config_specs(self) -> list[Any]:
        return self._saver.config_specs

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._saver.get_tuple(config)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._saver.aget_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  -- LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        return self._saver.list(config, filter=filter, before=before, limit=limit)

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        return self._saver.alist(config, filter=filter, before=before, limit=limit)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self._saver.put_writes(config, writes, task_id, task_path)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await self._saver.aput_writes(config, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        self._saver.delete_thread(thread_id)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._saver.adelete_thread(thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._saver.delete_for_runs(run_ids)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._saver.adelete_for_runs(run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._saver.copy_thread(source_thread_id, target_thread_id)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._saver.acopy_thread(source_thread_id, target_thread_id)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._saver.prune(thread_ids, strategy=strategy)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await self._saver.aprune(thread_ids, strategy=strategy)

    def get_delta_channel_history(self, **given: Any) -> Any:
        return self._saver.get_delta_channel_history(**given)

    async def aget_delta_channel_history(self, **given: Any) -> Any:
        return await self._saver.aget_delta_channel_history(**given)

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self._saver.get_next_version(current, channel)


def _outside(config: RunnableConfig, writer: Writer | None) -> Writer | None:
    """The run's stream writer for use outside a node: it asks LangGraph's context who writes."""
    if writer is None:
        return None
    named = config.get("configurable", {})
    namespace = named.get("checkpoint_ns", "")
    writes = {**named, "checkpoint_ns": f"{namespace}|tick" if namespace else ""}

    def write(told: Any) -> None:
        with set_config_context({**config, "configurable": writes}) as context:
            context.run(writer, told)

    return write
