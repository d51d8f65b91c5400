"""The commands that organise, run as scripts run them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer", reason="the command line needs the cli extra")

from typer.testing import CliRunner

from memos_integrations.interface.cli.program import app

GARDEN = [
    "I planted tomato seedlings in the garden bed",
    "The tomato plants in the garden bed grew tall",
    "Tomato plants in my garden bed have yellow leaves",
]


def run(file: Path, *arguments: str, code: int = 0) -> Any:
    done = CliRunner().invoke(
        app, ["--db", str(file), "--user", "ann", "--no-embed", "--json", *arguments]
    )
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if done.stdout.strip() else None


def added(file: Path, *texts: str) -> list[str]:
    return [run(file, "add", text)["outcomes"][0]["id"] for text in texts]


def test_feedback_corrects_by_id_and_says_what_it_did(tmp_path: Path) -> None:
    file = tmp_path / "m.db"
    [item] = added(file, "The stand-up is on Monday")
    done = run(file, "feedback", "it's Tuesday, not Monday", "--about", item)
    assert done["actions"][0]["did"] == "corrected"
    assert run(file, "get", item)["text"] == "The stand-up is on Tuesday"


def test_feedback_that_changes_nothing_exits_with_1(tmp_path: Path) -> None:
    file = tmp_path / "m.db"
    added(file, "The stand-up is on Monday")
    done = run(file, "feedback", "that is wrong", code=1)
    assert "about=" in done["unresolved"][0]["needs"]


def test_consolidate_plans_and_then_does_it(tmp_path: Path) -> None:
    file = tmp_path / "m.db"
    items = added(file, *GARDEN)
    [cluster] = run(file, "consolidate", "--plan")["clusters"]
    assert set(cluster["items"]) == set(items)
    [summary] = run(file, "consolidate")["made"]
    assert run(file, "get", summary)["header"]["tags"] == ["summary"]
    found = run(file, "related", summary, "--relation", "derived_from")["related"]
    assert {each["memory"]["header"]["id"] for each in found} == set(items)


def test_names_of_an_empty_memory_are_none(tmp_path: Path) -> None:
    file = tmp_path / "m.db"
    added(file, "nothing is named here")
    assert run(file, "names")["names"] == []
