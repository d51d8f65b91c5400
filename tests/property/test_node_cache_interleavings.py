"""Whatever order nodes begin and end in, no result is served for newer memory than its own.

Every order of three runs under one key is tried, with memory moving after any of the beginnings
and with any of the runs failing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langgraph_memos import MemOSNodeCache
from memos_integrations import MOS, Settings

RUNS = 3


def orders(begun: int = 0, running: tuple[int, ...] = ()) -> Iterator[tuple[tuple[str, int], ...]]:
    """Every way in which runs can begin, one after the other, and end in any order."""
    if begun == RUNS and not running:
        yield ()
    if begun < RUNS:
        for rest in orders(begun + 1, (*running, begun)):
            yield (("begin", begun), *rest)
    for run in running:
        for rest in orders(begun, tuple(each for each in running if each != run)):
            yield (("end", run), *rest)


@pytest.mark.slow
def test_no_result_is_served_for_newer_memory_than_it_was_made_of() -> None:
    quiet = Settings(worker=False, synchronous="normal")
    with MOS(None, embedder=None, settings=quiet) as mos:
        mos.add("first", user="alice")
        cases = list(product(orders(), product([False, True], repeat=2 * RUNS)))
        served = sum(followed(mos, n, *case) for n, case in enumerate(cases))
    assert len(cases) == 15 * 2 ** (2 * RUNS)
    assert served > 100  # it is a cache, after all


def followed(
    mos: MOS, number: int, order: tuple[tuple[str, int], ...], choices: tuple[bool, ...]
) -> int:
    """Whether anything was served in the end; a result is the version its run began at."""
    key = (("__pregel_ns_writes", "f", "node"), str(number))
    ours, other = (MemOSNodeCache(mos, user="alice") for _ in range(2))
    moves, fails = choices[:RUNS], choices[RUNS:]
    began: dict[int, int] = {}
    for what, run in order:
        if what == "begin":
            found, now = ours.get([key]), mos.version(user="alice")
            if not found:
                began[run] = now
            if moves[run]:
                mos.share(to="bob", user="alice", cube="users/alice")
        elif run in began and not fails[run]:
            ours.set({key: (began[run], None)})
        shown, now = other.get([key]), mos.version(user="alice")
        assert shown in ({}, {key: now}), (order, choices)
    return len(shown)
