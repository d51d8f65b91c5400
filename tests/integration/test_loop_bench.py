"""The loop against each form alone, on a short trace with the real small model."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the activation extra")
pytest.importorskip("peft", reason="needs the parametric extra")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_loop_costs_the_model_far_less_than_text_and_answers_as_well(tmp_path: Path) -> None:
    from bench.loop import main

    drawn = tmp_path / "loop.svg"
    arms = main(quick=True, adapters=False, svg=drawn)
    text, cached, loop = (arm.spent for arm in arms)
    assert text.asked == cached.asked == loop.asked >= 1_000
    assert loop.accuracy >= text.accuracy - 0.01
    assert cached.accuracy >= text.accuracy - 0.01
    assert loop.model <= 0.5 * text.model
    assert "the loop" in drawn.read_text("utf-8")
