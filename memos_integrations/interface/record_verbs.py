"""The verb that keeps governed bytes under a name: what frameworks store beside memories.

Checkpoints, caches and documents have owners, rights and an end as memories do, but are neither
searched nor versioned. They lie in a cube, are read and written by who may do so with the cube,
and go with it when it, its user or the conversation is erased.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.errors import Conflict, InvalidInput
from memos_integrations.cube.ids import clean_name, from_micros
from memos_integrations.infrastructure.vault import records
from memos_integrations.infrastructure.vault.governed import Asking
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.records import (
    MAX_VALUE_BYTES,
    Place,
    Range,
    clean_key,
)
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.interface.arguments import span_micros, whole
from memos_integrations.interface.base import Rooms, Verbs, refused_cube
from memos_integrations.interface.scope import CubeName, Scope


class Records(Verbs):
    """Named bytes of one space in one cube. Each call is one transaction, durable on return.

    Keys are any text of up to 4,096 characters, in the order of their code points; values are
    bytes. Every call raises ``AccessDenied`` without read or write rights on the cube, and
    ``InvalidInput`` for a key or value that cannot be stored.
    """

    def __init__(self, rooms: Rooms, scope: Scope, place: Place, session: str | None) -> None:
        super().__init__(rooms, scope.principal)
        self._where = scope
        self._place = place
        self._written_in = Place(place.space, session)

    def put(
        self,
        values: Mapping[str, bytes],
        *,
        ttl_seconds: float | None = None,
        keep_existing: bool = False,
    ) -> None:
        """Keep these values, replacing what stood there; ``keep_existing`` leaves that instead."""
        given, spent = _clean_values(values), _span(ttl_seconds)
        if not given:
            return

        def work(tx: Transaction) -> None:
            cube = self._cube_for_writing(tx)
            put, new = ({}, given) if keep_existing else (given, {})
            self._put(tx, cube, put, spent, new=new)

        self._write(self._where, work, action="put records")

    def write(
        self,
        *,
        put: Mapping[str, bytes] | None = None,
        put_new: Mapping[str, bytes] | None = None,
        delete: Sequence[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
        ttl_seconds: float | None = None,
    ) -> None:
        """Put and delete in one transaction: all of it, or nothing with its error.

        ``put_new`` leaves what stands already. ``expect`` names values that must still stand (or,
        with ``None``, must not be there): where one does not, ``Conflict`` is raised and nothing
        written, so that what was decided on a reading is carried out only while that holds.
        """
        given, new, gone = (
            _clean_values(put or {}),
            _clean_values(put_new or {}),
            _clean_keys(delete),
        )
        expected, spent = _clean_expected(expect or {}), _span(ttl_seconds)
        if len({*given, *new, *gone}) < len(given) + len(new) + len(set(gone)):
            raise InvalidInput("a record is named twice, to put and to delete; say which")
        if not (given or new or gone or expected):
            return

        def work(tx: Transaction) -> None:
            cube = self._cube_for_writing(tx)
            self._ensure_expected(tx, cube, expected)
            if gone:
                removed = records.delete(tx, cube.cid, self._place, gone)
                if removed:
                    self._told(tx, cube, "delete records", removed)
            if given or new:
                self._put(tx, cube, given, spent, new=new)

        self._write(self._where, work, action="write records")

    def delete(self, keys: Sequence[str]) -> int:
        """Remove these for good; how many were there."""
        gone = _clean_keys(keys)
        return self._removing(lambda tx, cid: records.delete(tx, cid, self._place, gone))

    def clear(self, prefix: str = "") -> int:
        """Remove everything whose key begins with ``prefix``; how many that were."""
        within = Range(clean_key(prefix))
        return self._removing(lambda tx, cid: records.clear(tx, cid, self._place, within))

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Key -> value of those that are there and have not expired."""
        wanted = _clean_keys(keys)
        return self._seen(
            "get records",
            {},
            lambda r, cid: records.values(r.connection, r.asking, cid, self._place, wanted),
        )

    def times(self, keys: Sequence[str]) -> dict[str, datetime]:
        """Key -> when it was last written."""
        wanted = _clean_keys(keys)
        found = self._seen(
            "list records",
            dict[str, int](),
            lambda r, cid: records.times(r.connection, r.asking, cid, self._place, wanted),
        )
        return {key: from_micros(micros) for key, micros in found.items()}

    def keys(
        self,
        prefix: str = "",
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> list[str]:
        """The keys that begin with ``prefix``, in order; ``after`` and ``before`` are left out."""
        within = _range(prefix, after, before)
        found = self._listed("list records", within, limit, reverse, with_values=False)
        return [key for key, _ in found]

    def items(
        self,
        prefix: str = "",
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> list[tuple[str, bytes]]:
        """As ``keys``, each with its value."""
        within = _range(prefix, after, before)
        found = self._listed("get records", within, limit, reverse, with_values=True)
        return [(key, bytes(value or b"")) for key, value in found]

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Let the reads of this thread inside the block see one state of the file.

        For what is spread over several records; keep it short, writers' logs grow meanwhile.
        """
        with self._reading(self._where, action="get records"):
            yield

    # -- what the calls share -----------------------------------------------------------------

    def _listed(
        self, action: str, within: Range, limit: int | None, reverse: bool, *, with_values: bool
    ) -> builtins.list[tuple[str, bytes | None]]:
        if limit is not None:
            whole(limit, "limit", least=0)

        def read(reading: Reading, cid: int) -> builtins.list[tuple[str, bytes | None]]:
            return records.listed(
                reading.connection,
                reading.asking,
                cid,
                self._place,
                within,
                limit=limit,
                reverse=reverse,
                with_values=with_values,
            )

        return self._seen(action, list[tuple[str, "bytes | None"]](), read)

    def _seen(self, action: str, nothing: SizedT, read: Callable[[Reading, int], SizedT]) -> SizedT:
        """What ``read`` finds; ``nothing`` in a home that is not founded yet."""
        with self._reading(self._where, action=action) as reading:
            cubes = self._cubes(reading, self._where)
            for gate in reading.governed.gates_of(cubes):
                if not gate.open:
                    raise refused_cube(self._where.principal, gate.path)
            found = read(reading, cubes[0].cid) if cubes else nothing
        reason = f"{len(found)} of {self._place.space}"
        vault, cubes_asked = self._rooms.vault, self._where.cubes
        vault.shown(self._where.principal, action, [], cubes=cubes_asked, reason=reason)
        return found

    def _removing(self, remove: Callable[[Transaction, int], int]) -> int:
        def work(tx: Transaction) -> int:
            cube = tx.find_cube(self._where.cube)
            if cube is None and self._where.at_home:
                return 0
            if cube is None:
                raise refused_cube(self._where.principal, self._where.cube, Permission.WRITE)
            tx.gate(cube, Permission.WRITE)
            removed = remove(tx, cube.cid)
            self._told(tx, cube, "delete records", removed)
            return removed

        return self._write(self._where, work, action="delete records")

    def _put(
        self,
        tx: Transaction,
        cube: CubeRow,
        given: Mapping[str, bytes],
        spent: int | None,
        *,
        new: Mapping[str, bytes],
    ) -> None:
        records.sweep(tx)  # as much as a write may cost, so that caches do not grow for ever
        expires = None if spent is None else tx.now + spent
        place = self._written_in
        done = records.put(tx, cube.cid, place, given, expires=expires)
        done += records.put(tx, cube.cid, place, new, expires=expires, keep_existing=True)
        self._told(tx, cube, "put records", done)

    def _ensure_expected(
        self, tx: Transaction, cube: CubeRow, expected: Mapping[str, bytes | None]
    ) -> None:
        if not expected:
            return
        tx.gate(cube, Permission.READ)  # or it would tell what stands there
        asking = Asking(tx.principal, tx.now)
        found = records.values(tx.connection, asking, cube.cid, self._place, expected)
        if any(found.get(key) != value for key, value in expected.items()):
            raise Conflict("records have changed since they were read; read them again, then retry")

    def _told(self, tx: Transaction, cube: CubeRow, action: str, count: int) -> None:
        tx.audit(action, cube=cube.path, extra={"space": self._place.space, "records": count})

    def _cube_for_writing(self, tx: Transaction) -> CubeRow:
        """The cube, founded on first use where it is the asker's own or a new name."""
        cube = tx.find_cube(self._where.cube)
        if cube is None:
            self._rooms.executor.ensure_own_name(tx, self._where.cube)
            return tx.new_cube(self._where.cube)
        tx.gate(cube, Permission.WRITE)
        return cube


SizedT = TypeVar("SizedT", dict[str, bytes], dict[str, int], list[tuple[str, bytes | None]])


class RecordVerbs(Verbs):
    """Governed bytes under a name."""

    def records(
        self,
        space: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> Records:
        """The records of a space, such as ``"langchain.bytes/docs"``, in one cube.

        By default in the asker's home. ``session`` says which conversation they belong to: what
        is written goes when that is erased (a key of another one is taken over), and only its own
        are seen and deleted. ``agent`` says who acts. Values are opaque, so nothing in them is
        masked for whom the cube is shared with.
        """
        scope = self._scope(user, agent, session, cube)
        scope.cube  # noqa: B018  -- raises for several
        place = Place(clean_name(space, "space"), session)
        return Records(self._rooms, scope, place, scope.principal.session)


def _clean_values(values: object) -> dict[str, bytes]:
    if not isinstance(values, Mapping):
        raise InvalidInput("records are put as a mapping of key to bytes")
    for key, value in values.items():
        clean_key(key)
        if not isinstance(value, bytes):
            raise InvalidInput(f"a record's value is bytes, not {type(value).__name__}")
        if len(value) > MAX_VALUE_BYTES:
            raise InvalidInput(f"a record's value has at most {MAX_VALUE_BYTES} bytes")
    return dict(values)


def _clean_expected(values: object) -> dict[str, bytes | None]:
    if not isinstance(values, Mapping):
        raise InvalidInput("expect is a mapping of key to bytes or None")
    there = _clean_values({key: value for key, value in values.items() if value is not None})
    return {**there, **{clean_key(key): None for key in values if key not in there}}


def _clean_keys(keys: object) -> list[str]:
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise InvalidInput("keys of records are a list of text")
    return [clean_key(key) for key in keys]


def _range(prefix: str, after: str | None, before: str | None) -> Range:
    bounds = [None if each is None else clean_key(each) for each in (after, before)]
    return Range(clean_key(prefix), *bounds)


def _span(ttl_seconds: float | None) -> int | None:
    return None if ttl_seconds is None else span_micros(ttl_seconds, "ttl_seconds")
