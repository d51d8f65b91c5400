"""What a model would say next, kept small: its likeliest tokens and how likely all others are.

Called by the training and by what measures. Needs torch (extra ``parametric``). A whole
distribution of a large vocabulary takes half a megabyte a token; the KL divergence between two of
these short ones never exceeds that between the whole ones (data processing inequality).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.errors import MissingExtra

try:
    import torch
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error

LIKELY = 64
"""Tokens told by name at each place."""
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and how sure its reader was of every token of it."""

    tokens: tuple[int, ...]
    """Its end mark included, if there was room for it."""
    likely: Any
    """Token ids ``[tokens, k]``."""
    shares: Any
    """Their probabilities, ``[tokens, k]``."""

    @property
    def confidence(self) -> float:
        """Mean logarithm of the likeliest tokens' probabilities."""
        return float(self.shares.max(-1).values.clamp(min=_LEAST).log().mean())

    def share(self, place: int, token: int) -> float:
        """How likely its reader held ``token`` there; 0 for one that is not among the likeliest."""
        return float(self.shares[place][self.likely[place] == token].sum())


def certain(tokens: Sequence[int]) -> Answer:
    """Just these tokens: what a text says next."""
    likely = torch.tensor([list(tokens)]).T
    return Answer(tuple(tokens), likely, torch.ones(likely.shape))


def shortened(logits: Any) -> tuple[Any, Any]:
    """The likeliest tokens ``[..., k]`` of logits ``[..., vocabulary]`` and their probabilities."""
    shares = logits.float().softmax(-1)
    top = shares.topk(min(LIKELY, shares.shape[-1]), dim=-1)
    return top.indices, top.values


def divergence(likely: Any, shares: Any, logits: Any) -> Any:
    """KL divergence in nats ``[...]`` of logits ``[..., vocabulary]`` from a short distribution."""
    student = logits.float().log_softmax(-1).gather(-1, likely)
    left = (1 - student.exp().sum(-1)).clamp(min=_LEAST).log()
    rest = (1 - shares.sum(-1)).clamp(min=_LEAST)
    known = shares.clamp(min=_LEAST)
    return (shares * (known.log() - student)).sum(-1) + rest * (rest.log() - left)
