"""The table that sets LangGraph's in-memory store beside ours can be made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


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
