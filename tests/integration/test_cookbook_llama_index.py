"""The LlamaIndex recipes of the cookbook, run as printed: offline, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("llama_index.core", reason="the llama-index extra is not installed")

pytestmark = pytest.mark.slow  # each recipe is a process of its own
ROOT = Path(__file__).parents[2]
OFFLINE = (
    "import runpy, socket, sys\n"
    "def refuse(*_):\n"
    "    raise OSError('a recipe must work offline')\n"
    "socket.socket.connect = refuse\n"
    "runpy.run_path(sys.argv[1], run_name='__main__')\n"
)
# LlamaIndex looks at deprecated attributes of its own agents.
WARNINGS = ("-W", "error", "-W", "ignore::DeprecationWarning")


def printed(recipe: str, folder: Path) -> list[str]:
    """The lines that a recipe prints; it must end well, warn of nothing and leave nothing."""
    path = os.pathsep.join(str(ROOT / part) for part in (".", "adapters", "graphs"))
    env = os.environ | {"PYTHONPATH": path, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *WARNINGS, "-c", OFFLINE, str(ROOT / "cookbook" / recipe)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert list(folder.iterdir()) == []
    return done.stdout.splitlines()


def test_query_engine_finds_filters_shares_and_forgets(tmp_path: Path) -> None:
    assert printed("05_llama_index_query_engine.py", tmp_path) == [
        "Rests on: ['leave']",
        "Given to the model: True",
        "Of the people team: ['leave', 'salary']",
        "By words: ['salary']",
        "Sam finds: 2",
        "Sam, later: user:sam may not read cube users/maya/nodes; ask its owner for a grant",
        "What Sam had retrieved before, checked again: 0",
        "After the delete: 2",
        "As of before: Salaries are paid on the 25th.",
        "Erased, bytes still found: 0",
        "Left: ['travel']",
    ]


def test_agent_remembers_across_sessions_and_forgets_when_told(tmp_path: Path) -> None:
    assert printed("06_llama_index_agent_memory.py", tmp_path) == [
        "Monday:  Mind the nuts.",
        "Tuesday: Mind the nuts.",
        "History of Tuesday: 2 messages",
        "Sam:     I do not know.",
        "Trip:    I have noted that.",
        "Kept:    Maya is in Oslo in May. (inference)",
        "Block:   To Oslo.",
        "Erased, bytes still found: 0",
        "After:   I do not know.",
    ]
