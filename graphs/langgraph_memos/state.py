"""What flows through a memory graph: plain data, so that any checkpointer can keep it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required, TypeAlias, TypedDict

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages

from langgraph_memos.budget import MemoryBudget, budget_after
from langgraph_memos.side_by_side import StepList, newest
from langgraph_memos.version import Mark, MemoryVersion


class Recalled(TypedDict):
    """A memory that was found for the question."""

    id: str
    version: int
    text: str
    score: float
    signals: dict[str, float]
    """What the score rests on: ``cosine`` for meaning, ``words`` for shared words, ..."""
    why: str
    speaker: str
    time: str
    """ISO 8601, when it was said."""
    source: str | None
    trust: str


class Answer(TypedDict):
    """What was answered, and the memories it rests on."""

    text: str
    rests_on: list[str]
    by: Literal["quotes", "model", "nothing"]
    """``nothing``: no memory came near enough to the question."""
    message_id: str


class Written(TypedDict):
    """What became of one message. ``id`` is the memory that holds it."""

    status: str
    id: str | None
    reason: str | None
    masked: dict[str, int]


class Injected(TypedDict):
    """In which form memories stood in the last prompt, and what that cost."""

    form: str
    tokens: int
    ids: list[str]


class Prefetched(TypedDict):
    """What was looked up ahead for one question, and at which version of memory."""

    question: str
    seq: int
    recalled: list[Recalled]


class Consolidation(TypedDict):
    """A consolidation of the cube: its durable task, and what came of it."""

    task: str
    state: str
    result: str | None


DistilState: TypeAlias = Literal["refused", "queued", "completed", "failed"]


class Distillation(TypedDict):
    """What was to be learnt by a model: what was decided, the durable tasks, what came of them."""

    state: DistilState
    tasks: list[str]
    results: list[dict[str, str]]
    """Of each task that is over: ``adapter``, its ``state`` (``published``, ``discarded``) and
    ``why``."""


class MemoryState(TypedDict, total=False):
    """The state of a memory graph. Extend it, or give your own state the keys you use, each as it
    is annotated here: the channels of one key must be the same for all nodes."""

    messages: Required[Annotated[list[AnyMessage], add_messages]]
    recorded: bool
    """True while a recording is replayed: nothing in it is answered, all of it is remembered."""
    recalled: Annotated[list[Recalled], StepList]
    prefetched: Annotated[list[Prefetched], StepList]
    answer: Answer | None
    written: Annotated[list[Written], StepList]
    """Of the last run, one per message that was new."""
    remembered_upto: Annotated[str | None, newest]
    """The id of the last message that was remembered in this thread."""
    memory_version: Annotated[Mark, MemoryVersion]
    """Where the thread stands in its memory; checkpointed and restored with it."""
    memory_budget: Annotated[MemoryBudget, budget_after]
    """What memory may still cost, for nodes and routers."""
    injected: Injected
    consolidation: Consolidation | None
    distillation: Distillation | None
    scheduled: dict[str, Any]
    """What the scheduler moved in the last ``ScheduleNode``."""
