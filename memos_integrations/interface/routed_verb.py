"""The verb that decides for a model served elsewhere: which of its adapters answers, beside what.

Called by programs and adapters that send their prompts to a server. It needs neither torch nor the
model: the rows say which adapters there are, and the server which of them it has.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from memos_integrations.interface.adapted_verb import (
    AdaptedRow,
    AdaptedVerb,
    check_bar,
    row_of,
)
from memos_integrations.interface.adapter_candidates import sources_in
from memos_integrations.interface.arguments import whole
from memos_integrations.interface.reads import check_query
from memos_integrations.interface.scope import CubeName, Where
from memos_integrations.operation.transform.routing import Bar, choose


class RoutedVerb(AdaptedVerb):
    """Answers from adapters that a server has attached."""

    def routed(
        self,
        query: str,
        *,
        model: str,
        among: Collection[str] | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        k: int = 5,
        bar: Bar | None = None,
    ) -> AdaptedRow:
        """Which adapter answers this question, and which memories must stand beside it as text.

        Decided as in ``adapted``, at this instant and for whoever asks, over the adapters that
        were distilled for ``model``, wherever it runs; ``among`` names those that the server has
        attached, by their ids. What none of these holds is to be told as text. Ask before every
        call: an adapter that is withdrawn is named to nobody, even if a server still has it.
        """
        check_query(query, 1)
        whole(k, "k", least=1, most=100)
        check_bar(bar)
        self._rooms.adapters.tend()
        scope = self._scope(user, agent, session, cube)
        found = self._find(scope, query, filter, k, self._instant)
        asked = self._candidates(scope, found)
        serving = self._serving(
            scope,
            model,
            sources_in([asked]),
            where=filter,
            fits=lambda row: among is None or row.id in among,
        )
        route = choose(query, asked, serving.sources, bar=bar, outside=serving.outside)
        self._tell(scope, [route], [found])
        return row_of(query, route, found, scope)
