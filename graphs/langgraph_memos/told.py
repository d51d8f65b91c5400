"""An approval of what was told, and of nothing else.

LangGraph gives answers to a node's interrupts by their order, whatever they ask by then; and run
again without an answer, it gives the last one once more. What an answer was given to stands in the
checkpoint alone: it is read there, where neither an erase nor a writer of the memory gets at it.
Called by ``DistilNode``, calls the checkpointer of the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.types import interrupt

from langgraph_memos.approval import decided
from langgraph_memos.asking import info_of
from memos_integrations.cube.errors import InvalidInput

_SAVER: Final = "__pregel_checkpointer"
"""Where LangGraph keeps the run's checkpointer."""
_ANSWER: Final = "00000000-0000-0000-0000-000000000000"
"""The task by whose name LangGraph keeps the answer of ``Command(resume=...)``."""


class Told:
    """What the running task asked last. Make one per run of a node, before it asks."""

    def __init__(self, config: RunnableConfig, runtime: object) -> None:
        self._named: dict[str, Any] = config.get("configurable", {})
        self._info = info_of(runtime)
        self._last = self._read()
        self._turn = 0

    def approved(self, question: Mapping[str, Any], ids: Sequence[str]) -> list[str | None]:
        """Of these ids the approved ones; interrupts the run until somebody has decided.

        Two questions are the same where their ``digest`` is. An approval counts for the question
        it answered, a refusal for whatever is asked by then; each other answer is asked for again.
        """
        asked = dict(question)
        while True:
            if self._turn > 0:
                self._forget_answer()
            answer, answers_last = self._answer(asked)
            if not answers_last:
                continue
            try:
                found = decided(answer, ids)
            except InvalidInput as error:
                asked = {**question, "error": str(error)}
                continue
            if not found or self._last["digest"] == question["digest"]:
                return found

    def _answer(self, question: Mapping[str, Any]) -> tuple[Any, bool]:
        """The next answer, and whether it was given to what was asked last."""
        turn, self._turn = self._turn, self._turn + 1
        return interrupt({**question, "turn": turn}), self._last.get("turn") == turn

    def _read(self) -> Mapping[str, Any]:
        saver, info = self._saver(), self._info
        if saver is None or info is None:
            return {}
        where = self._where(info.checkpoint_ns.rpartition("|")[0], info.checkpoint_id)
        try:
            found = saver.get_tuple(where)
        except NotImplementedError:  # for event loops only; nodes run in threads of their own
            found = asyncio.run(saver.aget_tuple(where))
        writes = found.pending_writes if found is not None else None
        for task, channel, value in writes or ():
            if (task, channel) == (info.task_id, INTERRUPT):
                return _question(value)
        return {}

    def _forget_answer(self) -> None:
        """Take back the answer that is kept for whoever runs the thread again without one: it was
        given to another question."""
        saver, info = self._saver(), self._info
        if saver is None or info is None:
            return
        own = {info.checkpoint_ns.rpartition("|")[0]: info.checkpoint_id}
        graphs: dict[str, str] = own | self._named.get("checkpoint_map", {})
        outermost = min(graphs, key=len)  # the one that was resumed
        where = self._where(outermost, graphs[outermost])
        try:
            saver.put_writes(where, [(RESUME, None)], _ANSWER)
        except NotImplementedError:
            asyncio.run(saver.aput_writes(where, [(RESUME, None)], _ANSWER))

    def _saver(self) -> BaseCheckpointSaver[Any] | None:
        saver = self._named.get(_SAVER)
        return cast(Any, saver) if isinstance(saver, BaseCheckpointSaver) else None

    def _where(self, namespace: str, checkpoint: str) -> RunnableConfig:
        # Who asks goes along: a governed checkpointer shows a thread to nobody else.
        asker = {k: v for k, v in self._named.items() if not k.startswith(("__", "checkpoint_"))}
        return {"configurable": {**asker, "checkpoint_ns": namespace, "checkpoint_id": checkpoint}}


def _question(interrupts: Any) -> Mapping[str, Any]:
    """What was asked by these interrupts of a task, where it was asked here."""
    for each in interrupts:
        value = getattr(each, "value", None)
        if isinstance(value, Mapping) and {"turn", "digest"} <= value.keys():
            return cast(Mapping[str, Any], value)
    return {}
