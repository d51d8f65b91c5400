"""What LangGraph's store costs: ours on a file, beside LangGraph's own in memory.

    python -m bench.store_speed           # medians in milliseconds
    python -m bench.store_speed --quick   # fewer rounds, for a first look

The file lies on this machine's disk, so a put cannot be quicker than one durable commit, which is
measured beside. Neither store embeds here: it is the store that is measured, not a model.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore

from memos_integrations import MOS, Settings

NS = ("memories", "food")
BATCH = 1_000
STORED = 5_000


def median(act: Callable[[int], object], rounds: int) -> float:
    """The median time of ``act`` in milliseconds."""
    took: list[float] = []
    for n in range(rounds):
        began = time.perf_counter()
        act(n)
        took.append(time.perf_counter() - began)
    return 1_000 * statistics.median(took)


@contextmanager
def stores(folder: Path) -> Iterator[dict[str, BaseStore]]:
    from langgraph_memos import MemOSStore

    quick = Settings(worker=False, synchronous="normal")
    with (
        MemOSStore(folder / "full.db", embedder=None, settings=Settings(worker=False)) as full,
        MemOSStore(folder / "normal.db", embedder=None, settings=quick) as normal,
    ):
        yield {"InMemoryStore": InMemoryStore(), "MemOSStore": full, "MemOSStore, NORMAL": normal}


def commit_of(mos: MOS, rounds: int) -> float:
    """One durable commit of a row, in milliseconds."""
    sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('bench', ?)"
    vault = mos._rooms.vault
    return median(lambda n: vault.maintain(lambda tx: tx.execute(sql, (b"%d" % n,))), rounds)


def together(store: BaseStore, n: int) -> None:
    """Sixteen tasks that put and get at once."""

    async def one(task: int) -> None:
        await store.aput((*NS, f"t{task}"), f"k{n}", {"n": n})
        await store.aget((*NS, f"t{task}"), f"k{n}")

    async def all_of_them() -> None:
        await asyncio.gather(*(one(task) for task in range(16)))

    asyncio.run(all_of_them())


def measured(store: BaseStore, rounds: int) -> dict[str, float]:
    """What is done -> milliseconds."""

    def put_and_get(n: int) -> None:
        store.put(NS, f"k{n}", {"text": "soup with ginger", "n": n})
        store.get(NS, f"k{n}")

    def batch(n: int) -> None:
        store.batch([PutOp(("batch", f"b{n}"), f"k{k}", {"n": k}) for k in range(BATCH)])

    store.batch([PutOp(("old", f"n{n % 10}"), f"k{n}", {"n": n}) for n in range(STORED)])
    store.search(("old", "n3"), query="n 3")
    return {
        "put and get one value": median(put_and_get, rounds),
        "put one value again": median(lambda n: store.put(NS, "k0", {"n": n}), rounds),
        "get": median(lambda n: store.get(NS, f"k{n}"), rounds),
        f"{BATCH:,} puts in one batch": median(batch, max(3, rounds // 40)),
        "16 tasks put and get": median(lambda n: together(store, n), max(5, rounds // 10)),
        "a page of 500 values": median(lambda _: store.search(("old", "n3")), rounds),
        "500 values by filter": median(
            lambda n: store.search(("old", "n3"), filter={"n": {"$gt": n}}), rounds
        ),
        "500 values by words": median(
            lambda n: store.search(("old", "n3"), query=f"n {n}"), rounds
        ),
        f"namespaces of {STORED:,} values": median(lambda _: store.list_namespaces(), rounds // 5),
    }


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, stores(Path(folder)) as opened:
        found = {name: measured(store, rounds) for name, store in opened.items()}
        commit = commit_of(opened["MemOSStore"].mos, rounds)  # type: ignore[attr-defined]
    print(f"one durable commit: {commit:.2f} ms\n")
    print(f"| milliseconds | {' | '.join(found)} |\n|---{'|---:' * len(found)}|")
    for what in next(iter(found.values())):
        print(f"| {what} | " + " | ".join(f"{each[what]:.2f}" for each in found.values()) + " |")


if __name__ == "__main__":
    main(30 if "--quick" in sys.argv[1:] else 200)
