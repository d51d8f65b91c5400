"""Tools with which an agent uses its memory itself: remember, recall, update, forget.

Whose memory it is comes from the run (``ToolRuntime``), never from arguments: what a model writes
there is hostile. An id of somebody else's memory and one that does not exist get the same refusal.
Called by LangGraph's ``ToolNode``, calls the facade.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.prebuilt import ToolRuntime
from langgraph.types import Command

from langgraph_memos.approval import Hold, approved, refused_reason
from langgraph_memos.asking import asker_of, task_key
from langgraph_memos.lines import KEY, Cubes, Place, place_of
from langgraph_memos.recall import RecallNode
from langgraph_memos.trace import Trace
from langgraph_memos.version import Mark
from memos_integrations.cube.acl import Trust
from memos_integrations.cube.errors import AccessDenied, InvalidInput, MemosError, NotFound
from memos_integrations.cube.header import Origin
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import CubeName

Runtime = ToolRuntime[Any, Any]

UNKNOWN_ID: Final = "There is no such memory of yours."
NOTHING_KNOWN: Final = "Nothing is remembered of that."
_MAX_LIMIT: Final = 20
_MAX_CHARS: Final = 20_000


def memory_tools(
    mos: MOS,
    *,
    cube: CubeName | None = None,
    read: Cubes = None,
    limit: int = 8,
    hold: Hold | None = None,
    agent: str | None = None,
) -> list[BaseTool]:
    """``remember``, ``recall``, ``update_memory`` and ``forget`` for LangGraph's ``ToolNode``.

    They write to ``cube`` (the asker's home by default) and read ``read`` (that cube by default).
    What the agent remembers is marked as its own inference, and ``update_memory`` never puts an
    agent's words into a memory that is none (of a user, a tool, the web): it archives that one
    and keeps its own. ``hold``
    makes ``remember`` wait for approval, as in ``RememberNode``; give each call a task of its own
    then, as ``memory_agent`` and ``create_agent`` do, because LangGraph tells the decisions of one
    task apart by their order only. A refusal is an answer to the model, not an exception.
    """
    own = _AgentMemory(mos, cube, cube if read is None else read, limit, hold, agent)

    @tool
    def remember(text: str, runtime: Runtime) -> str | Command[Any]:
        """Remember one fact for later conversations, in one plain sentence."""
        return _answered(runtime, lambda: own.remember(text, runtime))

    @tool
    def recall(query: str, runtime: Runtime, limit: int = limit) -> str | Command[Any]:
        """Look up what is remembered about something. Gives memories with their ids."""
        return _answered(runtime, lambda: own.recall(query, limit, runtime))

    @tool
    def update_memory(memory_id: str, text: str, runtime: Runtime) -> str | Command[Any]:
        """Correct a memory that is wrong or outdated. Take its id from `recall`."""
        return _answered(runtime, lambda: own.update(memory_id, text, runtime))

    @tool
    def forget(memory_id: str, runtime: Runtime) -> str | Command[Any]:
        """Forget a memory because the user asks for it. Take its id from `recall`."""
        return _answered(runtime, lambda: own.forget(memory_id, runtime))

    return [remember, recall, update_memory, forget]


class _AgentMemory:
    """What the tools do, for whoever asks in the run."""

    def __init__(
        self,
        mos: MOS,
        cube: CubeName | None,
        read: Cubes,
        limit: int,
        hold: Hold | None,
        agent: str | None,
    ) -> None:
        self._mos, self._cube, self._read, self._hold = mos, cube, read, hold
        self._agent, self._limit = agent, limit

    def remember(self, text: str, runtime: Runtime) -> str | Command[Any]:
        if not text.strip() or len(text) > _MAX_CHARS:
            return f"Nothing was remembered: give a text of 1 to {_MAX_CHARS} characters."
        if (refused := self._held(text, runtime)) is not None:
            return refused
        was = self._place(runtime)
        found = was.version_written(self._cube)
        place, cube = was.writing(self._cube)
        done = self._mos.add(
            {"role": "assistant", "content": text},
            session=place.asker.thread,
            cube=cube,
            trust=Trust.INFERENCE,
            origin=Origin.INFERENCE,
            idempotency_key=self._key(runtime, "remember"),
            **place.asker.keywords(),
        )
        (outcome,) = done.outcomes
        return self._wrote(
            "remember", f"{outcome.status} as {outcome.id}", outcome.id, place, found, runtime
        )

    def recall(self, query: str, limit: int, runtime: Runtime) -> str | Command[Any]:
        most = min(max(1, limit), _MAX_LIMIT)
        node = RecallNode(self._mos, cube=self._read, limit=most, agent=self._agent)
        place = self._place(runtime)
        seq = place.version(self._read)
        found = node.find(place, query[:_MAX_CHARS])
        Trace(runtime.config, runtime).recalled(found, seq=seq, by="tool")
        shown = [
            {"id": each["id"], "text": each["text"], "time": each["time"], "trust": each["trust"]}
            for each in found
        ]
        said = json.dumps(shown, ensure_ascii=False) if shown else NOTHING_KNOWN
        return self._said("recall", said, place.left(found=seq, seq=seq), runtime)

    def update(self, memory: str, text: str, runtime: Runtime) -> str | Command[Any]:
        if not text.strip() or len(text) > _MAX_CHARS:
            return f"Nothing was changed: give a text of 1 to {_MAX_CHARS} characters."
        place, cube, found = self._own(memory, runtime)
        done = self._mos.correct(
            memory,
            text,
            cube=cube,
            idempotency_key=self._key(runtime, "update"),
            **place.asker.keywords(),
        )
        said = f"updated {memory} to version {done.version}"
        if done.replaced is not None:
            said = f"replaced {memory} by {done.id}"
        return self._wrote("update_memory", said, done.id, place, found, runtime)

    def forget(self, memory: str, runtime: Runtime) -> str | Command[Any]:
        place, cube, found = self._own(memory, runtime)
        key = self._key(runtime, "forget")
        self._mos.delete(memory, cube=cube, idempotency_key=key, **place.asker.keywords())
        return self._wrote("forget", f"forgot {memory}", memory, place, found, runtime)

    def _own(self, memory: str, runtime: Runtime) -> tuple[Place, CubeName | None, int]:
        """The place to change this memory at. Raises ``NotFound`` where it is not to be seen, and
        on a fork for the main line's: its copy on the branch has an id of its own."""
        was = self._place(runtime)
        found = was.version_written(self._cube)
        place, cube = was.writing(self._cube)
        try:
            self._mos.get(memory, cube=cube, **place.asker.keywords())
        except InvalidInput as error:  # no id at all
            raise NotFound(UNKNOWN_ID) from error
        return place, cube, found

    def _held(self, text: str, runtime: Runtime) -> str | None:
        """The refusal of a write that waits for approval and does not get it."""
        message = HumanMessage(text, id=runtime.tool_call_id or "tool")
        reason = None if self._hold is None else self._hold(message)
        if reason is None or approved([(message, reason)]):
            return None
        return f"Nothing was remembered: {refused_reason(reason)}."

    def _place(self, runtime: Runtime) -> Place:
        state = runtime.state if isinstance(runtime.state, dict) else {}
        asker = asker_of(runtime.config, runtime, agent=self._agent)
        return place_of(self._mos, asker, state.get(KEY), runtime.config, runtime)

    def _key(self, runtime: Runtime, verb: str) -> str | None:
        return task_key(runtime.config, runtime, f"{verb}:{runtime.tool_call_id}")

    def _wrote(
        self,
        verb: str,
        text: str,
        memory: str | None,
        place: Place,
        found: int,
        runtime: Runtime,
    ) -> Command[Any]:
        told = Trace(runtime.config, runtime)
        told.tell("written", ids=[memory], statuses=[text.partition(" ")[0]], by="tool")
        mark = place.left(found=found, seq=place.version_written(self._cube))
        return self._said(verb, text, mark, runtime)

    def _said(self, verb: str, text: str, mark: Mark, runtime: Runtime) -> Command[Any]:
        """The answer together with the mark, for graphs whose state keeps one."""
        said = ToolMessage(text, name=verb, tool_call_id=runtime.tool_call_id or "")
        return Command(update={"messages": [said], KEY: mark})


def _answered(runtime: Runtime, work: Callable[[], str | Command[Any]]) -> str | Command[Any]:
    """What a tool says; refusals and bad input as words that tell nothing of what is hidden."""
    try:
        return work()
    except NotFound:
        return UNKNOWN_ID
    except AccessDenied:
        return "You may not do that with this memory."
    except MemosError as error:
        Trace(runtime.config, runtime).tell("refused", error=type(error).__name__)
        return f"That was refused: {error}"
