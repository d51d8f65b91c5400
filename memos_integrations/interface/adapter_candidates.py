"""What the choice of an adapter is made of: the memories found, and the adapters that may serve.

Called by the verbs that answer with adapters; the choice itself is ``routing``'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memos_integrations.cube.acl import Principal
from memos_integrations.infrastructure.vault.adapters import AdapterRow
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.operation.operator.search import Found
from memos_integrations.operation.transform.routing import Candidate

_NEAR = ("cosine", "own_words", "sentence")
"""Signals that tell closeness in meaning."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The adapters that may answer."""

    rows: Mapping[str, AdapterRow]
    sources: dict[str, set[int]]
    """The item rows that each was made of."""
    outside: frozenset[str]
    """Those of which a source does not pass the session, agent or filter that was named."""


def sources_in(asked: Sequence[Sequence[Candidate]]) -> set[int]:
    """The item rows that an adapter must be made of to be asked for."""
    every = [each for found in asked for each in found]
    restated = {each.restates for each in every if each.restates is not None}
    return {each.row for each in every} | restated


def candidate(
    found: Found, asker: Principal, drawn: Mapping[int, int], *, embeds: bool
) -> Candidate:
    """A memory that was found, as the choice takes it. ``drawn`` says what a fact restates."""
    said = {signal.name: signal.value for signal in found.terms}
    return Candidate(
        row=found.row.iid,
        text=to_item(found.row, asker).text,
        score=found.score,
        near=max(said.get(name, 0.0) for name in _NEAR) if embeds else None,
        words=said.get("words", 0.0),
        restates=drawn.get(found.row.iid),
        called=found.row.speaker or "",
        own=_own(found.row, asker),
    )


def _own(row: Stored, asker: Principal) -> bool:
    """Whether the asker said it; where no name is noted, whoever stored it did."""
    if row.speaker:
        return row.speaker.casefold() == (asker.user or asker.agent or "").casefold()
    return row.owner == asker.name and row.role != "assistant"
