"""The verb that learns how to rank from labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memos_integrations.cube.errors import NotFound, UsageError
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.interface.arguments import texts
from memos_integrations.interface.reads import Reads, check_query
from memos_integrations.interface.scope import CubeName, Where
from memos_integrations.operation.operator.fitting import Example, Fit, fit
from memos_integrations.operation.operator.ranking import Ranking


class RankVerbs(Reads):
    """Fitting the ranking to a user's own questions."""

    @property
    def ranking(self) -> Ranking:
        """The signals and weights that searches rank by."""
        return self._rooms.operator.ranking

    def fit(
        self,
        questions: Sequence[str],
        evidence: Sequence[Sequence[str]],
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
    ) -> Fit:
        """Weights learnt from these questions and the ids of the memories that answer each.

        Changes nothing: open a MOS with ``ranking=fit.ranking`` to use them, where
        ``fit.helps``. Raises ``UsageError`` for fewer than ten questions or lists of unequal
        length, ``NotFound`` for evidence the asker may not see.
        """
        asked, wanted_ids = _labels(questions, evidence)
        scope = self._scope(user, agent, session, cube)
        where = scope.where(filter)
        examples: list[Example] = []
        with self._reading(scope, action="fit") as reading:
            cubes = self._cubes(reading, scope)
            for question, ids in zip(asked, wanted_ids, strict=True):
                query = self._query(question)
                items, values = self._rooms.operator.proposals(reading, cubes, query, where=where)
                wanted = _visible(reading, ids)
                rows = np.flatnonzero(np.isin(items, wanted)).tolist()
                examples.append(Example(values, tuple(rows), len(wanted)))
        self._rooms.vault.shown(scope.principal, "fit", [], cubes=scope.cubes)
        return fit(examples, self._rooms.operator.ranking)


def _labels(
    questions: Sequence[str], evidence: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Questions and their evidence, checked. Raises ``UsageError``."""
    asked = texts(questions, "questions")
    if not isinstance(evidence, Sequence) or len(evidence) != len(asked):
        raise UsageError("fit needs one list of memory ids per question")
    for question in asked:
        check_query(question, 1)
    return asked, [texts(ids, "evidence") for ids in evidence]


def _visible(reading: Reading, ids: Sequence[str]) -> list[int]:
    """The item rows of these ids. Raises ``NotFound`` for one that may not be seen."""
    numbers = reading.numbers(ids)
    items = [number for number, _ in numbers.values()]
    cids = {cid for _, cid in numbers.values()}
    seen = {row.id for row in reading.governed.items(items, cids=cids)}
    for each in ids:
        if each not in seen:
            raise NotFound(f"no memory {each} is visible to {reading.asking.principal.name}")
    return items


__all__ = ["Fit", "RankVerbs"]
