"""How memory grew, was used and aged: counts over time for plots. Pure but for one snapshot.

Called by the facade. Counts what was told, as ``stats`` does: facts drawn from words stand behind
them and are not counted again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from memos_integrations.cube.filters import Filter
from memos_integrations.cube.ids import from_micros
from memos_integrations.infrastructure.vault.activity import reads_by_day, tasks_since
from memos_integrations.infrastructure.vault.cube_forms import bytes_by_form
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.usage_records import FORM

DAY = 86_400_000_000
_MICROS = 1e6
_READS = ("search", "context", "get", "list", "ask", "facts", "related", "recall_tool")
_USES = ((0, "never"), (1, "once"), (2, "2-4"), (5, "5-9"), (10, "10-49"), (50, "50 and more"))
_AGES = (
    (0, "under a day"),
    (1, "under a week"),
    (7, "under 30 days"),
    (30, "under 90 days"),
    (90, "90 days and more"),
)
_COLUMNS = (
    "i.created, v.memory_type, coalesce(u.count, 0), u.last, v.storage_mode, "
    f"{FORM}, i.trust, v.state, v.stale"
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Series have one number per day of ``days``; the others are counts by name."""

    days: tuple[str, ...]
    """Dates in UTC, the last one today."""
    memories: int
    total: tuple[int, ...]
    """How many of today's memories there were at the end of each day."""
    growth: dict[str, tuple[int, ...]]
    """New memories per day, by memory type."""
    reads: tuple[int, ...]
    """Calls that read, per day."""
    shown: tuple[int, ...]
    """Memories that those calls showed."""
    used: dict[str, int]
    """Memories by how often they were shown."""
    since_use: dict[str, int]
    """Memories by how long ago they were last shown; or came, where they never were."""
    states: dict[str, int]
    stale: int
    tiers: dict[str, int]
    forms: dict[str, int]
    """Memories by the deepest form that serves them, for any model."""
    form_bytes: dict[str, int]
    """Bytes of what was made of these cubes alone, by form."""
    form_moves: tuple[int, ...]
    """Cubes promoted, refreshed or demoted per day."""
    trust: dict[str, int]
    types: dict[str, int]
    tasks_done: tuple[int, ...]
    tasks_failed: tuple[int, ...]
    tasks_open: int
    task_seconds: dict[str, float]
    """Median seconds from queueing to completion, by kind of task."""


def figures(reading: Reading, cids: Sequence[int], *, where: Filter | None, days: int) -> Figures:
    """The figures of the last ``days`` days of what the principal of ``reading`` may see."""
    now = reading.asking.now
    first = now // DAY - days + 1
    rows = list(reading.governed.columns(_COLUMNS, cids=cids, pick="told", where=where))
    gates = reading.governed.gates(cids)
    who = reading.asking.principal
    reads = reads_by_day(
        reading.connection,
        since=first * DAY,
        tenant=who.tenant,
        actor=None if who.is_admin else who.name,
        actions=_READS,
        cubes=[gate.path for gate in gates],
    )
    whole = [gate.cid for gate in gates if gate.open]
    moves = reads_by_day(
        reading.connection,
        since=first * DAY,
        tenant=who.tenant,
        actor=None,
        actions=["form"],
        cubes=[gate.path for gate in gates if gate.open],
    )
    tasks = tasks_since(reading.connection, whole, since=first * DAY)
    ended = [(state, updated // DAY) for state, _, _, updated in tasks]
    return Figures(
        days=tuple(f"{from_micros((first + n) * DAY):%Y-%m-%d}" for n in range(days)),
        memories=len(rows),
        total=_running(rows, first, days),
        growth=_growth(rows, first, days),
        reads=tuple(reads.get(first + n, (0, 0))[0] for n in range(days)),
        shown=tuple(reads.get(first + n, (0, 0))[1] for n in range(days)),
        used=_binned((row[2] for row in rows), _USES),
        since_use=_binned(((now - (row[3] or row[0])) // DAY for row in rows), _AGES),
        states=_tally(row[7] for row in rows),
        stale=sum(1 for row in rows if row[8]),
        tiers=_tally(row[4] for row in rows),
        forms=_tally(row[5] for row in rows),
        form_bytes={
            form: size for form, (_, size) in bytes_by_form(reading.connection, whole).items()
        },
        form_moves=tuple(moves.get(first + n, (0, 0))[0] for n in range(days)),
        trust=_tally(row[6] for row in rows),
        types=_tally(row[1] for row in rows),
        tasks_done=_per_day((day for state, day in ended if state == "completed"), first, days),
        tasks_failed=_per_day((day for state, day in ended if state == "failed"), first, days),
        tasks_open=sum(1 for state, *_ in tasks if state in ("waiting", "running")),
        task_seconds=_seconds(tasks),
    )


def _growth(
    rows: Iterable[Sequence[int | str]], first: int, days: int
) -> dict[str, tuple[int, ...]]:
    created: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        created[str(row[1])].append(int(row[0]) // DAY)
    series = {name: _per_day(each, first, days) for name, each in sorted(created.items())}
    return {name: each for name, each in series.items() if any(each)}


def _running(rows: Sequence[Sequence[int]], first: int, days: int) -> tuple[int, ...]:
    before = sum(1 for row in rows if row[0] // DAY < first)
    new = _per_day((row[0] // DAY for row in rows), first, days)
    return tuple(accumulate(new, initial=before))[1:]


def _per_day(found: Iterable[int], first: int, days: int) -> tuple[int, ...]:
    counts = Counter(found)
    return tuple(counts[first + n] for n in range(days))


def _binned(values: Iterable[int], bins: Sequence[tuple[int, str]]) -> dict[str, int]:
    """Counts by bin, all of them named; each bin begins at its number."""
    starts = [start for start, _ in bins]
    counts = Counter(max(0, bisect_right(starts, value) - 1) for value in values)
    return {name: counts[n] for n, (_, name) in enumerate(bins)}


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _seconds(tasks: Iterable[tuple[str, str, int, int]]) -> dict[str, float]:
    spent: defaultdict[str, list[float]] = defaultdict(list)
    for state, kind, created, updated in tasks:
        if state == "completed":
            spent[kind].append((updated - created) / _MICROS)
    return {kind: round(median(each), 3) for kind, each in sorted(spent.items())}
