"""``ScheduleNode``: lets the scheduler move memories between tiers at this point of the graph.

Called by LangGraph, calls the facade. ``TickingSaver`` does the same at every superstep boundary.
"""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_memos.asking import Asker, asker_of
from langgraph_memos.lines import Cubes
from langgraph_memos.state import MemoryState
from langgraph_memos.trace import Trace
from memos_integrations.interface.mos import MOS


class ScheduleNode:
    """Promotes and demotes the asker's memories: ``{"scheduled": {"considered", "moves",
    "forms"}}``.

    ``forms`` are the cubes whose form changes for a model that the program hosts; that is queued
    and not waited for.
    Needs admin rights on the cubes, as an owner has; raises ``AccessDenied`` without.
    """

    def __init__(self, mos: MOS, *, cube: Cubes = None, agent: str | None = None) -> None:
        self._mos, self._cube, self._agent = mos, cube, agent

    def __call__(
        self, state: MemoryState, config: RunnableConfig, runtime: Runtime[Any] | None = None
    ) -> dict[str, Any]:
        tick = rebalanced(self._mos, asker_of(config, runtime, agent=self._agent), self._cube)
        Trace(config, runtime).tell("promoted", **tick)
        return {"scheduled": tick}


def rebalanced(mos: MOS, asker: Asker, cube: Cubes = None) -> dict[str, Any]:
    """What one tick of the scheduler moved, as plain data."""
    plan = mos.rebalance(cube=cube, **asker.keywords())
    return {
        "considered": plan.considered,
        "moves": [
            {"id": each.item, "from": each.from_tier, "to": each.to_tier}
            for each in plan.moves
            if not each.migrates
        ],
        "forms": [
            {
                "cube": each.path,
                "model": each.model,
                "step": each.step,
                "from": each.from_form,
                "to": each.form,
            }
            for each in plan.form_moves
        ],
    }
