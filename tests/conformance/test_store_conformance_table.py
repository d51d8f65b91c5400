"""The table that sets LangGraph's in-memory store beside ours can be made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_table_tells_what_each_store_holds() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.store_conformance", "emptied", "empty_batch", "--all"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "graphs")])},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "| an empty batch gives nothing | yes | yes |" in done.stdout
    assert "| an emptied namespace vanishes | no | yes |" in done.stdout
    assert "| **behaviours held** | 1 of 2 | 2 of 2 |" in done.stdout


THIRD_PARTY = """
from langgraph.store.memory import InMemoryStore
from memos_integrations.testing.langgraph import BaseStoreTests

class TestTheirs(BaseStoreTests):
    rich_filters = False

    def make_store(self, *, index=None, ttl=None):
        return InMemoryStore(index=index)
"""


@pytest.mark.slow
def test_the_suite_runs_on_any_store_as_a_plugin_without_one_for_asyncio(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(THIRD_PARTY)
    options = ["-p", "memos_integrations.testing.langgraph", "-p", "no:asyncio", "-p", "no:xdist"]
    chosen = ["-k", "results_come or closest_comes or pages or emptied"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, *chosen, "test_theirs.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "2 failed, 8 passed" in done.stdout
    assert "assert ('users', 'v1') not in" in done.stdout  # explained by pytest
