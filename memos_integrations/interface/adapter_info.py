"""What the verbs of adapters tell: shards that are learnt, adapters as the registry has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from memos_integrations.cube.ids import from_micros
from memos_integrations.infrastructure.parametric.recipe import Figures
from memos_integrations.infrastructure.vault import adapters
from memos_integrations.infrastructure.vault.adapters import AdapterRow, AdapterState
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.stored import unexpired
from memos_integrations.infrastructure.vault.transaction import CubeRow
from memos_integrations.operation.transform.lesson_plan import Shard
from memos_integrations.operation.transform.teaching import Queued


@dataclass(frozen=True, slots=True)
class DistilledShard:
    """Memories that are learnt together, and what becomes of them."""

    cube: str
    shard: int
    items: tuple[str, ...]
    adapter: str | None = None
    """The candidate that is trained; ``None`` in a dry run and where nothing is to be done."""
    task: str | None = None
    why: str = ""
    versions: tuple[int, ...] = ()
    """Of the items, as they were read."""
    unchanged: bool = False
    """Whether its newest adapter, or the one in training, is made of exactly these."""


@dataclass(frozen=True, slots=True)
class DistilResult:
    """What a call of ``distil`` queued, and what it left out."""

    shards: tuple[DistilledShard, ...]
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    """Memory -> why it is not learnt."""

    @property
    def task_ids(self) -> tuple[str, ...]:
        return tuple(shard.task for shard in self.shards if shard.task is not None)

    @property
    def adapters(self) -> tuple[str, ...]:
        return tuple(shard.adapter for shard in self.shards if shard.adapter is not None)


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """An adapter as the registry knows it."""

    id: str
    cube: str
    model: str
    shard: int
    version: int
    state: AdapterState
    usable: bool
    """Whether it serves the one who asks."""
    facts: int | None
    """How many memories it was made of; this, ``figures``, ``verdict`` and ``why`` are told only
    where the asker may read all of these."""
    items: tuple[str, ...]
    """The memories it was made of, where it serves the asker."""
    bytes: int
    figures: Figures | None
    """What was measured of it, once it was trained."""
    verdict: tuple[str, ...]
    task: str | None
    created: datetime
    why: str
    """Why it does not serve any more."""


def shard_info(cube: CubeRow, shard: Shard, queued: Queued | None = None) -> DistilledShard:
    """A planned shard as the asker is told of it."""
    why = "unchanged: its newest adapter is made of these" if shard.unchanged else "to be trained"
    return DistilledShard(
        cube.path,
        shard.number,
        tuple(row.id for row in shard.rows),
        None if queued is None else queued.adapter,
        None if queued is None else queued.task,
        why if queued is None else "queued",
        tuple(row.version for row in shard.rows),
        shard.unchanged,
    )


def same_lessons(some: Sequence[DistilledShard], others: Sequence[DistilledShard]) -> bool:
    """Whether these train on the same versions of the same memories; what is unchanged trains on
    nothing."""

    def lessons(shards: Sequence[DistilledShard]) -> set[tuple[object, ...]]:
        return {(s.cube, s.shard, s.items, s.versions) for s in shards if not s.unchanged}

    return lessons(some) == lessons(others)


def adapter_info(reading: Reading, row: AdapterRow, *, usable: bool) -> AdapterInfo:
    """An adapter as the asker is told of it: its sources only where it serves the asker, and what
    became of it only where none of them is hidden from the asker."""
    known = usable or _all_readable(reading, row)
    told = json.loads(row.figures) if row.figures and known else None
    items = adapters.sources(reading.connection, row.id) if usable else ()
    return AdapterInfo(
        id=row.id,
        cube=row.cube,
        model=row.model,
        shard=row.shard,
        version=row.version,
        state=row.state,
        usable=usable,
        facts=row.facts if known else None,
        items=tuple(each.item for each in items),
        bytes=row.bytes,
        figures=None if told is None else Figures(**told["figures"] | {"seconds": told["seconds"]}),
        verdict=() if told is None else tuple(told["verdict"]["why"]),
        task=row.task,
        created=from_micros(row.created),
        why=row.why if known else "",
    )


def _all_readable(reading: Reading, row: AdapterRow) -> bool:
    """Whether nothing it was made of is hidden from the asker. Where a source is gone, that is
    for the cube's owner to know, and only while all that is left of its shard is readable."""
    connection, now = reading.connection, reading.asking.now
    items = adapters.source_rows(connection, [row.id])[row.id]
    there = unexpired(connection, sorted(items), now=now)
    whole = len(there) == row.facts
    if not whole:
        shards = adapters.members(connection, cid=row.cid, model=row.model)
        items = items | {iid for iid, shard in shards.items() if shard == row.shard}
        there = unexpired(connection, sorted(items), now=now)
    seen = {each.iid for each in reading.governed.items(sorted(there), cids=[row.cid])}
    return there <= seen and (whole or reading.governed.gates([row.cid])[0].master)
