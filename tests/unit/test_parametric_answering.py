"""An adapter's answers beside the base's, and what they lose by the base's own account."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")

from memos_integrations.infrastructure.parametric import answering, wrapping  # noqa: E402
from memos_integrations.infrastructure.parametric.answering import Student  # noqa: E402
from memos_integrations.infrastructure.parametric.manifest import invocation_start  # noqa: E402
from memos_integrations.operation.transform.invocation import ends_of, prompt_tokens  # noqa: E402
from tests.unit.parametric_toys import (  # noqa: E402
    INVOCATION,
    NAMES,
    RECIPE,
    a_model,
    hosted,
    tensors,
)


def chances(model: Any, tokens: tuple[int, ...]) -> Any:
    """What the bare model holds likely next."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens])).logits[0, -1].softmax(-1)


@pytest.mark.parametrize("scale", [0.05, 0.5])
def test_what_is_lost_is_how_much_less_likely_the_base_holds_the_new_answer(scale: float) -> None:
    bare, model = a_model(), a_model()
    host = hosted(model)
    prompts = [prompt_tokens(host, "", f"where does {name} live") for name in NAMES]
    answers = answering.read(model, prompts, ends=ends_of(host), most=3)
    made = tensors(model, scale=scale)
    wrapped = wrapping.wrapped(model)
    wrapping.put_known(wrapped, "one", RECIPE, tuple(INVOCATION), made)
    student = Student(wrapped, "one", tuple(INVOCATION))
    compared = answering.compare(student, prompts, answers)
    assert any(each.same for each in compared) == (scale < 0.1)
    assert any(not each.same for each in compared)
    for prompt, answer, each in zip(prompts, answers, compared, strict=True):
        assert (each.lost == 0) == each.same
        if each.same:
            continue
        lost = _lost(bare, student, prompt, answer.tokens)
        assert each.lost == pytest.approx(lost, abs=1e-4)
        assert 0 < each.lost <= 1


def _lost(bare: Any, student: Student, prompt: tuple[int, ...], tokens: tuple[int, ...]) -> float:
    """By the whole distributions, token by token."""
    for n, token in enumerate(tokens):
        before = (*prompt, *tokens[:n])
        at = invocation_start(prompt, student.invocation)
        assert at is not None
        with torch.no_grad():
            chosen = int(
                student.model(
                    input_ids=torch.tensor([before]),
                    adapter_names=[student.name],
                    alora_offsets=[len(before) - at],
                )
                .logits[0, -1]
                .argmax()
            )
        if chosen != token:
            base = chances(bare, before)
            return float(base[token] - base[chosen])
    raise AssertionError("it says the same")
