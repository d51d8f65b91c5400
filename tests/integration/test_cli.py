"""The ``memos`` command, run as people and scripts run it."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer", reason="the command line needs the cli extra")

from typer.testing import CliRunner

from memos_integrations import MOS, MemosError, Settings
from memos_integrations.interface.cli import exit_code, main
from memos_integrations.interface.cli.plain import on_one_line, shown
from memos_integrations.interface.cli.program import app, hoisted

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "memos_integrations.interface.cli", "--no-embed")
EVIL = "[red]x[/red] \x1b[31mred\x1b]0;title\x07 \u202egnp.exe\u202c :smile:"


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MEMOS_")}
    kept |= {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"}
    return kept | {"PYTHONWARNINGS": "error::ResourceWarning"} | more


def memos(folder: Path, *arguments: str, stdin: str = "", **more: str) -> Any:
    """The finished command, run in ``folder`` in an interpreter of its own."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**more),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Shell:
    """The command in this process, for speed; one memory file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        done = CliRunner().invoke(
            app, ["--no-embed", "--db", str(self.file), *arguments], input=stdin
        )
        if isinstance(done.exception, MemosError):
            return exit_code(done.exception), done.stdout, str(done.exception)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    def ok(self, *arguments: str, stdin: str = "") -> str:
        code, out, err = self.run(*arguments, stdin=stdin)
        assert code == 0, (out, err)
        return out

    def json(self, *arguments: str, stdin: str = "") -> Any:
        return json.loads(self.ok("--json", *arguments, stdin=stdin))

    def add(self, text: str, *arguments: str) -> str:
        return str(self.json("add", text, *arguments)["outcomes"][0]["id"])


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in [name for name in os.environ if name.startswith("MEMOS_")]:
        monkeypatch.delenv(name)
    return Shell(tmp_path / "m.db")


# -- the real command -------------------------------------------------------------------------


def test_what_one_command_added_the_next_one_finds(tmp_path: Path) -> None:
    added = memos(tmp_path, "add", "The boat leaves at nine", "--user", "ann")
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout.startswith("stored ")
    found = memos(tmp_path, "search", "boat", "--user", "ann")
    assert "The boat leaves at nine" in found.stdout
    assert (found.returncode, found.stderr) == (0, "")
    assert [each.name for each in tmp_path.iterdir()] == ["memos.db"]


def test_json_is_one_document_and_nothing_else_is_on_stdout(tmp_path: Path) -> None:
    Shell(tmp_path / "memos.db").add(EVIL, "--user", "ann")
    done = memos(tmp_path, "--json", "search", "red", "--user", "ann", "--explain")
    document = json.loads(done.stdout)
    assert document["hits"][0]["item"]["text"] == EVIL
    assert document["hits"][0]["signals"][0]["why"]
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_python_dash_m_of_the_package_is_the_same_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "memos_integrations", "--version"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"memos \d+\.\d+\.\d+\n", done.stdout)


def test_error_is_one_line_on_stderr_and_never_a_traceback(tmp_path: Path) -> None:
    done = memos(tmp_path, "add", "--input", "no\nwhere.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"memos: [^\n]+\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_no_memory_is_named_and_left_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "memos.db").write_bytes(b"this is a letter, not a database" * 40)
    with pytest.raises(SystemExit) as left:
        main(["--no-embed", "--db", str(tmp_path / "memos.db"), "list"])
    said = capsys.readouterr().err
    assert left.value.code == 1
    assert said.startswith("memos: ")
    assert "Traceback" not in said
    assert (tmp_path / "memos.db").read_bytes().startswith(b"this is a letter")


def test_missing_extra_says_how_to_get_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['typer'] = None; "
        "from memos_integrations.interface.cli import main; main(['list'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'memos-integrations[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("form", [(), pytest.param(("--json",), marks=pytest.mark.slow)])
def test_reader_that_closes_its_pipe_early_is_met_with_silence(
    tmp_path: Path, form: tuple[str, ...]
) -> None:
    quiet = Settings(worker=False, extract=False)
    with MOS(tmp_path / "memos.db", embedder=None, settings=quiet) as mos:
        mos.add([f"a long line about parcel {n} " + "x" * 200 for n in range(400)], user="ann")
    with subprocess.Popen(
        [*COMMAND, *form, "list", "--user", "ann", "--limit", "400"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(30)


@pytest.mark.parametrize(
    "sent", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_worker_does_the_queue_and_ends_on_a_signal(tmp_path: Path, sent: signal.Signals) -> None:
    Shell(tmp_path / "memos.db").add("The boat leaves at nine", "--user", "ann", "--no-wait")
    with subprocess.Popen(
        [*COMMAND, "worker"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        looking = Settings(worker=False)
        with MOS(tmp_path / "memos.db", embedder=None, settings=looking) as mos:
            deadline = time.monotonic() + 30
            while mos.list(user="ann")[0].header.state != "activated":
                assert time.monotonic() < deadline
                time.sleep(0.05)
        process.send_signal(sent)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == "worker ended: stopped\n"
    assert "Traceback" not in err


def test_terminal_that_knows_only_ascii_gets_an_answer(tmp_path: Path) -> None:
    Shell(tmp_path / "memos.db").add("Der Schlüssel liegt unter 鍵", "--user", "ann")
    done = memos(tmp_path, "list", "--user", "ann", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0
    assert "Schl\\xfcssel" in done.stdout


# -- the commands, in this process ------------------------------------------------------------


def test_memory_text_is_shown_literally_and_harmlessly(shell: Shell) -> None:
    shell.add(EVIL, "--user", "ann", "--tag", "[bold]t[/bold]")
    for arguments in (("list",), ("search", "red"), ("context", "red")):
        out = shell.ok(*arguments, "--user", "ann")
        assert "[red]x[/red]" in out
        assert "\\x1b[31mred\\x1b]0;title\\x07" in out
        assert "\\u202egnp.exe" in out
        assert ":smile:" in out
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", out)
    assert "#[bold]t[/bold]" in shell.ok("list", "--user", "ann")


def test_output_without_a_terminal_has_no_colours_and_keeps_to_the_width(shell: Shell) -> None:
    shell.add("many words " * 60, "--user", "ann")
    for arguments in (("search", "words"), ("list",), ("stats",), ("check",), ("audit", "list")):
        out = shell.ok(*arguments, "--user", "ann")
        assert "\x1b" not in out
        assert max(map(len, out.splitlines())) <= 80


def test_environment_names_the_file_and_the_user(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMOS_DB", str(tmp_path / "other.db"))
    monkeypatch.setenv("MEMOS_DEFAULT_USER", "ann")
    done = CliRunner().invoke(app, ["--no-embed", "--json", "add", "The boat leaves at nine"])
    assert json.loads(done.stdout)["cubes"] == ["users/ann"]
    assert [each.name for each in tmp_path.iterdir()] == ["other.db"]
    monkeypatch.setenv("MEMOS_SYNCHRONOUS", "sometimes")
    code, _, err = Shell(tmp_path / "other.db").run("list")
    assert code == 2
    assert "a MEMOS_ setting" in err


def test_every_control_character_is_escaped() -> None:
    controls = [chr(n) for n in [*range(32), *range(0x7F, 0xA0), 0x202E, 0x2066, 0xD800]]
    for control in controls:
        seen = shown(f"a{control}b")
        assert seen == f"a{control}b" if control == "\n" else control not in seen
    assert on_one_line("a\r\nb\n\nc\x1b[0m") == "a b c\\x1b[0m"


def test_global_options_may_stand_behind_the_command() -> None:
    assert hoisted(["search", "tea", "--user", "ann", "--json", "--limit", "3"]) == [
        *("--user", "ann", "--json", "search", "tea", "--limit", "3")
    ]
    assert hoisted(["add", "--db=x", "--", "--json", "--user"]) == [
        *("--db=x", "add", "--", "--json", "--user")
    ]
    assert hoisted(["list", "--user"]) == ["--user", "list"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "x"),
        ("context", "x"),
        ("list",),
        ("get", "x"),
        ("history", "x"),
        ("as-of", "1", "x"),
        ("audit", "list"),
        ("audit", "verify"),
        ("audit", "head"),
        ("worker", "--once"),
        ("stats",),
        ("check",),
        ("share", "--to", "bob"),
        ("revoke", "--to", "bob"),
        ("erase", "--item", "x", "--yes"),
        ("cubes",),
    ],
)
def test_only_add_and_load_make_a_file(shell: Shell, arguments: tuple[str, ...]) -> None:
    code, out, err = shell.run(*arguments)
    assert (code, out) == (2, "")
    assert "there is no memory file" in err
    assert list(shell.file.parent.iterdir()) == []


def test_add_reads_standard_input_and_says_what_was_masked(shell: Shell) -> None:
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"
    out = shell.ok("add", "-", "--user", "ann", stdin=f"my key is {key}, keep it\n")
    assert "masked before storing: 1 openai_key" in out
    listed = shell.json("list", "--user", "ann")
    assert listed["total"] == 1
    assert key not in json.dumps(listed)
    code, _, err = shell.run("add", "-", stdin="  ")
    assert code == 2
    assert err


def test_add_input_keeps_sessions_and_counts_every_message(shell: Shell, tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": f"parcel {n} is on shelf {n % 7}", "session": f"s{n // 100}"}
        for n in range(150)
    ]
    turns.append({"role": "assistant", "content": "", "session": "s1"})
    file = tmp_path / "talk.jsonl"
    file.write_text("\n".join(json.dumps(turn) for turn in turns))
    told = shell.json("add", "--input", str(file), "--user", "ann", "--tag", "talk")
    assert told["counts"] == {"stored": 150, "rejected": 1}
    assert len(told["outcomes"]) == 151
    assert shell.json("list", "--user", "ann", "--session", "s1")["total"] == 50
    first = shell.json("list", "--user", "ann", "--limit", "1")["memories"][0]["header"]
    assert (first["state"], first["tags"]) == ("activated", ["talk"])
    shell.ok("add", "--input", str(file), "--user", "ann")
    assert shell.json("stats", "--user", "ann")["memories"] == 150  # said again, and folded


def test_no_wait_leaves_the_fine_stage_to_a_worker(shell: Shell) -> None:
    item = shell.add("The boat leaves at nine", "--user", "ann", "--no-wait")
    assert shell.json("get", item, "--user", "ann")["header"]["state"] == "generated"
    assert shell.json("worker", "--once") == {"ended": "idle"}
    assert shell.json("get", item, "--user", "ann")["header"]["state"] == "activated"


def test_filters_narrow_and_wrong_ones_are_refused(shell: Shell) -> None:
    shell.add("tea at work", "--user", "ann", "--tag", "work")
    shell.add("tea at home", "--user", "ann")
    asked = ("search", "tea", "--user", "ann", "--filter")
    hits = shell.json(*asked, '{"tags": {"contains": "work"}}')["hits"]
    assert [hit["item"]["text"] for hit in hits] == ["tea at work"]
    for wrong in ('{"colour": 3}', "{", "[1]"):
        code, _, err = shell.run(*asked, wrong)
        assert code == 2
        assert err


def test_explain_shows_the_terms_of_each_score(shell: Shell) -> None:
    shell.add("The boat leaves at nine", "--user", "ann")
    assert "shares words" in shell.ok("search", "boat", "--user", "ann", "--explain")
    assert "shares words" not in shell.ok("search", "boat", "--user", "ann")


def test_the_past_is_answered_as_it_was(shell: Shell) -> None:
    item = shell.add("The boat leaves at nine", "--user", "ann")
    seq = shell.json("get", item, "--user", "ann")["header"]["seq"]
    with MOS(shell.file, embedder=None) as mos:
        mos.update(item, "The boat leaves at ten", user="ann", reason="new timetable")
    assert "at ten" in shell.ok("search", "boat", "--user", "ann")
    assert "at nine" in shell.ok("as-of", str(seq), "boat", "--user", "ann")
    assert "at nine" in shell.ok("search", "boat", "--user", "ann", "--as-of", str(seq))
    assert shell.json("as-of", "2001-01-01", "boat", "--user", "ann")["hits"] == []
    assert shell.run("as-of", "yesterday-ish", "boat")[0] == 2
    records = shell.json("history", item, "--user", "ann")["versions"]
    assert [record["version"] for record in records] == [1, 2, 3]
    assert records[-1]["reason"] == "new timetable"
    assert "new timetable" in shell.ok("history", item, "--user", "ann")
    assert "at nine" in shell.ok("get", item, "--user", "ann", "--version", "1")


def test_context_is_not_broken_into_lines_for_the_screen(shell: Shell) -> None:
    shell.add("The boat " + "sails slowly " * 20 + "at nine", "--user", "ann")
    out = shell.ok("context", "boat", "--user", "ann")
    assert out.rstrip("\n") == shell.json("context", "boat", "--user", "ann")["text"]


def test_sharing_opens_a_cube_and_revoking_closes_it(shell: Shell) -> None:
    shell.add("The boat leaves at nine", "--user", "ann")
    asks = ("search", "boat", "--user", "bob", "--cube", "users/ann")
    assert shell.run(*asks)[0] == 3
    shell.ok("share", "--to", "bob", "--user", "ann")
    assert "at nine" in shell.ok(*asks)
    assert "users/ann" in shell.ok("cubes", "--user", "bob")
    shell.ok("revoke", "--to", "bob", "--user", "ann")
    code, out, err = shell.run(*asks)
    assert (code, out) == (3, "")
    assert "may not read" in err
    assert shell.run("revoke", "--to", "bob", "--user", "ann")[0] == 1


def test_erase_asks_first_and_leaves_a_receipt(shell: Shell, tmp_path: Path) -> None:
    item = shell.add("The lighthouse keeper is called Borodin", "--user", "ann")
    code, _, err = shell.run("erase", "--item", item, "--user", "ann", stdin="n\n")
    assert code == 1
    assert "for good?" in err
    assert shell.json("list", "--user", "ann")["total"] == 1
    paper = tmp_path / "receipt.json"
    asked = ("erase", "--item", item, "--user", "ann", "--yes", "--receipt", str(paper))
    out = shell.ok(*asked)
    assert "1 memory" in out
    assert "not covered" in out
    assert json.loads(paper.read_text())["erased"] == [item]
    assert shell.run(*asked)[0] == 2  # a receipt is never written over
    assert b"Borodin" not in shell.file.read_bytes()
    assert shell.run("erase", "--yes")[0] == 2


def test_erase_by_subject_and_source_takes_all_of_it(shell: Shell) -> None:
    shell.add("from the crawler", "--user", "ann", "--source", "crawler")
    shell.add("from herself", "--user", "ann")
    done = shell.json("erase", "--source", "crawler", "--user", "ann", "--yes")
    assert len(done["erased"]) == 1
    done = shell.json("erase", "--subject", "ann", "--user", "ann", "--yes")
    assert len(done["erased"]) == 1
    assert shell.run("erase", "--subject", "ann", "--user", "bob", "--yes")[0] == 3


def test_audit_is_listed_verified_and_anchored(shell: Shell, tmp_path: Path) -> None:
    shell.add("The boat leaves at nine", "--user", "ann")
    assert "add" in shell.ok("audit", "list", "--user", "ann")
    head = tmp_path / "head.json"
    shell.ok("audit", "head", "--out", str(head))
    shell.add("The train leaves at ten", "--user", "ann")
    assert "holds the anchored head" in shell.ok("audit", "verify", "--anchor", str(head))
    assert shell.json("audit", "verify")["intact"] is True
    saved = json.loads(head.read_text())
    (tmp_path / "forged.json").write_text(json.dumps(saved | {"hash": "0" * 64}))
    code, out, _ = shell.run("audit", "verify", "--anchor", str(tmp_path / "forged.json"))
    assert code == 1
    assert "BROKEN" in out
    (tmp_path / "text.json").write_text("hello")
    assert shell.run("audit", "verify", "--anchor", str(tmp_path / "text.json"))[0] == 2


def test_check_proves_the_file_and_fails_on_a_damaged_one(shell: Shell) -> None:
    shell.add("The boat leaves at nine", "--user", "ann")
    assert shell.json("check")["sound"] is True
    assert "sound" in shell.ok("check").splitlines()[-1]
    with closing(sqlite3.connect(shell.file)) as file, file:
        file.execute("UPDATE audit SET at = at + 1 WHERE n = 1")
    code, out, _ = shell.run("check")
    assert code == 1
    assert "audit line 1" in out


def test_stats_and_roles_reach_the_vault(shell: Shell) -> None:
    shell.add("The boat leaves at nine", "--user", "ann")
    assert shell.json("stats", "--user", "ann")["memories"] == 1
    asks = ("list", "--user", "root", "--cube", "users/ann")
    assert shell.run(*asks)[0] == 3
    assert shell.json(*asks, "--role", "admin")["total"] == 1
    assert shell.run(*asks, "--role", "admin", "--tenant", "elsewhere")[0] == 3


def test_dump_and_load_carry_a_cube_over(shell: Shell, tmp_path: Path) -> None:
    shell.add("The boat leaves at nine", "--user", "ann")
    archive = tmp_path / "ann.memcube"
    shell.ok("dump", str(archive), "--user", "ann")
    assert shell.run("dump", str(archive), "--user", "ann")[0] == 1
    other = Shell(tmp_path / "other.db")
    other.ok("load", str(archive), "--user", "ann")
    assert "at nine" in other.ok("search", "boat", "--user", "ann")
    nowhere = Shell(tmp_path / "nowhere.db")
    assert nowhere.run("load", str(tmp_path / "missing"))[0] == 2
    assert not nowhere.file.exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list"], 2),
        (["search", "tea", "--filter", "{"], 2),
        (["add"], 2),
        (["add", "tea", "--input", "x"], 2),
        (["add", "tea", "--type", "drink"], 2),
        (["frobnicate"], 2),
        (["--version"], 0),
    ],
)
def test_main_exits_with_what_became_of_it(
    shell: Shell, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--no-embed", "--db", str(shell.file), *arguments])
    assert ended.value.code == code
    said = capsys.readouterr()
    assert bool(said.err) == bool(code)
    assert bool(said.out) != bool(code)
    assert "Traceback" not in said.err
