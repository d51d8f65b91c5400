"""Reads with the access decision inside the query. There is no ungoverned way to a row.

Called by the vault and its transactions; the SQL stands in ``sql/governed.sql``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from memos_integrations.cube.acl import Permission, Principal, Visibility
from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.filters import Filter, matches, mentions
from memos_integrations.cube.ids import LATEST, Seq
from memos_integrations.infrastructure.governance.detection import PERSONAL
from memos_integrations.infrastructure.vault.governed_sql import (
    Pick,
    condition,
    filtered,
    head,
    of_items,
)
from memos_integrations.infrastructure.vault.reader import Reader, unless_changed
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.infrastructure.vault.sql import queries

__all__ = ["NOW", "Asking", "Cube", "Gate", "Governed", "Instant", "Pick"]

_MASKED_FIELDS = ("text", "info", "tags", "data")


@dataclass(frozen=True, slots=True)
class Instant:
    """A point on both time axes: what the vault held at ``seq``, about the world at ``valid``."""

    seq: Seq = LATEST
    valid_micros: int | None = None
    """``None`` means the world as of the moment of asking."""


NOW = Instant()


class Cube(Protocol):
    """What a gate asks of a cube's row."""

    @property
    def cid(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def visibility(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Gate:
    """A cube and what the principal may do with it as a whole, for one permission."""

    cid: int
    path: str
    tenant: str
    owner: str
    home: bool
    master: bool
    denied: bool
    allowed: bool

    @property
    def open(self) -> bool:
        return self.allowed and not self.denied


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks for which right at what time: what every governed query binds."""

    principal: Principal
    now: int
    need: Permission = Permission.READ
    instant: Instant = NOW

    def bindings(self, cids: Iterable[int] | None) -> dict[str, Any]:
        who = self.principal
        valid = self.instant.valid_micros
        return {
            "tenant": who.tenant,
            "name": who.name,
            "admin": int(who.is_admin),
            "subjects": _subjects(who),
            "clearances": json.dumps(sorted(who.clearances)) if who.clearances else "[]",
            "now": self.now,
            "need": int(self.need),
            "cubes": None if cids is None else _listed(sorted(set(cids))),
            "seq": self.instant.seq,
            "valid_at": self.now if valid is None else valid,
            "valid_from_too": int(valid is not None),
        }


class Governed:
    """The governed queries over one state of the vault: after a change of rights, make another."""

    def __init__(self, connection: sqlite3.Connection, asking: Asking) -> None:
        self._connection = connection
        self._asking = asking
        self._sql = queries("governed")
        self._bound: dict[str, Any] | None = None
        self._named: bool | None = None
        self._masters: dict[int, bool] = {}
        """What is known of these cubes from ``gates_of``."""

    @property
    def seq(self) -> Seq:
        """The place of the log these queries read at."""
        return self._asking.instant.seq

    @property
    def name(self) -> str:
        """The principal's name, for messages."""
        return self._asking.principal.name

    @property
    def now(self) -> int:
        """The moment of asking, in microseconds."""
        return self._asking.now

    @property
    def valid_at(self) -> int | None:
        """The instant of the world that was asked for; ``None`` for the moment of asking."""
        return self._asking.instant.valid_micros

    def has_item_denials(self) -> bool:
        """Whether any rule denies this principal the right on a single item."""
        if self._unruled:
            return False
        sql = (
            "SELECT 1 FROM rules WHERE iid IS NOT NULL AND effect = 'deny' "
            "AND (permissions & :need) LIMIT 1"
        )
        return bool(self._run(sql, None))

    def gates_of(self, cubes: Sequence[Cube]) -> list[Gate]:
        """As ``gates``, of cubes that this snapshot has read already.

        Where no rule at all names the principal, owner and visibility decide alone.
        """
        if self.named_by_rules():
            gates = self.gates([cube.cid for cube in cubes])
        else:
            gates = [self._ruleless(cube) for cube in cubes]
        self._masters |= {gate.cid: gate.master for gate in gates}
        return gates

    def named_by_rules(self) -> bool:
        """Whether any rule, also one that has expired, names this principal or a role of it."""
        if self._named is None:
            who = self._asking.principal
            key = ("named", who.tenant, who.user, who.agent, who.roles, who.groups)
            self._named = unless_changed(self._connection, key, self._are_named)
        return self._named

    @property
    def _unruled(self) -> bool:
        """Whether the shorter form of the decision says the same. Only where nothing can change
        within the snapshot: a transaction may write a rule after it was asked."""
        return isinstance(self._connection, Reader) and not self.named_by_rules()

    def _are_named(self) -> bool:
        run, tenant = self._connection.execute, self._asking.principal.tenant
        # Most tenants have no rule at all, which is told in a tenth of the time.
        if run(_ANY_RULE, (tenant,)).fetchone() is None:
            return False
        return run(_NAMED, self._bindings(None)).fetchone() is not None

    def _ruleless(self, cube: Cube) -> Gate:
        who = self._asking.principal
        home = cube.tenant == who.tenant
        master = home and (cube.owner == who.name or who.is_admin)
        seen = self._asking.need == Permission.READ and (
            cube.visibility == Visibility.PUBLIC or (home and cube.visibility == Visibility.TENANT)
        )
        allowed = master or seen
        return Gate(cube.cid, cube.path, cube.tenant, cube.owner, home, master, False, allowed)

    def gates(self, cids: Iterable[int] | None = None) -> list[Gate]:
        """The cubes asked for (or all), with what the principal may do with each."""
        rows = self._run(
            "SELECT cid, path, tenant, owner, home, master, denied, allowed FROM gate g "
            "ORDER BY path",
            cids,
        )
        return [Gate(r[0], r[1], r[2], r[3], *map(bool, r[4:])) for r in rows]

    def items(
        self,
        iids: Sequence[int],
        *,
        cids: Iterable[int],
        pick: Pick = "present",
        where: Filter | None = None,
    ) -> list[Stored]:
        """The versions of these items that the principal may see at the instant asked."""
        if where is not None and self.must_mask(cids, where):
            return self._as_shown(self.items(iids, cids=cids, pick=pick), where)
        words, bound = filtered(where)
        sql = of_items(pick, words, unruled=self._unruled)
        bound = {**self._bindings(cids), **bound, "iids": _listed(map(int, iids))}
        return list(map(Stored._make, self._connection.execute(sql, bound)))

    def searchable(self, iids: Sequence[int], *, cids: Iterable[int]) -> set[int]:
        """Which of these items a search may show, at less cost than reading them."""
        allowed, extra = self._condition("searchable", None)
        extra["iids"] = _listed(iids)
        rows = self._run(f"SELECT i.iid {self._sql['joined_items']} WHERE {allowed}", cids, extra)
        return {item for (item,) in rows}

    def listing(
        self,
        *,
        cids: Iterable[int],
        pick: Pick = "kept",
        where: Filter | None = None,
        limit: int = -1,
        offset: int = 0,
    ) -> list[Stored]:
        """A page of what the cubes hold for this principal, newest first."""
        if self.must_mask(cids, where):
            rows = self._as_shown(self._listing(cids, pick, None, -1, 0), where)
            return rows[offset:] if limit < 0 else rows[offset : offset + limit]
        return self._listing(cids, pick, where, limit, offset)

    def _listing(
        self, cids: Iterable[int], pick: Pick, where: Filter | None, limit: int, offset: int
    ) -> list[Stored]:
        allowed, extra = self._condition(pick, where)
        sql = (
            f"SELECT {self._sql['item_columns']} {self._sql['joined']} WHERE {allowed} "
            "ORDER BY v.time DESC, i.iid DESC LIMIT :limit OFFSET :offset"
        )
        rows = self._run(sql, cids, {**extra, "limit": limit, "offset": offset})
        return [Stored._make(row) for row in rows]

    def must_mask(self, cids: Iterable[int], where: Filter | None) -> bool:
        """Whether a filter on stored words could tell this principal what is masked for it."""
        if where is None or PERSONAL in self._asking.principal.clearances:
            return False
        if not mentions(where, _MASKED_FIELDS):
            return False
        asked = list(cids)
        if not self._masters.keys() >= set(asked):
            return not all(gate.master for gate in self.gates(asked))
        return not all(self._masters[cid] for cid in asked)

    def _as_shown(self, rows: Iterable[Stored], where: Filter | None) -> list[Stored]:
        """Filter what the principal is shown, not what is stored, so that neither a match nor a
        miss tells anything about masked words."""
        who = self._asking.principal
        return [row for row in rows if matches(where, to_item(row, who))]

    def versions(self, item: int, *, cids: Iterable[int], upto: Seq = LATEST) -> list[Stored]:
        """Every version of one item up to a place of the log, oldest first.

        Governed by the rights held now on the item as it stands now.
        """
        allowed, extra = self._condition("present", None)
        sql = (
            f"SELECT {self._sql['item_columns']} {self._sql['joined_history']} "
            f"WHERE {allowed} ORDER BY v.version"
        )
        return [Stored._make(r) for r in self._run(sql, cids, {**extra, "iid": item, "upto": upto})]

    def rows(
        self, *, cids: Iterable[int], where: Filter | None = None
    ) -> list[tuple[int, int, int]]:
        """(cube, item, version) numbers of everything searchable that passes, in item order."""
        if self.must_mask(cids, where):
            shown = self._as_shown(self._listing(cids, "searchable", None, -1, 0), where)
            return sorted((row.cid, row.iid, row.version) for row in shown)
        allowed, extra = self._condition("searchable", where)
        sql = (
            f"SELECT v.cid, i.iid, v.version {self._sql['joined']} WHERE {allowed} "
            "ORDER BY v.cid, i.iid"
        )
        return self._run(sql, cids, extra)

    def count(
        self,
        *,
        cids: Iterable[int] | None = None,
        pick: Pick = "kept",
        where: Filter | None = None,
    ) -> int:
        """How many present memories the principal may see."""
        if cids is not None and self.must_mask(cids, where):
            return len(self._as_shown(self._listing(cids, pick, None, -1, 0), where))
        allowed, extra = self._condition(pick, where)
        sql = f"SELECT count(*) {self._sql['joined']} WHERE {allowed}"
        return int(self._run(sql, cids, extra)[0][0])

    def columns(
        self,
        columns: str,
        *,
        cids: Iterable[int],
        pick: Pick = "kept",
        where: Filter | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """These columns of all that the principal may see, for who looks at a whole cube.

        ``columns`` is a constant of the code, in the names of ``sql/governed.sql``. A filter on
        stored words, which could tell what is masked, is refused.
        """
        if self.must_mask(cids, where):
            raise UsageError("a whole cube is not looked at by words that may be masked")
        allowed, extra = self._condition(pick, where)
        sql = f"SELECT {columns} {self._sql['joined']} WHERE {allowed} ORDER BY i.iid"
        bindings = self._bindings(cids) | extra
        yield from self._connection.execute(head(unruled=self._unruled) + sql, bindings)

    def tallies(
        self, column: str, *, cids: Iterable[int] | None = None, where: Filter | None = None
    ) -> dict[str, int]:
        """Counts of visible memories by one header column.

        A filter on stored words, which could tell what is masked, is refused.
        """
        if cids is not None and self.must_mask(cids, where):
            raise UsageError("memories are not counted by words that may be masked")
        picked = _TALLY_COLUMNS[column]
        allowed, extra = self._condition("told", where)
        sql = (
            f"SELECT {picked}, count(*) {self._sql['joined']} WHERE {allowed} "
            f"GROUP BY {picked} ORDER BY {picked}"
        )
        return {str(value): n for value, n in self._run(sql, cids, extra)}

    def _condition(self, pick: Pick, where: Filter | None) -> tuple[str, dict[str, Any]]:
        words, bound = filtered(where)
        return condition(pick, words, unruled=self._unruled), bound

    def _run(
        self, sql: str, cids: Iterable[int] | None, extra: dict[str, Any] | None = None
    ) -> list[Any]:
        bindings = self._bindings(cids) | (extra or {})
        return self._connection.execute(head(unruled=self._unruled) + sql, bindings).fetchall()

    def _bindings(self, cids: Iterable[int] | None) -> dict[str, Any]:
        if self._bound is None:
            self._bound = self._asking.bindings(None)
        return {**self._bound, "cubes": None if cids is None else _listed(sorted(set(cids)))}


def _listed(numbers: Iterable[int]) -> str:
    """Whole numbers as a JSON array."""
    return f"[{','.join(map(str, numbers))}]"


@lru_cache(maxsize=256)
def _subjects(principal: Principal) -> str:
    """Every (kind, name) a rule can reach the principal by, as JSON."""
    return json.dumps([[kind.value, name] for kind, name in principal.subjects()])


_ANY_RULE = "SELECT 1 FROM access WHERE tenant = ? LIMIT 1"
_NAMED = """
SELECT 1 FROM json_each(:subjects) s CROSS JOIN access a ON a.tenant = :tenant
AND a.subject_kind = json_extract(s.value, '$[0]') AND a.subject = json_extract(s.value, '$[1]')
LIMIT 1
"""

_TALLY_COLUMNS = {
    "state": "v.state",
    "memory_type": "v.memory_type",
    "trust": "i.trust",
    "stale": "v.stale",
    "storage_mode": "v.storage_mode",
    "kind": "v.kind",
    "cube": "g.path",
}
