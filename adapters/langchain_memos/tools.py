"""Tools by which a model remembers, recalls, corrects and forgets, in any agent or by hand.

Called by LangChain, calls the facade. Whose memory it is comes from the run's config or was fixed
when the tools were made; a model can neither see nor choose it. What a model writes is marked as
inferred by it, so it is quoted as unverified when it is recalled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any, Concatenate, ParamSpec

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import BaseModel, Field

from langchain_memos.asker import Asker, asker_of, outer_task
from memos_integrations.cube.acl import Trust
from memos_integrations.cube.errors import MemosError, UsageError
from memos_integrations.cube.header import Origin
from memos_integrations.interface.mos import MOS

P = ParamSpec("P")
_MOST_MEMORIES = 20
_REASON = "by a tool"
_INFERRED: dict[str, Any] = {"origin": Origin.INFERENCE, "trust": Trust.INFERENCE}

_Text = Annotated[str, Field(min_length=1, max_length=20_000)]
_Id = Annotated[str, Field(description="The id of a memory, as recall shows it", max_length=100)]


class _Remember(BaseModel):
    text: Annotated[_Text, Field(description="One fact or preference, in a full sentence")]


class _Recall(BaseModel):
    query: Annotated[_Text, Field(description="What to look for, as a question or in words")]
    limit: Annotated[
        int, Field(description="How many memories at most", ge=1, le=_MOST_MEMORIES)
    ] = 5


class _UpdateMemory(BaseModel):
    memory_id: _Id
    text: Annotated[_Text, Field(description="What is true now, in a full sentence")]


class _Forget(BaseModel):
    memory_id: _Id


def memory_tools(
    mos: MOS,
    *,
    user: str | None = None,
    agent: str | None = None,
    cube: str | None = None,
    only: Sequence[str] | None = None,
) -> list[BaseTool]:
    """``remember``, ``recall``, ``update_memory`` and ``forget``, or those named in ``only``.

    ``user`` and ``agent`` fix whose memory it is; otherwise ``config["configurable"]`` says it.
    A refusal or a bad argument is told to the model as the tool's answer. ``update_memory`` never
    puts a model's words into a memory that somebody else wrote: it archives that one and keeps
    what the model says as inferred. ``forget`` takes a memory out of every read and leaves it in
    history; erasing is not for a model. In a graph each call takes effect once, retried or not.
    """
    verbs = _Verbs(mos, Asker(user, agent), cube)
    made: list[BaseTool] = [
        _tool(verbs.remember, _Remember, "Remember something about the user for later."),
        _tool(verbs.recall, _Recall, "Look up what is remembered about a question."),
        _tool(verbs.update_memory, _UpdateMemory, "Correct a memory that is no longer true."),
        _tool(verbs.forget, _Forget, "Forget a memory that the user wants gone."),
    ]
    unknown = sorted(set(only or ()) - {tool.name for tool in made})
    if unknown:
        raise UsageError(f"no memory tool {unknown[0]!r}; there are {[t.name for t in made]}")
    return [tool for tool in made if only is None or tool.name in only]


def _told(
    verb: Callable[Concatenate[_Verbs, P], str],
) -> Callable[Concatenate[_Verbs, P], str]:
    """``verb``, with what it raises as LangChain's error of tools, which is told to the model."""

    @wraps(verb)
    def telling(self: _Verbs, /, *args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return verb(self, *args, **kwargs)
        except MemosError as error:
            raise ToolException(str(error)) from error

    return telling


class _Verbs:
    """The four tools as functions of their arguments and the run's config."""

    def __init__(self, mos: MOS, bound: Asker, cube: str | None) -> None:
        self._mos = mos
        self._bound = bound
        self._cube = cube

    def _asker(self, config: RunnableConfig) -> Asker:
        return asker_of(ensure_config(config), bound=self._bound)

    @_told
    def remember(self, text: str, config: RunnableConfig) -> str:
        asker = self._asker(config)
        done = self._mos.add(
            {"role": "assistant", "content": text},
            session=asker.thread,
            cube=self._cube,
            idempotency_key=_key(config, "remember", text),
            **_INFERRED,
            **asker.keywords(),
        )
        return f"Remembered as {done.id}."

    @_told
    def recall(self, query: str, config: RunnableConfig, limit: int = 5) -> str:
        hits = self._mos.search(
            query,
            limit=min(limit, _MOST_MEMORIES),
            cube=self._cube,
            **self._asker(config).keywords(),
        )
        return "\n".join(_line(h.id, h.text, h.item.header.trust) for h in hits) or "Nothing."

    @_told
    def update_memory(self, memory_id: str, text: str, config: RunnableConfig) -> str:
        key = _key(config, "update", memory_id, text)
        who = self._asker(config).keywords()
        done = self._mos.correct(
            memory_id, text, cube=self._cube, idempotency_key=key, reason=_REASON, **who
        )
        if done.replaced is None:
            return f"Memory {done.id} is at version {done.version} now."
        return f"Memory {done.id} stands in place of {done.replaced} now."

    @_told
    def forget(self, memory_id: str, config: RunnableConfig) -> str:
        who = self._asker(config).keywords()
        key = _key(config, "forget", memory_id)
        done = self._mos.delete(
            memory_id, cube=self._cube, idempotency_key=key, reason=_REASON, **who
        )
        return f"Memory {done.id} is forgotten."


def _key(config: RunnableConfig, *told: str) -> str | None:
    """The same for every attempt at this call in a graph; ``None`` where there is no graph."""
    task, _ = outer_task(config)
    if task is None:
        return None
    words = json.dumps([ensure_config(config).get("metadata", {}).get("thread_id"), task, *told])
    return "langchain:" + hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()


def _line(item: str, text: str, trust: Trust) -> str:
    """One memory on one line; what no person said is marked, as in a prompt block."""
    doubt = "" if trust is Trust.USER else f" ({trust.value}, not verified)"
    return f"[{item}]{doubt} {' '.join(text.split())}"


def _tool(verb: Callable[..., str], arguments: type[BaseModel], about: str) -> StructuredTool:
    return StructuredTool.from_function(
        verb,
        name=verb.__name__,
        description=about,
        args_schema=arguments,
        handle_tool_error=True,
        handle_validation_error=True,
    )
