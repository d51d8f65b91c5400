"""Which caches leave the disk for another one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp2

from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.vault.cache_records import Resident

_HALF_LIFE_MICROS = 7 * 86_400 * 1_000_000
"""A file serves across restarts, so it is judged by weeks, where memory is judged by minutes."""


def room_for(
    newcomer: Resident, residents: Iterable[Resident], *, capacity_bytes: int, now: int
) -> list[Digest] | None:
    """The keys that must leave for it; ``None`` where it is worth less than they are together.

    Worth is uses, halved for every week since the last, times the seconds each saves. What is
    pinned stays; what has the key of the newcomer is replaced by it. Times are microseconds.
    """
    there = [each for each in residents if each.key != newcomer.key]
    needed = sum(each.bytes for each in there) + newcomer.bytes - capacity_bytes
    leaving: list[Resident] = []
    loose = [each for each in there if not each.pinned]
    for each in sorted(loose, key=lambda r: (_worth(r, now) / max(1, r.bytes), r.key)):
        if needed <= 0:
            break
        leaving.append(each)
        needed -= each.bytes
    if needed > 0:
        return None
    lost = sum(_worth(each, now) for each in leaving)
    if leaving and not newcomer.pinned and _worth(newcomer, now) <= lost:
        return None
    return [each.key for each in leaving]


def _worth(resident: Resident, now: int) -> float:
    age = max(0, now - resident.used)
    return (1 + resident.hits) * exp2(-age / _HALF_LIFE_MICROS) * resident.build_seconds
