"""Draining: a run that is asked to stop leaves no memory work behind, and goes on later.

LangGraph stops a run at the next superstep boundary after ``request_drain``; the checkpoint is
saved, and ``invoke(None, config)`` goes on from it.
"""

from __future__ import annotations

from typing import Final

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
    """A run's control that flushes the memory when the run is asked to drain.

    ``graph.invoke(input, config, control=MemoryDrain(mos))``; then ``request_drain()`` from any
    thread, such as a handler of SIGTERM's. One per run, as LangGraph's own.
    """

    __slots__ = ("_mos", "_wait_seconds")

    def __init__(self, mos: MOS, *, wait_seconds: float = WAIT_SECONDS) -> None:
        super().__init__()
        self._mos, self._wait_seconds = mos, wait_seconds

    def request_drain(self, reason: str = "shutdown") -> None:
        """Stop the run at its next superstep boundary; the memory is flushed at once."""
        super().request_drain(reason)
        flush_memory(self._mos, wait_seconds=self._wait_seconds)
