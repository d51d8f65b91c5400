"""The form of one call: a table of offers, and what must hold for any."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.operation.scheduler.offers import FormOffer, choose_form

TEXT = FormOffer("plaintext", seconds=0.5, tokens=400)
CACHE = FormOffer("activation", seconds=0.05, tokens=400)
ADAPTER = FormOffer("parametric", seconds=0.06, tokens=0, accuracy=0.995)


@pytest.mark.parametrize(
    ("offers", "left", "taken"),
    [
        ((TEXT,), {}, "plaintext"),
        ((TEXT, CACHE), {}, "activation"),
        ((TEXT, CACHE, ADAPTER), {}, "activation"),
        ((TEXT, CACHE, ADAPTER), {"left_tokens": 100}, "parametric"),
        ((TEXT, replace(CACHE, fresh=False)), {}, "plaintext"),
        ((TEXT, replace(ADAPTER, accuracy=0.97)), {}, "plaintext"),
        ((TEXT, replace(ADAPTER, accuracy=0.97)), {"tolerance": 0.05}, "parametric"),
        ((TEXT, replace(ADAPTER, covers=0.5)), {}, "plaintext"),
        ((TEXT, replace(ADAPTER, covers=0.5)), {"left_tokens": 10}, "parametric"),
        ((replace(TEXT, seconds=0.05), CACHE), {}, "activation"),
        ((TEXT,), {"left_tokens": 10}, None),
        ((TEXT, CACHE), {"left_seconds": 0.01}, None),
        ((), {}, None),
    ],
)
def test_the_cheapest_that_loses_nothing_is_taken(
    offers: tuple[FormOffer, ...], left: dict[str, float], taken: str | None
) -> None:
    choice = choose_form(offers, **left)  # type: ignore[arg-type]
    assert (choice.offer.form if choice.offer else None) == taken
    assert len(choice.why) == len(offers)
    assert sum(": taken" in line for line in choice.why) == (taken is not None)


def test_each_refusal_says_what_it_is_for() -> None:
    stale = replace(CACHE, fresh=False)
    why = choose_form([TEXT, stale, replace(ADAPTER, accuracy=0.5)], left_tokens=500).why
    assert "a memory it was made of has changed" in why[1]
    assert "50.0% rightly where 100.0%" in why[2]
    assert "400 tokens of the 10 left" in choose_form([TEXT], left_tokens=10).why[0]


@pytest.mark.parametrize(
    "wrong",
    [{"accuracy": 1.5}, {"covers": -0.1}, {"seconds": -1.0}, {"seconds": float("nan")}],
)
def test_figures_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        choose_form([replace(TEXT, **wrong)])  # type: ignore[arg-type]


offers = st.lists(
    st.builds(
        FormOffer,
        form=st.sampled_from(["plaintext", "activation", "parametric"]),
        seconds=st.floats(0, 10),
        tokens=st.integers(0, 1000),
        accuracy=st.floats(0, 1),
        covers=st.floats(0, 1),
        fresh=st.booleans(),
    ),
    max_size=6,
)


@given(offers=offers, tokens=st.none() | st.integers(0, 1000), tolerance=st.floats(0, 0.2))
def test_no_payable_offer_is_more_accurate_or_as_accurate_and_cheaper(
    offers: list[FormOffer], tokens: int | None, tolerance: float
) -> None:
    taken = choose_form(offers, left_tokens=tokens, tolerance=tolerance).offer
    payable = [o for o in offers if o.fresh and (tokens is None or o.tokens <= tokens)]
    assert (taken is None) == (not payable)
    if taken is not None:
        best = max(each.expected for each in payable)
        assert taken in payable
        assert taken.expected >= best - tolerance
        rivals = [each for each in payable if each.expected >= best - tolerance]
        assert taken.seconds == min(each.seconds for each in rivals)
