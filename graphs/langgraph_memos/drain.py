"""Draining: a run that is asked to stop leaves no memory work behind, and goes on later.

LangGraph stops a run at the next superstep boundary after ``request_drain``; the checkpoint is
saved, and ``invoke(None, config)`` goes on from it.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from langgraph.runtime import RunControl

from memos_integrations.cube.errors import TaskTimeout
from memos_integrations.interface.mos import MOS

WAIT_SECONDS: Final = 30.0


def flush_memory(mos: MOS, *, wait_seconds: float = WAIT_SECONDS) -> bool:
    """Write the waiting read traces and finish the memory's open tasks; whether all were done.

    Tasks that need longer are in the file and go on when it is opened again: nothing is lost.
    """
    mos.flush()
    try:
        mos.wait(timeout_seconds=wait_seconds)
    except TaskTimeout:
        return False
    return True


class MemoryDrain(RunControl):
    """A run's control that flushes the memory when the run was asked to drain.

    ``with MemoryDrain(mos) as control: graph.invoke(input, config, control=control)``, or ``async
    with``. ``control.request_drain()`` only leaves a note, so a signal handler may call it; the
    flush comes when the run has stopped. One per run, as LangGraph's own.
    """

    __slots__ = ("_mos", "_wait_seconds")

    def __init__(self, mos: MOS, *, wait_seconds: float = WAIT_SECONDS) -> None:
        super().__init__()
        self._mos, self._wait_seconds = mos, wait_seconds

    def _finish(self) -> None:
        if self.drain_requested:
            flush_memory(self._mos, wait_seconds=self._wait_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._finish)
