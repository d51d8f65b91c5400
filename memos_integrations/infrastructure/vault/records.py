"""Records: governed bytes under a name, beside the memories and under the same rights.

Called by the record verbs, by erase, fork, dump and load. Reads carry the access decision inside
the query; what writes expects that the caller passed the cube's gate in the same transaction.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.events import EventKind
from memos_integrations.cube.ids import LATEST
from memos_integrations.infrastructure.vault.governed import Asking, Instant
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import Transaction

MAX_KEY_CHARS = 4_096
MAX_VALUE_BYTES = 256 * 2**20
_SURROGATE = re.compile("[\ud800-\udfff]")
_SWEPT_AT_ONCE = 64
_NEEDLE_BYTES = 256
_MIN_NEEDLE_BYTES = 12
_NEEDLES = 64
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


def clean_key(key: object) -> str:
    """``key`` if a record can be found by it. Raises ``InvalidInput``."""
    if not isinstance(key, str):
        raise InvalidInput(f"the key of a record is text, not {type(key).__name__}")
    if len(key) > MAX_KEY_CHARS:
        raise InvalidInput(f"the key of a record has at most {MAX_KEY_CHARS} characters")
    if _SURROGATE.search(key):
        raise InvalidInput("the key of a record holds lone surrogates; send valid text")
    return key


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
    """(value, space, key, session, owner, written, expires) of all in a cube, for a dump."""
    rows = _governed(connection, asking, cid, queries("records")["all"], {})
    return [(vid, space, unescaped(key), *rest) for vid, space, key, *rest in rows]


def value(connection: sqlite3.Connection, vid: int) -> bytes:
    """The bytes of a value that ``everything`` showed in this snapshot."""
    return bytes(connection.execute(queries("records")["value"], (vid,)).fetchone()[0])


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
    fixed: dict[str, Any] = {
        **_at(place),
        "cid": cid,
        "owner": owner or tx.principal.name,
        "at": tx.at if written is None else written,
        "expires": expires,
        "now": tx.now,
    }
    each = ({**fixed, "key": escaped(key), "value": value} for key, value in given.items())
    return sum(_put_one(tx, bound, keep_existing=keep_existing) for bound in each)


def _put_one(tx: Transaction, bound: dict[str, Any], *, keep_existing: bool) -> bool:
    sql = queries("records")
    if keep_existing and tx.execute(sql["alive"], bound).fetchone():
        return False
    rid, same = tx.execute(sql["standing"], bound).fetchone() or (None, 0)
    vid = None if same else tx.execute(sql["new_value"], bound).fetchone()[0]
    tx.execute(sql["new" if rid is None else "renew"], {**bound, "rid": rid, "vid": vid})
    return True


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


def fork(tx: Transaction, source: int, branch: int, *, instant: Instant) -> int:
    """Give a fork the records of its source, sharing their values; how many."""
    bound = {"cid": source, "branch": branch, "now": tx.now, "then": _time_at(tx, instant)}
    return tx.execute(queries("records")["fork"], bound).rowcount


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


@dataclass(frozen=True, slots=True)
class Removed:
    """What an erase took of the records."""

    cubes: tuple[tuple[int, str, str, int], ...]
    """(cube row, tenant, path, how many), for the audit."""
    needles: tuple[bytes, ...]
    """Bytes that no file may hold afterwards: the beginnings of the longest values, as many as a
    scan gets through."""

    @property
    def count(self) -> int:
        return sum(count for *_, count in self.cubes)


def remove(tx: Transaction, rids: Sequence[int]) -> Removed:
    """Take these rows out for good, and have the log tell that something was erased: what other
    processes hold of a conversation may repeat it."""
    sql, rows = queries("records"), json.dumps(list(rids))
    sample = {"bytes": _NEEDLE_BYTES, "least": _MIN_NEEDLE_BYTES, "limit": _NEEDLES}
    heads = tx.execute(sql["samples"], {"rids": rows, **sample}).fetchall()
    cubes = tuple(tx.execute(sql["counts"], {"rids": rows}).fetchall())
    tx.execute(sql["remove"], {"rids": rows})
    for cid, *_ in cubes:
        tx.emit(EventKind.ERASED, cid, 0)
    return Removed(cubes, tuple(bytes(head) for (head,) in heads))
