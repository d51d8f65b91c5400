"""Memory in weights as one of the forms that a call can be given it in. Pure.

Called by the node that asks a model, and by nodes of your own that choose between offers.
"""

from __future__ import annotations

from typing import Any, Final

from langchain_core.messages import AIMessage

from langgraph_memos.budget import NOTHING, Offer
from memos_integrations.cube.ports import TokenCounter
from memos_integrations.interface.adapted_verb import AdaptedRow
from memos_integrations.interface.context import render
from memos_integrations.interface.tokens import EstimatedTokens

_WORTH: Final = {"adapter": 3.0, "text": 2.0}
"""Beside 2 for text in full: weights and the text they lack say as much, for fewer tokens."""


def adapter_offer(row: AdaptedRow, *, tokens: TokenCounter | None = None) -> Offer | None:
    """An adapter as an offer to ``choose`` from, by what ``MOS.routed`` says of a question;
    ``None`` where no adapter holds what was found.

    Its price is the text that must stand beside it. Give that as the prompt's memories, and name
    ``row.adapter`` to whatever runs the model.
    """
    if row.adapter is None:
        return None
    text = "\n".join(render(item) for item in row.items)
    ids = tuple(item.id for item in (*row.learnt, *row.items))
    price = (tokens or EstimatedTokens()).count(text) if text else 0
    return Offer("adapter", price, _WORTH["adapter"], text, ids)


def looks_up_itself(model: object) -> bool:
    """Whether a chat model finds out by itself which memories it answers from: it needs none in
    its prompt."""
    return getattr(model, "parametric", None) is not None


def given_by(reply: AIMessage) -> Offer:
    """The form in which a model that looks up itself had memories, and which. What text cost is
    counted in its usage."""
    told: dict[str, Any] = reply.response_metadata
    form = str(told.get("memory_form", NOTHING.form))
    if form not in _WORTH:
        return NOTHING
    ids = (*told.get("memory_learnt", ()), *told.get("memory_ids", ()))
    return Offer(form, 0, _WORTH[form], "", tuple(map(str, ids)))
