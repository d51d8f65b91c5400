"""``memos kv``: what it shows and removes, on files made by hand: nothing here needs torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer", reason="the command line needs the cli extra")

from typer.testing import CliRunner

from memos_integrations import MOS, MemosError, Settings
from memos_integrations.infrastructure.activation.identity import Digest, tagged_digest
from memos_integrations.infrastructure.activation.manifest import told_by, written
from memos_integrations.infrastructure.vault import artifacts, cache_records
from memos_integrations.infrastructure.vault.artifacts import NewArtifact, Source
from memos_integrations.infrastructure.vault.cache_records import Uses
from memos_integrations.interface.cli import exit_code
from memos_integrations.interface.cli.program import app

ROOT = Path(__file__).parents[2]
IDENTITY = tagged_digest({"model": "one"})
TOKENS = 64
SETTINGS = Settings(worker=False, extract=False, synchronous="normal")


def cache_file(seed: int, *, identity: Digest = IDENTITY) -> bytes:
    """A whole safetensors file as the codec writes it: one layer of one head of one number."""
    size = TOKENS * 4
    parts = {"tokens": ("I32", [TOKENS])}
    parts |= {name: ("F32", [1, 1, TOKENS, 1]) for name in ("0.keys", "0.values")}
    header: dict[str, Any] = {"__metadata__": written(identity, [("DynamicLayer", TOKENS)])}
    for n, (name, (dtype, shape)) in enumerate(parts.items()):
        offsets = [n * size, (n + 1) * size]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    head = json.dumps(header).encode()
    body = bytes([seed % 120]) * (3 * size)
    return len(head).to_bytes(8, "little") + head + body


def store(mos: MOS, user: str, *, seed: int, hits: int = 0) -> Digest:
    """A memory of the user and a cache made of it, as the keeper records one."""
    item = mos.add(f"note {seed} of {user}", user=user).id
    key, vault = tagged_digest({"key": seed}), mos._rooms.vault
    new = NewArtifact(
        key=key,
        identity=IDENTITY,
        tokens=TOKENS,
        bytes=2 * TOKENS * 4,
        build_seconds=0.5,
        sha256=vault.blobs.put(cache_file(seed)).sha256,
        blocks=((key, 1),),
        sources=(Source(item, 1),),
        architecture="ToyModel",
    )
    uses = Uses(hits, 1, 0.5 * hits, vault.now())
    assert vault.maintain(lambda tx: artifacts.add(tx, new, tenant="default")) == []
    vault.maintain(lambda tx: cache_records.add_uses(tx, {key: uses}, {"default": uses}))
    return key


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with MOS(tmp_path / "agent.db", embedder=None, settings=SETTINGS) as mos:
        store(mos, "maya", seed=1, hits=3)
        store(mos, "maya", seed=2)
        store(mos, "sam", seed=3, hits=9)
    return tmp_path / "agent.db"


def blobs(file: Path) -> list[Path]:
    return sorted(p for p in file.with_name("agent.db.blobs").rglob("*") if p.is_file())


def run(file: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["--no-embed", "--db", str(file), "kv", *arguments])
    if isinstance(done.exception, MemosError):
        return exit_code(done.exception), done.stdout, str(done.exception)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def answer(file: Path, *arguments: str) -> Any:
    code, out, err = run(file, *arguments, "--json")
    assert code == 0, (out, err)
    return json.loads(out)


def test_the_file_made_here_is_what_the_codec_writes(tmp_path: Path) -> None:
    codec = pytest.importorskip(
        "memos_integrations.infrastructure.activation.codec", exc_type=ImportError
    )
    (tmp_path / "cache").write_bytes(cache_file(1))
    kept = codec.load(tmp_path / "cache", identity=IDENTITY)
    told = told_by(tmp_path / "cache")
    assert (told.tokens, told.bytes) == (len(kept.tokens), kept.bytes) == (TOKENS, 512)


def test_ls_lists_ones_own_caches_the_most_useful_first(file: Path) -> None:
    found = answer(file, "ls", "--user", "maya")["caches"]
    assert [each["hits"] for each in found] == [3, 0]
    assert found[0] | {"key": "", "created": "", "used": ""} == {
        "key": "",
        "tenant": "default",
        "architecture": "ToyModel",
        "tokens": TOKENS,
        "bytes": 512,
        "tiers": ["disk"],
        "hits": 3,
        "saved_seconds": 1.5,
        "build_seconds": 0.5,
        "created": "",
        "used": "",
        "sources": 1,
        "pinned": False,
        "withdrawn": False,
    }
    _, out, _ = run(file, "ls", "--user", "maya")
    assert found[0]["key"][:12] in out
    assert "ToyModel" in out
    assert "512 B" in out
    assert "no caches" in run(file, "ls", "--user", "eve")[1]
    assert len(answer(file, "ls", "--role", "admin")["caches"]) == 3
    assert len(answer(file, "ls", "--role", "admin", "--cube", "users/sam")["caches"]) == 1
    assert run(file, "ls", "--user", "eve", "--cube", "users/sam")[0] != 0


def test_stats_sum_up_for_the_asker_and_for_the_tenant(file: Path) -> None:
    mine = answer(file, "stats", "--user", "maya")
    assert (mine["caches"], mine["hits"], mine["misses"]) == (2, 3, None)
    every = answer(file, "stats", "--role", "admin")
    assert (every["caches"], every["hits"], every["misses"]) == (3, 12, 3)
    assert every["saved_seconds"] == 6.0
    assert every["disk_bytes"] == 3 * 512
    assert "6.0 s of prefill" in run(file, "stats", "--role", "admin")[1]


def test_verify_names_what_is_wrong_and_repair_removes_it(file: Path) -> None:
    assert "nothing is wrong" in run(file, "verify")[1]
    spoiled = blobs(file)[0]
    spoiled.write_bytes(spoiled.read_bytes()[:-1] + b"\xff")
    code, out, _ = run(file, "verify")
    assert code == 1
    assert "changed on disk" in out
    assert "--repair" in out
    assert spoiled.exists()
    code, out, _ = run(file, "verify", "--repair")
    assert (code, "1 removed" in out) == (0, True)
    assert not spoiled.exists()
    assert answer(file, "verify")["sound"]
    assert len(answer(file, "ls", "--role", "admin")["caches"]) == 2


def test_evict_takes_a_key_an_age_a_cube_or_all(file: Path) -> None:
    mine = answer(file, "ls", "--user", "maya")["caches"]
    assert run(file, "evict", "--user", "maya")[0] != 0
    assert len(answer(file, "evict", mine[1]["key"][:10], "--user", "maya")["evicted"]) == 1
    assert answer(file, "evict", "--older-than", "3600", "--role", "admin")["evicted"] == []
    assert len(answer(file, "evict", "--cube", "users/sam", "--user", "sam")["evicted"]) == 1
    assert len(blobs(file)) == 1
    answer(file, "pin", mine[0]["key"], "--user", "maya")
    assert answer(file, "evict", "--all", "--user", "maya")["evicted"] == []
    answer(file, "unpin", mine[0]["key"], "--user", "maya")
    assert "1 cache evicted" in run(file, "evict", "--all", "--user", "maya")[1]
    assert blobs(file) == []


def test_nobody_evicts_what_is_not_theirs(file: Path) -> None:
    [theirs] = answer(file, "ls", "--user", "sam")["caches"]
    code, _, err = run(file, "evict", theirs["key"], "--user", "maya")
    assert code != 0
    assert "maya's to change" in err
    assert answer(file, "evict", "--all", "--user", "eve")["evicted"] == []
    assert len(blobs(file)) == 3


@pytest.mark.parametrize("key", ["xyz", "", "../..", "\x1b[31m", "0" * 65])
def test_what_is_no_key_is_refused(file: Path, key: str) -> None:
    assert run(file, "pin", key, "--user", "maya")[0] != 0


def test_all_of_it_runs_without_torch(file: Path) -> None:
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "safetensors", "filelock"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Refuse())
from memos_integrations.interface.cli.program import app
for words in ("ls", "stats", "verify", "verify --repair", "evict --all"):
    app(["--no-embed", "--db", sys.argv[1], "--role", "admin", "kv", *words.split()],
        standalone_mode=False)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "3 caches evicted" in done.stdout
    assert "nothing is wrong with 3 caches" in done.stdout
    assert blobs(file) == []
