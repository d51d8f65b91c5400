"""AsyncMOS: the same verbs with the same results, and an event loop that keeps turning."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from memos_integrations import MOS, Principal, Settings, errors
from memos_integrations.interface.aio import AsyncMemoryView, AsyncMOS, AsyncPipeline, AsyncRecords
from memos_integrations.interface.mos import MemoryView
from memos_integrations.interface.pipeline import Pipeline
from memos_integrations.interface.record_verbs import Records

ROOT = Path(__file__).parents[2]
FACTS = [f"The parcel number {n} goes to shelf {n % 7}" for n in range(16)]
NOT_AWAITED = (
    *("acting", "activated", "activated_batch", "adapted", "close", "pipeline", "records"),
)
"""What gives an object or opens a block."""
LOOPS = ["asyncio", "uvloop"]
MYPY = (sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=")


def run(work: Callable[[], Coroutine[Any, Any, None]], loop: str = "asyncio") -> None:
    factory = None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work())


def public(kind: type) -> dict[str, Any]:
    return {n: getattr(kind, n) for n in dir(kind) if not n.startswith("_")}


@asynccontextmanager
async def heartbeat(stalls: list[float]) -> AsyncIterator[None]:
    """Notes how much later than asked each nap of the loop ended."""

    async def beat() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            stalls.append(time.perf_counter() - before - 0.005)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


@pytest.mark.parametrize(
    ("sync", "rim"),
    [
        (MOS, AsyncMOS),
        (MemoryView, AsyncMemoryView),
        (Pipeline, AsyncPipeline),
        (Records, AsyncRecords),
    ],
)
def test_every_public_verb_is_there_with_the_same_parameters_and_words(
    sync: type, rim: type
) -> None:
    verbs = public(sync)
    assert set(verbs) <= set(public(rim)) | {"results", "snapshot"}
    for name, verb in verbs.items():
        if name == "snapshot":  # of the thread that opens it, so nothing to be awaited
            continue
        twin = getattr(rim, name)
        if inspect.isfunction(verb):
            here, there = inspect.signature(twin), inspect.signature(verb)
            assert list(here.parameters.values()) == list(there.parameters.values()), name
            assert inspect.getdoc(twin), name
        if inspect.isfunction(verb) and name not in NOT_AWAITED:
            assert inspect.iscoroutinefunction(twin), name


def test_the_constructor_takes_what_the_synchronous_one_takes() -> None:
    ours = dict(inspect.signature(AsyncMOS).parameters)
    assert ours.pop("max_threads").default == 8
    assert ours == dict(inspect.signature(MOS).parameters)


@pytest.mark.parametrize("loop", LOOPS)
def test_results_equal_those_of_the_synchronous_verbs(tmp_path: Path, loop: str) -> None:
    async def work() -> None:
        async with AsyncMOS(tmp_path / "a.db", embedder=None) as mos:
            added = await mos.add(FACTS, user="ann")
            await mos.wait(added)
            found = await mos.search("parcel number 5", user="ann")
            listed = await mos.list(user="ann", filter={"text": {"contains": "shelf 3"}})
            context = await mos.context("parcel number 5", user="ann", budget_tokens=80)
            stats = await mos.stats(user="ann")
        with MOS(tmp_path / "a.db", embedder=None) as plain:
            assert [(h.id, h.score) for h in found] == [
                (h.id, h.score) for h in plain.search("parcel number 5", user="ann")
            ]
            same = plain.list(user="ann", filter={"text": {"contains": "shelf 3"}})
            assert [i.text for i in listed] == [i.text for i in same]
            assert (
                context.text == plain.context("parcel number 5", user="ann", budget_tokens=80).text
            )
            assert stats == plain.stats(user="ann")
        assert found[0].id == added.ids[5]
        assert len(listed) == 2

    run(work, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_loop_keeps_turning_under_fifty_adds_and_searches(tmp_path: Path, loop: str) -> None:
    stalls: list[float] = []

    async def work() -> None:
        async with AsyncMOS(tmp_path / "a.db", embedder=None) as mos:
            async with heartbeat(stalls):
                adds = [mos.add(f"note {n} about topic {n % 5}", user="ann") for n in range(50)]
                asks = [mos.search(f"topic {n % 5}", user="ann") for n in range(50)]
                await asyncio.gather(*adds, *asks)
            assert await mos.count(user="ann") == 50

    run(work, loop)
    assert len(stalls) > 5
    assert sorted(stalls)[len(stalls) // 2] < 0.05
    assert max(stalls) < 2  # a busy machine may take a slice or two; a blocked loop never beats


def test_a_verb_that_blocks_leaves_the_loop_alone(tmp_path: Path) -> None:
    stalls: list[float] = []

    async def work() -> None:
        idle = Settings(worker=False)
        async with AsyncMOS(tmp_path / "a.db", embedder=None, settings=idle) as mos:
            held = threading.Event()

            def hold(_: float) -> None:
                held.wait(0.3)

            added = await mos.add("slow", user="ann")
            async with heartbeat(stalls):
                await mos.wait(added, progress=hold)

    run(work)
    assert len(stalls) > 10


def test_opening_the_file_does_not_block_the_loop_and_needs_no_block(tmp_path: Path) -> None:
    async def work() -> None:
        mos = AsyncMOS(tmp_path / "a.db", embedder=None)
        assert not (tmp_path / "a.db").exists()
        with pytest.raises(errors.UsageError, match="not opened yet"):
            _ = mos.path
        await asyncio.gather(*(mos.add(f"fact {n}", user="ann") for n in range(4)))
        assert await mos.count(user="ann") == 4
        assert mos.path == str(tmp_path / "a.db")
        await mos.close()
        await mos.close()
        with pytest.raises(errors.UsageError, match="closed"):
            await mos.count(user="ann")

    run(work)


@pytest.mark.parametrize("loop", LOOPS)
def test_sixteen_concurrent_writers_lose_nothing(tmp_path: Path, loop: str) -> None:
    async def work() -> None:
        async with AsyncMOS(tmp_path / "a.db", embedder=None) as mos:

            async def writer(name: int) -> list[str]:
                return [(await mos.add(f"w{name} n{n}", user="ann")).id for n in range(5)]

            written = await asyncio.gather(*(writer(n) for n in range(16)))
            ids = [each for some in written for each in some]
            assert len(set(ids)) == 80
            texts = {item.id: item.text for item in await mos.list(user="ann", limit=1000)}
            assert texts == {
                i: f"w{w} n{n}" for w, some in enumerate(written) for n, i in enumerate(some)
            }
            await mos.wait()
            assert (await mos.check()).sound

    run(work, loop)


def test_threads_are_bounded_named_and_gone_after_close(tmp_path: Path) -> None:
    def mine() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name.startswith("memos-aio")]

    async def work() -> None:
        async with AsyncMOS(tmp_path / "a.db", embedder=None, max_threads=3) as mos:
            await asyncio.gather(*(mos.add(f"fact {n}", user="ann") for n in range(30)))
            assert 1 <= len(mine()) <= 3
        assert [name for name in mine() if "close" not in name] == []

    run(work)
    with pytest.raises(errors.UsageError, match="max_threads"):
        AsyncMOS(max_threads=0)


def test_waiting_calls_never_keep_a_search_from_a_thread(tmp_path: Path) -> None:
    async def work() -> None:
        idle = Settings(worker=False)
        async with AsyncMOS(tmp_path / "a.db", embedder=None, settings=idle, max_threads=1) as mos:
            added = await mos.add("The harbour is open", user="ann")
            begun, enough = threading.Event(), threading.Event()

            def hold(_: float) -> None:
                begun.set()
                enough.wait(20)

            waiting = [asyncio.create_task(mos.wait(added, progress=hold)) for _ in range(3)]
            while not begun.is_set():
                await asyncio.sleep(0.005)
            found = await asyncio.wait_for(mos.search("harbour", user="ann"), 10)
            enough.set()
            await asyncio.gather(*waiting)
            assert [hit.id for hit in found] == [added.id]

    run(work)


def test_cancelled_write_that_began_goes_on_and_nothing_is_corrupted(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncMOS(tmp_path / "a.db", embedder=None, max_threads=2) as mos:
            tasks = [asyncio.create_task(mos.add(f"fact {n}", user="ann")) for n in range(20)]
            await asyncio.sleep(0.002)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert any(isinstance(each, asyncio.CancelledError) for each in ended)
            again = await mos.add("after the storm", user="ann")
            await mos.wait(again)
            report = await mos.check()
            assert report.sound
        with MOS(tmp_path / "a.db", embedder=None) as plain:
            texts = [item.text for item in plain.list(user="ann")]
            assert "after the storm" in texts
            assert len(set(texts)) == len(texts)

    run(work)


def test_cancelling_an_await_does_not_stop_a_write_in_hand(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncMOS(tmp_path / "a.db", embedder=None) as mos:
            begun, go = threading.Event(), threading.Event()

            class Slow(dict[str, Any]):
                def __contains__(self, key: object) -> bool:
                    begun.set()
                    go.wait(20)
                    return super().__contains__(key)

                def get(self, key: str, default: Any = None) -> Any:
                    begun.set()
                    go.wait(20)
                    return super().get(key, default)

            slow = Slow(role="user", content="kept although nobody waits")
            task = asyncio.create_task(mos.add(slow, user="ann"))
            while not begun.is_set():
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go.set()
        with MOS(tmp_path / "a.db", embedder=None) as plain:
            assert [i.text for i in plain.list(user="ann")] == ["kept although nobody waits"]

    run(work)


def test_pipeline_commits_at_the_end_of_the_block_or_not_at_all(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncMOS(tmp_path / "a.db", embedder=None) as mos:
            first = await mos.add("draft", user="ann")
            async with mos.pipeline(user="ann") as both:
                await both.add("second")
                await both.update(first.id, "final")
                assert await mos.count(user="ann") == 1
            assert len(both.results) == 2
            broken = mos.pipeline(user="ann")

            async def breaks() -> None:
                async with broken:
                    await broken.delete(first.id)
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await breaks()
            assert broken.results == []
            texts = sorted([item.text for item in await mos.list(user="ann")])
            assert texts == ["final", "second"]

    run(work)


def test_as_of_gives_a_view_whose_verbs_are_awaited(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncMOS(tmp_path / "a.db", embedder=None) as mos:
            added = await mos.add("The code is red", user="ann")
            seq = (await mos.get(added.id, user="ann")).header.seq
            await mos.update(added.id, "The code is blue", user="ann")
            view = await mos.as_of(seq)
            assert isinstance(view, AsyncMemoryView)
            assert [h.text for h in await view.search("code", user="ann")] == ["The code is red"]
            assert (await view.get(added.id, user="ann")).text == "The code is red"
            assert not hasattr(view, "add")

    run(work)


def test_acting_asks_as_another_principal_over_the_same_threads(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncMOS(tmp_path / "a.db", embedder=None) as mos:
            bob = mos.acting(Principal(user="bob"))
            added = await bob.add("mine")
            assert await bob.count() == 1
            with pytest.raises(errors.NotFound):
                await mos.get(added.id, user="ann")
        with pytest.raises(errors.UsageError, match="closed"):
            await bob.count()

    run(work)


def test_errors_arrive_as_they_are(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncMOS(tmp_path / "a.db", embedder=None) as mos:
            with pytest.raises(errors.InvalidInput, match="limit"):
                await mos.search("x", limit=0)
            with pytest.raises(errors.AccessDenied):
                await mos.search("x", user="bob", cube="users/ann")
        missing = AsyncMOS(tmp_path / "no" / "folder.db", embedder=None)
        with pytest.raises(errors.MemosError):
            async with missing:
                pass
        await missing.close()

    run(work)


def test_context_variables_reach_the_thread(tmp_path: Path) -> None:
    trace: ContextVar[str] = ContextVar("trace", default="none")

    async def work() -> None:
        idle = Settings(worker=False)
        async with AsyncMOS(tmp_path / "a.db", embedder=None, settings=idle) as mos:
            seen: list[str] = []
            trace.set("request-7")
            added = await mos.add("x y z", user="ann")
            await mos.wait(added, progress=lambda _: seen.append(trace.get()))
            assert set(seen) == {"request-7"}

    run(work)


TYPED = """
from memos_integrations.interface.aio import AsyncMOS

async def asks(mos: AsyncMOS) -> None:
    reveal_type(await mos.search("q", user="ann", limit=3))
    reveal_type(await (await mos.as_of(3)).list())
    async with mos.pipeline(user="ann") as both:
        reveal_type(both)
    await mos.add("x", usr="ann")
    await mos.search("q", limit="3")
"""


@pytest.mark.slow
def test_types_are_those_of_the_synchronous_verbs(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="reading the types needs mypy")
    (tmp_path / "typed.py").write_text(TYPED)
    done = subprocess.run(
        [*MYPY, str(tmp_path / "typed.py")],
        cwd=ROOT,
        env={"MYPYPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line.partition(": ")[2] for line in done.stdout.splitlines() if "typed.py" in line]
    assert said == [
        'note: Revealed type is "list[memos_integrations.cube.item.Hit]"',
        'note: Revealed type is "list[memos_integrations.cube.item.MemoryItem]"',
        'note: Revealed type is "memos_integrations.interface.aio.AsyncPipeline"',
        'error: Unexpected keyword argument "usr"; did you mean "user"?  [call-arg]',
        'error: Argument "limit" has incompatible type "str"; expected "int"  [arg-type]',
    ]
