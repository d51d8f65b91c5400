"""Processes killed in the middle of an agent's turn: what was said is remembered, and once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("langchain", reason="the langchain extra is not installed")
pytest.importorskip("langgraph", reason="the langgraph extra is not installed")

from memos_integrations import MOS, Settings

ROOT = Path(__file__).parents[2]
POINTS = ["before the model", "after the model", "before the write", "after the write"]
STEPS = [("nowhere", "I live in Porto."), ("point", "I moved to Lyon."), ("point", "")]
STEPS += [("nowhere", ""), ("nowhere", "I like it.")]
"""Where each process is killed, and what is said to it; nothing means: go on where it stopped."""

# Every step is a process of its own, forked off one that has imported all and opened nothing.
DRIVER = """
import json, os, signal, sys
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_memos import MemOSMiddleware
from langgraph_memos import MemOSSaver
from memos_integrations import MOS, Settings

folder, points, steps = json.load(sys.stdin)

def die_at(here, point):
    if here == point:
        os.kill(os.getpid(), signal.SIGKILL)

class Killed(MemOSMiddleware):
    def __init__(self, mos, point):
        super().__init__(mos)
        self.point = point

    def wrap_model_call(self, request, handler):
        die_at("before the model", self.point)
        done = super().wrap_model_call(request, handler)
        die_at("after the model", self.point)
        return done

    def after_agent(self, state, runtime):
        die_at("before the write", self.point)
        done = super().after_agent(state, runtime)
        die_at("after the write", self.point)
        return done

def turn(path, point, words):
    with MOS(path, embedder=None, settings=Settings(worker=False)) as mos:
        memory, model = Killed(mos, point), FakeListChatModel(responses=["Noted."])
        agent = create_agent(model, middleware=[memory], checkpointer=MemOSSaver(mos))
        config = {"configurable": {"user_id": "alice", "thread_id": "t1"}}
        given = {"messages": [("user", words)]} if words else None
        agent.invoke(given, config, durability="sync")

def forked(*step):
    child = os.fork()
    if child == 0:
        turn(*step)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

print(json.dumps({
    point: [forked(f"{folder}/{point}.db", {"point": point}.get(at, at), words)
            for at, words in steps]
    for point in points
}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def ends(folder: Path) -> dict[str, list[int]]:
    """How each process ended, by the point at which some were killed."""
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "adapters", "graphs"))
    }
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps([str(folder), POINTS, STEPS]),
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    found: dict[str, list[int]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_turn_of_a_killed_process_is_remembered_once_when_it_goes_on(
    folder: Path, ends: dict[str, list[int]], point: str
) -> None:
    assert ends[point] == [0, -signal.SIGKILL, -signal.SIGKILL, 0, 0]
    with MOS(folder / f"{point}.db", embedder=None, settings=Settings(worker=False)) as mos:
        kept = sorted(item.text for item in mos.list(user="alice"))
        assert mos.check().sound
    assert kept == sorted(["I live in Porto.", "I moved to Lyon.", "I like it.", *["Noted."] * 3])
