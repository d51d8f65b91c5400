"""A second opinion on the best hits: the reranker's order, with the ranking's as what remains.

Called by ``Reads.search`` with what the asker may see, so a reranker is shown nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from memos_integrations.cube.errors import LLMUnavailable
from memos_integrations.cube.item import Hit, Signal
from memos_integrations.cube.ports import Reranker

_log = logging.getLogger(__name__)
POOL = 30
"""How many hits a reranker is asked about, at least."""


def reranked(reranker: Reranker, query: str, hits: Sequence[Hit], *, explain: bool) -> list[Hit]:
    """The hits in the reranker's order, ties as before.

    ``score`` stays the ranking's own. When the reranker does not answer, the order stays too,
    and each hit says so in its signals.
    """
    if not hits:
        return []
    try:
        scores = list(reranker.scores(query, [hit.text for hit in hits]))
    except LLMUnavailable as error:
        _log.warning("%s did not answer; the ranking's order stands", reranker.name)
        why = f"{reranker.name} did not answer, so the ranking's order stands: {error}"
        return [_with(hit, 0.0, why) for hit in hits]
    order = sorted(range(len(hits)), key=lambda n: -scores[n])
    if not explain:
        return [hits[n] for n in order]
    return [_with(hits[n], scores[n], f"{reranker.name} judged it {scores[n]:.2f}") for n in order]


def _with(hit: Hit, value: float, why: str) -> Hit:
    told = Signal(name="reranker", value=value, weight=0.0, why=why)
    return hit.model_copy(update={"signals": (*hit.signals, told)})
