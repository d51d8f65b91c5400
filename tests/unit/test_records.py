"""Records: who may, what an erase takes, what travels, what it costs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_integrations import MOS, AsyncMOS, Principal, Settings, errors
from memos_integrations.cube.errors import (
    AccessDenied,
    Conflict,
    HostileArchive,
    InvalidInput,
    NotFound,
)
from memos_integrations.infrastructure.archive import ArchiveWriter
from memos_integrations.infrastructure.vault.scrub import holds, vault_files
from memos_integrations.testing.fakes import ManualClock

QUIET = Settings(worker=False, synchronous="normal")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mos(tmp_path: Path, clock: ManualClock) -> Iterator[MOS]:
    with MOS(tmp_path / "m.db", embedder=None, settings=QUIET, clock=clock) as opened:
        yield opened


# -- who may ---------------------------------------------------------------------------------


def test_records_of_one_user_are_not_there_for_another(mos: MOS) -> None:
    mos.records("x", user="alice").put({"k": b"hers"})
    assert mos.records("x", user="bob").get(["k"]) == {}
    theirs = mos.records("x", user="bob", cube="users/alice")
    for attempt in (
        lambda: theirs.get(["k"]),
        theirs.keys,
        lambda: theirs.put({"k": b"his"}),
        lambda: theirs.delete(["k"]),
        lambda: theirs.write(delete=["k"]),
        theirs.clear,
        lambda: theirs.times(["k"]),
    ):
        with pytest.raises(AccessDenied):
            attempt()
    assert mos.records("x", user="alice").get(["k"]) == {"k": b"hers"}


def test_read_rights_read_and_write_rights_write(mos: MOS) -> None:
    mos.records("x", user="alice", cube="team/plans").put({"k": b"1"})
    mos.share(to="bob", permission="read", user="alice", cube="team/plans")
    bobs = mos.records("x", user="bob", cube="team/plans")
    assert bobs.get(["k"]) == {"k": b"1"}
    with pytest.raises(AccessDenied):
        bobs.put({"k": b"2"})
    mos.share(to="bob", permission="write", user="alice", cube="team/plans")
    bobs.put({"k": b"2"})
    mos.revoke(to="bob", user="alice", cube="team/plans")
    with pytest.raises(AccessDenied):
        bobs.get(["k"])


def test_a_cube_that_is_not_there_is_refused_in_the_words_of_one_that_is_closed(mos: MOS) -> None:
    mos.records("x", user="alice", cube="team/plans").put({"k": b"1"})
    told = []
    for cube in ("team/plans", "team/none"):
        with pytest.raises(AccessDenied) as refused:
            mos.records("x", user="bob", cube=cube).get(["k"])
        told.append(str(refused.value).replace(cube, "CUBE"))
    assert told[0] == told[1]


def test_a_grant_reaches_cubes_by_segments_of_their_path(mos: MOS) -> None:
    for cube in ("acme", "acme/notes", "acme-corp"):
        mos.records("x", user="alice", cube=cube).put({"k": cube.encode()})
    mos.share(to="bob", user="alice", cube="acme")
    for cube in ("acme", "acme/notes"):
        assert mos.records("x", user="bob", cube=cube).get(["k"]) == {"k": cube.encode()}
    with pytest.raises(AccessDenied):
        mos.records("x", user="bob", cube="acme-corp").get(["k"])
    mos.deny(to="bob", user="alice", cube="acme/notes")
    with pytest.raises(AccessDenied):
        mos.records("x", user="bob", cube="acme/notes").items()


def test_spaces_and_tenants_do_not_meet(mos: MOS) -> None:
    mos.records("x", user="alice").put({"k": b"1"})
    assert mos.records("y", user="alice").keys() == []
    other = mos.acting(Principal(tenant="other"))
    assert other.records("x", user="alice").keys() == []


def test_a_session_sees_and_deletes_its_own_only(mos: MOS) -> None:
    mos.records("x", user="alice", session="s1").put({"a": b"1"})
    mos.records("x", user="alice", session="s2").put({"b": b"2"})
    first = mos.records("x", user="alice", session="s1")
    assert first.keys() == ["a"]
    assert first.delete(["a", "b"]) == 1
    assert mos.records("x", user="alice").keys() == ["b"]


def test_calls_leave_counts_in_the_audit_log_and_no_content(mos: MOS) -> None:
    records = mos.records("x", user="alice")
    records.put({"very-private-key": b"very private value"})
    records.get(["very-private-key"])
    records.delete(["very-private-key"])
    mos.flush()
    lines = mos.audit(user="alice")
    assert {"put records", "get records", "delete records"} <= {line.action for line in lines}
    assert "very" not in repr(lines)
    assert mos.audit_verify().intact


# -- the end of records ----------------------------------------------------------------------


def test_erasing_a_user_takes_their_records_out_of_every_file(mos: MOS) -> None:
    secret = b"the-secret-of-alice-" + os.urandom(8).hex().encode()
    mos.records("x", user="alice").put({"k": secret * 4000})
    mos.records("x", user="alice", cube="team/plans").put({"k": secret + b" elsewhere"})
    mos.records("x", user="bob").put({"k": b"stays"})
    mos.fork("alices-branch", user="alice")
    receipt = mos.erase(subject="alice", user="alice")
    assert receipt.counts["records"] == 3
    assert receipt.scan.searched >= 1
    assert receipt.scan.found == 0
    assert not any(holds(file, secret) for file in vault_files(mos.path))
    assert mos.records("x", user="bob").get(["k"]) == {"k": b"stays"}
    assert mos.check().sound


def test_erasing_a_conversation_takes_its_records_and_their_copies(mos: MOS) -> None:
    secret = b"said-in-thread-one-" + os.urandom(8).hex().encode()
    mos.records("x", user="alice", session="one").put({"k1": secret})
    mos.records("x", user="alice", session="two").put({"k2": b"kept"})
    mos.fork("branch", user="alice")
    receipt = mos.erase(source="session:one", user="alice")
    assert receipt.counts["records"] == 2
    assert mos.records("x", user="alice").keys() == ["k2"]
    assert mos.records("x", user="alice", cube="branch").keys() == ["k2"]
    assert not any(holds(file, secret) for file in vault_files(mos.path))
    assert mos.check().sound


def test_an_erase_follows_copies_of_copies_and_spares_what_others_wrote_there(mos: MOS) -> None:
    mos.records("x", user="alice", session="one").put({"hers": b"1", "changed": b"2"})
    mos.share(to="bob", user="alice", cube="users/alice")
    mos.fork("first", user="bob", cube="users/alice")
    mos.records("x", user="bob", cube="first", session="one").put({"his": b"3", "changed": b"4"})
    mos.fork("second", user="bob", cube="first")
    mos.erase(subject="alice", user="alice")
    for branch in ("first", "second"):
        found = dict(mos.records("x", user="bob", cube=branch).items())
        assert found == {"his": b"3", "changed": b"4"}
    mos.erase(source="session:one", user="bob", cube="first")
    assert mos.records("x", user="bob", cube="first").keys() == []
    assert mos.records("x", user="bob", cube="second").keys() == []
    assert mos.check().sound


def test_the_check_finds_records_that_lost_their_value_or_cube(mos: MOS) -> None:
    mos.records("x", user="alice").put({"a": b"1", "b": b"2"})
    assert mos.check().sound
    for harm in (
        "DELETE FROM record_value WHERE vid = (SELECT vid FROM record WHERE key = 'a')",
        "INSERT INTO record_value (value) VALUES (x'00')",
        "UPDATE record SET cid = 999 WHERE key = 'b'",
    ):
        before = len(mos.check().findings)
        mos._rooms.vault.maintain(lambda tx, harm=harm: tx.execute(harm) and None)
        assert len(mos.check().findings) > before


def test_erasing_a_conversation_needs_admin_rights_on_its_cube(mos: MOS) -> None:
    mos.records("x", user="alice", cube="team/plans", session="one").put({"k": b"1"})
    with pytest.raises(NotFound):
        mos.erase(source="session:one", user="bob", cube="team/plans")
    mos.share(to="bob", permission="write", user="alice", cube="team/plans")
    mos.share(to="bob", permission="read", user="alice", cube="team/plans")
    receipt = mos.erase(source="session:one", user="bob", cube="team/plans")
    assert (receipt.not_allowed, receipt.counts["records"]) == (1, 0)
    assert mos.records("x", user="alice", cube="team/plans").keys() == ["k"]


def test_expired_records_are_gone_at_once_and_swept_later(mos: MOS, clock: ManualClock) -> None:
    records = mos.records("x", user="alice")
    records.put({"short": b"1"}, ttl_seconds=10)
    records.put({"long": b"2"})
    clock.advance(seconds=11)
    assert records.keys() == ["long"]
    assert records.delete(["short"]) == 0
    records.put({"short": b"1"}, ttl_seconds=10)
    clock.advance(seconds=11)
    mos.work()
    with mos._rooms.vault.readers.snapshot() as connection:
        assert connection.execute("SELECT count(*) FROM record").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM record_value").fetchone() == (1,)


# -- what travels ----------------------------------------------------------------------------


def test_records_travel_with_a_dump(mos: MOS, tmp_path: Path) -> None:
    long = os.urandom(3 * 2**20 + 5)
    records = mos.records("x", user="alice", session="one")
    records.put({"k": b"", "l\x00ng": long})
    mos.records("y", user="alice").put({"soon gone": b"1"}, ttl_seconds=100)
    written = records.times(["k"])
    report = mos.dump(tmp_path / "a.memcube", user="alice")
    assert report.records == 3
    loaded = mos.load(tmp_path / "a.memcube", user="bob", cube="from-alice")
    assert loaded.records == 3
    theirs = mos.records("x", user="bob", cube="from-alice", session="one")
    assert theirs.get(["k", "l\x00ng"]) == {"k": b"", "l\x00ng": long}
    assert theirs.times(["k"]) == written
    assert mos.records("y", user="bob", cube="from-alice").keys() == ["soon gone"]
    assert mos.check().sound


ROW = {"space": "x", "key": "k", "written": 1, "value": "MQ==", "more": False}


@pytest.mark.parametrize(
    "rows",
    [
        [ROW, ROW],
        [{**ROW, "key": "b"}, {**ROW, "key": "a"}],
        [{**ROW, "value": "not base64!"}],
        [{**ROW, "more": True}],
        [{**ROW, "more": True}, {**ROW, "key": "l"}],
        [{**ROW, "key": "k" * 5000}],
        [{**ROW, "space": ""}],
        [{**ROW, "written": "now"}],
        [{**ROW, "extra": 1}],
    ],
)
def test_a_hostile_archive_of_records_loads_nothing(
    mos: MOS, tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    with pytest.raises(HostileArchive, match=r"records\.jsonl"):
        mos.load(archive_of(rows, tmp_path), user="alice", cube="loaded")
    with pytest.raises(AccessDenied):
        mos.records("x", user="bob", cube="loaded").keys()


def test_a_sound_archive_of_records_loads(mos: MOS, tmp_path: Path) -> None:
    rows = [{**ROW, "more": True}, {**ROW, "value": "Mg=="}, {**ROW, "key": "l", "value": ""}]
    assert mos.load(archive_of(rows, tmp_path), user="alice", cube="loaded").records == 2
    records = mos.records("x", user="alice", cube="loaded")
    assert dict(records.items()) == {"k": b"12", "l": b""}


def archive_of(rows: list[dict[str, object]], folder: Path) -> Path:
    facts = {"path": "c", "tenant": "default", "owner": "user:x", "created": 1, "seq": 0}
    path = folder / "made.memcube"
    with ArchiveWriter(path) as writer:
        for name in ("items.jsonl", "versions.jsonl", "links.jsonl"):
            writer.write_lines(name, [])
        writer.write_document("policy.json", {"visibility": "private", "info": {}})
        writer.write_lines("records.jsonl", rows)
        writer.finish(cube=facts, created=ManualClock().now())
    return path


def test_a_fork_shares_values_until_one_side_writes(mos: MOS) -> None:
    records = mos.records("x", user="alice")
    big = os.urandom(2**20)
    records.put({"big": big, "small": b"1"})
    mos.fork("branch", user="alice")
    with mos._rooms.vault.readers.snapshot() as connection:
        assert connection.execute("SELECT count(*) FROM record_value").fetchone() == (2,)
    records.put({"big": b"rewritten"})
    branch = mos.records("x", user="alice", cube="branch")
    assert branch.get(["big"]) == {"big": big}
    branch.delete(["small"])
    assert records.get(["big", "small"]) == {"big": b"rewritten", "small": b"1"}
    assert mos.check().sound


def test_a_fork_of_the_past_takes_what_was_written_by_then(mos: MOS, clock: ManualClock) -> None:
    mos.records("x", user="alice").put({"old": b"1"})
    mos.add("We met in Oslo", user="alice")
    then = mos.version(user="alice")
    clock.advance(seconds=10)
    mos.records("x", user="alice").put({"new": b"2"})
    mos.fork("branch", user="alice", at=then)
    assert mos.records("x", user="alice", cube="branch").keys() == ["old"]


# -- what it costs ---------------------------------------------------------------------------


def test_the_same_bytes_again_cost_no_pages_of_the_value(mos: MOS, clock: ManualClock) -> None:
    records = mos.records("x", user="alice")
    big = os.urandom(4 * 2**20)
    records.put({"big": big})
    mos._rooms.vault._commits.exclusively(
        lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    )
    before = records.times(["big"])["big"]
    clock.advance(seconds=5)
    records.put({"big": big})
    wal = Path(mos.path + "-wal")
    assert wal.stat().st_size < 200_000
    assert (records.times(["big"])["big"] - before).total_seconds() == 5


def test_the_log_of_the_file_stays_bounded_under_large_values(mos: MOS) -> None:
    records = mos.records("x", user="alice")
    for number in range(24):
        records.put({f"k{number % 4}": os.urandom(4 * 2**20)})
    assert Path(mos.path + "-wal").stat().st_size < 64 * 2**20
    assert Path(mos.path).stat().st_size < 40 * 2**20


# -- bad input -------------------------------------------------------------------------------


def test_bad_input_is_told_before_anything_is_written(mos: MOS) -> None:
    records = mos.records("x", user="alice")
    for attempt in (
        lambda: records.put({"k": "text"}),  # type: ignore[dict-item]
        lambda: records.put([("k", b"1")]),  # type: ignore[arg-type]
        lambda: records.put({"k" * 4097: b"1"}),
        lambda: records.put({"\ud800": b"1"}),
        lambda: records.put({1: b"1"}),  # type: ignore[dict-item]
        lambda: records.put({"k": b"1"}, ttl_seconds=0),
        lambda: records.get("k"),
        lambda: records.keys(limit=-1),
        lambda: records.write(put={"k": b"1"}, delete=["k"]),
        lambda: mos.records("", user="alice"),
        lambda: mos.records("x", user="alice", cube=["a", "b"]),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInput):
            attempt()
    assert records.keys() == []


# -- several at once -------------------------------------------------------------------------


def test_a_write_is_all_or_nothing_and_holds_to_what_it_expects(mos: MOS) -> None:
    records = mos.records("x", user="alice")
    records.write(put={"a": b"1"}, put_new={"b": b"2"})
    records.write(put_new={"b": b"other", "c": b"3"}, delete=["a"], expect={"a": b"1", "z": None})
    assert dict(records.items()) == {"b": b"2", "c": b"3"}
    for expected in ({"b": b"1"}, {"a": b"1"}, {"b": None}):
        with pytest.raises(Conflict):
            records.write(put={"d": b"4"}, delete=["b"], expect=expected)
    assert dict(records.items()) == {"b": b"2", "c": b"3"}


def test_a_snapshot_shows_one_state_while_another_opener_writes(mos: MOS) -> None:
    records = mos.records("x", user="alice")
    records.put({"a": b"1"})
    with MOS(mos.path, embedder=None, settings=QUIET) as other:
        with records.snapshot():
            assert records.keys() == ["a"]
            other.records("x", user="alice").write(put={"b": b"2"}, delete=["a"])
            assert records.keys() == ["a"]
        assert records.keys() == ["b"]


# -- versions --------------------------------------------------------------------------------


def test_the_version_moves_with_memory_and_rights_and_not_with_records(
    mos: MOS, tmp_path: Path
) -> None:
    assert mos.version(user="alice") == 0
    added = mos.add("Alice likes tea", user="alice")
    first = mos.version(user="alice")
    mos.records("x", user="alice").put({"k": b"1"})
    mos.add("Bob likes coffee", user="bob")
    assert mos.version(user="alice") == first
    with MOS(mos.path, embedder=None, settings=QUIET) as other:
        other.delete(added.ids[0], user="alice")
        assert other.version(user="alice") == mos.version(user="alice") > first
    second = mos.version(user="alice")
    mos.share(to="bob", permission="read", user="alice", cube="users/alice")
    assert mos.version(user="alice") > second
    assert mos.version(user="bob", cube="users/alice") == mos.version(user="alice")
    assert mos.as_of(first).version(user="alice") == first
    assert mos.version(user="bob", cube=["users/alice", "users/bob"]) == mos.version(user="alice")


def test_who_sees_single_memories_is_not_told_of_the_others(mos: MOS) -> None:
    seen = mos.add("Shown to Bob", user="alice").ids[0]
    with pytest.raises(AccessDenied):
        mos.version(user="bob", cube="users/alice")
    mos.share(seen, to="bob", user="alice")
    before = mos.version(user="bob", cube="users/alice")
    mos.add("Hidden from Bob", user="alice")
    assert mos.version(user="bob", cube="users/alice") == before
    mos.update(seen, "Changed for Bob", user="alice")
    assert mos.version(user="bob", cube="users/alice") > before


# -- the async rim ---------------------------------------------------------------------------


async def test_records_can_be_awaited(tmp_path: Path) -> None:
    async with AsyncMOS(tmp_path / "a.db", embedder=None, settings=QUIET) as mos:
        records = mos.records("x", user="alice")
        await records.put({"a": b"1", "b": b"2"})
        assert await records.get(["a"]) == {"a": b"1"}
        assert await records.items(reverse=True, limit=1) == [("b", b"2")]
        assert await records.delete(["a"]) == 1
        assert await records.keys() == ["b"]
        with pytest.raises(errors.InvalidInput):
            await mos.records("", user="alice").keys()
