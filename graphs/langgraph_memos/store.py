"""MemOSStore: LangGraph's long-term store over governed memory, and its view of the past.

Called by LangGraph (``compile(store=...)``, ``runtime.store``) or directly; calls the facade.
There is one body: what is awaited is the same batch, run in a thread.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.runtime import get_runtime
from langgraph.store.base import BaseStore, IndexConfig, Op, Result, TTLConfig

from langgraph_memos.asking import Asker, asker_of
from langgraph_memos.store_index import IndexEmbedder
from langgraph_memos.store_ops import CubeOf, Translator, result_of
from langgraph_memos.store_sweeper import Sweeper
from memos_integrations.cube.acl import Principal, Trust
from memos_integrations.cube.entries import EntryOp, EntryResult, Namespace, ReadEntries
from memos_integrations.cube.errors import AccessDenied, UsageError
from memos_integrations.cube.ids import CubePath, clean_path, home_path
from memos_integrations.interface.mos import MOS, MemoryView
from memos_integrations.interface.reader import as_enum
from memos_integrations.interface.settings import Settings

CubeChoice: TypeAlias = str | Callable[[Namespace], str | None] | None
"""A cube for all names, a function from a namespace to one, or ``None``: the asker's own."""


def user_of_first_segment(namespace: Namespace) -> str | None:
    """The home cube of the user whom the first segment names: ``("alice", ...)`` lies in
    ``users/alice``. A search without a first segment looks into the asker's own."""
    if not namespace or namespace[0] == "*":
        return None
    return home_path(user=namespace[0], agent=None)


class _Batches(BaseStore):
    """A store whose batches are operations on entries, run as whoever asks."""

    def __init__(
        self, translator: Translator, index_config: IndexConfig | None, asker: Asker
    ) -> None:
        self._translator = translator
        self.index_config = index_config
        self._asker = asker

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """The results in the order of ``ops``: reads first, then all writes in one transaction.

        Raises LangGraph's ``InvalidNamespaceError``, or a ``ValueError`` that says what is wrong,
        before anything is written; ``AccessDenied`` for what the asker may not do.
        """
        return self._results(list(ops), _asker())

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As ``batch``, to be awaited. Giving up the wait does not undo a write that began."""
        return await asyncio.to_thread(self._results, list(ops), _asker())

    def _results(self, ops: Sequence[Op], asker: Asker) -> list[Result]:
        asked = [self._translator.entry_op(op) for op in ops]
        who = Asker(asker.user or self._asker.user, asker.agent or self._asker.agent, asker.thread)
        found = iter(self._run([each for each in asked if each is not None], who))
        results = [None if each is None else next(found) for each in asked]
        return [result_of(op, each) for op, each in zip(ops, results, strict=True)]

    def _run(self, ops: Sequence[EntryOp], asker: Asker) -> list[EntryResult]:
        raise NotImplementedError


class MemOSStoreView(_Batches):
    """A store as it was at one instant, to be read only; made by ``MemOSStore.view``."""

    def __init__(self, view: MemoryView, store: MemOSStore) -> None:
        super().__init__(store._translator, store.index_config, store._asker)
        self._view = view

    def _run(self, ops: Sequence[EntryOp], asker: Asker) -> list[EntryResult]:
        reads = [op for op in ops if isinstance(op, ReadEntries)]
        if len(reads) < len(ops):
            raise UsageError("a view of the past is read-only; write to the store it is of")
        return self._view.read_entries(reads, session=asker.thread, **asker.keywords())


class MemOSStore(_Batches):
    """LangGraph's store over a ``MOS``: durable, governed, with a past, erasable.

    Stands where ``InMemoryStore()`` or ``InMemoryStore(index={...})`` stood. The first argument is
    a ``MOS``, the path of its file, or nothing for one that is removed on close. ``index`` is
    LangGraph's: without one, all of each value is searched by the embedder of the ``MOS``. ``ttl``
    is LangGraph's too, in minutes; what has expired is never shown, swept or not.

    Who asks is told by the running graph (``user_id``, ``agent_id`` of its configuration, or
    whom LangGraph's server logged in), else by ``user``, ``agent`` and ``principal`` here. Names
    lie in the asker's own cube; ``cube`` names another for all of them (made for ``user`` or
    ``agent`` if it is not there), or is a function from a namespace to one, such as
    ``user_of_first_segment``. Rights are asked for each operation.
    ``trust="inference"`` says that what is put is a model's own word and no user's.
    """

    supports_ttl = True

    def __init__(
        self,
        mos: MOS | str | os.PathLike[str] | None = None,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        cube: CubeChoice = None,
        user: str | None = None,
        agent: str | None = None,
        principal: Principal | None = None,
        trust: Trust | str = Trust.USER,
        embedder: object | Literal["default"] | None = "default",
        fingerprint: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        fields = None if index is None else index.get("fields")
        translator = Translator(fields, _cube_of(cube), as_enum(Trust, trust, "trust"))
        super().__init__(translator, index, Asker(user, agent, None))
        self.ttl_config = ttl
        self._owned = not isinstance(mos, MOS)
        self._index: IndexEmbedder | None = None
        if isinstance(mos, MOS):
            _ensure_same_index(index)
            self.mos = mos if principal is None else mos.acting(principal)
        else:
            if index is not None and index.get("embed") is not None:
                self._index = IndexEmbedder(index, fingerprint=fingerprint)
            model = self._index or embedder
            self.mos = MOS(mos, principal=principal, embedder=model, settings=settings)
        self._sweeper = Sweeper(self.sweep_ttl)
        if isinstance(cube, str):
            self._make_cube(cube)

    @classmethod
    def from_conn_string(
        cls,
        conn_string: str | os.PathLike[str],
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        **options: Any,
    ) -> Self:
        """The store over a file, for ``with`` and ``async with``; options as of the class."""
        return cls(conn_string, index=index, ttl=ttl, **options)

    def setup(self) -> None:
        """Nothing is left to do: the file was made ready when the store was opened."""

    def view(
        self, *, as_of: datetime | str | int, valid_at: datetime | str | None = None
    ) -> MemOSStoreView:
        """This store as it was at a time, or at a place of the log (``mos.version()``)."""
        return MemOSStoreView(self.mos.as_of(as_of, valid_at=valid_at), self)

    # -- time to live -------------------------------------------------------------------------

    def sweep_ttl(self) -> int:
        """Turn what has expired into tombstones; how many memories of the file that were.

        Reads do not show them anyway. Their versions stay in the past until they are erased.
        """
        return self.mos.expire_due()

    async def asweep_ttl(self) -> int:
        """As ``sweep_ttl``, to be awaited."""
        return await asyncio.to_thread(self.sweep_ttl)

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Future[None]:
        """Sweep in the background from now on; the future ends when it is stopped.

        Every ``sweep_interval_minutes``, those of ``ttl``, or five. Without ``ttl`` there is
        nothing to sweep, and the future has ended.
        """
        configured = (self.ttl_config or {}).get("sweep_interval_minutes")
        minutes = sweep_interval_minutes or configured or 5
        return self._sweeper.start(minutes * 60.0, wanted=self.ttl_config is not None)

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop sweeping; whether it had ended within ``timeout`` seconds."""
        return self._sweeper.stop(timeout)

    # -- life ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop the sweeper, and close the ``MOS`` if this store opened it."""
        self._sweeper.stop(None)
        if self._owned:
            self.mos.close()
        if self._index is not None:
            self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)

    # -- what the batches share ---------------------------------------------------------------

    def _run(self, ops: Sequence[EntryOp], asker: Asker) -> list[EntryResult]:
        return self.mos.entries(ops, session=asker.thread, **asker.keywords())

    def _make_cube(self, cube: str) -> None:
        """Make the cube where it is not there yet; one of somebody else is asked per operation."""
        try:
            self.mos.create_cube(cube, **self._asker.keywords())
        except (UsageError, AccessDenied):
            return


def _asker() -> Asker:
    """Who asks: the running graph's user, agent and thread; nobody outside of one."""
    try:
        config: RunnableConfig = get_config()
    except RuntimeError:
        return Asker(None, None, None)
    runtime = get_runtime() if "configurable" in config else None
    return asker_of(config, runtime)


def _cube_of(choice: CubeChoice) -> CubeOf:
    if choice is None:
        return lambda _: None
    if isinstance(choice, str):
        path = clean_path(choice)
        return lambda _: path
    if not callable(choice):
        raise UsageError("cube is a path, a function from a namespace to one, or None")

    def chosen(namespace: Namespace) -> CubePath | None:
        found = choice(namespace)
        return None if found is None else clean_path(found)

    return chosen


def _ensure_same_index(index: Mapping[str, Any] | None) -> None:
    if index is not None and index.get("embed") is not None:
        raise UsageError(
            "a MOS brings its own embedder: leave embed out of index, or give MemOSStore a path"
        )
