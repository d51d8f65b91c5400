"""What memory may cost in a thread, and the form it is injected in within that. Pure.

Called by the nodes that ask a model and by routers. A form is an offer with a price: text in full,
text in short, later a KV-cache or an adapter; ``choose`` takes the best one that can be paid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langgraph.errors import InvalidUpdateError

from memos_integrations.cube.errors import InvalidInput


class MemoryBudget(TypedDict, total=False):
    """Tokens: how many there are, and how many are spent."""

    limit: int
    spent: int
    debit: int
    """In an update: what to add to ``spent``."""


def budget_after(old: MemoryBudget | None, new: MemoryBudget | None) -> MemoryBudget:
    """The reducer of the key: debits of nodes that ran side by side add up; a ``limit`` or a
    ``spent`` in an update sets it."""
    before, given = old or {}, new or {}
    if given.keys() - {"limit", "spent", "debit"} or not all(map(_whole, given.values())):
        raise InvalidUpdateError(
            "memory_budget takes limit, spent and debit, each a whole number of tokens"
        )
    after = MemoryBudget(spent=given.get("spent", before.get("spent", 0)) + given.get("debit", 0))
    limit = given.get("limit", before.get("limit"))
    if limit is not None:
        after["limit"] = limit
    return after


def budget_left(state: Mapping[str, Any], *, limit_tokens: int | None = None) -> int | None:
    """The tokens that are left, never below 0; ``None`` where there is no limit. For routers."""
    budget: MemoryBudget = state.get("memory_budget") or MemoryBudget()
    limit = budget.get("limit", limit_tokens)
    return None if limit is None else max(0, limit - budget.get("spent", 0))


def tokens_used(message: AIMessage) -> int | None:
    """What a model says a call took; ``None`` where it does not say."""
    usage = usage_told(message)
    return None if usage is None else usage["total_tokens"]


def usage_told(message: AIMessage) -> UsageMetadata | None:
    """The usage that a model tells of. An answer out of LangChain's cache has a cost alone."""
    usage = message.usage_metadata
    return usage if usage is not None and "total_tokens" in usage else None


@dataclass(frozen=True, slots=True)
class Offer:
    """One form in which memories could be given to a model."""

    form: str
    tokens: int
    """Its price: the tokens of the prompt it takes, or what stands for them."""
    worth: float
    """What it is good for beside the others; more is better."""
    text: str = ""
    ids: tuple[str, ...] = ()


NOTHING = Offer("none", 0, 0.0)


def choose(offers: Sequence[Offer], *, left_tokens: int | None) -> Offer:
    """The offer worth most that can be paid, the cheaper of equals; ``NOTHING`` where none can."""
    if left_tokens is not None and left_tokens < 0:
        raise InvalidInput("left_tokens is at least 0")
    payable = [each for each in offers if left_tokens is None or each.tokens <= left_tokens]
    return max(payable, key=lambda each: (each.worth, -each.tokens), default=NOTHING)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
