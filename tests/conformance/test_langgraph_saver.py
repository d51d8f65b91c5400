"""LangGraph's own conformance suite for checkpointers: the base and the extended set, whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import (
    BASE_CAPABILITIES,
    EXTENDED_CAPABILITIES,
    Capability,
)
from langgraph.checkpoint.conformance.spec import (
    test_copy_thread,
    test_delete_for_runs,
    test_delete_thread,
    test_get_tuple,
    test_list,
    test_prune,
    test_put,
    test_put_writes,
)

from langgraph_memos import MemOSSaver
from memos_integrations import MOS, Settings

QUIET = Settings(worker=False, synchronous="normal")
SUITES = {
    Capability.PUT: test_put.ALL_PUT_TESTS,
    Capability.PUT_WRITES: test_put_writes.ALL_PUT_WRITES_TESTS,
    Capability.GET_TUPLE: test_get_tuple.ALL_GET_TUPLE_TESTS,
    Capability.LIST: test_list.ALL_LIST_TESTS,
    Capability.DELETE_THREAD: test_delete_thread.ALL_DELETE_THREAD_TESTS,
    Capability.DELETE_FOR_RUNS: test_delete_for_runs.ALL_DELETE_FOR_RUNS_TESTS,
    Capability.COPY_THREAD: test_copy_thread.ALL_COPY_THREAD_TESTS,
    Capability.PRUNE: test_prune.ALL_PRUNE_TESTS,
}
Check = Callable[[BaseCheckpointSaver[str]], Awaitable[None]]
CASES = [(cap, check) for cap, checks in SUITES.items() for check in checks]


@checkpointer_test(name="MemOSSaver")
async def memos_saver() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
    with MOS(None, embedder=None, settings=QUIET) as mos:
        yield MemOSSaver(mos)


@pytest.mark.parametrize(("cap", "check"), CASES, ids=[c.__name__ for _, c in CASES])
async def test_the_saver_keeps_langgraphs_contract(cap: Capability, check: Check) -> None:
    with MOS(None, embedder=None, settings=QUIET) as mos:
        await check(MemOSSaver(mos))


async def test_the_suite_finds_every_capability_and_skips_none() -> None:
    report = await validate(memos_saver)
    results = {Capability(name): result for name, result in report.results.items()}
    assert results.keys() == BASE_CAPABILITIES | EXTENDED_CAPABILITIES
    assert all(result.detected and not result.tests_skipped for result in results.values())
    assert [result.failures for result in results.values() if result.failures] == []
    base = sum(results[cap].tests_passed for cap in BASE_CAPABILITIES)
    extended = sum(results[cap].tests_passed for cap in EXTENDED_CAPABILITIES)
    assert (base, extended) == (58, 23)
