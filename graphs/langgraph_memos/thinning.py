"""Making a thread thinner: some checkpoints stay, with all that they stand on.

Called by the saver. Versions of channels and runs of lists are shared, so what goes is found by
what stays. It is decided on a reading and carried out only while the thread's head is as it was
then: a run that saves a checkpoint meanwhile has the decision made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from langgraph_memos.stored_threads import Saved, StoredThreads
from langgraph_memos.thread_records import ThreadKeys, needed
from memos_integrations.cube.errors import BackendUnavailable, Conflict
from memos_integrations.cube.ids import to_micros

_TRIES: Final = 8
_SINCE_SNAPSHOT: Final = "counters_since_delta_snapshot"

Choose = Callable[[list[Saved]], Iterable[Saved]]
"""Of the checkpoints of a thread, those that stay."""


def thin(threads: StoredThreads, keys: ThreadKeys, choose: Choose) -> int:
    """Take out what none of the chosen checkpoints stands on; how many checkpoints went.

    Raises ``BackendUnavailable`` where a run saves faster than the thread can be looked at.
    """
    for _ in range(_TRIES):
        with threads.records.snapshot():
            head = threads.records.get([keys.head]).get(keys.head)
            saved = threads.all_saved(keys)
            kept = list(choose(saved))
            if len(kept) == len(saved):
                return 0
            stay = set(_stand(threads, keys, kept)) if kept else set[str]()
            gone = [key for key in threads.records.keys(keys.everything) if key not in stay]
        try:
            threads.records.write(delete=gone, expect={keys.head: head})
        except Conflict:
            continue
        return len(saved) - len(kept)
    raise BackendUnavailable(f"thread {keys.thread} is being written to; try again later")


def _stand(threads: StoredThreads, keys: ThreadKeys, kept: Iterable[Saved]) -> Iterator[str]:
    """The keys of everything that these checkpoints stand on."""
    yield keys.head
    blobs: set[str] = set()
    for saved in kept:
        place = saved.place
        yield keys.checkpoint(place.namespace, place.checkpoint)
        yield from threads.records.keys(keys.writes(place.namespace, place.checkpoint))
        blobs |= keys.blobs(place.namespace, saved.versions).keys()
    yield from blobs
    for raw in threads.records.get(sorted(blobs)).values():
        yield from needed(threads.serde, keys, raw)


def latest(threads: StoredThreads) -> Choose:
    """The newest checkpoint of each namespace, and of what led to it as much as it needs.

    A channel that is kept as changes since a snapshot (LangGraph's ``DeltaChannel``) needs every
    checkpoint back to that snapshot.
    """

    def choose(saved: list[Saved]) -> Iterator[Saved]:
        newest: dict[str, Saved] = {}
        for each in sorted(saved, key=lambda each: each.place.checkpoint):
            newest[each.place.namespace] = each
        for each in newest.values():
            yield each
            yield from _back_to_snapshots(threads, each)

    return choose


def _back_to_snapshots(threads: StoredThreads, saved: Saved) -> Iterator[Saved]:
    open_: set[str] = set(saved.metadata.get(_SINCE_SNAPSHOT) or ())
    open_ -= _valued(threads, saved, open_)
    for ancestor in threads.ancestors(saved):
        if not open_:
            return
        yield ancestor
        open_ -= _valued(threads, ancestor, open_)


def _valued(threads: StoredThreads, saved: Saved, channels: set[str]) -> set[str]:
    """Which of the channels have a value of their own at this checkpoint."""
    keys = ThreadKeys(saved.place.thread)
    versions = {name: each for name, each in saved.versions.items() if name in channels}
    named = keys.blobs(saved.place.namespace, versions)
    return {named[key] for key in threads.records.times(list(named))}


def without_runs(runs: Iterable[str]) -> Choose:
    """Every checkpoint that none of these runs made."""
    gone = set(runs)
    return lambda saved: [each for each in saved if each.metadata.get("run_id") not in gone]


def idle_since(threads: StoredThreads, end: int) -> Choose:
    """All or nothing: all, where the thread has saved something since (in microseconds)."""

    def choose(saved: list[Saved]) -> list[Saved]:
        heads = [ThreadKeys(each.place.thread).head for each in saved[:1]]
        return (
            saved if any(to_micros(t) >= end for t in threads.records.times(heads).values()) else []
        )

    return choose
