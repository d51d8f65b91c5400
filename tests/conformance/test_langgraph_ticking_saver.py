"""``TickingSaver`` takes nothing away: LangGraph's conformance suite, passed through it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import (
    BASE_CAPABILITIES,
    EXTENDED_CAPABILITIES,
    Capability,
)

from langgraph_memos import MemOSSaver, TickingSaver
from memos_integrations import MOS, Settings

QUIET = Settings(worker=False, synchronous="normal")


@checkpointer_test(name="TickingSaver")
async def ticking_saver() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
    with MOS(None, embedder=None, settings=QUIET) as mos:
        yield TickingSaver(MemOSSaver(mos), mos, least_seconds=0)


async def test_the_whole_suite_passes_through_the_ticking_saver() -> None:
    report = await validate(ticking_saver)
    results = {Capability(name): result for name, result in report.results.items()}
    assert results.keys() == BASE_CAPABILITIES | EXTENDED_CAPABILITIES
    failed = {cap.value: result.failures for cap, result in results.items() if result.failures}
    assert failed == {}
    assert all(result.detected and not result.tests_skipped for result in results.values())
    assert sum(result.tests_passed for result in results.values()) == 81
