"""What there is of caches, in memory and on disk, as one list; nothing here needs torch.

Called by the facade for whoever asks, and by the keeper for what decides over tiers. The rows come
governed from the vault; what lies in memory is shown under the same rule.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from memos_integrations.cube.acl import ADMIN_ROLE, Principal
from memos_integrations.cube.ids import from_micros
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.vault import cache_records
from memos_integrations.infrastructure.vault.cache_records import CacheFacts, Uses
from memos_integrations.infrastructure.vault.governed import Asking

Tier: TypeAlias = Literal["device", "memory", "disk"]


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """A stored KV-cache, in figures."""

    key: Digest
    tenant: str
    architecture: str
    """Of the model; empty where it is not known."""
    tokens: int
    bytes: int
    tiers: tuple[Tier, ...]
    """Where it lies, the fastest first. Memory and devices are those of this process."""
    hits: int
    saved_seconds: float
    """Of prefill, by all its hits together."""
    build_seconds: float
    created: datetime
    used: datetime | None
    """When it last served."""
    sources: int
    """Memories it was made of."""
    pinned: bool
    withdrawn: bool
    """A source has changed: it is not served any more, and goes at the next use."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The caches of a tenant in sum, as far as the asker may be told of them."""

    tenant: str
    caches: int
    memory_bytes: int
    disk_bytes: int
    hits: int
    misses: int | None
    """Lookups that nothing served, over all of the tenant; told to its admins only."""
    saved_seconds: float


def all_records(
    connection: sqlite3.Connection,
    tenant: str,
    *,
    now: int,
    held: Mapping[Digest, Any],
    uses: Mapping[Digest, Uses],
    copied: Collection[Digest] = (),
) -> list[CacheRecord]:
    """Every cache of a tenant."""
    keeper = Principal(tenant=tenant, agent="memos", roles=frozenset({ADMIN_ROLE}))
    return records(connection, Asking(keeper, now), held=held, uses=uses, copied=copied)


def records(
    connection: sqlite3.Connection,
    asking: Asking,
    *,
    held: Mapping[Digest, Any],
    uses: Mapping[Digest, Uses],
    copied: Collection[Digest] = (),
    within: Iterable[int] | None = None,
) -> list[CacheRecord]:
    """The caches of which the asker holds the right on every source, those on disk first.

    ``held`` is what lies in memory (``Stored``) by key, ``uses`` what no row has counted yet,
    ``copied`` what lies on a device too; ``within`` are cube rows that a source lies in.
    """
    cubes = None if within is None else set(within)
    rows = cache_records.seen(connection, asking, within=cubes)
    on_disk = {row.key for row in rows}
    found = [_of_row(row, _tiers(row.key, held, copied), uses.get(row.key)) for row in rows]
    mine = {k: s for k, s in held.items() if s.tenant == asking.principal.tenant}
    items = {each.item for stored in mine.values() for each in stored.sources}
    where = cache_records.readable(connection, asking, items)
    for key, stored in mine.items():
        if key not in on_disk and _is_shown(stored, where, cubes, asking.principal):
            found.append(_of_held(stored, _tiers(key, held, copied), uses.get(key)))
    return found


def stats_of(
    connection: sqlite3.Connection,
    asking: Asking,
    listed: Iterable[CacheRecord],
    waiting: Uses,
) -> CacheStats:
    """The sum of these; for an admin, of all lookups of the tenant since it began.

    ``waiting`` is what the tenant's rows have not counted yet.
    """
    there, who = list(listed), asking.principal
    hits, misses = sum(each.hits for each in there), None
    saved = sum(each.saved_seconds for each in there)
    if who.is_admin:
        total = cache_records.totals(connection, who.tenant)
        total.add(waiting)
        hits, misses, saved = total.hits, total.misses, total.saved_seconds
    return CacheStats(
        tenant=who.tenant,
        caches=len(there),
        memory_bytes=sum(each.bytes for each in there if "memory" in each.tiers),
        disk_bytes=sum(each.bytes for each in there if "disk" in each.tiers),
        hits=hits,
        misses=misses,
        saved_seconds=saved,
    )


def _is_shown(
    stored: Any, where: Mapping[str, int], within: set[int] | None, who: Principal
) -> bool:
    """As the rows are governed: by the right on every source, and never without one.

    A conversation is somebody's own, whoever may read the memories that it is about.
    """
    if stored.passing:
        return who.is_admin and within is None
    named = [each.item for each in stored.sources]
    if within is not None and not any(where.get(item) in within for item in named):
        return False
    return who.is_admin or (bool(named) and all(item in where for item in named))


def _tiers(key: Digest, held: Mapping[Digest, Any], copied: Collection[Digest]) -> tuple[Tier, ...]:
    """Those of this process."""
    if key not in held:
        return ()
    return ("device", "memory") if key in copied else ("memory",)


def _of_row(row: CacheFacts, tiers: tuple[Tier, ...], uses: Uses | None) -> CacheRecord:
    more = uses or Uses()
    used = max(row.used or 0, more.used)
    return CacheRecord(
        key=row.key,
        tenant=row.tenant,
        architecture=row.architecture,
        tokens=row.tokens,
        bytes=row.bytes,
        tiers=(*tiers, "disk"),
        hits=row.hits + more.hits,
        saved_seconds=row.saved_seconds + more.saved_seconds,
        build_seconds=row.build_seconds,
        created=from_micros(row.created),
        used=from_micros(used) if used else None,
        sources=row.sources,
        pinned=bool(row.pinned),
        withdrawn=row.withdrawn is not None,
    )


def _of_held(stored: Any, tiers: tuple[Tier, ...], uses: Uses | None) -> CacheRecord:
    more = uses or Uses()
    return CacheRecord(
        key=stored.key,
        tenant=stored.tenant,
        architecture=stored.architecture,
        tokens=len(stored.kept.tokens),
        bytes=stored.kept.bytes,
        tiers=tiers,
        hits=more.hits,
        saved_seconds=more.saved_seconds,
        build_seconds=stored.build_seconds,
        created=from_micros(stored.created),
        used=from_micros(more.used) if more.used else None,
        sources=len(stored.sources),
        pinned=stored.pinned,
        withdrawn=False,
    )
