"""Memories as a model is given them: numbered lines in full, or in short. Pure.

Called by the nodes that ask a model. What did not come from the user is marked as unverified.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from langgraph_memos.budget import Offer, choose
from langgraph_memos.state import Injected, Recalled
from memos_integrations.cube.ports import TokenCounter
from memos_integrations.interface.context import RECALLED
from memos_integrations.interface.tokens import EstimatedTokens

HEADING: Final = RECALLED
_SHORT_LINES: Final = 3
_SHORT_WORDS: Final = 16
_SENTENCE: Final = re.compile(r"(?<=[.!?。！？])\s+|\n+")


def text_offers(recalled: Sequence[Recalled], *, tokens: TokenCounter | None = None) -> list[Offer]:
    """The text forms: all memories in full, or the first sentence of the best few."""
    if not recalled:
        return []
    counter = tokens or EstimatedTokens()
    best = recalled[:_SHORT_LINES]
    full = "\n".join(memory_line(n, each, each["text"]) for n, each in enumerate(recalled, 1))
    short = "\n".join(memory_line(n, each, _shortened(each)) for n, each in enumerate(best, 1))
    return [
        Offer("text", counter.count(full), 2.0, full, tuple(each["id"] for each in recalled)),
        Offer("short", counter.count(short), 1.0, short, tuple(each["id"] for each in best)),
    ]


def injection(
    recalled: Sequence[Recalled],
    *,
    left_tokens: int | None,
    tokens: TokenCounter | None = None,
    others: Sequence[Offer] = (),
) -> Offer:
    """The form to give memories in with so many tokens left. ``others`` are offers of other forms
    than text, such as a KV-cache that holds them already."""
    return choose([*others, *text_offers(recalled, tokens=tokens)], left_tokens=left_tokens)


def as_injected(offer: Offer) -> Injected:
    """The offer that was taken, as state."""
    return Injected(form=offer.form, tokens=offer.tokens, ids=list(offer.ids))


def memory_line(number: int, memory: Recalled, words: str) -> str:
    """One memory as a numbered line: who, when, and what, on one line whatever it holds."""
    doubt = "" if memory["trust"] == "user" else f" ({memory['trust']}, not verified)"
    said = " ".join(words.split())
    return f"[{number}] {memory['speaker']}, {memory['time'][:10]}{doubt}: {said}"


def _shortened(memory: Recalled) -> str:
    words = _SENTENCE.split(memory["text"].strip(), maxsplit=1)[0].split()
    return " ".join(words[:_SHORT_WORDS]) + (" ..." if len(words) > _SHORT_WORDS else "")
