"""Records: governed bytes under a name, beside the memories and under the same rights.

Called by the record verbs, by erase, fork, dump and load. Reads carry the access decision inside
the query; what writes expects that the caller passed the cube's gate in the same transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.ids import LATEST
from memos_integrations.infrastructure.vault.governed import Asking, Instant
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import Transaction

_SWEPT_AT_ONCE = 64
_NEEDLE_BYTES = 256
_MIN_NEEDLE_BYTES = 12
_NEEDLES = 128
_BEYOND_TEXT = b""  # SQLite orders every text below every blob
_LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Place:
    """Where records lie: a space of names, narrowed to a session where one is named."""

    space: str
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """The keys that begin with ``prefix``, behind ``after`` and before ``before``."""

    prefix: str = ""
    after: str | None = None
    before: str | None = None

    def bounds(self) -> dict[str, str | bytes]:
        """The lowest key inside and the first one beyond, as stored."""
        prefix = escaped(self.prefix)
        low = prefix if self.after is None else max(prefix, escaped(self.after) + "\x00")
        ends = [_successor(prefix), None if self.before is None else escaped(self.before)]
        return {"low": low, "high": min((e for e in ends if e is not None), default=_BEYOND_TEXT)}


def escaped(key: str) -> str:
    """The key as stored: without NUL, where SQLite's JSON ends a text, and in the same order."""
    return key.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")


def unescaped(key: str) -> str:
    """The key as its writer knows it."""
    return key.replace("\x01\x01", "\x00").replace("\x01\x02", "\x01")


def _successor(prefix: str) -> str | None:
    """The lowest text above every text with this prefix; ``None`` where there is none."""
    kept = prefix.rstrip(_LAST_CHARACTER)
    if not kept:
        return None
    last = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if last == 0xD800 else last)  # surrogates are no text


# -- reading ----------------------------------------------------------------------------------


def values(
    connection: sqlite3.Connection, asking: Asking, cid: int, place: Place, keys: Iterable[str]
) -> dict[str, bytes]:
    """Key -> value of those that are there and that the asker may read."""
    found = _picked(connection, asking, cid, place, "values", keys)
    return {unescaped(key): bytes(value) for key, value in found}


def times(
    connection: sqlite3.Connection, asking: Asking, cid: int, place: Place, keys: Iterable[str]
) -> dict[str, int]:
    """Key -> when it was last written, in microseconds."""
    found = _picked(connection, asking, cid, place, "times", keys)
    return {unescaped(key): written for key, written in found}


def _picked(
    connection: sqlite3.Connection,
    asking: Asking,
    cid: int,
    place: Place,
    what: str,
    keys: Iterable[str],
) -> list[Any]:
    sql = queries("records")
    extra = _at(place) | {"keys": _as_json(keys)}
    return _governed(connection, asking, cid, f"{sql[what]} {sql['seen']}", extra)


def listed(
    connection: sqlite3.Connection,
    asking: Asking,
    cid: int,
    place: Place,
    within: Range,
    *,
    limit: int | None,
    reverse: bool,
    with_values: bool,
) -> list[tuple[str, bytes | None]]:
    """The keys of a range in order, with their values where asked for."""
    sql = queries("records")
    what, order = "items" if with_values else "keys", "backward" if reverse else "forward"
    extra = _at(place) | within.bounds() | {"limit": -1 if limit is None else limit}
    query = f"{sql[what]} {sql['seen']} {sql[order]}"
    found = _governed(connection, asking, cid, query, extra)
    return [(unescaped(key), value) for key, value in found]


def everything(connection: sqlite3.Connection, asking: Asking, cid: int) -> list[Any]:
    """(row, space, key, session, owner, written, expires) of all in a cube, for a dump."""
    rows = _governed(connection, asking, cid, queries("records")["all"], {})
    return [(rid, space, unescaped(key), *rest) for rid, space, key, *rest in rows]


def value(connection: sqlite3.Connection, rid: int) -> bytes:
    """The bytes of a row that ``everything`` showed in this snapshot."""
    return bytes(connection.execute(queries("records")["value"], (rid,)).fetchone()[0])


def _governed(
    connection: sqlite3.Connection, asking: Asking, cid: int, sql: str, extra: Mapping[str, Any]
) -> list[Any]:
    head = f"WITH {queries('governed')['rules']}, {queries('governed')['gate']} "
    return connection.execute(head + sql, asking.bindings([cid]) | dict(extra)).fetchall()


def _at(place: Place) -> dict[str, Any]:
    return {"space": place.space, "session": place.session}


def _as_json(keys: Iterable[str]) -> str:
    return json.dumps([escaped(key) for key in dict.fromkeys(keys)])


# -- writing ----------------------------------------------------------------------------------


def put(
    tx: Transaction,
    cid: int,
    place: Place,
    given: Mapping[str, bytes],
    *,
    expires: int | None,
    keep_existing: bool = False,
    owner: str | None = None,
    written: int | None = None,
) -> int:
    """Write these records; how many were, which with ``keep_existing`` are the new ones."""
    sql = queries("records")
    fixed: dict[str, Any] = {
        **_at(place),
        "cid": cid,
        "owner": owner or tx.principal.name,
        "at": tx.at if written is None else written,
        "expires": expires,
        "keep": keep_existing,
        "now": tx.now,
    }
    done = 0
    for key, bytes_ in given.items():
        row = tx.execute(sql["put"], {**fixed, "key": escaped(key)}).fetchone()
        if row is not None:
            tx.execute(sql["put_value"], (row[0], bytes_))
            done += 1
    return done


def delete(tx: Transaction, cid: int, place: Place, keys: Iterable[str]) -> int:
    """Remove these; how many were there and had not expired."""
    bound = {**_at(place), "cid": cid, "keys": _as_json(keys), "now": tx.now}
    return _alive(tx.execute(queries("records")["delete"], bound).fetchall())


def clear(tx: Transaction, cid: int, place: Place, within: Range) -> int:
    """Remove a range; how many were there and had not expired."""
    bound = {**_at(place), **within.bounds(), "cid": cid, "now": tx.now}
    return _alive(tx.execute(queries("records")["clear"], bound).fetchall())


def _alive(rows: Iterable[tuple[int]]) -> int:
    return sum(alive for (alive,) in rows)


def sweep(tx: Transaction, *, limit: int = _SWEPT_AT_ONCE) -> int:
    """Remove some of those that have expired, in whichever cube; how many."""
    return tx.execute(queries("records")["sweep"], {"now": tx.now, "limit": limit}).rowcount


def copy(tx: Transaction, source: int, branch: int, *, instant: Instant) -> int:
    """Give a fork the records of its source; how many."""
    sql = queries("records")
    bound = {"cid": source, "now": tx.now, "then": _time_at(tx, instant)}
    rids = [rid for (rid,) in tx.execute(sql["fork"], bound).fetchall()]
    for rid in rids:
        (new,) = tx.execute(sql["copy"], {"branch": branch, "rid": rid}).fetchone()
        tx.execute(sql["copy_value"], {"new": new, "rid": rid})
    return len(rids)


def _time_at(tx: Transaction, instant: Instant) -> int | None:
    if instant.seq == LATEST:
        return None
    row = tx.execute("SELECT max(at) FROM outbox WHERE seq <= ?", (instant.seq,)).fetchone()
    return int(row[0] or 0)


# -- erasing ----------------------------------------------------------------------------------


def of_subject(tx: Transaction, name: str, *, tenant: str, home: str) -> list[int]:
    """Rows of a person: their home, what they wrote elsewhere, and copies of it in forks."""
    bound = {"tenant": tenant, "home": home, "owner": f"user:{name}"}
    return [rid for (rid,) in tx.execute(queries("records")["of_subject"], bound).fetchall()]


def of_session(tx: Transaction, session: str, *, cid: int) -> list[int]:
    """Rows of a conversation in a cube, and copies of them in its forks."""
    bound = {"session": session, "cid": cid}
    return [rid for (rid,) in tx.execute(queries("records")["of_session"], bound).fetchall()]


def remove(tx: Transaction, rids: Sequence[int]) -> tuple[int, tuple[bytes, ...]]:
    """Take rows out for good: how many, and bytes that no file may hold afterwards.

    The bytes are the beginnings of the longest values, a number that a scan gets through.
    """
    sql, rows = queries("records"), json.dumps(list(rids))
    bound = {
        "rids": rows,
        "bytes": _NEEDLE_BYTES,
        "least": _MIN_NEEDLE_BYTES,
        "limit": _NEEDLES,
    }
    needles = tuple({bytes(head) for (head,) in tx.execute(sql["samples"], bound)})
    return tx.execute(sql["remove"], (rows,)).rowcount, needles
