"""What adapters of the small world's model know and forget, asked by the way they serve."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")

from bench.parametric import (  # noqa: E402
    RECIPE,
    WORLD,
    a_host,
    shard_row,
    taught,
)

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
torch.set_num_threads(1)
FACTS = WORLD.new[:25]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_shard_answers_in_a_form_it_never_saw_as_well_as_its_teacher() -> None:
    host = a_host()
    made = taught(host, FACTS, 1, RECIPE)
    row = shard_row("shard", host, FACTS, 1, made)
    figures = made.manifest.figures
    assert row.held >= row.teacher - 0.04
    assert figures.held_out_recall >= figures.teacher_agreement - 0.04
    assert figures.old_knowledge_loss <= 0.02
    assert figures.drift_kl <= 0.05
    assert row.unseen > 0.9
    assert len(made.file) < 2 * 2**20
