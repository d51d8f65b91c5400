"""The verbs of entries: memories with a name, put and found one by one or in batches.

A batch is one thing: all of it is checked before anything is read or written, its reads see the
state before its writes, the last write to a name wins, and all writes are one transaction. Names
are their cube's: agent and session of a call are noted, but never narrow what a name holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar, cast

from memos_integrations.cube.acl import Trust
from memos_integrations.cube.entries import (
    DeleteEntry,
    Entry,
    EntryOp,
    EntryResult,
    FindEntries,
    GetEntry,
    ListNamespaces,
    Namespace,
    PutEntry,
    ReadEntries,
    clean_fields,
    clean_key,
    clean_namespace,
    encode,
)
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.filters import parse
from memos_integrations.cube.ids import CubePath, clean_path, home_path
from memos_integrations.infrastructure.vault.governed import NOW
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.interface.arguments import span_micros, whole
from memos_integrations.interface.entry_drafts import draft_of
from memos_integrations.interface.entry_reading import EntryReader, Seen
from memos_integrations.interface.reader import as_enum
from memos_integrations.interface.reads import Reads, check_query
from memos_integrations.interface.scope import CubeName, Scope, Where
from memos_integrations.operation.entries import EntryWriter, Names, Put, refresh
from memos_integrations.operation.entry_search import EntrySearch

T = TypeVar("T", bound=EntryOp)


@dataclass(slots=True)
class _Batch:
    """A batch that was checked: what it reads, by place, and what it writes, by name."""

    reads: dict[int, ReadEntries] = field(default_factory=dict[int, ReadEntries])
    writes: dict[tuple[CubePath, str, str], Put | None] = field(
        default_factory=dict[tuple[CubePath, str, str], Put | None]
    )


class EntryReads(Reads):
    """Looking up and finding entries, at one instant of the time machine."""

    def read_entries(
        self,
        ops: Iterable[ReadEntries],
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> list[EntryResult]:
        """One result per operation, in order, all of one state of the vault."""
        scope = self._scope(user, agent, session, cube)
        reads = {n: _checked(op) for n, op in enumerate(_listed(ops))}
        if not all(isinstance(op, ReadEntries) for op in reads.values()):
            raise InvalidInput("these operations only read; entries() puts and deletes")
        found = self._look_up(scope, reads)
        return [found[n] for n in range(len(reads))]

    def get_entry(
        self,
        namespace: Namespace,
        key: str,
        *,
        refresh_ttl: bool = True,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> Entry | None:
        """What a name holds; ``None`` where it holds nothing the asker may see."""
        op = GetEntry(namespace, key, refresh_ttl)
        found = self.read_entries([op], user=user, agent=agent, session=session, cube=cube)
        return cast("Entry | None", found[0])

    def find_entries(
        self,
        prefix: Namespace = (),
        *,
        query: str | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool = True,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> list[Entry]:
        """The entries under a namespace that pass the filter, in the order they were first put.

        With ``query`` best first, by the closest of their fields, then those that could not be
        compared; what was put with ``index=False`` is not found by a query. Fields of the value
        are filtered as ``data.<key>``.
        """
        op = FindEntries(prefix, query, parse(filter), limit, offset, refresh_ttl)
        found = self.read_entries([op], user=user, agent=agent, session=session, cube=cube)
        return cast("list[Entry]", found[0])

    def entry_namespaces(
        self,
        prefix: Namespace = (),
        *,
        suffix: Namespace = (),
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> list[Namespace]:
        """The namespaces that hold something, in order; ``*`` stands for any one segment.

        ``max_depth`` cuts longer ones; each is named once.
        """
        op = ListNamespaces(prefix, suffix, max_depth, limit, offset)
        found = self.read_entries([op], user=user, agent=agent, session=session, cube=cube)
        return cast("list[Namespace]", found[0])

    # -- what the verbs share -----------------------------------------------------------------

    def _look_up(self, scope: Scope, reads: Mapping[int, ReadEntries]) -> dict[int, EntryResult]:
        """The results by place; what was read is put off, audited and counted as used."""
        results, seen = self._read(scope, reads)
        if seen.ends and self._instant == NOW:
            self._rooms.vault.maintain(lambda tx: refresh(tx, seen.ends, scope.principal))
        return results

    def _read(
        self, scope: Scope, reads: Mapping[int, ReadEntries]
    ) -> tuple[dict[int, EntryResult], Seen]:
        if not reads:
            return {}, Seen()
        rooms = self._rooms
        search = EntrySearch(rooms.vault, rooms.embedder)
        queries = {op.query for op in reads.values() if isinstance(op, FindEntries)}
        vectors = {q: search.vector(q) for q in queries if q and q.strip()}
        with self._reading(scope, action="entries") as reading:
            paths = dict.fromkeys(op.cube or scope.cube for op in reads.values())
            cubes = {path: self._entry_cube(reading, scope, path) for path in paths}
            self._ensure_same_embedder(reading, scope, [c for each in cubes.values() for c in each])
            reader = EntryReader(search, reading, vectors)
            results = {n: reader.run(op, cubes[op.cube or scope.cube]) for n, op in reads.items()}
        rooms.vault.shown(scope.principal, "entries", reader.seen.rows, cubes=list(paths))
        return results, reader.seen

    def _entry_cube(self, reading: Reading, scope: Scope, path: CubePath) -> list[CubeRow]:
        """The cube, or none where the asker's own home is still to be made."""
        who = scope.principal
        there = replace(
            scope, cubes=(path,), at_home=path == home_path(user=who.user, agent=who.agent)
        )
        return self._open_cubes(reading, there)


class EntryVerbs(EntryReads):
    """Entries to be put, deleted, looked up and found."""

    def entries(
        self,
        ops: Iterable[EntryOp],
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> list[EntryResult]:
        """Run a batch: one result per operation, in order; ``None`` for what writes.

        Everything is checked first. The reads then see the state before the writes of the batch,
        the last write to a name wins, and all writes commit as one transaction or not at all. An
        operation may name another ``cube`` than the call. Raises ``InvalidInput``,
        ``InvalidFilter``, ``AccessDenied``, ``ItemFrozen``, and ``Conflict`` for a put onto a name
        that is under quarantine.
        """
        scope = self._scope(user, agent, session, cube)
        ops = _listed(ops)
        batch = self._check(scope, ops)
        if not batch.writes:
            found = self._look_up(scope, batch.reads)
            return [found.get(n) for n in range(len(ops))]
        found, seen = self._read(scope, batch.reads)
        self._write_batch(scope, batch.writes, seen)
        return [found.get(n) for n in range(len(ops))]

    def put_entry(
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        *,
        index: Literal[False] | Sequence[str] | None = None,
        ttl_seconds: float | None = None,
        trust: Trust | str = Trust.USER,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> None:
        """Have a name hold a value: durable, and found by the next search.

        ``index`` names the fields that are searched (``["text", "notes[*].title"]``), each by
        itself; ``None`` takes the whole value as one text, ``False`` keeps it out of every search.
        ``ttl_seconds`` ends it that long after it was last put, or read by who may write it.
        Names that look like secrets are refused, as they are not masked. ``trust`` says whose word
        it is; what is not a user's is quoted as unverified in prompt blocks.
        """
        whose = as_enum(Trust, trust, "trust")
        op = PutEntry(namespace, key, value, index, ttl_seconds, trust=whose)
        self.entries([op], user=user, agent=agent, session=session, cube=cube)

    def delete_entry(
        self,
        namespace: Namespace,
        key: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> None:
        """Have a name hold nothing; the past keeps what it held, until that is erased."""
        op = DeleteEntry(namespace, key)
        self.entries([op], user=user, agent=agent, session=session, cube=cube)

    # -- what the verbs share -----------------------------------------------------------------

    def _check(self, scope: Scope, ops: Sequence[EntryOp]) -> _Batch:
        """The batch with every operation checked. Raises before anything is read or written."""
        batch, now = _Batch(), self._rooms.vault.now()
        for place, given in enumerate(ops):
            op = _checked(given)
            match op:
                case PutEntry():
                    name = (op.cube or scope.cube, encode(op.namespace), op.key)
                    put = draft_of(op, scope.principal, self._rooms, now=now)
                    batch.writes.pop(name, None)
                    batch.writes[name] = put
                case DeleteEntry():
                    batch.writes[op.cube or scope.cube, encode(op.namespace), op.key] = None
                case _:
                    batch.reads[place] = op
        return batch

    def _write_batch(self, scope: Scope, writes: Names, seen: Seen) -> None:
        rooms = self._rooms
        embeds = rooms.embedder is not None
        if embeds and any(writes.values()):
            rooms.pressure.wait(scope.principal.tenant)
        writer = EntryWriter(rooms.executor, rooms.lifecycle, embeds=embeds)

        def work(tx: Transaction) -> None:
            refresh(tx, seen.ends, scope.principal)
            writer.write(tx, writes)

        self._write(scope, work, action="entries")


def _listed(ops: Iterable[T]) -> list[T]:
    if isinstance(ops, str | bytes | Mapping) or not isinstance(ops, Iterable):
        raise InvalidInput("ops must be a list of operations on entries")
    return list(ops)


def _checked(op: T) -> T:
    """The operation with everything in it checked. Raises ``InvalidInput``."""
    check = _CHECKS.get(type(op))
    if check is None:
        raise InvalidInput(f"{type(op).__name__} is no operation on entries")
    checked = check(op)
    cube = None if op.cube is None else clean_path(op.cube)
    return cast("T", replace(checked, cube=cube))


def _checked_name(op: GetEntry | DeleteEntry) -> GetEntry | DeleteEntry:
    return replace(op, namespace=clean_namespace(op.namespace), key=clean_key(op.key))


def _checked_put(op: PutEntry) -> PutEntry:
    as_enum(Trust, op.trust, "trust")
    clean_fields(op.index)
    if op.ttl_seconds is not None:
        span_micros(op.ttl_seconds, "ttl_seconds")
    return replace(op, namespace=clean_namespace(op.namespace), key=clean_key(op.key))


def _checked_find(op: FindEntries) -> FindEntries:
    _check_page(op.limit, op.offset)
    if op.query is not None:
        check_query(op.query, 1)
    prefix = clean_namespace(op.prefix, what="the prefix", empty=True)
    return replace(op, prefix=prefix, filter=parse(op.filter))


def _checked_listing(op: ListNamespaces) -> ListNamespaces:
    _check_page(op.limit, op.offset)
    if op.max_depth is not None:
        whole(op.max_depth, "max_depth", least=1)
    prefix = clean_namespace(op.prefix, what="the prefix", empty=True)
    return replace(
        op, prefix=prefix, suffix=clean_namespace(op.suffix, what="the suffix", empty=True)
    )


_CHECKS: Final[Mapping[type, Callable[[Any], Any]]] = {
    GetEntry: _checked_name,
    DeleteEntry: _checked_name,
    PutEntry: _checked_put,
    FindEntries: _checked_find,
    ListNamespaces: _checked_listing,
}


def _check_page(limit: int, offset: int) -> None:
    whole(limit, "limit", least=0)
    whole(offset, "offset", least=0)
