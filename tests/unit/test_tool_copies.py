"""Calls of tools in copies of a cube: found after fork, merge and load, and by nobody else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memos_integrations import MOS, Principal, Settings
from memos_integrations.testing.fakes import ManualClock

QUIET = Settings(worker=False, synchronous="normal")
KEY = "sk-proj-" + "a1B2c3D4e5F6g7H8" * 3
OSLO = {"city": "Oslo", "days": 3}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 5, 1, 12, tzinfo=UTC))


@pytest.fixture
def mos(tmp_path: Path, clock: ManualClock) -> Iterator[MOS]:
    with MOS(tmp_path / "m.db", embedder=None, settings=QUIET, clock=clock) as made:
        yield made
        made.work()
        assert made.check().sound


def exact(mos: MOS, arguments: dict[str, object], **scope: str) -> list[object]:
    found = mos.recall_tool("weather", arguments, threshold=2.0, **scope)  # type: ignore[arg-type]
    assert all(each.exact for each in found)
    return [each.result for each in found]


def test_a_fork_finds_the_same_call_again(mos: MOS) -> None:
    mos.remember_tool("weather", OSLO, {"celsius": 4}, user="ann")
    mos.fork("branches/ann", user="ann")
    assert exact(mos, OSLO, user="ann", cube="branches/ann") == [{"celsius": 4}]
    assert exact(mos, {"city": "Rome", "days": 3}, user="ann", cube="branches/ann") == []


def test_the_owner_finds_a_call_with_a_masked_secret_again_in_the_own_fork(mos: MOS) -> None:
    mos.remember_tool("weather", {"key": KEY}, "sunny", user="ann")
    mos.fork("branches/ann", user="ann")
    assert exact(mos, {"key": KEY}, user="ann", cube="branches/ann") == ["sunny"]


def test_a_fork_by_another_confirms_no_guess_of_what_is_masked_for_them(mos: MOS) -> None:
    mos.remember_tool("weather", {"key": KEY}, "sunny", user="ann")
    mos.remember_tool("weather", {"for": "+49 30 901820"}, "dry", user="ann")
    mos.remember_tool("weather", OSLO, "mild", user="ann")
    mos.share(to="bob", user="ann")
    mos.fork("branches/bob", user="bob", cube="users/ann")
    assert exact(mos, {"key": KEY}, user="bob", cube="branches/bob") == []
    assert exact(mos, {"for": "+49 30 901820"}, user="bob", cube="branches/bob") == []
    assert exact(mos, OSLO, user="bob", cube="branches/bob") == ["mild"]


def test_a_call_made_in_a_branch_is_found_again_where_it_is_merged(mos: MOS) -> None:
    mos.add("I am in Oslo.", user="ann")
    mos.fork("branches/ann", user="ann")
    mos.remember_tool("weather", OSLO, {"celsius": 4}, user="ann", cube="branches/ann")
    assert exact(mos, OSLO, user="ann") == []
    mos.merge_branch("branches/ann", user="ann")
    assert exact(mos, OSLO, user="ann") == [{"celsius": 4}]


def test_a_loaded_cube_finds_the_same_call_again_as_far_as_it_tells_of_it(
    mos: MOS, tmp_path: Path, clock: ManualClock
) -> None:
    mos.remember_tool("weather", OSLO, {"celsius": 4}, user="ann")
    mos.remember_tool("weather", {"key": KEY}, "sunny", user="ann")
    mos.dump(tmp_path / "ann.memcube", user="ann")
    with MOS(tmp_path / "other.db", embedder=None, settings=QUIET, clock=clock) as other:
        other.load(tmp_path / "ann.memcube", user="ann")
        assert exact(other, OSLO, user="ann") == [{"celsius": 4}]
        assert exact(other, {"key": KEY}, user="ann") == []  # the archive never held it
        assert other.check().sound


def test_an_archive_holds_neither_the_key_of_the_hashes_nor_a_hash(
    mos: MOS, tmp_path: Path
) -> None:
    mos.remember_tool("weather", OSLO, {"celsius": 4}, user="ann")
    mos.dump(tmp_path / "ann.memcube", user="ann")
    with sqlite3.connect(mos.path) as file:
        (key,) = file.execute("SELECT value FROM meta WHERE key = 'tool_call_key'").fetchone()
        hashes = file.execute("SELECT tool, args FROM tool_call").fetchone()
    file.close()
    written = (tmp_path / "ann.memcube").read_bytes()
    for secret in (key, *hashes):
        assert secret not in written
        assert secret.hex().encode() not in written


@pytest.mark.parametrize(
    "data", [{"tool": "weather"}, {"tool": {"name": "weather", "arguments": 3}}]
)
def test_data_that_only_looks_like_a_call_is_none_after_a_load(
    mos: MOS, tmp_path: Path, clock: ManualClock, data: dict[str, object]
) -> None:
    mos.add("weather(3)", data=data, memory_type="tool", user="ann")
    mos.dump(tmp_path / "ann.memcube", user="ann")
    with MOS(tmp_path / "other.db", embedder=None, settings=QUIET, clock=clock) as other:
        other.load(tmp_path / "ann.memcube", user="ann")
        assert exact(other, {}, user="ann") == []


def test_a_call_erased_in_a_fork_is_found_there_no_more(mos: MOS) -> None:
    mos.remember_tool("weather", OSLO, {"celsius": 4}, user="ann")
    mos.fork("branches/ann", user="ann")
    (copy,) = mos.list(user="ann", cube="branches/ann")
    mos.erase(copy.id, user="ann")
    assert exact(mos, OSLO, user="ann", cube="branches/ann") == []
    assert exact(mos, OSLO, user="ann") == [{"celsius": 4}]
    with sqlite3.connect(mos.path) as file:
        assert file.execute("SELECT count(*) FROM tool_call").fetchone() == (1,)
    file.close()


def test_an_admin_with_clearance_forks_what_the_admin_may_confirm(mos: MOS) -> None:
    mos.remember_tool("weather", {"for": "+49 30 901820"}, "dry", user="ann")
    admin = Principal(
        tenant="default",
        user="root",
        roles=frozenset({"admin"}),
        clearances=frozenset({"personal"}),
    )
    root = mos.acting(admin)
    root.fork("branches/root", cube="users/ann")
    assert exact(root, {"for": "+49 30 901820"}, cube="branches/root") == ["dry"]
