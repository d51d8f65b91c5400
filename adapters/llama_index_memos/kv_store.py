"""A key-value store of governed records: what document and index stores are composed of.

``KVDocumentStore(MemOSKVStore(mos, user=...))`` is a document store, ``KVIndexStore(...)`` an index
store. Records are not searched and have no history; they go when their user or cube is erased.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary

from llama_index.core.storage.kvstore.types import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_COLLECTION,
    BaseKVStore,
)

from llama_index_memos.asker import Room, checked, in_a_cube
from llama_index_memos.links import REMEDY, barred_in_dumped
from memos_integrations.cube.errors import HostileArchive, InvalidInput, VaultDamaged
from memos_integrations.infrastructure.strict_json import decode_object
from memos_integrations.interface.mos import MOS

_MAX_DEPTH = 64
P = ParamSpec("P")
T = TypeVar("T")


class MemOSKVStore(BaseKVStore):
    """JSON objects under a key and a collection, each call one durable transaction.

    They lie in the home of ``user`` or ``agent``, or in ``cube``; ``name`` keeps several stores in
    one cube apart. Values are data only: nothing is pickled, and no node is kept or handed out
    that would make its reader open a local file or fetch what is not https.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        user: str | None = None,
        agent: str | None = None,
        cube: str | None = None,
        name: str = "default",
    ) -> None:
        asker = Room(user, agent)
        checked(mos)
        if cube is not None:
            asker = in_a_cube(mos, "records", user=user, agent=agent, cube=cube)
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )
        self._records = mos.records(f"llama_index.kv/{quote(name, safe='')}", **asker.of())

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Keep a value. Raises ``InvalidInput`` for what JSON cannot carry or a store of nodes
        may not keep."""
        self._records.put({_place(collection, key): _bytes(val)})

    def put_all(
        self,
        kv_pairs: list[tuple[str, dict[str, Any]]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Keep all of these or none, in one transaction, whatever ``batch_size`` says."""
        self._records.put({_place(collection, key): _bytes(val) for key, val in kv_pairs})

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """The value, or ``None``. Raises ``VaultDamaged`` for one that is no JSON object."""
        place = _place(collection, key)
        found = self._records.get([place])
        return None if place not in found else _value(place, found[place])

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Every value of the collection by key, in the order of the keys."""
        prefix = _place(collection, "")
        items = self._records.items(prefix)
        return {key[len(prefix) :]: _value(key, raw) for key, raw in items}

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Remove a value; whether it was there."""
        return self._records.delete([_place(collection, key)]) > 0

    # -- the async half: the same bodies, in a thread ------------------------------------------

    async def _in_turn(self, body: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One call after another in the order in which they were made: LlamaIndex's document
        store gathers a read with the delete of what it reads."""
        turn = self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with turn:
            return await asyncio.to_thread(body, *args, **kwargs)

    async def aput(
        self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION
    ) -> None:
        """As ``put``."""
        await self._in_turn(self.put, key, val, collection)

    async def aput_all(
        self,
        kv_pairs: list[tuple[str, dict[str, Any]]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """As ``put_all``."""
        await self._in_turn(self.put_all, kv_pairs, collection, batch_size)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """As ``get``."""
        return await self._in_turn(self.get, key, collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """As ``get_all``."""
        return await self._in_turn(self.get_all, collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """As ``delete``."""
        return await self._in_turn(self.delete, key, collection)


def _place(collection: str, key: str) -> str:
    """The collection is encoded, so that none can reach into another."""
    if not isinstance(key, str) or not isinstance(collection, str):
        raise InvalidInput("a key and its collection are text")
    try:
        return f"{quote(collection, safe='')}/{key}"
    except UnicodeEncodeError as error:
        raise InvalidInput("the name of a collection holds lone surrogates") from error


def _bytes(value: object) -> bytes:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"a value is a JSON object, not {type(value).__name__}")
    try:
        raw = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the value holds what JSON cannot carry: {error}") from error
    if barred := barred_in_dumped(value):
        raise InvalidInput(f"the node points at {barred}: {REMEDY}")
    return raw


def _value(place: str, raw: bytes) -> dict[str, Any]:
    try:
        value = decode_object(raw, max_depth=_MAX_DEPTH, what="a stored value")
    except HostileArchive as error:
        raise VaultDamaged(f"record {place!r} does not read: {error}") from error
    if barred := barred_in_dumped(value):
        raise VaultDamaged(f"record {place!r} points at {barred}; it is not read")
    return value
