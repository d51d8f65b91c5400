"""The LangGraph recipes of the cookbook, run as printed: offline, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

pytestmark = pytest.mark.slow  # each recipe is a process of its own
ROOT = Path(__file__).parents[2]
OFFLINE = (
    "import runpy, socket, sys\n"
    "def refuse(*_):\n"
    "    raise OSError('a recipe must work offline')\n"
    "socket.socket.connect = refuse\n"
    "runpy.run_path(sys.argv[1], run_name='__main__')\n"
)


def printed(recipe: str, folder: Path) -> list[str]:
    """The lines that a recipe prints; it must end well, warn of nothing and leave nothing."""
    path = os.pathsep.join(str(ROOT / part) for part in (".", "adapters", "graphs"))
    env = os.environ | {"PYTHONPATH": path, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OFFLINE, str(ROOT / "cookbook" / recipe)],
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


def test_agent_goes_back_in_its_memory_and_its_fork_stays_apart(tmp_path: Path) -> None:
    said = dict(
        line.split(":", 1) for line in printed("03_langgraph_agent_with_time_travel.py", tmp_path)
    )
    assert {name: words.strip() for name, words in said.items()} == {
        "On Monday": "My flight leaves from Oslo.",
        "On Tuesday": "My flight leaves from Bergen.",
        "History": "['My flight leaves from Oslo.', 'My flight leaves from Bergen.']",
        "Back on Monday": "My flight leaves from Oslo.",
        "In her memory": "0",
        "On the branch": "1",
        "Erased": "(0, None)",
    }


def test_team_shares_what_grants_allow(tmp_path: Path) -> None:
    lines = printed("04_team_with_shared_memory.py", tmp_path)
    assert lines == [
        "['planner: Plan: the venue is booked for 12 May.', "
        "'critic: Note: the budget is not settled.']",
        "Shared:   ['Plan the spring fair.', 'Plan: the venue is booked for 12 May.']",
        "Critic's: ['Note: the budget is not settled.']",
        "Refused:  agent:critic may not read cube teams/event; ask its owner for a grant",
        "Refusals in the log: ['agent:critic']",
        "The log is intact: True",
    ]


def test_memories_move_in_and_are_one_memory(tmp_path: Path) -> None:
    assert printed("07_moving_in.py", tmp_path) == [
        "True",
        "To come: 1",
        "Came: Maya prefers window seats",
        "From mem0: 2025-02-01 import import",
        "Again: 1",
        "Found: Maya prefers window seats [import:langgraph]",
        "Found: The trip to Oslo starts on 3 May [entry:memories/maya/trip]",
        "Tools: ['remember', 'recall', 'update_memory', 'forget']",
    ]
