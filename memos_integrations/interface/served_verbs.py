"""The verb that gives what every prompt of a served model begins with.

Called by programs and adapters that prompt a model over the network. What is recalled for one
question comes from ``context`` and stands behind it, so that the beginning stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from memos_integrations.cube.filters import And, parse
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.interface.activation_verbs import ActivationVerbs
from memos_integrations.interface.arguments import whole
from memos_integrations.interface.scope import CubeName, Scope, Where
from memos_integrations.interface.served_prompt import Paging, StablePrefix, salts
from memos_integrations.interface.standing import sources_of
from memos_integrations.operation.scheduler.forms import TRUSTED

_AT_ONCE: Final = 128
_MOST: Final = 2_048
"""Memories that are looked at: a prompt's beginning is no place for more."""
_LASTING: Final = {"memory_type": {"!=": "working"}, "trust": {"in": sorted(TRUSTED)}}
"""What is going on now changes with every turn, and what nobody vouches for has no place among the
instructions: both are found by what is asked."""


class ServedVerbs(ActivationVerbs):
    """Memory for models served elsewhere."""

    def stable_prefix(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        budget_tokens: int = 4_000,
        page_tokens: int = 1_024,
    ) -> StablePrefix:
        """Trusted, lasting memories for the beginning of every prompt, the same bytes every time.

        They stand in the order in which they came, so a new one comes behind the others; one that
        is corrected, archived or erased is gone at once, and what stood behind it moves up. Where
        the budget is full, what came later is left to ``context``: hand it
        ``filter={"id": {"nin": [item.id for item in prefix.items]}}`` and put its text right before
        the question. ``page_tokens`` is the size of the parts that a provider may be told of.
        """
        whole(budget_tokens, "budget_tokens", least=1)
        whole(page_tokens, "page_tokens", least=1)
        scope = self._scope(user, agent, session, cube)
        who, paging = scope.principal, Paging(budget_tokens, page_tokens, self._rooms.tokens)
        with self._reading(scope, action="prefix") as reading:
            read: dict[str, Stored] = {}
            paging.fill(self._lasting(reading, scope, filter, read))
        shown = [read[item.id] for item in paging.items]
        # Not a use: what stands in every prompt is not what is asked for.
        self._rooms.vault.shown(who, "prefix", shown, cubes=scope.cubes, used=False)
        return paging.prefix(salts(self._secret(who.tenant), user=who.user, agent=who.agent))

    def _lasting(
        self, reading: Reading, scope: Scope, given: Where, read: dict[str, Stored]
    ) -> Iterator[MemoryItem]:
        """Memories in the order in which they came, as far as they are looked at; ``read`` notes
        their rows. What restates the words of another one is told by those words already."""
        cids = [each.cid for each in self._open_cubes(reading, scope)]
        parts = (parse(_LASTING), scope.where(given))
        where = And(tuple(part for part in parts if part is not None))
        numbers = sorted(iid for _, iid, _ in reading.governed.rows(cids=cids, where=where))
        for start in range(0, min(len(numbers), _MOST), _AT_ONCE):
            rows = reading.governed.items(numbers[start : start + _AT_ONCE], cids=cids)
            drawn = sources_of(reading, rows)
            for row in sorted(rows, key=lambda row: row.iid):
                if row.iid not in drawn:
                    read[row.id] = row
                    yield to_item(row, scope.principal)
