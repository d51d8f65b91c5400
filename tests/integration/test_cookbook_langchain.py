"""The LangChain recipes of the cookbook, run as printed: offline, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("langchain", reason="the langchain extra is not installed")

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


def test_chain_answers_each_person_from_documents_and_what_they_said(tmp_path: Path) -> None:
    lines = printed("01_langchain_chain_with_retriever.py", tmp_path)
    given = lines[
        1 : lines.index("Its answer: 16 days: 27 days in proportion to three days of five.")
    ]
    assert lines[0] == "What the model is given for Maya:"
    assert any("27 days" in line and line.endswith("[document:handbook.md]") for line in given)
    assert "- I work three days a week. [session:monday]" in given
    assert not any("five days" in line for line in given)
    best, why, only = lines[-3:]
    assert best == "Best for 'days of leave': document:handbook.md - import"
    assert why.startswith("Why: ")
    assert only == "Documents only: ['document:handbook.md']"


def test_agent_remembers_across_conversations_and_forgets_when_told(tmp_path: Path) -> None:
    lines = printed("02_create_agent_with_middleware.py", tmp_path)
    assert lines[:3] == [
        "To Maya: Mind the nuts: you are allergic.",
        "To Sam:  I know of no allergy.",
        "Stored on Tuesday: ['Am I allergic to anything?', 'Mind the nuts: you are allergic.']",
    ]
    assert lines[3].startswith("Trace: injected, such as ")
    assert lines[4] == "Trace: written, such as 'Am I allergic to anything?'"
    assert lines[5:] == [
        "Erased, bytes still found: 0",
        "After it: I know of no allergy.",
    ]
