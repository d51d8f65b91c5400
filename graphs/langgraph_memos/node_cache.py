"""``MemOSNodeCache``: results of nodes, kept while the memory they were made of stands still.

Called by LangGraph's loop, before a node runs and after; calls the records of the facade. LangGraph
tells a cache the node and its input, and not who asks: so that nobody is served what was made of
another one's memory, a run has to say so (``asked_by``), or the cache be made for one user.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.cache.base import BaseCache, FullKey, Namespace
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_memos.asking import Asker
from langgraph_memos.owned_thread import owner_of
from langgraph_memos.strict import AllowedType, StrictSerializer, UnreadableBytes
from langgraph_memos.thread_records import decoded_dict, encoded, part_of_key
from memos_integrations.cube.errors import AccessDenied, InvalidInput
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.record_verbs import Records

_log = logging.getLogger(__name__)
SPACE: Final = "langgraph.cache"
"""The records that results are."""
_OF_A_RUN: Final = "__pregel_ns_writes"
"""What LangGraph's namespaces of node results begin with; a test holds that they do."""
_CACHE_OF_A_RUN: Final = "__pregel_cache"
"""Where LangGraph looks in a config for the cache of one run; a test holds that it does."""

_DAY_SECONDS: Final = 86_400.0
_MOST_BEGUN: Final = 10_000
"""As many keys under which nodes run are kept in mind."""

Cubes = str | Sequence[str] | None
"""Paths of cubes; ``None`` is the asker's home."""


class _State(NamedTuple):
    """What memory was like when a node began."""

    version: int
    ends: float | None
    """On the monotonic clock: when it changes by itself."""


class _Begun(NamedTuple):
    """What is known of the nodes that run under one key."""

    first: _State
    """What memory was like when the first of them began."""
    runs: int
    at: float
    """When the last of them began, on the monotonic clock."""


class MemOSNodeCache(BaseCache[Any]):
    """A node cache that knows when a result is out of date: when memory has moved since.

    ``compile(cache=MemOSNodeCache(mos, user="alice"))`` with LangGraph's ``CachePolicy`` on a node;
    where one graph serves many users, ``graph.invoke(input, cache.asked_by(config))`` takes the
    asker from the run, and without either a run raises ``InvalidInput``. A result is missing as
    soon as a cube it depends on has changed, also by another process, or by the time of a memory
    or of a right running out. A node depends on the asker's home, or on what ``depends`` says
    under its name.

    Results lie in the asker's home: nobody else is served them, nor the asker in another agent,
    role, group or clearance, and they go when the asker is erased. One that is out of date is
    removed when it is next looked for, or after ``ttl_seconds``, a day by default; a policy's own
    time goes before that. Only plain data and allowed types come back, as in ``MemOSSaver``; what
    cannot be read is missing.
    """

    def __init__(
        self,
        mos: MOS,
        *,
        user: str | None = None,
        agent: str | None = None,
        depends: Mapping[str, Cubes] | None = None,
        ttl_seconds: float | None = _DAY_SECONDS,
        allow: Iterable[AllowedType] = (),
        serde: SerializerProtocol | None = None,
    ) -> None:
        if not isinstance(mos, MOS):
            raise InvalidInput(f"a cache is made of a MOS, not of {type(mos).__name__}")
        if getattr(serde, "pickle_fallback", False):
            raise InvalidInput("a serde with pickle_fallback runs code from stored bytes; drop it")
        super().__init__(serde=serde or StrictSerializer(allow))
        self._mos, self._depends, self._ttl = mos, dict(depends or {}), ttl_seconds
        self._asker = Asker(user, agent, None)
        self._seen_as = _sight(mos, self._asker)
        self._begun: dict[FullKey, _Begun] = {}
        self._lock = threading.Lock()

    def asked_by(self, config: RunnableConfig) -> RunnableConfig:
        """``config`` for a run whose results are cached for whoever it names (``user_id``)."""
        asker = owner_of(config)
        if asker.user is None and asker.agent is None:
            raise InvalidInput("config['configurable'] names no user_id; say whose run it is")
        mine = MemOSNodeCache(
            self._mos,
            user=asker.user,
            agent=asker.agent,
            depends=self._depends,
            ttl_seconds=self._ttl,
            serde=self.serde,
        )
        named = {**config.get("configurable", {}), _CACHE_OF_A_RUN: mine}
        return {**config, "configurable": named}

    # -- what LangGraph calls -----------------------------------------------------------------

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """The results that are there, have not expired and were made of memory as it is now."""
        found: dict[FullKey, Any] = {}
        now, records = self._states(keys), self._records(keys)
        stored = records.get([self._key(*each) for each in keys])
        gone: list[str] = []
        for key in keys:
            state, raw = now.get(key), stored.get(self._key(*key))
            entry = self._entry(raw)
            if entry is not None and state is not None and entry["version"] == state.version:
                found[key] = entry["value"]
                continue
            if raw is not None and not _is_newer(entry, state):
                gone.append(self._key(*key))
            if state is not None:
                self._begin(key, state)
        if gone:  # what it was made of may be erased
            records.delete(gone)
        return found

    def set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Keep results, each with the version that memory had when its node began."""
        for key, (value, ttl) in pairs.items():
            state = self._began(key)
            seconds = None if state is None else self._seconds(state, ttl)
            if state is None or (seconds is not None and seconds <= 0):
                continue  # nobody knows what memory it was made of, or that has changed already
            entry = encoded(self.serde, {"value": value, "version": state.version})
            self._records([key]).put({self._key(*key): entry}, ttl_seconds=seconds)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Remove the asker's results, or those of these namespaces."""
        prefixes = [""] if namespaces is None else [_prefix(each) for each in namespaces]
        for prefix in prefixes:
            self._records([(each, "") for each in namespaces or ()]).clear(prefix)

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """``get``, in a thread."""
        return await asyncio.to_thread(self.get, keys)

    async def aset(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """``set``, in a thread."""
        await asyncio.to_thread(self.set, pairs)

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """``clear``, in a thread."""
        await asyncio.to_thread(self.clear, namespaces)

    # -- what the calls share -----------------------------------------------------------------

    def _records(self, keys: Sequence[FullKey]) -> Records:
        anyone = self._asker.user is None and self._asker.agent is None
        if anyone and any(namespace[:1] == (_OF_A_RUN,) for namespace, _ in keys):
            raise InvalidInput(
                "a cached run must say whose it is: MemOSNodeCache(mos, user=...), or "
                "graph.invoke(input, cache.asked_by(config)) with a user_id"
            )
        return self._mos.records(SPACE, **self._asker.keywords())

    def _states(self, keys: Sequence[FullKey]) -> dict[FullKey, _State]:
        """What memory is like for each key; those that depend on a closed cube are left out."""
        found: dict[FullKey, _State] = {}
        known: dict[tuple[str, ...], _State | None] = {}
        for key in keys:
            cubes = self._cubes(key)
            if cubes not in known:
                known[cubes] = self._state(cubes)
            state = known[cubes]
            if state is not None:
                found[key] = state
        return found

    def _cubes(self, key: FullKey) -> tuple[str, ...]:
        named = self._depends.get(key[0][-1]) if key[0] else None
        return (named,) if isinstance(named, str) else tuple(named or ())

    def _state(self, cubes: tuple[str, ...]) -> _State | None:
        asked: dict[str, Any] = {**self._asker.keywords(), "cube": list(cubes) or None}
        try:
            # First the time: what changes in between has moved the version.
            seconds = self._mos.changes_in(**asked)
            ends = None if seconds is None else time.monotonic() + seconds
            return _State(self._mos.version(**asked), ends)
        except AccessDenied:
            return None

    def _key(self, namespace: Namespace, key: str) -> str:
        return f"{_prefix(namespace)}{part_of_key(key)}/{self._seen_as}"

    def _begin(self, key: FullKey, state: _State) -> None:
        """Note that a node begins. Nobody tells of those that fail, so there are bounds to it:
        where too many run already, the result of a further one is not kept, and one that began a
        day ago is taken for failed then."""
        now = time.monotonic()
        with self._lock:
            known = self._begun.pop(key, None)
            if known is None and len(self._begun) >= _MOST_BEGUN and not self._forget_old(now):
                return
            first, runs = (state, 0) if known is None else (known.first, known.runs)
            first = min(first, state, key=lambda each: each.version)
            self._begun[key] = _Begun(first, runs + 1, now)  # the last one to be forgotten

    def _forget_old(self, now: float) -> bool:
        begun = self._begun.items()  # the oldest first
        old = [key for key, _ in takewhile(lambda each: each[1].at < now - _DAY_SECONDS, begun)]
        for key in old:
            del self._begun[key]
        return bool(old)

    def _began(self, key: FullKey) -> _State | None:
        """What memory was like when the node began whose result comes in.

        Of several that run side by side nobody says which one it is, so it is taken for the one
        that began first until all have ended: no result is ever taken for newer than it is.
        """
        with self._lock:
            begun = self._begun.get(key)
            if begun is None:
                # Outside a run a result may come unasked for, and is of now.
                return None if key[0][:1] == (_OF_A_RUN,) else self._state(self._cubes(key))
            if begun.runs > 1:
                self._begun[key] = begun._replace(runs=begun.runs - 1)
            else:
                del self._begun[key]
            return begun.first

    def _seconds(self, state: _State, ttl: float | None) -> float | None:
        left = None if state.ends is None else state.ends - time.monotonic()
        bounds = [self._ttl if ttl is None else ttl, left]
        return min((each for each in bounds if each is not None), default=None)

    def _entry(self, raw: bytes | None) -> dict[str, Any] | None:
        try:
            entry = None if raw is None else decoded_dict(self.serde, raw, ("value", "version"))
            return entry if entry is not None and isinstance(entry["version"], int) else None
        except UnreadableBytes as error:
            _log.warning("a cached result is not used: %s", error)
            return None


def _prefix(namespace: Namespace) -> str:
    return "".join(f"{part_of_key(each)}/" for each in namespace) + "/"


def _is_newer(entry: Mapping[str, Any] | None, state: _State | None) -> bool:
    """Whether another run has kept it since memory was looked at: its result is good."""
    return entry is not None and state is not None and entry["version"] > state.version


def _sight(mos: MOS, asker: Asker) -> str:
    """What memory shows depends on besides whose home it is, as one hash."""
    who = mos.principal
    held = [sorted(each) for each in (who.roles, who.groups, who.clearances)]
    return hashlib.sha256(json.dumps([asker.agent or who.agent, *held]).encode()).hexdigest()[:20]
