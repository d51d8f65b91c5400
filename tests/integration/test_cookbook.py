"""The recipes of the cookbook, run as printed: offline, each in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each recipe is a process of its own
ROOT = Path(__file__).parents[2]
OFFLINE = (
    "import runpy, socket, sys\n"
    "def refuse(*_):\n"
    "    raise OSError('a recipe must work offline')\n"
    "socket.socket.connect = refuse\n"
    "sys.path[0] = sys.argv[2]\n"  # as of a file that is run
    "runpy.run_path(sys.argv[1], run_name='__main__')\n"
)
STRICT = ("-W", "error")
# LlamaIndex looks at deprecated attributes of its own agents.
ALL_BUT_THEIRS = (*STRICT, "-W", "ignore::DeprecationWarning")


def printed(recipe: str, folder: Path, *, needs: str) -> list[str]:
    """The lines that a recipe prints; it must end well, warn of nothing and leave nothing."""
    pytest.importorskip(needs, reason=f"{needs} is not installed")
    path = os.pathsep.join(str(ROOT / part) for part in (".", "adapters", "graphs"))
    env = os.environ | {"PYTHONPATH": path, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    warnings = ALL_BUT_THEIRS if needs.startswith("llama_index") else STRICT
    cookbook = ROOT / "cookbook"
    done = subprocess.run(
        [sys.executable, *warnings, "-c", OFFLINE, str(cookbook / recipe), str(cookbook)],
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
    lines = printed("01_langchain_chain_with_retriever.py", tmp_path, needs="langchain")
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
    lines = printed("02_create_agent_with_middleware.py", tmp_path, needs="langchain")
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


def test_agent_goes_back_in_its_memory_and_its_fork_stays_apart(tmp_path: Path) -> None:
    said = dict(
        line.split(":", 1)
        for line in printed("03_langgraph_agent_with_time_travel.py", tmp_path, needs="langgraph")
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
    lines = printed("04_team_with_shared_memory.py", tmp_path, needs="langgraph")
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
    assert printed("07_moving_in.py", tmp_path, needs="langgraph") == [
        "True",
        "To come: 1",
        "Came: Maya prefers window seats",
        "From mem0: 2025-02-01 import import",
        "Again: 1",
        "Found: Maya prefers window seats [import:langgraph]",
        "Found: The trip to Oslo starts on 3 May [entry:memories/maya/trip]",
        "Tools: ['remember', 'recall', 'update_memory', 'forget']",
    ]


def test_agents_turns_cost_what_is_new_in_them(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra activation")
    lines = printed("08_turns_that_get_cheaper.py", tmp_path, needs="langgraph")
    found, erased = lines[:-1], lines[-1]
    numbers = re.compile(r"(.*?): *([\d,]+) tokens, ([\d,]+) of them new")
    told = [numbers.fullmatch(line).groups() for line in found]  # type: ignore[union-attr]
    tokens = {name: int(count.replace(",", "")) for name, count, _ in told}
    cost = {name: int(count.replace(",", "")) for name, _, count in told}
    assert cost["Memory kept, turn 1"] == tokens["Memory kept, turn 1"]
    assert 100 < cost["Memory kept, turn 2"] < cost["Memory kept, turn 3"] < 250
    assert max(cost[f"Turns kept, turn {n}"] for n in (1, 2, 3)) < 100
    assert cost["A memory more"] < tokens["A memory more"] / 3
    assert cost["Another person"] == tokens["Another person"] < 100
    assert cost["Corrected"] > 0.9 * tokens["Corrected"]
    assert erased == "Erased, bytes found: 0"


def test_query_engine_finds_filters_shares_and_forgets(tmp_path: Path) -> None:
    assert printed("05_llama_index_query_engine.py", tmp_path, needs="llama_index.core") == [
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
    assert printed("06_llama_index_agent_memory.py", tmp_path, needs="llama_index.core") == [
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


def test_agent_learns_what_lasts_and_text_stays_the_truth(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs the extra parametric")
    assert printed("09_agent_that_learns.py", tmp_path, needs="langgraph") == [
        "By day:   trotronesha (from text, 14 tokens)",
        "Waits:    [6] memories",
        "Approved: queued",
        "Learnt:   published 6 facts",
        "Next day: trotronesha (from adapter, 10 tokens)",
        "Else:     zaphemuvu (from base, 10 tokens)",
        "Mended:   muvushamu (from text, 14 tokens)",
        "Serves:   False",
    ]
