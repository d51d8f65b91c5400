"""In which form memories are given to a model in one call: the cheapest that loses nothing. Pure.

Called by what answers with a hosted model. An offer is what exists at that moment: text always
does, a cache or an adapter only where it was made and no source has changed since.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.usage import Form


@dataclass(frozen=True, slots=True)
class FormOffer:
    """One form in which the memories of a call could be given."""

    form: Form
    seconds: float
    """Until the first token, as expected."""
    tokens: int
    """Of the prompt, that the memories take in it: nought for an adapter. A cache's are in the
    prompt too, though they are not computed again."""
    accuracy: float = 1.0
    """The share of questions answered rightly in this form, as measured, from 0 to 1."""
    covers: float = 1.0
    """The share of what was found that the form holds; the rest is not given."""
    fresh: bool = True
    """Whether all that it was made of still stands."""

    @property
    def expected(self) -> float:
        """The share of answers to count on."""
        return self.accuracy * self.covers


@dataclass(frozen=True, slots=True)
class Choice:
    """The form of a call, and why it is not another."""

    offer: FormOffer | None
    """``None`` where nothing can be paid: the model is asked without memory."""
    why: tuple[str, ...]
    """One line for each offer, in their order."""


_PREFERRED = ("activation", "parametric", "plaintext")


def choose_form(
    offers: Sequence[FormOffer],
    *,
    left_tokens: int | None = None,
    left_seconds: float | None = None,
    tolerance: float = 0.01,
) -> Choice:
    """The cheapest offer within what is left that is as accurate as the best, to ``tolerance``.

    Cheapest by seconds, then by tokens; of equals a cache is preferred to an adapter, as it says
    the very words, and both to text. What is stale is never taken. Raises ``InvalidInput`` for
    shares beyond 1 and for less than nothing left.
    """
    _check(offers, left_tokens, left_seconds, tolerance)
    refused = {
        n: why for n, o in enumerate(offers) if (why := _barred(o, left_tokens, left_seconds))
    }
    able = {n: offer for n, offer in enumerate(offers) if n not in refused}
    best = max((offer.expected for offer in able.values()), default=0.0)
    for n, offer in able.items():
        if offer.expected < best - tolerance:
            refused[n] = f"answers {offer.expected:.1%} rightly where {best:.1%} are to be had"
    kept = {n: offer for n, offer in able.items() if n not in refused}
    if not kept:
        return Choice(None, tuple(f"{o.form}: {refused[n]}" for n, o in enumerate(offers)))
    taken = min(kept, key=lambda n: (*_price(kept[n]), n))
    told = [
        f"{o.form}: {refused.get(n) or _said(o, kept[taken], taken=n == taken)}"
        for n, o in enumerate(offers)
    ]
    return Choice(kept[taken], tuple(told))


def _barred(offer: FormOffer, tokens: int | None, seconds: float | None) -> str | None:
    if not offer.fresh:
        return "a memory it was made of has changed"
    if tokens is not None and offer.tokens > tokens:
        return f"takes {offer.tokens} tokens of the {tokens} left"
    if seconds is not None and offer.seconds > seconds:
        return f"takes {offer.seconds:.3g} s of the {seconds:.3g} left"
    return None


def _price(offer: FormOffer) -> tuple[float, int, int]:
    return offer.seconds, offer.tokens, _PREFERRED.index(offer.form)


def _said(offer: FormOffer, taken_offer: FormOffer, *, taken: bool) -> str:
    if taken:
        return f"taken: {offer.seconds:.3g} s, {offer.tokens} tokens, {offer.expected:.1%} right"
    return f"takes {offer.seconds:.3g} s where {taken_offer.form} takes {taken_offer.seconds:.3g}"


def _check(
    offers: Sequence[FormOffer], tokens: int | None, seconds: float | None, tolerance: float
) -> None:
    shares = [tolerance, *(s for offer in offers for s in (offer.accuracy, offer.covers))]
    if not all(0.0 <= share <= 1.0 for share in shares):
        raise InvalidInput("accuracy, covers and tolerance are shares from 0 to 1")
    amounts = [
        tokens or 0,
        seconds or 0.0,
        *(o.seconds for o in offers),
        *(o.tokens for o in offers),
    ]
    if not all(math.isfinite(amount) and amount >= 0 for amount in amounts):
        raise InvalidInput("seconds and tokens are at least 0")
