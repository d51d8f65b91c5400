"""Questions in looser words, and an adapter that is made as weak as its lessons allow."""

from __future__ import annotations

import contextlib

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
pytest.importorskip("peft", reason="needs the extra parametric")

from memos_integrations.infrastructure.parametric import wrapping  # noqa: E402
from memos_integrations.infrastructure.parametric.lora import adapter_tensors  # noqa: E402
from memos_integrations.infrastructure.parametric.weakening import weaken  # noqa: E402
from memos_integrations.operation.transform.lesson import Lesson  # noqa: E402
from memos_integrations.operation.transform.loosely import Loosely  # noqa: E402
from memos_integrations.operation.transform.prompt import (  # noqa: E402
    prompt_of,
    tokens_of,
)
from tests.unit.parametric_toys import (  # noqa: E402
    NAMES,
    RECIPE,
    a_model,
    a_tokenizer,
    lessons,
    rendering,
)

REPLAY = [f"where does {name} live" for name in NAMES[8:]]
ASKED, SAID = "which place is the home of ada", "ada lives in oslo ."


def test_words_of_the_memory_stay_and_others_vary() -> None:
    loosely = Loosely(lessons(), REPLAY, seed=0)
    said = [loosely("where does ada live", SAID) for _ in range(200)]
    assert all("ada" in each.split() for each in said)
    assert len(set(said)) > 10
    assert "where does ada live" in said
    assert {len(each.split()) for each in said} >= {2, 3, 4}
    assert {loosely("ada lives in", SAID) for _ in range(50)} == {"ada lives in"}


def test_no_word_of_another_memory_or_of_a_held_out_form_comes_in() -> None:
    taught = lessons()
    loosely = Loosely(taught, REPLAY, seed=0)
    words = {word for _ in range(300) for word in loosely(ASKED, SAID).split()}
    trained = {w for each in taught for q in each.questions for w in q.split()}
    assert words - set(ASKED.split()) <= trained | {w for each in REPLAY for w in each.split()}
    assert not words & set(NAMES[1:])
    assert not words & {each.statement.split()[3] for each in taught}


def test_the_same_seed_says_the_same() -> None:
    first, second, third = (Loosely(lessons(), REPLAY, seed=n) for n in (3, 3, 4))
    assert [first(ASKED, SAID) for _ in range(20)] == [second(ASKED, SAID) for _ in range(20)]
    assert [first(ASKED, SAID) for _ in range(20)] != [third(ASKED, SAID) for _ in range(20)]


def test_a_question_never_loses_its_last_word() -> None:
    loosely = Loosely([Lesson("a", 1, "x", ("where", "where"), "where")], ["where where"], seed=0)
    assert {loosely("where", "nothing") for _ in range(100)} == {"where"}


def test_weakened_as_far_as_the_answers_stay() -> None:
    factor = torch.ones(2)

    def right() -> float:
        return 1.0 if float(factor[0]) >= 0.89 else 0.5

    assert weaken([factor], right, lock=contextlib.nullcontext()) == 0.9
    assert factor.tolist() == pytest.approx([0.9, 0.9])
    assert weaken([factor], lambda: float(factor[0]), lock=contextlib.nullcontext()) == 1.0


def test_a_switch_does_what_peft_does_and_leaves_all_at_rest() -> None:
    model, ids = a_model(), torch.tensor([[2, 3, 4, 6, 7, 21]])
    wrapped = wrapping.wrapped(model)
    plain = model(ids).logits
    wrapping.put(wrapped, "one", RECIPE, None)
    factors = {k: t for k, t in adapter_tensors(model, "one").items() if "lora_B" in k}
    with torch.no_grad():
        for each in factors.values():
            each.fill_(0.01)
    wrapped.set_adapter("one")
    wanted = model(ids).logits
    wrapping.rest(wrapped)
    switch = wrapping.Switch(wrapped, "one", factors.values())
    with switch.on(train=True):
        assert torch.equal(model(ids).logits, wanted)
        wants = [n for n, p in model.named_parameters() if p.requires_grad]
    assert len(wants) == len(factors)
    assert all("lora_B.one" in each for each in wants)
    assert not torch.equal(wanted, plain)
    assert torch.equal(model(ids).logits, plain)
    assert not any(each.requires_grad for each in model.parameters())


def test_the_tokens_alone_are_those_of_the_prompt() -> None:
    tokenizer = a_tokenizer()
    whole = prompt_of(tokenizer, SAID, ASKED, rendering=rendering)
    assert tokens_of(tokenizer, SAID, ASKED, rendering=rendering) == whole.tokens
