"""``RememberNode``: remembers what is new in a thread, once. LangGraph runs it sync and async.

Called by LangGraph, calls the facade. A node keeps nothing between runs, so one instance serves
every thread; LangGraph offloads it to a thread in an asynchronous run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any, Final

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_memos.approval import Hold, approved, refused_reason
from langgraph_memos.asking import Asker, asker_of, task_key
from langgraph_memos.basis import is_quote, rests_on
from langgraph_memos.lines import Place, place_of
from langgraph_memos.state import Answer, MemoryState, Written
from langgraph_memos.trace import Trace
from memos_integrations.cube.errors import NotFound
from memos_integrations.cube.header import Origin
from memos_integrations.cube.outcomes import AddResult
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import CubeName

OWN_TOOLS: Final = ("remember", "recall", "update_memory", "forget")
"""The names of the tools of ``memory_tools``."""
_Numbered = list[tuple[int, AnyMessage]]
_Held = list[tuple[int, AnyMessage, str]]


class RememberNode:
    """Remembers the messages that are new in this thread: ``{"written": [...]}``, one per message.

    Written once however often the node is retried, resumed or begun anew: the key is the thread,
    the cube and the message with its id. On a fork of the thread they go to a branch of the cube.
    What a model answered is kept as derived from the memories it rests on, so it turns stale when
    they change; quotes are not kept, they are memories already. What ``hold`` gives a reason for
    waits for approval by ``interrupt``. ``roles`` are the kinds of messages to remember, such as
    ``("human",)``; by default all but system messages and what the memory's own tools said; nodes
    for different roles stand side by side, not one after the other. When the memory's queue is
    full, a run with a control is asked to drain. A message may carry its own time in
    ``additional_kwargs["time"]``.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        cube: CubeName | None = None,
        hold: Hold | None = None,
        roles: Collection[str] | None = None,
        agent: str | None = None,
    ) -> None:
        self._mos, self._cube, self._hold, self._agent = mos, cube, hold, agent
        self._roles = roles

    def __call__(
        self, state: MemoryState, config: RunnableConfig, runtime: Runtime[Any] | None = None
    ) -> dict[str, Any]:
        new = _since(state["messages"], state.get("remembered_upto"))
        if not new:
            return {"written": []}
        asker = asker_of(config, runtime, agent=self._agent)
        place = place_of(self._mos, asker, state.get("memory_version"), config, runtime)
        return self._remember(new, state.get("answer"), place, config, runtime)

    def _remember(
        self,
        new: Sequence[AnyMessage],
        answer: Answer | None,
        place: Place,
        config: RunnableConfig,
        runtime: Runtime[Any] | None,
    ) -> dict[str, Any]:
        trace = Trace(config, runtime)
        found = place.version_written(self._cube)
        place, cube = place.writing(self._cube)
        if place.rewound:
            trace.tell("forked", line=place.mark["line"], known=place.mark["known"], branch=cube)
        write = Writing(self._mos, place.asker, cube, config, runtime)
        free, held = self._sorted(new, answer)
        written = write.told(free, answer)
        written |= _decided(held, answer, write, trace)
        done = [written[place] for place in sorted(written)]
        mark = place.left(found=found, seq=place.version_written(self._cube))
        trace.written(done, seq=mark["seq"], line=mark["line"])
        _relieve(done, runtime)
        return {"written": done, "remembered_upto": new[-1].id, "memory_version": mark}

    def _sorted(self, new: Sequence[AnyMessage], answer: Answer | None) -> tuple[_Numbered, _Held]:
        """What may be written at once, and what is held back with the reason."""
        free: _Numbered = []
        held: _Held = []
        for n, message in enumerate(new):
            if is_quote(message, answer) or not self._remembers(message):
                continue
            reason = self._hold(message) if self._hold is not None else None
            if reason is None:
                free.append((n, message))
            else:
                held.append((n, message, reason))
        return free, held

    def _remembers(self, message: AnyMessage) -> bool:
        if self._roles is not None and message.type not in self._roles:
            return False
        return message.type != "system" and not _about_memory(message)


class Writing:
    """Writes messages to one cube, each call under its own key."""

    def __init__(
        self,
        mos: MOS,
        asker: Asker,
        cube: CubeName | None,
        config: RunnableConfig,
        runtime: Runtime[Any] | None,
    ) -> None:
        self._mos, self._asker, self._cube = mos, asker, cube
        self._config, self._runtime = config, runtime

    def told(
        self, numbered: _Numbered, answer: Answer | None, name: str = ""
    ) -> dict[int, Written]:
        """As ``__call__``; what this graph answered is kept as derived from what it rests on."""
        answers = {n: rests_on(message, answer) for n, message in numbered}
        written = self([each for each in numbered if answers[each[0]] is None], f"{name}said")
        for n, message in numbered:
            if (sources := answers[n]) is not None:
                about: dict[str, Any] = {"origin": Origin.INFERENCE, "derived_from": sources}
                written |= self([(n, message)], f"{name}answer:{message.id}", **about)
        return written

    def __call__(self, numbered: _Numbered, name: str, **about: Any) -> dict[int, Written]:
        """What became of each, by its number."""
        if not numbered:
            return {}
        if not any(_holds_something(message) for _, message in numbered):
            return {n: refused("the message is empty") for n, _ in numbered}
        if not about and self._asker.thread and all(each.id for _, each in numbered):
            return {n: self._one(each) for n, each in numbered}
        try:
            done = self._mos.add(
                [_message(each) for _, each in numbered],
                session=self._asker.thread,
                cube=self._cube,
                idempotency_key=task_key(self._config, self._runtime, name),
                **self._asker.keywords(),
                **about,
            )
        except NotFound:  # what it rests on was erased, or is hidden from the asker by now
            return {n: refused("what it rests on is gone") for n, _ in numbered}
        return dict(zip((n for n, _ in numbered), _written(done), strict=True))

    def _one(self, message: AnyMessage) -> Written:
        """What became of a message of the thread, written once in it whichever task writes it.

        A process may die after the write and before the checkpoint that tells of it; where the
        thread then goes on with a new message, LangGraph begins another task.
        """
        if not _holds_something(message):
            return refused("the message is empty")
        told = _message(message)
        known = [self._asker.thread, str(self._cube), _plain(told)]
        digest = hashlib.sha256(json.dumps(known, default=str).encode("utf-8", "surrogatepass"))
        done = self._mos.add(
            [told],
            session=self._asker.thread,
            cube=self._cube,
            idempotency_key=f"langgraph:message:{digest.hexdigest()}",
            **self._asker.keywords(),
        )
        return _written(done)[0]


def _plain(told: SimpleNamespace) -> dict[str, Any]:
    return dict(sorted(vars(told).items()))


def _decided(
    held: _Held, answer: Answer | None, write: Writing, trace: Trace
) -> dict[int, Written]:
    """What came of the writes that wait for approval. Raises ``GraphInterrupt`` until then."""
    if not held:
        return {}
    trace.tell("held", ids=[message.id for _, message, _ in held])
    names = approved([(message, reason) for _, message, reason in held])
    written = {
        n: refused(refused_reason(reason)) for n, message, reason in held if message.id not in names
    }
    return written | write.told([(n, m) for n, m, _ in held if m.id in names], answer, "held ")


def _relieve(written: Sequence[Written], runtime: Runtime[Any] | None) -> None:
    """Ask the run to drain when memory says that it is behind: a reason beside ``stored``."""
    control = None if runtime is None else runtime.control
    if control is not None and any(w["status"] == "stored" and w["reason"] for w in written):
        control.request_drain("memory pressure")


def _since(messages: Sequence[AnyMessage], upto: str | None) -> list[AnyMessage]:
    """The messages after that one; all of them when it is gone (ids keep them from repeating)."""
    places = [n for n, message in enumerate(messages, 1) if upto and message.id == upto]
    return list(messages[places[-1] if places else 0 :])


def _holds_something(message: AnyMessage) -> bool:
    return bool(str(message.text).strip() or getattr(message, "tool_calls", None))


def _about_memory(message: AnyMessage) -> bool:
    """Whether it only asks the memory's own tools, or is what they said: no new memory."""
    if isinstance(message, AIMessage) and message.tool_calls and not str(message.text).strip():
        return all(call["name"] in OWN_TOOLS for call in message.tool_calls)
    return isinstance(message, ToolMessage) and message.name in OWN_TOOLS


def _message(message: AnyMessage) -> SimpleNamespace:
    """The message as the facade reads it, with its own time and without calls of own tools."""
    told = SimpleNamespace(
        role=message.type,
        content=message.content,
        name=message.name,
        id=message.id,
        time=message.additional_kwargs.get("time"),
    )
    if isinstance(message, AIMessage) and message.tool_calls:
        told.tool_calls = [c for c in message.tool_calls if c["name"] not in OWN_TOOLS]
    if isinstance(message, ToolMessage):
        told.tool_call_id, told.status = message.tool_call_id, message.status
    return told


def _written(done: AddResult) -> list[Written]:
    return [
        Written(status=o.status, id=o.id, reason=o.reason, masked=o.masked or {})
        for o in done.outcomes
    ]


def refused(reason: str) -> Written:
    """The outcome of a message that was not written."""
    return Written(status="rejected", id=None, reason=reason, masked={})
