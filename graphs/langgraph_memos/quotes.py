"""Quotes of recalled memories, as ``AnswerNode`` gives them: the core's, over plain state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from langgraph_memos.state import Recalled
from memos_integrations.interface.quoting import Evidence, quotes


class Quote(NamedTuple):
    """One sentence of one memory."""

    text: str
    memory: Recalled


def quote(
    question: str, recalled: Sequence[Recalled], *, floor: float | None = None, most: int = 2
) -> list[Quote]:
    """The sentences that answer best, best first; none when no memory comes near enough.

    ``floor`` replaces the least closeness of ``memos_integrations.interface.quoting``.
    """
    found = [Evidence(r["text"], r["speaker"], r["trust"], r["signals"]) for r in recalled]
    return [
        Quote(each.text, recalled[each.place])
        for each in quotes(question, found, floor=floor, most=most)
    ]
