"""``memos loop``: what would change its form for a model out of a folder, and doing it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.errors import UsageError

pytest.importorskip("torch", reason="needs the activation extra")
pytest.importorskip("transformers", reason="needs the activation extra")
pytest.importorskip("peft", reason="needs the parametric extra")
pytest.importorskip("typer", reason="the command line needs the cli extra")

import torch
import transformers
from typer.testing import CliRunner

from memos_integrations.interface.cli.program import app


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=384,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    where = tmp_path_factory.mktemp("models") / "small"
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(where)
    transformers.ByT5Tokenizer().save_pretrained(where)
    return where


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.db"
    with MOS(path, embedder=None, settings=Settings(worker=False, extract=False)) as mos:
        ids = [mos.add(f"The boiler in cellar {n} is red. " * 12, user="ann").id for n in range(6)]
        mos.work()
        for _ in range(6):
            for each in ids:
                mos.get(each, user="ann")
    return path


def run(file: Path, *more: str) -> Any:
    given = ["--db", str(file), "--user", "ann", "--no-embed", "--json", "loop", *more]
    result = CliRunner().invoke(app, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_without_a_model_the_command_says_that_none_is_hosted(file: Path) -> None:
    told = run(file)
    assert (told["hosted"], told["placements"]) == ([], [])
    assert "no model is hosted by this process" in told["note"]
    shown = CliRunner().invoke(app, ["--db", str(file), "--user", "ann", "loop"])
    assert "--model" in shown.stdout


def test_what_would_move_is_shown_and_only_run_moves_it(file: Path, folder: Path) -> None:
    for _ in range(2):
        told = run(file, "--model", str(folder))
        (placement,) = told["placements"]
        assert (placement["model"], placement["path"]) == ("small", "users/ann")
        assert (placement["step"], placement["fate"]) == ("promote", "move")
        assert {each["form"] for each in placement["weighed"]} == {"activation", "parametric"}
    done = run(file, "--model", str(folder), "--run")
    assert done["carried_out"]
    after = run(file, "--model", str(folder))["placements"][0]
    assert (after["step"], after["form"]) == ("stay", "activation")


def test_the_table_explains_each_form(file: Path, folder: Path) -> None:
    given = ["--db", str(file), "--user", "ann", "--no-embed", "loop", "--model", str(folder)]
    shown = CliRunner(env={"COLUMNS": "300"}).invoke(app, [*given, "--explain"])
    assert "plaintext -> activation" in shown.stdout
    for form in ("activation: of 6 memories, saves", "parametric: of 0 memories"):
        assert form in shown.stdout
    assert "1 cube would move of 1" in shown.stdout
    assert "forms of default" in shown.stdout


@pytest.mark.parametrize("wrong", ["", "missing"])
def test_a_folder_without_a_model_is_refused_in_words(
    file: Path, tmp_path: Path, wrong: str
) -> None:
    with pytest.raises(UsageError, match=r"holds no model|is no folder"):
        CliRunner().invoke(
            app,
            ["--db", str(file), "loop", "--model", str(tmp_path / wrong)],
            catch_exceptions=False,
        )


def test_a_pickled_model_is_not_read(file: Path, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "pickled"
    other.mkdir()
    for name in ("config.json", "tokenizer_config.json"):
        (other / name).write_bytes((folder / name).read_bytes())
    torch.save({"lm_head.weight": torch.zeros(1)}, other / "pytorch_model.bin")
    with pytest.raises(UsageError, match="holds no model"):
        CliRunner().invoke(
            app, ["--db", str(file), "loop", "--model", str(other)], catch_exceptions=False
        )
