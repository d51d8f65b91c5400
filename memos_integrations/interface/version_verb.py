"""The verb that tells whether memory has moved: what caches and graph states hold on to."""

from __future__ import annotations

from collections.abc import Sequence

from memos_integrations.infrastructure.vault.governed import Gate
from memos_integrations.infrastructure.vault.log import last_change, next_end, next_right
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.interface.base import Verbs
from memos_integrations.interface.scope import CubeName


class VersionVerb(Verbs):
    """The place of the log at which a cube last changed."""

    def version(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> int:
        """The place of the log of the last change of these cubes; 0 before the first one.

        It moves with every memory written, changed, deleted, linked or erased in them and with
        every right given or taken on them, also from another process, and ``as_of`` takes it.
        Records do not move it, nor does a memory whose time runs out until that is swept (see
        ``changes_in``). Costs a look-up in an index; for who may see single memories only, a walk
        over those. Raises ``AccessDenied`` for a cube of which the asker may see nothing.
        """
        scope = self._scope(user, agent, None, cube)
        with self._reading(scope, action="version") as reading:
            cubes = [row.cid for row in self._open_cubes(reading, scope)]
            gates = reading.governed.gates(cubes)
            return max((_moved_at(reading, gate) for gate in gates), default=0)

    def changes_in(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> float | None:
        """Seconds until these cubes change by themselves, or ``None``: until a memory expires or
        ceases to hold, or a right of the asker's ends. What was made of them is good for as long
        as that, if ``version`` stays."""
        scope = self._scope(user, agent, None, cube)
        with self._reading(scope, action="version") as reading:
            now = reading.asking.now
            cids = [row.cid for row in self._open_cubes(reading, scope)]
            found = [next_end(reading.connection, cid, now=now) for cid in cids]
            found.append(next_right(reading.connection, reading.asking, cids))
            ends = [end for end in found if end is not None]
            return (min(ends) - now) / 1e6 if ends else None


def _moved_at(reading: Reading, gate: Gate) -> int:
    if gate.open:
        return last_change(reading.connection, gate.cid, upto=reading.asking.instant.seq)
    # The cube's own position would tell when something hidden changes.
    rows = reading.governed.columns("v.seq", cids=[gate.cid], pick="present")
    return max((seq for (seq,) in rows), default=0)
