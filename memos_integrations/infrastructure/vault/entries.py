"""Names of memories in the file: who holds which, read with the access decision inside the query.

Called by the operation layer and by those who carry cubes over borders; the SQL stands in
``sql/entries.sql``. What a name holds is a memory like any other.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias

import numpy as np

from memos_integrations.cube.entries import Namespace, decode, encode, under
from memos_integrations.cube.filters import Filter, matches
from memos_integrations.cube.ids import LATEST
from memos_integrations.cube.ports import Rows
from memos_integrations.infrastructure.vault.filter_sql import compile_filter
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, dumps, to_item
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import Transaction

Name: TypeAlias = tuple[int, str, str]
"""Cube row, encoded namespace and key."""
_PLACE = re.compile(r"\?")
_OWN = ("space", "key", "fields", "ttl")


@dataclass(frozen=True, slots=True)
class Named:
    """A memory and the name it holds."""

    row: Stored
    namespace: Namespace
    key: str
    fields: tuple[str, ...]
    ttl_micros: int | None


class EntryRows:
    """Governed queries over the names of some cubes, at the reading's instant."""

    def __init__(self, reading: Reading, cids: Iterable[int]) -> None:
        self._reading = reading
        self._cids = sorted(set(cids))
        self._governed = queries("governed")
        self._sql = queries("entries")

    def get(self, names: Sequence[Name]) -> dict[Name, Named]:
        """What these names hold, as far as the principal may see it."""
        asked = {"names": dumps([list(name) for name in names])}
        rows = self._rows("of_names", "held", asked)
        return {(named.row.cid, encode(named.namespace), named.key): named for named in rows}

    def of_items(self, items: Sequence[int]) -> dict[int, Named]:
        """What these item rows hold under their names."""
        asked = {"iids": json.dumps([int(n) for n in items])}
        return {named.row.iid: named for named in self._rows("of_items", "held", asked)}

    def listing(
        self, prefix: Namespace, *, where: Filter | None, limit: int, offset: int
    ) -> list[Named]:
        """A page of what the names under a namespace hold, in the order the names were first
        given."""
        if self._reading.governed.must_mask(self._cids, where):
            return self._as_shown(prefix, "held", where)[offset : offset + limit]
        # Numbers first: sorting whole rows for a page of ten would read every value.
        asked = _range(prefix) | {"limit": limit, "offset": offset}
        end = "ORDER BY n.iid LIMIT :limit OFFSET :offset"
        page = [iid for (iid,) in self._select("n.iid", "in_space", "held", asked, where, end)]
        found = self.of_items(page)
        return [found[iid] for iid in page if iid in found]

    def filtered(self, prefix: Namespace, where: Filter) -> dict[int, Rows]:
        """Cube row -> items under the namespace that a query may find, past the filter."""
        if self._reading.governed.must_mask(self._cids, where):
            rows = [named.row for named in self._as_shown(prefix, "searchable", where)]
            pairs = [(row.cid, row.iid) for row in rows]
        else:
            asked = _range(prefix)
            pairs = self._select("v.cid, i.iid", "in_space", "searchable", asked, where)
        return {
            cid: np.array([iid for home, iid in pairs if home == cid], np.int64)
            for cid in self._cids
        }

    def places(self, prefix: Namespace) -> dict[int, Rows]:
        """Cube row -> items that hold a name under the namespace, also hidden ones. Numbers
        only: who may see which is for the truth to say."""
        asked = _range(prefix) | {"seq": self._reading.asking.instant.seq}
        sql, run = self._sql["places"], self._reading.connection.execute
        return {
            cid: np.array([iid for (iid,) in run(sql, asked | {"cid": cid})], np.int64)
            for cid in self._cids
        }

    def namespaces(self, prefix: Namespace) -> list[Namespace]:
        """The namespaces under this one that hold something, each once."""
        conditions = [self._governed["item_allowed"], self._sql["held"], self._sql["newest"]]
        # The first that is held tells of a namespace, so the others of it are not looked at.
        one = f"SELECT 1 {self._sql['in_one_space']} WHERE {' AND '.join(conditions)}"
        body = f"SELECT s.space FROM ({self._sql['spaces']}) s WHERE EXISTS ({one})"  # noqa: S608
        return [decode(space) for (space,) in self._run(body, self._bindings(_range(prefix)))]

    def _as_shown(self, prefix: Namespace, pick: str, where: Filter | None) -> list[Named]:
        """Filtered by what the principal is shown, so that no filter can tell masked words."""
        who = self._reading.asking.principal
        rows = self._rows("in_space", pick, _range(prefix))
        return [named for named in rows if matches(where, to_item(named.row, who))]

    def _rows(
        self,
        place: str,
        pick: str,
        asked: Mapping[str, Any],
    ) -> list[Named]:
        columns = f"{self._governed['item_columns']}, {', '.join('n.' + name for name in _OWN)}"
        return [_named(row) for row in self._select(columns, place, pick, asked, None)]

    def _select(
        self,
        columns: str,
        place: str,
        pick: str,
        asked: Mapping[str, Any],
        where: Filter | None,
        end: str = "ORDER BY n.iid",
    ) -> list[Any]:
        held = self._sql[pick] if pick in self._sql else self._governed[pick]
        conditions = [self._governed["item_allowed"], held, self._sql["newest"]]
        bindings = self._bindings(asked)
        if where is not None:
            condition = compile_filter(where)
            names = count()
            # The compiler's fragments are constants with ? places; ours are named.
            conditions.append("(" + _PLACE.sub(lambda _: f":f{next(names)}", condition.sql) + ")")
            bindings |= {f"f{n}": value for n, value in enumerate(condition.parameters)}
        body = f"SELECT {columns} {self._sql[place]} WHERE {' AND '.join(conditions)} {end}"
        return self._run(body, bindings)

    def _bindings(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self._reading.asking.bindings(self._cids) | dict(asked)

    def _run(self, body: str, bindings: Mapping[str, Any]) -> list[Any]:
        head = f"WITH {self._governed['rules']}, {self._governed['gate']} "
        return self._reading.connection.execute(head + body, bindings).fetchall()


def _range(prefix: Namespace) -> dict[str, Any]:
    start, below = under(prefix)
    return {"from": start, "below": below}


def _named(row: Sequence[Any]) -> Named:
    space, key, fields, ttl = row[-len(_OWN) :]
    stored = Stored._make(row[: -len(_OWN)])
    return Named(stored, decode(space), key, tuple(json.loads(fields)), ttl)


# -- inside a write -----------------------------------------------------------------------------


def holders(tx: Transaction, names: Sequence[Name]) -> dict[Name, int]:
    """Name -> item row that holds it, also one that is gone or hidden. Numbers only."""
    asked = dumps([list(name) for name in names])
    rows = tx.execute(queries("entries")["holders"], (asked,)).fetchall()
    return {(cid, space, key): iid for cid, space, key, iid in rows}


def give_names(
    tx: Transaction, rows: Iterable[tuple[int, Name, tuple[str, ...], int | None]]
) -> None:
    """Have item rows hold names from here on: (item, name, fields, time to live)."""
    values = [(iid, *name, dumps(list(fields)), ttl) for iid, name, fields, ttl in rows]
    tx.connection.executemany(queries("entries")["name"], values)


def keep_fields(tx: Transaction, iid: int, fields: tuple[str, ...], ttl: int | None) -> None:
    """Note which fields of the value are searched from now on, and how long it lives."""
    tx.execute(queries("entries")["rename"], (dumps(list(fields)), ttl, iid))


def put_off(tx: Transaction, ends: Mapping[int, int]) -> list[int]:
    """Have these item rows end later, as far as they have not ended; which do."""
    sql = queries("entries")["refresh"]
    return [iid for iid, end in ends.items() if tx.execute(sql, (iid, end, tx.now)).rowcount]


def copy_names(tx: Transaction, cid: int, copies: Mapping[int, int], *, upto: int = LATEST) -> None:
    """Have the copies of memories in a cube hold the names their originals held at ``upto``."""
    pairs = json.dumps(list(copies.items()))
    tx.execute(queries("entries")["copy"], {"cid": cid, "pairs": pairs, "upto": upto})


def holders_of_same(tx: Transaction, cid: int, items: Sequence[int]) -> dict[int, int]:
    """Item row -> the item row of that cube which holds the same name."""
    asked = json.dumps(list(items))
    return dict(tx.execute(queries("entries")["same_names"], (asked, cid)).fetchall())


def take_fields(tx: Transaction, ours: int, theirs: int) -> None:
    """Have one entry be searched by the fields of another, and live as long."""
    tx.execute(queries("entries")["take_fields"], (ours, theirs))


def names_of(connection: sqlite3.Connection, items: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Item row -> its name, fields and time to live, for those that have a name."""
    rows = connection.execute(queries("entries")["of_rows"], (json.dumps(list(items)),)).fetchall()
    return {iid: _told(*name) for iid, *name in rows}


def _told(space: str, key: str, fields: str, ttl: int | None) -> dict[str, Any]:
    found = {"namespace": list(decode(space)), "key": key, "fields": json.loads(fields)}
    return found | {"ttl": ttl}
