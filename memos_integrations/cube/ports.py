"""What the core asks of an engine: small protocols, one capability each.

An implementation proves itself by the matching suite in ``memos_integrations.testing``. Extra
powers are extra protocols found by ``isinstance``. Integers named ``cube`` and ``item`` are the
vault's row numbers, so an engine never sees content or names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.header import Relation

Vector: TypeAlias = NDArray[np.float32]
"""Shape (dim,), unit length."""
Matrix: TypeAlias = NDArray[np.float32]
"""Shape (n, dim), rows of unit length."""
Rows: TypeAlias = NDArray[np.int64]
"""Item row numbers."""


@runtime_checkable
class Clock(Protocol):
    """Where time comes from; an argument, so that tests and replays decide it."""

    def now(self) -> datetime:
        """The present instant, aware."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Text to unit vectors. Deterministic: one text always gives the same vector."""

    @property
    def fingerprint(self) -> str:
        """Names model and weights; vectors of different fingerprints are never compared."""
        ...

    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One unit row per text, in order; ``(0, dim)`` for no texts."""
        ...


@runtime_checkable
class TokenCounter(Protocol):
    def count(self, text: str) -> int:
        """How many tokens ``text`` costs in a prompt."""
        ...


@dataclass(frozen=True, slots=True)
class Completion:
    """What a language model answered."""

    text: str
    truncated: bool = False
    """It ran into its token limit, so the answer may be half of one."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@runtime_checkable
class LLM(Protocol):
    """A language model, as far as memory needs one: a prompt in, words out.

    What it answers is material, never trusted: callers validate it, and an answer that is empty,
    truncated or invalid changes nothing.
    """

    @property
    def name(self) -> str:
        """Stands in ``header.model`` of what was made with it."""
        ...

    def complete(
        self,
        prompt: str,
        *,
        system: str | None = None,
        schema: Mapping[str, object] | None = None,
        max_tokens: int = 1024,
    ) -> Completion:
        """The answer; JSON that fits ``schema`` (a JSON Schema) where the model can be held to it.

        Raises ``LLMUnavailable`` when it cannot be reached, is too slow or refuses for load.
        """
        ...


@runtime_checkable
class VisionModel(Protocol):
    """Reads pictures into words."""

    @property
    def name(self) -> str: ...

    def describe(self, image: bytes, *, media_type: str, prompt: str) -> Completion:
        """What is to be seen and read in ``image``. Raises as ``LLM.complete``."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Judges how well memories answer a question (a cross-encoder, a language model)."""

    @property
    def name(self) -> str: ...

    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """One score per text, in order, higher is better. Raises ``LLMUnavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class VectorEntry:
    item: int
    version: int
    vector: Vector


@dataclass(frozen=True, slots=True)
class Proposal:
    """An arm's suggestion; truth and governance decide whether it is shown."""

    item: int
    version: int
    score: float


@runtime_checkable
class VectorIndex(Protocol):
    """Nearest vectors by cosine, cube by cube."""

    def upsert(self, cube: int, entries: Sequence[VectorEntry]) -> None:
        """Keep one vector per item; an entry older than the kept version changes nothing."""
        ...

    def delete(self, cube: int, items: Sequence[int]) -> None:
        """Forget these items; unknown ones are no error."""
        ...

    def search(
        self, cube: int, vector: Vector, *, limit: int, within: Rows | None = None
    ) -> list[Proposal]:
        """The ``limit`` items with the highest cosine, best first, ties by lower item number.

        ``within`` restricts to those items before ranking, so a filter never costs results.
        """
        ...

    def scores(self, cube: int, vector: Vector, items: Rows) -> NDArray[np.float32]:
        """Cosine per item in the order asked; ``nan`` where the item has no vector."""
        ...

    def versions(self, cube: int) -> Mapping[int, int]:
        """Item -> version of everything held; what ``vault.check`` compares with truth."""
        ...

    def drop(self, cube: int) -> None:
        """Forget the whole cube."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class DurableVectorIndex(VectorIndex, Protocol):
    """A vector index with files or a server of its own: it outlives the process, several
    processes share it, and what is deleted must also leave its files."""

    def purge(self, cube: int) -> None:
        """Make the cube's deleted vectors unreadable, as far as the engine can."""
        ...


@dataclass(frozen=True, slots=True)
class TextEntry:
    item: int
    version: int
    text: str


@runtime_checkable
class TextIndex(Protocol):
    """Lexical relevance (BM25 on stemmed words), with word statistics per cube."""

    def upsert(self, cube: int, entries: Sequence[TextEntry]) -> None:
        """As ``VectorIndex.upsert``."""
        ...

    def delete(self, cube: int, items: Sequence[int]) -> None: ...

    def search(
        self, cube: int, query: str, *, limit: int, within: Rows | None = None
    ) -> list[Proposal]:
        """Items that share a word with the query; the score is BM25 as a share of the most
        this query could score in this cube, so it lies in [0, 1] and is comparable."""
        ...

    def scores(self, cube: int, query: str, items: Rows) -> NDArray[np.float32]:
        """The same share per item in the order asked; 0 where nothing matches or unknown."""
        ...

    def versions(self, cube: int) -> Mapping[int, int]: ...

    def drop(self, cube: int) -> None: ...

    def close(self) -> None: ...


@runtime_checkable
class TermCounts(Protocol):
    """A text index that tells how often each word of a question occurs in given items."""

    def counts(
        self, cube: int, query: str, items: Rows
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], float]:
        """Counts (items, words), inverse document frequencies (words,), lengths (items,) in
        words and the cube's average length; zeros for items that are not held."""
        ...


@dataclass(frozen=True, slots=True)
class Edge:
    """A directed, typed link between item rows."""

    source: int
    relation: Relation
    target: int


@dataclass(frozen=True, slots=True)
class Reached:
    """An item found by walking the graph, with the number of steps from the start."""

    item: int
    depth: int


@runtime_checkable
class GraphIndex(Protocol):
    """Typed links, walked by relation and depth."""

    def upsert(self, edges: Sequence[Edge]) -> None:
        """Add edges; one that is there already changes nothing."""
        ...

    def delete(self, edges: Sequence[Edge]) -> None: ...

    def forget(self, items: Sequence[int]) -> None:
        """Remove every edge that touches these items."""
        ...

    def walk(
        self,
        start: Sequence[int],
        *,
        relations: Sequence[Relation] | None = None,
        depth: int = 1,
        backwards: bool = False,
    ) -> list[Reached]:
        """Items reachable in at most ``depth`` steps, nearest first, without ``start`` itself.

        ``backwards`` follows edges from target to source. Cycles end the walk, not the program.
        """
        ...


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A unit of background work to be done: a kind and ids, never content."""

    kind: str
    cube: int | None = None
    payload: str = "{}"
    """JSON object of ids and numbers."""
    priority: int = 0
    max_attempts: int = 5
    not_before: int | None = None
    """Earliest start in microseconds."""


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed task. ``attempt`` is the fence: an older attempt can no longer finish it."""

    id: str
    kind: str
    cube: int | None
    payload: str
    attempt: int
    max_attempts: int


class Statement(Protocol):
    """What a queue needs of an open transaction; the effect and ``finish`` commit together."""

    def execute(self, sql: str, parameters: Sequence[object] = ..., /) -> object: ...


@runtime_checkable
class TaskQueue(Protocol):
    """Durable work: five verbs. ``tx`` is an open transaction of the vault."""

    def enqueue(self, tx: Statement, task: TaskSpec, *, now: int) -> str:
        """Add a task that becomes visible when ``tx`` commits; returns its id."""
        ...

    def claim(
        self,
        tx: Statement,
        *,
        worker: str,
        now: int,
        lease_micros: int,
        kinds: Sequence[str] | None = None,
    ) -> Task | None:
        """Take the next due task, or one whose lease ran out; ``None`` when there is none."""
        ...

    def extend(
        self, tx: Statement, task: Task, *, now: int, lease_micros: int, progress: float | None
    ) -> None:
        """Keep the lease and say how far the work is (0 to 1). Raises ``StaleLease``."""
        ...

    def finish(self, tx: Statement, task: Task, *, now: int, result: str | None = None) -> None:
        """Mark it completed inside the transaction of its effect. Raises ``StaleLease``."""
        ...

    def fail(
        self, tx: Statement, task: Task, *, now: int, error: str, retry_micros: int | None
    ) -> None:
        """Give it back for another attempt after ``retry_micros``, or end it as failed when
        that is ``None`` or no attempts are left. Raises ``StaleLease``."""
        ...
