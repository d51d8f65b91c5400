"""The verbs that look after memory: a checkup with a plan to mend, and figures over time."""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterable, Sequence

from memos_integrations.cube.acl import Permission
from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.ids import CubePath
from memos_integrations.infrastructure.governance.detection import PERSONAL
from memos_integrations.infrastructure.vault import examined as look
from memos_integrations.infrastructure.vault.governed import Asking, Governed
from memos_integrations.infrastructure.vault.projections import Feed
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.interface.checkup import Checkup, Fixed
from memos_integrations.interface.reader import as_enum
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.operation.analytics.examine import examine
from memos_integrations.operation.analytics.figures import Figures, figures
from memos_integrations.operation.analytics.findings import (
    Ailment,
    Repair,
    Step,
    Thresholds,
)
from memos_integrations.operation.analytics.mending import Mender
from memos_integrations.operation.analytics.ward import Ward

_STEPS_AT_ONCE = 1_000
_MOST_DAYS = 3_660


class AnalyticsVerbs(Reads):
    """Looking at memory as a whole."""

    def doctor(
        self,
        *,
        kinds: Iterable[Ailment | str] | None = None,
        unread_days: float = 90.0,
        stuck_seconds: float = 3600.0,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> Checkup:
        """What is wrong with the memories the asker may see, with a plan for what can be mended.

        Changes nothing; ``checkup.fix(kind, dry_run=False)`` does. ``kinds`` limits what is
        looked for. An admin who names no cube has the whole tenant looked at.
        """
        limits = Thresholds(
            unread_days=_positive(unread_days, "unread_days"),
            stuck_seconds=_positive(stuck_seconds, "stuck_seconds"),
            kinds=_kinds(kinds),
        )
        scope = self._scope(user, agent, session, cube)
        begun = time.perf_counter()
        self._rooms.vault.flush_reads()
        with self._reading(scope, action="doctor") as reading:
            cubes = self._looked_at(reading, scope, named=cube is not None)
            ward = self._ward(reading, scope, cubes, limits)
        found = examine(ward)
        paths = tuple(row.path for row in cubes)
        self._rooms.vault.shown(scope.principal, "doctor", [], cubes=paths)
        spent = time.perf_counter() - begun
        facts = sum(1 for row in ward.rows if row.drawn_from is not None)
        told = len(ward.rows) - facts
        return Checkup(told, facts, paths, spent, tuple(found), lambda k, s: self._fix(scope, k, s))

    def stats_over_time(
        self,
        *,
        days: int = 30,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> Figures:
        """Growth, use, age, tiers, forms, trust and task throughput of what the asker may see.

        Reads are the asker's own, unless an admin asks: then everybody's of the tenant.
        """
        if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= _MOST_DAYS:
            raise InvalidInput(f"days must be a whole number from 1 to {_MOST_DAYS}")
        scope = self._scope(user, agent, session, cube)
        self._rooms.vault.flush_reads()
        with self._reading(scope, action="stats_over_time") as reading:
            cubes = self._open_cubes(reading, scope)
            made = figures(reading, [row.cid for row in cubes], where=scope.where(None), days=days)
        paths = [row.path for row in cubes]
        self._rooms.vault.shown(scope.principal, "stats_over_time", [], cubes=paths)
        return made

    # -- what the verbs share -----------------------------------------------------------------

    def _looked_at(self, reading: Reading, scope: Scope, *, named: bool) -> builtins.list[CubeRow]:
        """The cubes of the scope; all of the tenant for an admin who names none."""
        who = scope.principal
        if not who.is_admin or named:
            return self._open_cubes(reading, scope)
        gates = [g for g in reading.governed.gates() if g.open and g.tenant == who.tenant]
        return reading.cubes([CubePath(gate.path) for gate in gates])

    def _ward(
        self, reading: Reading, scope: Scope, cubes: Sequence[CubeRow], limits: Thresholds
    ) -> Ward:
        """One snapshot of everything the examinations look at."""
        cids = [row.cid for row in cubes]
        who, where = scope.principal, scope.where(None)
        link, governed = reading.connection, reading.governed
        may = Governed(link, Asking(who, reading.asking.now, Permission.WRITE))
        open_ = frozenset(gate.cid for gate in may.gates(cids) if gate.open)
        rows = list(look.examined(governed, cids, where=where))
        return Ward(
            rows=rows,
            now=reading.asking.now,
            limits=limits,
            writable=frozenset(look.writable(may, cids)),
            due=list(look.examined(governed, cids, where=where, pick="due")),
            model=self._rooms.vault.model,
            alike_keys=look.alike_keys(link, cids),
            disputes=look.disputes(link, cids),
            claims=look.claims(link, cids),
            sources=look.sources(link, cids),
            jobs=look.jobs(link, self._whole(governed, cids)),
            waiting=frozenset(look.waiting_items(link, cids)),
            barred=look.barred_sources(link, self._whole(governed, cids)),
            cubes={row.cid: row.path for row in cubes},
            models={row.cid: row.embedding for row in cubes if row.embedding is not None},
            lags=self._lags(reading, cids),
            open_cubes=open_,
            cleared=PERSONAL in who.clearances,
            who=who.name,
        )

    def _whole(self, governed: Governed, cids: Sequence[int]) -> builtins.list[int]:
        """Of these cubes, those the asker may read as a whole: their tasks and sources too."""
        return [gate.cid for gate in governed.gates(cids) if gate.open]

    def _lags(self, reading: Reading, cids: Sequence[int]) -> dict[int, int]:
        outside = self._rooms.vault.outside
        if outside is None:
            return {}
        feed = Feed(reading.connection, model=self._rooms.vault.model)
        link = reading.connection
        return {cid: max(0, feed.head(cid) - outside.cursor(link, cid)) for cid in cids}

    def _fix(self, scope: Scope, kind: Ailment, steps: Sequence[Step]) -> Fixed:
        rooms = self._rooms
        mender = Mender(rooms.executor, rooms.lifecycle, rooms.queue)
        repairs: builtins.list[Repair] = []
        left: dict[str, str] = {}
        for start in range(0, len(steps), _STEPS_AT_ONCE):
            part = steps[start : start + _STEPS_AT_ONCE]

            def work(tx: Transaction, part: Sequence[Step] = part) -> None:
                done = mender.mend(tx, kind, part)
                repairs.extend(done.done)
                left.update(done.left)

            self._write(scope, work, action="doctor")
        return Fixed(kind, False, tuple(repairs), left)


def _kinds(given: Iterable[Ailment | str] | None) -> frozenset[Ailment]:
    if given is None:
        return frozenset(Ailment)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidInput("kinds must be a list of kinds, such as ['duplicate']")
    return frozenset(as_enum(Ailment, kind, "kinds") for kind in given)


def _positive(value: float, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1e9:
        raise InvalidInput(f"{what} must be a number from 0 upwards")
    return float(value)
