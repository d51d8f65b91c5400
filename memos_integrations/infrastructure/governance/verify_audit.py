"""Check the audit chain of a vault file with nothing but the standard library.

    python verify_audit.py agent.db [--anchor head.json] [--key key.bin]

Exit status: 0 intact, 1 broken, 2 could not be checked. Shares no code with the chain's writer.
"""

import argparse
import hashlib
import hmac
import json
import sqlite3
import struct
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

META = """SELECT key, value FROM meta WHERE typeof(value) = 'blob'
AND key IN ('audit_chain', 'audit_head', 'audit_key', 'audit_key_id')"""
LINES = """SELECT n, iif(typeof(at) = 'integer', at, 0), CAST(action AS BLOB),
CAST(outcome AS BLOB), CAST(detail AS BLOB), CAST(prev AS BLOB), CAST(hash AS BLOB), typeof(at)
|| typeof(action) || typeof(outcome) || typeof(detail) || typeof(prev) || typeof(hash)
FROM audit ORDER BY n"""
NAMES = """SELECT n, CAST(tenant AS BLOB), CAST(actor AS BLOB), CAST(body AS BLOB), typeof(tenant)
|| typeof(actor) || typeof(body) FROM audit_detail"""
ERASED = "SELECT n, iif(typeof(by) = 'integer', by, -1) FROM audit_erased ORDER BY n"


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def seal(key: bytes, n: int, link: bytes) -> bytes:
    return hmac.digest(key, b"memos.audit.head.1\0" + struct.pack(">q", n) + link, "sha256")


def check(db: sqlite3.Connection, key: bytes | None = None, anchor: Any = None) -> list[str]:
    """Everything that is wrong, in words; an empty list for an intact chain."""
    meta: dict[str, bytes] = dict(db.execute(META))
    held, fingerprint, chain = map(meta.get, ("audit_key", "audit_key_id", "audit_chain"))
    key = held if key is None else key
    if key is None or chain is None or len(chain) != 16:
        return ["meta: the key or the chain's id is missing"]
    fitting = ((key, None), (None, sha(b"memos.audit.key.1\0", key)))
    said = [] if (held, fingerprint) in fitting else ["meta: the key is not the file's"]
    links = {0: (0, sha(b"memos.audit.chain.1\0", chain))}
    said += check_lines(db, links) + check_names(db, key) + check_erases(db)
    last, (_, link) = max(links.items())
    if meta.get("audit_head") != struct.pack(">q", last) + link + seal(key, last, link):
        said.append(f"head: not the seal of line {last}")
    n = anchor["n"] if anchor and anchor["n"] in links else 0
    at, link = links[n]
    want = {"chain": chain, "hash": link, "mac": seal(key, n, link)}
    if anchor not in (None, {"n": n, "at": at, **{name: want[name].hex() for name in want}}):
        said.append("anchor: the chain does not contain it")
    return said


def check_lines(db: sqlite3.Connection, links: dict[int, tuple[int, bytes]]) -> list[str]:
    """Each line follows the one before and hashes to its link; fills ``links``."""
    said, last = list[str](), 0
    for n, at, *fields, link, types in db.execute(LINES):
        if n != last + 1 or fields[3] != links[last][1]:
            said.append(f"line {n}: does not follow line {last}")
        front = b"memos.audit.row.1\0" + struct.pack(">qqIIII", n, at, *map(len, fields))
        if sha(front, *fields) != link or types != "integertexttextblobblobblob":
            said.append(f"line {n}: changed")
        last, links[n] = n, (at, link)
    return said


def check_names(db: sqlite3.Connection, key: bytes) -> list[str]:
    """Each line's names fit its commitment, or an erase took them."""
    said, details = list[str](), {n: rest for n, *rest in db.execute(NAMES)}
    erased = {n for (n,) in db.execute("SELECT n FROM audit_erased")}
    lines = dict(db.execute("SELECT n, CAST(detail AS BLOB) FROM audit"))
    for n in sorted(lines.keys() | details.keys() | erased):
        if n not in lines or (n in details) == (n in erased):
            said.append(f"line {n}: line, names and erase do not fit")
        elif n in details:
            *names, body, types = details[n]
            good = types == "texttexttext" and hmac.digest(key, body, "sha256") == lines[n]
            told = json.loads(body) if good else {}
            if not good or [told[who].encode() for who in ("tenant", "actor")] != names:
                said.append(f"line {n}: names changed")
    return said


def check_erases(db: sqlite3.Connection) -> list[str]:
    """Each erase line commits to the numbers it took; the list must be exactly those."""
    actions = dict(db.execute("SELECT n, CAST(action AS BLOB) FROM audit"))
    listed = {n: b"" for n, action in actions.items() if action.startswith(b"audit.erase")}
    for n, by in db.execute(ERASED):
        listed[by] = listed.get(by, b"") + struct.pack(">q", n)
    made = {by: sha(b"memos.audit.erase.1\0", numbers).hex() for by, numbers in listed.items()}
    wrong = (by for by in made if actions.get(by) != f"audit.erase:{made[by]}".encode())
    return [f"line {by}: logs another list of erased lines" for by in wrong]


def main() -> int:
    options = argparse.ArgumentParser(description="Check the audit chain of a vault file.")
    for name in ("file", "--anchor", "--key"):
        options.add_argument(name, type=Path)
    asked = options.parse_args()
    try:
        key = asked.key and asked.key.read_bytes()
        anchor = asked.anchor and json.loads(asked.anchor.read_bytes())
        with closing(sqlite3.connect(f"{asked.file.resolve().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("BEGIN")
            said, status = check(db, key, anchor), 1
    except (OSError, LookupError, TypeError, AttributeError, ValueError, sqlite3.Error) as error:
        said, status = [f"cannot be checked: {error}"], 2
    sys.stdout.write("\n".join(said or ["the audit chain is intact"]) + "\n")
    return status if said else 0


if __name__ == "__main__":
    sys.exit(main())
