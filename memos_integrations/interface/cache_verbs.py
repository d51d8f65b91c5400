"""The verbs that look after stored KV-caches: what there is, what it saves, what stays, what goes.

Called by programs and by ``memos kv``; none of them needs torch. A cache tells of the memories it
was made of, so whoever asks is shown those of which all sources may be read, and changes those of
which all may be written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.errors import InvalidInput, NotFound
from memos_integrations.cube.ids import to_micros
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.interface.base import Verbs
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.operation.transform.cache_files import CacheReport
from memos_integrations.operation.transform.records import CacheRecord, CacheStats

Cubes = CubeName | Sequence[CubeName] | None

_PREFIX = re.compile(r"[0-9a-f]{4,64}\Z")


class CacheVerbs(Verbs):
    """Stored KV-caches as things of their own."""

    def caches(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: Cubes = None,
    ) -> list[CacheRecord]:
        """The stored caches made only of memories that the asker may read, the most used first.

        All of the tenant for its admin. ``cube`` limits it to those with a memory of that cube.
        What lies in memory is that of this process. Raises ``InvalidInput`` for a session, or an
        agent beside a user: a cache is of whole cubes.
        """
        scope = self._of_whole_cubes("a cache", user, agent, session, cube)
        with self._caches_of(scope, cube, Permission.READ, "caches") as (reading, within):
            found = self._rooms.caches.records(reading, within=within)
        return sorted(found, key=lambda each: (-each.saved_seconds, -each.hits, each.key))

    def cache_stats(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: Cubes = None,
    ) -> CacheStats:
        """The sum of ``caches``; for an admin the lookups of the whole tenant, misses too. Raises
        as ``caches``."""
        scope = self._of_whole_cubes("a cache", user, agent, session, cube)
        with self._caches_of(scope, cube, Permission.READ, "cache_stats") as (reading, within):
            return self._rooms.caches.stats(reading, within=within)

    def pin_cache(
        self,
        key: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
    ) -> CacheRecord:
        """Keep a cache whatever else is asked for, in memory and on disk; the cache as it was.

        ``key`` may be its beginning. It still goes when a source changes or is erased. Raises
        ``NotFound`` for one that the asker may not change, ``InvalidInput`` where several begin so.
        """
        found = self._one_cache(key, self._scope(user, agent, session), "pin_cache")
        self._rooms.caches.pin(found.key)
        return found

    def unpin_cache(
        self,
        key: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
    ) -> CacheRecord:
        """Let a pinned cache compete for its place again; the cache as it was. Raises as
        ``pin_cache``."""
        found = self._one_cache(key, self._scope(user, agent, session), "unpin_cache")
        self._rooms.caches.unpin(found.key)
        return found

    def demote_cache(
        self,
        key: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
    ) -> bool:
        """Move a cache from the memory of this process to disk; whether it lay in memory. Raises
        as ``pin_cache``."""
        found = self._one_cache(key, self._scope(user, agent, session), "demote_cache")
        return self._rooms.caches.demote(found.key)

    def evict_caches(
        self,
        key: str | None = None,
        *,
        older_than_seconds: float | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: Cubes = None,
    ) -> list[CacheRecord]:
        """Remove caches from memory and disk: those that fit all of what is given; what they were.

        Without anything given, all that the asker may change. Pinned ones only go by ``key``.
        ``older_than_seconds`` counts from the last use. Nothing is lost but time: they are
        computed anew. Raises as ``pin_cache`` and ``caches``.
        """
        scope = self._of_whole_cubes("a cache", user, agent, session, cube)
        if key is not None and older_than_seconds is None and cube is None:
            going = [self._one_cache(key, scope, "evict_caches")]
        else:
            oldest = self._oldest(older_than_seconds)
            prefix = "" if key is None else _clean_prefix(key)
            with self._caches_of(scope, cube, Permission.WRITE, "evict_caches") as (reading, cids):
                there = self._rooms.caches.records(reading, within=cids)
            going = [
                each
                for each in there
                if each.key.startswith(prefix)
                and not (each.pinned and key is None)
                and to_micros(each.used or each.created) <= oldest
            ]
        self._rooms.caches.evict([each.key for each in going])
        return going

    def verify_caches(self, *, progress: Callable[[float], None] | None = None) -> CacheReport:
        """Hash every file of a cache again and hold its header and row against it; what is wrong.

        Looks at all tenants and tells hashes only. Changes nothing; ``repair_caches`` does.
        """
        return self._rooms.caches.verify(repair=False, progress=progress)

    def repair_caches(self, *, progress: Callable[[float], None] | None = None) -> CacheReport:
        """As ``verify_caches``, and removes what is wrong, withdrawn, or a file without a name."""
        return self._rooms.caches.verify(repair=True, progress=progress)

    # -- what the verbs share -----------------------------------------------------------------

    @contextmanager
    def _caches_of(
        self, scope: Scope, named: Cubes, need: Permission, action: str
    ) -> Generator[tuple[Reading, list[int] | None]]:
        """A snapshot, and the cube rows that are asked for, where any were named."""
        self._rooms.caches.flush()
        with self._reading(scope, action=action, need=need) as reading:
            cubes = None if named is None else self._open_cubes(reading, scope)
            yield reading, None if cubes is None else [each.cid for each in cubes]
        self._rooms.vault.shown(scope.principal, action, [], cubes=scope.cubes)

    def _one_cache(self, key: str, scope: Scope, action: str) -> CacheRecord:
        """The one that the asker may change and whose key begins so."""
        prefix = _clean_prefix(key)
        with self._caches_of(scope, None, Permission.WRITE, action) as (reading, within):
            there = self._rooms.caches.records(reading, within=within)
        found = [each for each in there if each.key.startswith(prefix)]
        if not found:
            raise NotFound(f"no cache {prefix} is {scope.principal.name}'s to change")
        if len(found) > 1:
            raise InvalidInput(f"{len(found)} caches begin with {prefix}; give more of the key")
        return found[0]

    def _oldest(self, older_than_seconds: float | None) -> int:
        """The latest last use of what is old enough, in microseconds."""
        given = 0.0 if older_than_seconds is None else older_than_seconds
        if not isinstance(given, int | float) or isinstance(given, bool) or not 0 <= given <= 1e10:
            raise InvalidInput("older_than_seconds must be a number from 0 upwards")
        return self._rooms.vault.now() - int(given * 1e6)


def _clean_prefix(key: object) -> str:
    if not isinstance(key, str) or not _PREFIX.match(key):
        raise InvalidInput("a cache is named by its key or 4 and more of its first hex digits")
    return key
