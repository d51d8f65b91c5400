"""What a policy of forms sees of one cube: sums over the usage records of its memories. Pure.

A KV-cache is made of a whole cube's prompt and an adapter of a part of it, so neither can be
decided memory by memory. Called by ``placement``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from memos_integrations.cube.usage import MICROS, UsageRecord, cooled
from memos_integrations.operation.scheduler.forms import TRUSTED
from memos_integrations.operation.scheduler.placement import Asks

LN2 = math.log(2.0)
"""A heat of H stands for a steady rate of H ln 2 reads in a half-life, so that many are expected
until it has halved."""
_SETTLING_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Share:
    """One memory's part in a cube."""

    tokens: int
    read_tokens: float
    """Tokens of it that will be read as text until its heat has halved. Reads of what the user
    did not say count for nothing: it is never the reason for a promotion."""
    changed: int
    trusted: bool


@dataclass(frozen=True, slots=True)
class CubeUse:
    """A cube with its memories that stand, at one instant."""

    cube: int
    path: str
    tenant: str
    shares: Mapping[int, Share]
    """By item row: those that a search may show."""
    asks: float
    """Calls that are expected to read from it until its heat has halved."""
    changes: float
    """Memories that are expected to change in that time: as many as in the last such span."""
    now: int

    @property
    def items(self) -> frozenset[int]:
        return frozenset(self.shares)

    def tokens_of(self, items: Iterable[int]) -> int:
        """What these of its memories cost in a prompt."""
        return sum(self.shares[item].tokens for item in items)

    def read_tokens(self, items: Iterable[int]) -> float:
        """Tokens of these memories that will be read as text until the heat has halved."""
        return math.fsum(self.shares[item].read_tokens for item in items)

    def unchanged(self, *, seconds: float) -> frozenset[int]:
        """The trusted memories that have stood so long."""
        since = self.now - seconds * MICROS
        shares = self.shares.items()
        return frozenset(item for item, each in shares if each.trusted and each.changed <= since)

    @property
    def rest_seconds(self) -> float:
        """Since when nothing in it has changed; nothing at all counts as for ever."""
        changed = max((each.changed for each in self.shares.values()), default=None)
        return math.inf if changed is None else (self.now - changed) / MICROS


def cube_uses(
    records: Iterable[UsageRecord],
    *,
    asks: Mapping[int, Asks],
    half_life_seconds: float,
    now: int,
) -> Sequence[CubeUse]:
    """The cubes that have memories, in row order; facts that restate one are no memories of their
    own here, as no prompt says anything twice. Where nobody counted how often a cube was
    asked, the reads of its most read memory stand for it: it was asked no less often."""
    told = (each for each in records if not each.drawn)
    ordered = sorted(told, key=lambda each: (each.cube, each.item))
    return [
        _use(cube, list(members), asks.get(cube, Asks(0.0, now)), half_life_seconds, now)
        for cube, members in groupby(ordered, key=lambda each: each.cube)
    ]


def _use(
    cube: int, members: Sequence[UsageRecord], asks: Asks, half_life: float, now: int
) -> CubeUse:
    heats = {
        each.item: cooled(each.heat, since=each.heat_at, now=now, half_life_seconds=half_life)
        for each in members
        if each.live
    }
    counted = cooled(asks.heat, since=asks.at, now=now, half_life_seconds=half_life)
    since = now - half_life * MICROS
    return CubeUse(
        cube=cube,
        path=members[0].path,
        tenant=members[0].tenant,
        shares={r.item: _share(r, heats[r.item]) for r in members if r.live},
        asks=LN2 * max(counted, *heats.values(), 0.0),
        changes=float(sum(1 for each in members if _changed_since(each, since))),
        now=now,
    )


def _share(record: UsageRecord, heat: float) -> Share:
    trusted = record.trust in TRUSTED
    read = LN2 * heat * record.tokens if trusted else 0.0
    return Share(record.tokens, read, record.changed, trusted)


def _changed_since(record: UsageRecord, since: float) -> bool:
    """Whether its words were changed: to be told is no change, as what was there still stands, nor
    is what the background writes behind that."""
    return record.changed > max(since, record.created + _SETTLING_SECONDS * MICROS)
