"""LangChain's key-value stores over governed records: documents, embeddings, whatever has a key.

Called by LangChain, calls ``MOS.records``. Values are opaque to the vault: neither searched nor
versioned, but owned, shared, audited and erased with the cube they lie in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from langchain_core.stores import BaseStore, ByteStore, InvalidKeyException

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.record_verbs import Records

_PAGE = 1_000
_MAX_KEY_CHARS = 4_096


class MemOSByteStore(ByteStore):
    """Bytes under text keys, durable on return, in one transaction per call.

    ``namespace`` keeps stores of one cube apart. The cube is the home of ``user`` (or ``agent``)
    unless ``cube`` names another. ``ttl_seconds`` ends what is written after that time. Raises
    ``InvalidKeyException`` for a key and ``InvalidInput`` for a value that cannot be stored.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        namespace: str = "default",
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: str | None = None,
        ttl_seconds: float | None = None,
    ) -> None:
        space = f"langchain.bytes/{namespace}"
        self._records = mos.records(space, user=user, agent=agent, session=session, cube=cube)
        self._ttl_seconds = ttl_seconds

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The value of each key, ``None`` where there is none."""
        found = self._records.get(_clean(keys))
        return [found.get(key) for key in keys]

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Keep all of these or, with an error, none. Of a key given twice the last one stays."""
        _clean([key for key, _ in key_value_pairs])
        self._records.put(dict(key_value_pairs), ttl_seconds=self._ttl_seconds)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove these for good; keys that are not there are no error."""
        self._records.delete(_clean(keys))

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """The keys in order, page by page, so that any number takes the memory of one page."""
        return _keys(self._records, prefix)


class MemOSStrStore(BaseStore[str, str]):
    """As ``MemOSByteStore``, for text values; apart from the bytes of the same namespace."""

    def __init__(
        self,
        mos: MOS,
        *,
        namespace: str = "default",
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: str | None = None,
        ttl_seconds: float | None = None,
    ) -> None:
        space = f"langchain.text/{namespace}"
        self._records = mos.records(space, user=user, agent=agent, session=session, cube=cube)
        self._ttl_seconds = ttl_seconds

    def mget(self, keys: Sequence[str]) -> list[str | None]:
        """The value of each key, ``None`` where there is none."""
        found = self._records.get(_clean(keys))
        return [found[key].decode() if key in found else None for key in keys]

    def mset(self, key_value_pairs: Sequence[tuple[str, str]]) -> None:
        """Keep all of these or, with an error, none. Of a key given twice the last one stays."""
        _clean([key for key, _ in key_value_pairs])
        values = {key: _bytes(value) for key, value in key_value_pairs}
        self._records.put(values, ttl_seconds=self._ttl_seconds)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove these for good; keys that are not there are no error."""
        self._records.delete(_clean(keys))

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """The keys in order, page by page."""
        return _keys(self._records, prefix)


def _keys(records: Records, prefix: str | None) -> Iterator[str]:
    after: str | None = None
    while True:
        page = records.keys(prefix or "", after=after, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1]


def _clean(keys: Sequence[str]) -> list[str]:
    """``keys``, if each can be one. LangChain has an error of its own for those that cannot."""
    for key in keys:
        if not isinstance(key, str):
            raise InvalidKeyException(f"a key is text, not {type(key).__name__}")
        if len(key) > _MAX_KEY_CHARS:
            raise InvalidKeyException(f"a key has at most {_MAX_KEY_CHARS} characters")
        if not _encodable(key):
            raise InvalidKeyException("a key holds lone surrogates; send valid text")
    return list(keys)


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput(f"a value of this store is text, not {type(value).__name__}")
    if not _encodable(value):
        raise InvalidInput("a value holds lone surrogates; send valid text")
    return value.encode()


def _encodable(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)
