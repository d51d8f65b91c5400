"""AsyncMOS: the verbs of MOS for programs on an event loop.

Stands beside the facade and calls nothing else. There is one body of each verb, the synchronous
one; here it is handed to a thread, so a fix is never needed twice and no result can differ.
Handing over costs about 0.1 ms, where a durable write takes milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
)
from contextvars import copy_context
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeAlias, TypeVar

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.facts import Extractor
from memos_integrations.cube.outcomes import AddResult, Changed
from memos_integrations.cube.ports import Clock, TokenCounter
from memos_integrations.interface.checkup import AsyncCheckup, Checkup
from memos_integrations.interface.mos import MOS, MemoryView, Vectors
from memos_integrations.interface.pipeline import Pipeline
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.record_verbs import Records
from memos_integrations.interface.settings import Settings
from memos_integrations.operation.operator.ranking import Ranking

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
R_co = TypeVar("R_co", bound=Reads, covariant=True)
Pool: TypeAlias = Literal["quick", "slow"]


class _Once(Generic[S_co]):
    """What ``make`` makes, made on the first call and in the thread of that call."""

    def __init__(self, make: Callable[[], S_co]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: S_co | None = None

    def __call__(self) -> S_co:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def made(self) -> S_co | None:
        """What was made so far; never makes anything."""
        return self._made


class _Threads:
    """Two bounded pools, so that many calls of ``wait`` never keep a search from a thread."""

    def __init__(self, max_threads: int) -> None:
        if max_threads < 1:
            raise UsageError("max_threads must be at least 1")
        self._pools: dict[Pool, ThreadPoolExecutor] = {
            "quick": ThreadPoolExecutor(max_threads, thread_name_prefix="memos-aio"),
            "slow": ThreadPoolExecutor(max_threads, thread_name_prefix="memos-aio-slow"),
        }
        self._closing = False

    def ensure_open(self) -> None:
        """Raises ``UsageError`` after ``close``."""
        if self._closing:
            raise UsageError("this memory is closed; open another AsyncMOS")

    async def run(self, work: Callable[[], T], pool: Pool = "quick") -> T:
        """What ``work`` returns. Raises ``UsageError`` after ``close``."""
        self.ensure_open()
        context = copy_context()
        return await asyncio.wrap_future(self._pools[pool].submit(lambda: context.run(work)))

    async def close(self, last: Callable[[], None]) -> None:
        """Let everything handed over end, then run ``last``. Harmless when called again."""
        if self._closing:
            return
        self._closing = True
        closer = ThreadPoolExecutor(1, thread_name_prefix="memos-aio-close")
        ended = closer.submit(self._end, last)
        closer.shutdown(wait=False)
        await asyncio.wrap_future(ended)

    def _end(self, last: Callable[[], None]) -> None:
        for pool in self._pools.values():
            pool.shutdown()
        last()


class _Rim(Generic[S_co]):
    """A synchronous object behind threads."""

    def __init__(self, threads: _Threads, inner: _Once[S_co]) -> None:
        self._threads = threads
        self._inner = inner


def _parts(rim: _Rim[S]) -> tuple[_Threads, _Once[S]]:
    """What the wrappers below hand work to; they are methods in all but their place."""
    return rim._threads, rim._inner  # pyright: ignore[reportPrivateUsage]  -- see above


def _offloaded(
    verb: Callable[Concatenate[S, P], T], pool: Pool = "quick"
) -> Callable[Concatenate[_Rim[S], P], Coroutine[Any, Any, T]]:
    """``verb`` to be awaited: same parameters, same result, same docstring, run in a thread."""

    @wraps(verb)
    async def offloaded(self: _Rim[S], /, *args: P.args, **kwargs: P.kwargs) -> T:
        threads, inner = _parts(self)
        return await threads.run(lambda: verb(inner(), *args, **kwargs), pool)

    return offloaded


class AsyncReads(_Rim[R_co]):
    """The verbs that read, to be awaited."""

    search = _offloaded(Reads.search)
    context = _offloaded(Reads.context)
    get = _offloaded(Reads.get)
    list = _offloaded(Reads.list)
    count = _offloaded(Reads.count)
    version = _offloaded(Reads.version)
    changes_in = _offloaded(Reads.changes_in)
    showable = _offloaded(Reads.showable)
    list_showable = _offloaded(Reads.list_showable)
    history = _offloaded(Reads.history)
    provenance = _offloaded(Reads.provenance)
    links = _offloaded(Reads.links)
    explain = _offloaded(Reads.explain)
    stats = _offloaded(Reads.stats)
    cubes = _offloaded(Reads.cubes)


class AsyncMemoryView(AsyncReads[MemoryView]):
    """A read-only view of memory as it was: every reading verb, to be awaited."""

    facts = _offloaded(MemoryView.facts)
    ask = _offloaded(MemoryView.ask)
    documents = _offloaded(MemoryView.documents)
    document = _offloaded(MemoryView.document)
    related = _offloaded(MemoryView.related)
    entities = _offloaded(MemoryView.entities)
    nearest = _offloaded(MemoryView.nearest)
    vectors = _offloaded(MemoryView.vectors)
    embedded = _offloaded(MemoryView.embedded)
    read_entries = _offloaded(MemoryView.read_entries)
    get_entry = _offloaded(MemoryView.get_entry)
    find_entries = _offloaded(MemoryView.find_entries)
    entry_namespaces = _offloaded(MemoryView.entry_namespaces)


class AsyncPipeline(_Rim[Pipeline]):
    """Collects operations; runs them when its ``async with`` block ends without an error."""

    add = _offloaded(Pipeline.add)
    update = _offloaded(Pipeline.update)
    delete = _offloaded(Pipeline.delete)
    archive = _offloaded(Pipeline.archive)
    activate = _offloaded(Pipeline.activate)
    merge = _offloaded(Pipeline.merge)
    link = _offloaded(Pipeline.link)
    _enter = _offloaded(Pipeline.__enter__)
    _exit = _offloaded(Pipeline.__exit__)

    @property
    def results(self) -> list[AddResult | Changed]:
        """One result per operation, once the block has ended."""
        pipeline = self._inner.made()
        return [] if pipeline is None else pipeline.results

    async def __aenter__(self) -> Self:
        await self._enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exit(kind, error, trace)


def _pipeline(
    verb: Callable[Concatenate[MOS, P], Pipeline],
) -> Callable[Concatenate[_Rim[MOS], P], AsyncPipeline]:
    """``verb`` with a result for ``async with``; nothing is opened before the block begins."""

    @wraps(verb)
    def opening(self: _Rim[MOS], /, *args: P.args, **kwargs: P.kwargs) -> AsyncPipeline:
        threads, inner = _parts(self)
        return AsyncPipeline(threads, _Once(lambda: verb(inner(), *args, **kwargs)))

    return opening


class AsyncRecords(_Rim[Records]):
    """Named bytes of one space in one cube, to be awaited."""

    put = _offloaded(Records.put)
    write = _offloaded(Records.write)
    get = _offloaded(Records.get)
    delete = _offloaded(Records.delete)
    clear = _offloaded(Records.clear)
    keys = _offloaded(Records.keys)
    items = _offloaded(Records.items)
    times = _offloaded(Records.times)


def _records(
    verb: Callable[Concatenate[MOS, P], Records],
) -> Callable[Concatenate[_Rim[MOS], P], AsyncRecords]:
    """``verb`` with a result whose verbs are awaited; nothing is opened before the first."""

    @wraps(verb)
    def opening(self: _Rim[MOS], /, *args: P.args, **kwargs: P.kwargs) -> AsyncRecords:
        threads, inner = _parts(self)
        return AsyncRecords(threads, _Once(lambda: verb(inner(), *args, **kwargs)))

    return opening


class _Block(Generic[S]):
    """A block that a thread of its own enters, holds and leaves."""

    def __init__(self, make: Callable[[], AbstractContextManager[S]]) -> None:
        self._opened: Future[S] = Future()
        self._ended: Future[None] = Future()
        self._left = threading.Event()
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._hold, make), name="memos-aio-block", daemon=True
        )

    async def enter(self) -> S:
        """What the block gives. Raises what entering it raises."""
        self._thread.start()
        return await asyncio.wrap_future(self._opened)

    async def leave(self) -> None:
        """Raises what leaving the block raises."""
        self._left.set()
        await asyncio.wrap_future(self._ended)

    def _hold(self, make: Callable[[], AbstractContextManager[S]]) -> None:
        try:
            with make() as given:
                # Whoever gave up waiting for it meanwhile will not leave it either.
                if self._opened.set_running_or_notify_cancel():
                    self._opened.set_result(given)
                    self._left.wait()
        except BaseException as error:  # noqa: BLE001  -- raised where the block is awaited
            entered = self._opened.done()
            (self._ended if entered else self._opened).set_exception(error)
        else:
            self._ended.set_result(None)


def _entered(
    verb: Callable[Concatenate[MOS, P], AbstractContextManager[T]],
) -> Callable[Concatenate[_Rim[MOS], P], AbstractAsyncContextManager[T]]:
    """``verb`` for ``async with``: its block is entered and left in one thread of its own, as a
    thread may hold what the block holds, and so that those who wait for that fill no pool."""

    @wraps(verb)
    @asynccontextmanager
    async def entering(self: _Rim[MOS], /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T]:
        threads, inner = _parts(self)
        threads.ensure_open()
        block = _Block(lambda: verb(inner(), *args, **kwargs))
        given = await block.enter()
        try:
            yield given
        finally:
            await block.leave()

    return entering


def _view(
    verb: Callable[Concatenate[MOS, P], MemoryView],
) -> Callable[Concatenate[_Rim[MOS], P], Coroutine[Any, Any, AsyncMemoryView]]:
    """``verb`` to be awaited, giving a view whose verbs are awaited too."""
    seen = _offloaded(verb)

    @wraps(verb)
    async def viewing(self: _Rim[MOS], /, *args: P.args, **kwargs: P.kwargs) -> AsyncMemoryView:
        view = await seen(self, *args, **kwargs)
        return AsyncMemoryView(_parts(self)[0], _Once(lambda: view))

    return viewing


def _checkup(
    verb: Callable[Concatenate[MOS, P], Checkup],
) -> Callable[Concatenate[_Rim[MOS], P], Coroutine[Any, Any, AsyncCheckup]]:
    """``verb`` to be awaited, giving a checkup whose ``fix`` is awaited too."""
    looked = _offloaded(verb, "slow")

    @wraps(verb)
    async def looking(self: _Rim[MOS], /, *args: P.args, **kwargs: P.kwargs) -> AsyncCheckup:
        found = await looked(self, *args, **kwargs)
        threads, _ = _parts(self)
        return AsyncCheckup.behind(lambda work: threads.run(work, "slow"), found)

    return looking


class AsyncMOS(AsyncReads[MOS]):
    """MOS for an event loop: every verb is awaited, with the parameters it has there.

    ``async with AsyncMOS("agent.db") as mos: await mos.add("...", user="alice")``. The file is
    opened by the first verb or the ``async with``, in a thread. At most ``max_threads`` verbs run
    at once, and as many again of those that take long (``wait``, ``work``, ``check`` ...).

    Cancelling an awaiting task gives up the answer, not the work: a verb that has begun goes on
    to its end (a write is then durable, give it an ``idempotency_key`` to repeat it safely), one
    that still waits for a thread never begins. A ``progress`` callable is called in the thread.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        principal: Principal | None = None,
        embedder: object | Literal["default"] | None = "default",
        vectors: Vectors | None = None,
        tokens: TokenCounter | None = None,
        ranking: Ranking | None = None,
        clock: Clock | None = None,
        settings: Settings | None = None,
        extractor: Extractor | Literal["default"] | None = "default",
        llm: object | None = None,
        vision: object | None = None,
        reranker: object | None = None,
        max_threads: int = 8,
    ) -> None:
        opening = _Once(
            lambda: MOS(
                path,
                principal=principal,
                embedder=embedder,
                vectors=vectors,
                tokens=tokens,
                ranking=ranking,
                clock=clock,
                settings=settings,
                extractor=extractor,
                llm=llm,
                vision=vision,
                reranker=reranker,
            )
        )
        super().__init__(_Threads(max_threads), opening)

    add = _offloaded(MOS.add)
    update = _offloaded(MOS.update)
    correct = _offloaded(MOS.correct)
    delete = _offloaded(MOS.delete)
    merge = _offloaded(MOS.merge)
    split = _offloaded(MOS.split)
    archive = _offloaded(MOS.archive)
    activate = _offloaded(MOS.activate)
    link = _offloaded(MOS.link)
    unlink = _offloaded(MOS.unlink)
    pipeline = _pipeline(MOS.pipeline)
    put_embedded = _offloaded(MOS.put_embedded)
    nearest = _offloaded(MOS.nearest)
    vectors = _offloaded(MOS.vectors)
    embedded = _offloaded(MOS.embedded)
    entries = _offloaded(MOS.entries)
    read_entries = _offloaded(MOS.read_entries)
    put_entry = _offloaded(MOS.put_entry)
    get_entry = _offloaded(MOS.get_entry)
    delete_entry = _offloaded(MOS.delete_entry)
    find_entries = _offloaded(MOS.find_entries)
    entry_namespaces = _offloaded(MOS.entry_namespaces)

    as_of = _view(MOS.as_of)
    rollback = _offloaded(MOS.rollback)
    fork = _offloaded(MOS.fork)
    diff = _offloaded(MOS.diff)
    merge_branch = _offloaded(MOS.merge_branch)

    create_cube = _offloaded(MOS.create_cube)
    share = _offloaded(MOS.share)
    deny = _offloaded(MOS.deny)
    revoke = _offloaded(MOS.revoke)
    grants = _offloaded(MOS.grants)
    set_visibility = _offloaded(MOS.set_visibility)
    freeze = _offloaded(MOS.freeze)
    thaw = _offloaded(MOS.thaw)
    quarantine = _offloaded(MOS.quarantine)
    release = _offloaded(MOS.release)
    audit = _offloaded(MOS.audit)
    audit_verify = _offloaded(MOS.audit_verify, "slow")
    audit_head = _offloaded(MOS.audit_head)
    erase = _offloaded(MOS.erase, "slow")

    related = _offloaded(MOS.related)
    entities = _offloaded(MOS.entities)
    fit = _offloaded(MOS.fit, "slow")
    feedback = _offloaded(MOS.feedback)
    facts = _offloaded(MOS.facts)
    ask = _offloaded(MOS.ask)
    consolidate = _offloaded(MOS.consolidate)
    records = _records(MOS.records)
    activated = _entered(MOS.activated)
    activated_batch = _entered(MOS.activated_batch)
    adapted = _entered(MOS.adapted)
    routed = _offloaded(MOS.routed)
    host_model = _offloaded(MOS.host_model, "slow")
    distil = _offloaded(MOS.distil, "slow")
    adapters = _offloaded(MOS.adapters)
    claims = _offloaded(MOS.claims, "slow")
    withdraw_adapter = _offloaded(MOS.withdraw_adapter)
    verify_adapter = _offloaded(MOS.verify_adapter, "slow")
    export_adapter = _offloaded(MOS.export_adapter, "slow")
    stable_prefix = _offloaded(MOS.stable_prefix)
    caches = _offloaded(MOS.caches)
    cache_stats = _offloaded(MOS.cache_stats)
    pin_cache = _offloaded(MOS.pin_cache, "slow")
    unpin_cache = _offloaded(MOS.unpin_cache)
    demote_cache = _offloaded(MOS.demote_cache, "slow")
    evict_caches = _offloaded(MOS.evict_caches)
    verify_caches = _offloaded(MOS.verify_caches, "slow")
    repair_caches = _offloaded(MOS.repair_caches, "slow")
    plan_consolidation = _offloaded(MOS.plan_consolidation, "slow")

    ingest = _offloaded(MOS.ingest, "slow")
    ingest_folder = _offloaded(MOS.ingest_folder, "slow")
    documents = _offloaded(MOS.documents)
    document = _offloaded(MOS.document)
    forget_document = _offloaded(MOS.forget_document)
    remember_tool = _offloaded(MOS.remember_tool)
    recall_tool = _offloaded(MOS.recall_tool)

    working_set = _offloaded(MOS.working_set)
    plan = _offloaded(MOS.plan, "slow")
    rebalance = _offloaded(MOS.rebalance, "slow")
    prune_tasks = _offloaded(MOS.prune_tasks)

    doctor = _checkup(MOS.doctor)
    stats_over_time = _offloaded(MOS.stats_over_time, "slow")

    task_status = _offloaded(MOS.task_status)
    cancel_task = _offloaded(MOS.cancel_task)
    wait = _offloaded(MOS.wait, "slow")
    work = _offloaded(MOS.work, "slow")
    expire_due = _offloaded(MOS.expire_due, "slow")
    reembed = _offloaded(MOS.reembed, "slow")
    check = _offloaded(MOS.check, "slow")
    flush = _offloaded(MOS.flush)

    dump = _offloaded(MOS.dump, "slow")
    load = _offloaded(MOS.load, "slow")
    import_from = _offloaded(MOS.import_from, "slow")
    put_blob = _offloaded(MOS.put_blob)
    get_blob = _offloaded(MOS.get_blob)
    collect_blobs = _offloaded(MOS.collect_blobs, "slow")

    add_message = _offloaded(MOS.add_message)
    search_memory = _offloaded(MOS.search_memory)
    get_task_status = _offloaded(MOS.get_task_status)
    get_memory = _offloaded(MOS.get_memory)
    get_all_memories = _offloaded(MOS.get_all_memories)
    update_memory = _offloaded(MOS.update_memory)
    delete_memory = _offloaded(MOS.delete_memory)

    def acting(self, principal: Principal) -> AsyncMOS:
        """The same memory with another default principal; it shares threads and ``close``."""
        twin = object.__new__(AsyncMOS)
        _Rim.__init__(twin, self._threads, _Once(lambda: self._inner().acting(principal)))
        return twin

    @property
    def ranking(self) -> Ranking:
        """The signals and weights that searches rank by. Raises as ``path``."""
        return self._opened().ranking

    @property
    def principal(self) -> Principal:
        """Who asks where a call does not say. Raises as ``path``."""
        return self._opened().principal

    @property
    def path(self) -> str:
        """The file this memory lives in. Raises ``UsageError`` before it is opened."""
        return self._opened().path

    def _opened(self) -> MOS:
        opened = self._inner.made()
        if opened is None:
            raise UsageError("not opened yet: use `async with AsyncMOS(...)`, or await a verb")
        return opened

    async def close(self) -> None:
        """Let every call that was handed over end, then release the file and the threads."""
        await self._threads.close(self._release)

    def _release(self) -> None:
        opened = self._inner.made()
        if opened is not None:
            opened.close()

    async def __aenter__(self) -> Self:
        await self._threads.run(self._inner)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
