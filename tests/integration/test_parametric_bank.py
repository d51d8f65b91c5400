"""Adapters in one memory: found by the real search, and one of them forgets.

Two of them; ``python -m bench.adapters`` measures twenty.
"""

from __future__ import annotations

import pytest

pytest.importorskip("peft", reason="needs the extra parametric")
pytest.importorskip("tokenizers", reason="needs the extra embed")

from bench.adapters import ERASED, measure


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_adapters_are_routed_by_the_search_and_one_forgets() -> None:
    found = measure(2)
    assert found.published == 2
    assert found.recall >= 0.85
    assert found.routed >= 0.95
    assert found.off_topic >= 150
    assert found.off_topic_adapters == 0
    assert found.off_topic_same == found.off_topic
    assert found.erased_recall <= 1 / ERASED  # one of thirty words is right by chance
    assert found.kept_after >= found.kept_before - 0.10
    assert found.others_same
    assert found.base_same
    assert found.needles_found == 0
    assert found.forget_seconds < 60
