"""The audit chain: what it records, what it shows, and that no change to it goes unseen."""

from __future__ import annotations

import hmac
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memos_integrations.cube.errors import AuditBroken, InvalidInput, NotFound, UsageError
from memos_integrations.infrastructure.governance import verify_audit
from memos_integrations.infrastructure.governance.audit import AuditEntry, AuditLog, Fault

SCHEMA = Path(verify_audit.__file__).parents[1] / "vault/sql/migrations/0001_core.sql"
ROOT = AuditEntry("acme", "user:root", "", "allowed", reason="subject asked")
Attack = Callable[[sqlite3.Connection], object]


def entry(n: int, **changed: object) -> AuditEntry:
    told: dict[str, object] = {
        "tenant": "acme",
        "actor": f"user:u{n % 3}",
        "action": "memory.read",
        "outcome": "denied" if n % 4 == 0 else "allowed",
        "cube": f"users/u{n % 2}",
        "items": (f"id-{n}", f"id-{n + 1}"),
        "reason": "vraagt Zoë 问",
    }
    return AuditEntry(**{**told, **changed})  # type: ignore[arg-type]


def fresh(key: bytes | None = None, path: str = ":memory:") -> tuple[sqlite3.Connection, AuditLog]:
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(SCHEMA.read_text())
    return db, AuditLog.create(db, key=key)


@pytest.fixture
def chain() -> Iterator[tuple[sqlite3.Connection, AuditLog]]:
    """Seven lines, of which line 6 erased the names in 2 and 4."""
    db, log = fresh()
    for n in range(1, 6):
        log.append(db, entry(n), at=1000 + n)
    log.erase_details(db, [2, 4], ROOT, at=2000)
    log.append(db, entry(7), at=2001)
    yield db, log
    db.close()


def verdicts(db: sqlite3.Connection, log: AuditLog, anchor: object = None) -> tuple[bool, bool]:
    """Whether the log's own check and the independent one find it intact."""
    own = log.verify(db.execute, anchor=anchor).intact  # type: ignore[arg-type]
    try:
        return own, not verify_audit.check(db, None, anchor)
    except (sqlite3.Error, ValueError):
        return own, False


# -- what it records and shows ------------------------------------------------------------------


def test_lines_are_numbered_from_one_and_read_back_newest_first():
    db, log = fresh()
    assert log.append(db, entry(1, agent="planner", session="s1", extra={"ms": 3}), at=5) == 1
    assert log.extend(db, [entry(2), entry(3)], at=6) == range(2, 4)
    newest, _, oldest = log.read(db.execute, tenant="acme")
    assert (newest.n, oldest.n, oldest.at) == (3, 1, 5)
    assert (oldest.actor, oldest.agent, oldest.session) == ("user:u1", "planner", "s1")
    assert (oldest.cube, oldest.items, oldest.extra) == ("users/u1", ("id-1", "id-2"), {"ms": 3})
    assert oldest.reason == "vraagt Zoë 问"


def test_an_empty_batch_writes_nothing():
    db, log = fresh()
    assert len(log.extend(db, [], at=1)) == 0
    assert log.verify(db.execute).entries == 0
    assert verdicts(db, log) == (True, True)


def test_read_filters_by_actor_cube_and_item_and_pages(chain):
    db, log = chain
    read = log.read

    def numbers(**filters: object) -> list[int]:
        return [line.n for line in read(db.execute, tenant="acme", **filters)]  # type: ignore[arg-type]

    assert numbers(actor="user:u1") == [7, 1]
    assert numbers(cube="users/u1") == [7, 5, 3, 1]
    assert numbers(item="id-4") == [3]
    assert numbers(actor="user:u1", item="id-8") == [7]
    assert numbers(limit=2) == [7, 6]
    assert numbers(limit=2, before=6) == [5, 4]
    assert numbers(limit=0) == []
    assert numbers(item="id") == []


def test_a_tenant_reads_only_its_own_lines(chain):
    db, log = chain
    log.append(db, entry(1, tenant="other"), at=1)
    assert {line.tenant for line in log.read(db.execute, tenant="other")} == {"other"}
    assert log.read(db.execute, tenant="acm") == []


def test_erased_lines_are_shown_without_names_to_the_tenant_that_erased_them(chain):
    db, log = chain
    line = next(line for line in log.read(db.execute, tenant="acme") if line.n == 4)
    assert (line.actor, line.cube, line.items, line.reason) == (None, None, (), "")
    assert (line.erased_by, line.action) == (6, "memory.read")
    assert not any(line.n == 4 for line in log.read(db.execute, tenant="other"))


def test_naming_finds_the_lines_to_erase(chain):
    db, log = chain
    assert log.naming(db.execute, items=["id-3"]) == [3]
    assert log.naming(db.execute, items=["id-3", "id-8"]) == [3, 7]
    assert log.naming(db.execute, tenant="acme", actor="user:u1") == [1, 7]
    assert log.naming(db.execute, tenant="other") == []


def test_names_are_gone_from_every_audit_table_after_an_erase(chain):
    db, log = chain
    log.erase_details(db, log.naming(db.execute, actor="user:u1"), ROOT, at=9)
    everything = "\n".join(db.iterdump())
    assert "user:u1" not in everything
    assert "user:u0" in everything


def test_equal_entries_have_different_commitments_so_an_erased_one_cannot_be_guessed():
    db, log = fresh()
    log.extend(db, [entry(1), entry(1)], at=1)
    commitments = {detail for (detail,) in db.execute("SELECT detail FROM audit")}
    assert len(commitments) == 2


def test_erasing_twice_or_nothing_is_refused(chain):
    db, log = chain
    with pytest.raises(NotFound):
        log.erase_details(db, [2, 4, 99], ROOT, at=1)
    assert log.erase_details(db, [2, 3, 6], ROOT, at=1) == 8
    assert verdicts(db, log) == (True, True)


def test_only_an_erase_may_log_an_erase():
    db, log = fresh()
    with pytest.raises(UsageError):
        log.append(db, entry(1, action="audit.erase:00"), at=1)
    assert log.verify(db.execute).entries == 0


# -- keys, heads and anchors --------------------------------------------------------------------


def test_a_key_of_the_users_is_not_in_the_file():
    key = bytes(range(32))
    db, log = fresh(key)
    log.append(db, entry(1), at=1)
    assert key.hex() not in "\n".join(db.iterdump()).lower()
    assert log.verify(db.execute).intact
    assert verify_audit.check(db, key) == []
    assert verify_audit.check(db) != []
    with pytest.raises(UsageError, match="kept outside"):
        AuditLog.open(db.execute)
    with pytest.raises(UsageError, match="not the key"):
        AuditLog.open(db.execute, key=bytes(32))
    assert AuditLog.open(db.execute, key=key).append(db, entry(2), at=2) == 2


def test_a_check_with_another_key_fails(chain):
    db, _ = chain
    assert not AuditLog(b"k" * 32).verify(db.execute).intact
    assert verify_audit.check(db, b"k" * 32)


def test_a_short_key_is_refused():
    with pytest.raises(InvalidInput):
        AuditLog(b"short")


def test_a_reopened_file_goes_on_with_its_chain(tmp_path):
    path = str(tmp_path / "agent.db")
    db, log = fresh(path=path)
    log.append(db, entry(1), at=1)
    db.close()
    again = sqlite3.connect(path, isolation_level=None)
    reopened = AuditLog.open(again.execute)
    assert reopened.append(again, entry(2), at=2) == 2
    assert verdicts(again, reopened) == (True, True)
    again.close()


def test_two_connections_write_one_chain(tmp_path):
    path = str(tmp_path / "agent.db")
    db, log = fresh(path=path)
    other = sqlite3.connect(path, isolation_level=None)
    second = AuditLog.open(other.execute)
    for n in range(6):
        writer, book = (db, log) if n % 2 else (other, second)
        writer.execute("BEGIN IMMEDIATE")
        book.append(writer, entry(n), at=n)
        writer.execute("COMMIT")
    assert log.verify(db.execute).entries == 6
    assert verdicts(db, log) == (True, True)
    other.close()
    db.close()


def test_a_rolled_back_append_leaves_the_chain_as_it_was(chain):
    db, log = chain
    before = log.export_head(db.execute)
    db.execute("BEGIN")
    log.append(db, entry(8), at=1)
    db.execute("ROLLBACK")
    assert log.export_head(db.execute) == before
    assert verdicts(db, log) == (True, True)


def test_an_anchor_fits_the_chain_as_it_grows_and_survives_json(chain):
    db, log = chain
    anchors = [log.export_head(db.execute)]
    log.append(db, entry(8), at=1)
    anchors.append(log.export_head(db.execute))
    for anchor in anchors:
        assert verdicts(db, log, json.loads(json.dumps(anchor))) == (True, True)


def test_the_anchor_of_an_empty_log_fits_later():
    db, log = fresh()
    anchor = log.export_head(db.execute)
    log.append(db, entry(1), at=1)
    assert verdicts(db, log, anchor) == (True, True)


def test_every_change_to_an_anchor_is_seen(chain):
    db, log = chain
    anchor = dict(log.export_head(db.execute))
    for name, value in anchor.items():
        changed = (
            value + 1 if isinstance(value, int) else value[:-1] + ("0" if value[-1] != "0" else "1")
        )
        assert verdicts(db, log, {**anchor, name: changed}) == (False, False), name
    other, others_log = fresh()
    others_log.append(other, entry(1), at=1)
    assert verdicts(db, log, others_log.export_head(other.execute)) == (False, False)


def test_truncation_resealed_with_the_key_passes_alone_and_fails_against_an_anchor(chain):
    db, log = chain
    anchor = log.export_head(db.execute)
    for table in ("audit", "audit_detail"):
        db.execute(f"DELETE FROM {table} WHERE n = 7")
    link = db.execute("SELECT hash FROM audit WHERE n = 6").fetchone()[0]
    db.execute("UPDATE meta SET value = ? WHERE key = 'audit_head'", (log._sealed(6, link),))
    assert verdicts(db, log) == (True, True)
    assert verdicts(db, log, anchor) == (False, False)
    log.append(db, entry(7), at=2001)
    assert verdicts(db, log) == (True, True)
    assert verdicts(db, log, anchor) == (False, False)


# -- tampering ----------------------------------------------------------------------------------

COLUMNS = {
    "audit": ("n", "at", "action", "outcome", "detail", "prev", "hash"),
    "audit_detail": ("n", "tenant", "actor", "body"),
    "audit_erased": ("n", "by"),
    "meta": ("key", "value"),
}
KEYS = {"audit": "n", "audit_detail": "n", "audit_erased": "n", "meta": "key"}


def flips(value: object, bits: range) -> Iterator[tuple[str, object]]:
    """Every value that differs by one bit, with the SQL that stores it in the same type."""
    if isinstance(value, int):
        raw = value.to_bytes(8, "big", signed=True)
    else:
        raw = value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[arg-type,call-overload]
    for place in range(len(raw)):
        for bit in bits:
            made = bytearray(raw)
            made[place] ^= 1 << bit
            if isinstance(value, int):
                yield "?", int.from_bytes(made, "big", signed=True)
            else:
                yield ("CAST(? AS TEXT)" if isinstance(value, str) else "?"), bytes(made)


def undetected(
    db: sqlite3.Connection, log: AuditLog, attacks: Iterator[tuple[str, Attack]]
) -> list[str]:
    """The names of the attacks that a check lets pass; each runs on its own and is undone."""
    missed: list[str] = []
    for name, attack in attacks:
        db.execute("BEGIN")
        try:
            attack(db)
        except sqlite3.IntegrityError:
            db.execute("ROLLBACK")
            continue
        missed += [name] if True in verdicts(db, log) else []
        db.execute("ROLLBACK")
    return missed


def byte_flips(db: sqlite3.Connection, bits: range, rows: int) -> Iterator[tuple[str, Attack]]:
    for table, columns in COLUMNS.items():
        key = KEYS[table]
        for column in columns:
            found = db.execute(f"SELECT {key}, {column} FROM {table} LIMIT ?", (rows,)).fetchall()
            for row, value in found:
                for n, (sql, changed) in enumerate(flips(value, bits)):
                    statement = f"UPDATE {table} SET {column} = {sql} WHERE {key} = ?"
                    yield (
                        f"{table}.{column} of {row}, flip {n}",
                        lambda c, s=statement, v=changed, r=row: c.execute(s, (v, r)),
                    )


def test_one_flipped_bit_in_any_byte_of_any_column_is_seen_by_both_checks(chain):
    db, log = chain
    attacks = list(byte_flips(db, range(3, 4), 100))
    assert len(attacks) > 1900
    assert undetected(db, log, iter(attacks)) == []


@pytest.mark.parametrize("bit", [0, 7])
def test_other_bits_are_seen_too(chain, bit):
    db, log = chain
    assert undetected(db, log, byte_flips(db, range(bit, bit + 1), 2)) == []


def test_every_bit_of_a_few_rows_is_seen(chain):
    db, log = chain
    assert undetected(db, log, byte_flips(db, range(8), 1)) == []


def test_a_value_of_another_type_is_seen(chain):
    db, log = chain

    def attacks() -> Iterator[tuple[str, Attack]]:
        for table, columns in COLUMNS.items():
            for column in columns[1:]:
                to = "TEXT" if column in ("detail", "prev", "hash", "value") else "BLOB"
                sql = f"UPDATE {table} SET {column} = CAST({column} AS {to})"
                yield f"{table}.{column}", lambda c, s=sql: c.execute(s)

    assert undetected(db, log, attacks()) == []


def test_deleting_any_row_is_seen(chain):
    db, log = chain

    def attacks() -> Iterator[tuple[str, Attack]]:
        for table, key in KEYS.items():
            for (row,) in db.execute(f"SELECT {key} FROM {table}").fetchall():
                sql = f"DELETE FROM {table} WHERE {key} = ?"
                yield f"{table} {row}", lambda c, s=sql, r=row: c.execute(s, (r,))
            yield f"all of {table}", lambda c, t=table: c.execute(f"DELETE FROM {t}")

    assert undetected(db, log, attacks()) == []


def test_swapping_any_two_rows_is_seen(chain):
    db, log = chain

    def swap(c: sqlite3.Connection, table: str, one: int, two: int) -> None:
        for old, new in ((one, -1), (two, one), (-1, two)):
            c.execute(f"UPDATE {table} SET n = ? WHERE n = ?", (new, old))

    def attacks() -> Iterator[tuple[str, Attack]]:
        for table in ("audit", "audit_detail"):
            rows = [n for (n,) in db.execute(f"SELECT n FROM {table}")]
            for one in rows:
                for two in rows:
                    if one < two:
                        yield (
                            f"{table} {one} {two}",
                            lambda c, t=table, a=one, b=two: swap(c, t, a, b),
                        )

    assert undetected(db, log, attacks()) == []


def test_swapping_whole_lines_with_their_names_is_seen(chain):
    db, log = chain

    def swap(c: sqlite3.Connection) -> None:
        for table in ("audit", "audit_detail"):
            for old, new in ((1, -1), (3, 1), (-1, 3)):
                c.execute(f"UPDATE {table} SET n = ? WHERE n = ?", (new, old))

    assert undetected(db, log, iter([("1 and 3", swap)])) == []


def cut(c: sqlite3.Connection, keep: int) -> None:
    for table in ("audit", "audit_detail", "audit_erased"):
        c.execute(f"DELETE FROM {table} WHERE n > ?", (keep,))
    c.execute("DELETE FROM audit_erased WHERE by > ?", (keep,))


def test_cutting_the_tail_is_seen_with_and_without_a_forged_head(chain):
    db, log = chain
    forger = AuditLog(b"not the key at all")

    def reseal(c: sqlite3.Connection, keep: int, *, forge: bool) -> None:
        cut(c, keep)
        row = c.execute("SELECT hash FROM audit WHERE n = ?", (keep,)).fetchone()
        link = row[0] if row else b"\0" * 32
        old = c.execute("SELECT value FROM meta WHERE key = 'audit_head'").fetchone()[0]
        made = forger._sealed(keep, link)
        c.execute(
            "UPDATE meta SET value = ? WHERE key = 'audit_head'",
            (made if forge else made[:40] + old[40:],),
        )

    def attacks() -> Iterator[tuple[str, Attack]]:
        for keep in range(7):
            yield f"cut to {keep}", lambda c, k=keep: cut(c, k)
            yield f"old mac at {keep}", lambda c, k=keep: reseal(c, k, forge=False)
            yield f"forged at {keep}", lambda c, k=keep: reseal(c, k, forge=True)

    assert undetected(db, log, attacks()) == []


def test_an_old_head_put_back_is_seen(chain):
    db, log = chain
    old = db.execute("SELECT value FROM meta WHERE key = 'audit_head'").fetchone()[0]
    log.append(db, entry(8), at=1)
    db.execute("UPDATE meta SET value = ? WHERE key = 'audit_head'", (old,))
    assert verdicts(db, log) == (False, False)
    with pytest.raises(AuditBroken):
        log.append(db, entry(9), at=1)


def test_an_append_never_builds_on_a_forged_head(chain):
    db, log = chain
    cut(db, 5)
    link = db.execute("SELECT hash FROM audit WHERE n = 5").fetchone()[0]
    forged = AuditLog(b"not the key at all")._sealed(5, link)
    db.execute("UPDATE meta SET value = ? WHERE key = 'audit_head'", (forged,))
    with pytest.raises(AuditBroken):
        log.append(db, entry(6), at=1)
    with pytest.raises(AuditBroken):
        log.export_head(db.execute)


def test_inserted_and_replayed_lines_are_seen(chain):
    db, log = chain
    copied = (
        "INSERT INTO audit SELECT ?, at, action, outcome, detail, prev, hash FROM audit WHERE n = 7"
    )
    names = "INSERT INTO audit_detail SELECT 8, tenant, actor, body FROM audit_detail WHERE n = 7"

    def replay(c: sqlite3.Connection) -> None:
        c.execute(copied, (8,))
        c.execute(names)

    def stranger(c: sqlite3.Connection) -> None:
        AuditLog(b"not the key at all")._write(c, 8, entry(8), at=1, prev=b"\0" * 32)

    def shifted(c: sqlite3.Connection) -> None:
        for table in ("audit", "audit_detail"):
            c.execute(f"UPDATE {table} SET n = 8 WHERE n = 7")

    attacks: list[tuple[str, Attack]] = [
        ("replayed line", replay),
        ("replayed line without names", lambda c: c.execute(copied, (8,))),
        ("line of another key", stranger),
        ("names without a line", lambda c: c.execute(names)),
        ("shifted", shifted),
        ("line 0", lambda c: c.execute(copied, (0,))),
        ("erase of nothing", lambda c: c.execute("INSERT INTO audit_erased VALUES (99, 6)")),
    ]
    assert undetected(db, log, iter(attacks)) == []


def test_names_removed_under_a_made_up_erase_are_seen(chain):
    db, log = chain

    def hide(c: sqlite3.Connection, n: int, by: int) -> None:
        c.execute("DELETE FROM audit_detail WHERE n = ?", (n,))
        c.execute("INSERT INTO audit_erased VALUES (?, ?)", (n, by))

    def attacks() -> Iterator[tuple[str, Attack]]:
        for n in (1, 3, 5, 6, 7):
            for by in (0, n, 6, 7, 8):
                yield f"{n} by {by}", lambda c, n=n, by=by: hide(c, n, by)

    assert undetected(db, log, attacks()) == []


def test_a_names_row_put_back_after_an_erase_is_seen(chain):
    db, log = chain
    kept = db.execute("SELECT * FROM audit_detail WHERE n = 5").fetchone()
    log.erase_details(db, [5], ROOT, at=3)
    db.execute("INSERT INTO audit_detail VALUES (?, ?, ?, ?)", kept)
    assert verdicts(db, log) == (False, False)


def test_the_report_names_the_line_and_the_kind(chain):
    db, log = chain
    db.execute("UPDATE audit SET outcome = 'denied' WHERE n = 3")
    report = log.verify(db.execute)
    assert [(p.n, p.fault) for p in report.problems] == [(3, Fault.ROW)]
    with pytest.raises(AuditBroken, match="line 3"):
        report.require()


def test_a_missing_table_is_a_finding_and_not_an_exception(chain):
    db, log = chain
    db.execute("DROP TABLE audit_erased")
    assert [p.fault for p in log.verify(db.execute).problems] == [Fault.UNREADABLE]


def test_a_body_that_the_key_holder_made_nonsense_is_a_finding(chain):
    db, log = chain
    for body in ("[]", "no json", '{"tenant": 1, "actor": null}', "[" * 100_000):
        detail = hmac.digest(log._key, body.encode(), "sha256")
        db.execute("UPDATE audit_detail SET body = ? WHERE n = 7", (body,))
        db.execute("UPDATE audit SET detail = ? WHERE n = 7", (detail,))
        assert not log.verify(db.execute).intact
        log.read(db.execute, tenant="acme")


# -- false alarms, and the program --------------------------------------------------------------


def test_intact_chains_of_every_length_and_erase_history_verify():
    db, log = fresh()
    for n in range(1, 40):
        log.extend(db, [entry(n + k) for k in range(n % 4)], at=n)
        if n % 5 == 0:
            log.erase_details(db, range(n - 4, n), ROOT, at=n)
        assert verdicts(db, log, log.export_head(db.execute)) == (True, True), n


@pytest.mark.parametrize("odd", ["", "\x00", '"', "\\", "\ud800", "é" * 3, "\u2028", "x" * 9000])
def test_odd_words_neither_break_the_chain_nor_change_on_the_way(odd):
    db, log = fresh()
    log.append(db, entry(1, reason=odd, cube=odd or None, items=(odd,), extra={odd: odd}), at=1)
    assert verdicts(db, log) == (True, True)
    (line,) = log.read(db.execute, tenant="acme", item=odd)
    assert (line.reason, line.items, line.extra) == (odd, (odd,), {odd: odd})


def test_the_program_checks_a_file_and_says_so_by_its_exit_status(tmp_path):
    path, anchor = tmp_path / "agent.db", tmp_path / "head.json"
    db, log = fresh(path=str(path))
    log.extend(db, [entry(n) for n in range(4)], at=1)
    anchor.write_text(json.dumps(log.export_head(db.execute)))

    def run(*arguments: object) -> int:
        command = [sys.executable, "-I", verify_audit.__file__, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode

    assert run(path) == 0
    assert run(path, "--anchor", anchor) == 0
    cut(db, 3)
    db.execute(
        "UPDATE meta SET value = ? WHERE key = 'audit_head'",
        (log._sealed(3, db.execute("SELECT hash FROM audit WHERE n = 3").fetchone()[0]),),
    )
    assert run(path) == 0
    assert run(path, "--anchor", anchor) == 1
    db.execute("UPDATE audit SET at = at + 1 WHERE n = 2")
    assert run(path) == 1
    assert run(tmp_path / "absent.db") == 2
    db.close()


def test_the_program_needs_nothing_of_ours_and_is_short():
    source = Path(verify_audit.__file__).read_text()
    assert "memos_integrations" not in source
    assert len(source.splitlines()) < 120
