"""What memory says to a turn of a conversation: retrieved once, checked again at every read.

An agent reads its memory several times a turn. The block is kept for the turn; before it is shown
again the truth is asked whether everything in it may still be shown as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_index_memos.asker import Room
from memos_integrations.interface.mos import MOS


@dataclass(frozen=True, slots=True)
class _Kept:
    """The block of one turn, and the words of each memory in it."""

    turn: object
    text: str
    words: Mapping[str, str]


class Recalling:
    """Retrieves the block for a turn and keeps it as long as it is true. One turn is kept."""

    def __init__(self, mos: MOS, asker: Room) -> None:
        self._mos = mos
        self._asker = asker
        self._kept: _Kept | None = None

    def block(
        self,
        query: str,
        *,
        turn: object,
        budget_tokens: int,
        where: Mapping[str, Any] | None = None,
    ) -> str:
        """The memories that fit the query, as a prompt block; empty where there are none."""
        if not query.strip() or budget_tokens < 1:
            return ""
        kept = self._kept
        if kept is None or kept.turn != (turn, query) or not self._holds(kept):
            kept = self._kept = self._recalled(query, turn, budget_tokens, where)
        return kept.text

    def sources(self) -> list[str]:
        """The memories shown in this turn that may still be shown: what an answer rests on."""
        return [] if self._kept is None else list(self._now(self._kept))

    def forget(self) -> None:
        """Begin another turn."""
        self._kept = None

    def _recalled(
        self, query: str, turn: object, budget_tokens: int, where: Mapping[str, Any] | None
    ) -> _Kept:
        found = self._mos.context(
            query, budget_tokens=budget_tokens, filter=where, **self._asker.of()
        )
        words = {item.id: item.text for part in found.sections for item in part.items}
        return _Kept((turn, query), found.text, words)

    def _holds(self, kept: _Kept) -> bool:
        """Whether every memory of the block may still be shown, in the same words."""
        return self._now(kept) == kept.words

    def _now(self, kept: _Kept) -> dict[str, str]:
        """The memories of the block that may be shown now, with their words."""
        if not kept.words:
            return {}
        items = self._mos.showable(list(kept.words), **self._asker.of())
        return {item.id: item.text for item in items}
