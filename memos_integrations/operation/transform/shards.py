"""Which memories may be learnt, and which of them are learnt together. Pure.

Called by the verb that distils and by what makes a shard anew. A memory keeps its shard for good,
so that a correction costs the training of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from memos_integrations.cube.header import SEARCHABLE
from memos_integrations.infrastructure.vault.rows import Stored
from memos_integrations.operation.scheduler.forms import TRUSTED

MOST_FACTS = 50
"""Of one adapter: with 500 in one, a model reads its prompt no longer as it did."""

Rights: TypeAlias = tuple[object, ...]
"""Who may see a memory and how long; learnt together are only those with equal rights, as an
adapter serves only whoever may see all of its sources."""

_PASSING = ("working", "tool")


def why_not(row: Stored, *, now: int, stable_seconds: float) -> str | None:
    """Why this memory is never learnt, or not yet; ``None`` where it may be."""
    if row.quarantined:
        return "its source is quarantined"
    if row.trust not in TRUSTED:
        return f"trust {row.trust}: only what people said and what was inferred of it is learnt"
    if row.spans is not None:
        return "holds what is masked for some readers, and weights mask nothing"
    if row.state not in {state.value for state in SEARCHABLE}:
        return f"it is {row.state}"
    if row.stale:
        return "a source of it has changed"
    return _passing(row, now=now, stable_seconds=stable_seconds)


def _passing(row: Stored, *, now: int, stable_seconds: float) -> str | None:
    if row.memory_type in _PASSING:
        return f"{row.memory_type} memory is not stable"
    if row.valid_to is not None:
        return "not stable: it has an end"
    rested = (now - row.recorded) / 1e6
    if rested < stable_seconds:
        return f"not stable: changed {rested:.0f} s ago, and {stable_seconds:g} s are asked for"
    return None


def rights_of(row: Stored) -> Rights:
    return (row.owner, row.visibility, row.labels, row.expires)


def assigned(
    wanted: Sequence[int],
    *,
    members: Mapping[int, int],
    rights: Mapping[int, Rights],
    most: int = MOST_FACTS,
) -> dict[int, int]:
    """The shard of each wanted item row: the one it has, else the first with room and its rights.

    ``members`` are those that have one already; ``rights`` are those of all that are known. The
    same memories in the same order always come to the same shards.
    """
    held: dict[int, list[int]] = {}
    for iid, shard in sorted(members.items()):
        held.setdefault(shard, []).append(iid)
    whose = {shard: _whose(iids, rights) for shard, iids in held.items()}
    found: dict[int, int] = {}
    for iid in wanted:
        kept = members.get(iid)
        if kept is not None and whose[kept] == rights[iid]:
            shard = kept
        else:
            shard = _with_room(rights[iid], held, whose, most)
            if iid in members:
                held[members[iid]].remove(iid)
            held.setdefault(shard, []).append(iid)
            whose[shard] = rights[iid]
        found[iid] = shard
    return found


def _whose(iids: Sequence[int], rights: Mapping[int, Rights]) -> Rights | None:
    """The rights of a shard's members; ``None`` where none of them is known."""
    return next((rights[iid] for iid in iids if iid in rights), None)


def _with_room(
    mine: Rights, held: Mapping[int, Sequence[int]], whose: Mapping[int, Rights | None], most: int
) -> int:
    for shard in sorted(held):
        if whose[shard] == mine and len(held[shard]) < most:
            return shard
    return max(held, default=-1) + 1
