"""Reading entries through one governed snapshot. Called by the verbs of entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from memos_integrations.cube.entries import (
    Entry,
    EntryResult,
    FindEntries,
    GetEntry,
    ListNamespaces,
    Namespace,
    ReadEntries,
    encode,
    matches,
)
from memos_integrations.cube.ids import from_micros
from memos_integrations.cube.ports import Vector
from memos_integrations.infrastructure.vault.entries import EntryRows, Named
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.infrastructure.vault.transaction import CubeRow
from memos_integrations.operation.entry_search import EntrySearch

_WORTH_WRITING = 100
"""A read puts the end off only by at least this part of the time to live, for a write costs."""


@dataclass(slots=True)
class Seen:
    """What was read: for the log, and when it is to end now."""

    rows: list[Stored] = field(default_factory=list[Stored])
    ends: dict[int, int] = field(default_factory=dict[int, int])


class EntryReader:
    """Runs the reading operations of a batch."""

    def __init__(
        self, search: EntrySearch, reading: Reading, vectors: Mapping[str, Vector | None]
    ) -> None:
        self._search = search
        self._reading = reading
        self._vectors = vectors
        """Of the queries that say something; ``None`` where words alone are compared."""
        self.seen = Seen()

    def run(self, op: ReadEntries, cubes: Sequence[CubeRow]) -> EntryResult:
        """What the operation finds in these cubes."""
        rows = EntryRows(self._reading, [cube.cid for cube in cubes])
        match op:
            case GetEntry():
                names = [(cube.cid, encode(op.namespace), op.key) for cube in cubes]
                found = list(rows.get(names).values())
                self._note(found, refresh_ttl=op.refresh_ttl)
                return self._entry(found[0]) if found else None
            case FindEntries():
                return self._found(op, cubes, rows)
            case ListNamespaces():
                return _page(rows.namespaces(_fixed(op.prefix)), op)
            case _:
                assert_never(op)

    def _found(self, op: FindEntries, cubes: Sequence[CubeRow], rows: EntryRows) -> list[Entry]:
        if op.query is None or op.query not in self._vectors:
            page = rows.listing(op.prefix, where=op.filter, limit=op.limit, offset=op.offset)
            self._note(page, refresh_ttl=op.refresh_ttl)
            return [self._entry(named) for named in page]
        vector = self._vectors[op.query]
        fits = self._search.ranked(self._reading, cubes, rows, op, vector)
        held = rows.of_items([fit.iid for fit in fits])
        self._note(list(held.values()), refresh_ttl=op.refresh_ttl)
        return [self._entry(held[f.iid], f.score) for f in fits if f.iid in held]

    def _note(self, found: Sequence[Named], *, refresh_ttl: bool) -> None:
        self.seen.rows += [named.row for named in found]
        if not refresh_ttl:
            return
        now = self._reading.asking.now
        for row, ttl in ((named.row, named.ttl_micros) for named in found):
            spent = 0 if ttl is None or row.expires is None else now + ttl - row.expires
            if ttl is not None and spent > ttl // _WORTH_WRITING:
                self.seen.ends[row.iid] = now + ttl

    def _entry(self, named: Named, score: float | None = None) -> Entry:
        row = named.row
        item = to_item(row, self._reading.asking.principal)
        return Entry(
            namespace=named.namespace,
            key=named.key,
            value=item.data or {},
            created=from_micros(row.created),
            updated=from_micros(row.recorded),
            item=row.id,
            version=row.version,
            cube=row.path,
            expires=None if row.expires is None else from_micros(row.expires),
            score=score,
        )


def _fixed(prefix: Namespace) -> Namespace:
    """The segments before the first wildcard: what the index can look up."""
    return prefix[: prefix.index("*")] if "*" in prefix else prefix


def _page(found: Sequence[Namespace], op: ListNamespaces) -> list[Namespace]:
    told = sorted({each[: op.max_depth] for each in found if matches(each, op)})
    return told[op.offset : op.offset + op.limit]
