"""What adapters change in the identity of a model, and so in which caches serve."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
peft = pytest.importorskip("peft", reason="needs the extra parametric")

from memos_integrations import MOS, Settings  # noqa: E402
from memos_integrations.infrastructure.activation.model_identity import identify  # noqa: E402
from memos_integrations.infrastructure.parametric.bank import AdapterBank  # noqa: E402
from tests.unit.parametric_toys import (  # noqa: E402
    INVOCATION,
    a_model,
    a_tokenizer,
    an_adapter,
    hosted,
    key,
    rendering,
)

TOKENIZER = a_tokenizer()


def worn(model: Any, *, name: str = "default", seed: int = 0, **about: Any) -> Any:
    """The model under a LoRA of random numbers that is active."""
    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", **about
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft asks transformers by an old name
        made = peft.PeftModelForCausalLM(model, config, adapter_name=name).eval()
    for part, tensor in made.named_parameters():
        if "lora_B" in part:
            torch.nn.init.normal_(tensor)
    return made


def digest(model: Any) -> str:
    return identify(model, TOKENIZER).digest()


def test_activated_adapters_leave_the_identity_of_the_base(tmp_path: Path) -> None:
    model, plain = a_model(), digest(a_model())
    bank = AdapterBank(hosted(model))
    for n in range(2):
        bank.attach(key(n), an_adapter(model, tmp_path, seed=n))
        assert digest(model) == digest(bank.model) == plain
    bank.drop(key(0))
    assert digest(model) == plain


def test_an_activated_adapter_of_peft_itself_leaves_it_too() -> None:
    model = worn(a_model(), alora_invocation_tokens=list(INVOCATION))
    assert digest(model) == digest(model.get_base_model()) == digest(a_model())


def test_an_active_plain_lora_changes_it_and_a_sleeping_one_does_not() -> None:
    plain = digest(a_model())
    model = worn(a_model())
    active = digest(model)
    assert active != plain
    assert digest(model.get_base_model()) == active  # it is on the layers, whoever is asked
    with model.disable_adapter():
        assert digest(model) == plain
    assert digest(worn(a_model(), seed=1)) != active
    assert digest(worn(a_model(), name="other")) != plain


def test_one_plain_lora_beside_an_activated_one_is_told_apart() -> None:
    model = worn(a_model(), alora_invocation_tokens=list(INVOCATION))
    plain = digest(a_model())
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    model.add_adapter("plain", config)
    assert digest(model) == plain
    model.set_adapter("plain")
    assert digest(model) != plain
    scaled = digest(model)
    model.base_model.model.model.layers[0].self_attn.q_proj.scaling["plain"] = 3.0
    assert digest(model) != scaled


def test_a_merged_lora_and_changed_weights_change_it() -> None:
    model = worn(a_model())
    model.merge_adapter()
    assert digest(model) not in (digest(a_model()), digest(worn(a_model())))
    other = a_model()
    other.model.layers[0].self_attn.q_proj.weight.data[0, 0] += 1
    assert digest(other) != digest(a_model())


def test_a_cache_of_the_base_serves_activated_adapters_and_is_refused_under_a_plain_lora(
    tmp_path: Path,
) -> None:
    settings = Settings(worker=False, extract=False)
    with MOS(tmp_path / "a.db", embedder=None, settings=settings) as mos:
        for n in range(12):
            mos.add(f"ada lives in oslo and bea lives in rome number {n}", user="maya")

        def computed(model: Any) -> int:
            with mos.activated(
                model,
                TOKENIZER,
                query="where does ada live",
                user="maya",
                rendering=rendering,
            ) as given:
                return given.computed_tokens

        model = a_model()
        assert computed(model) > 0
        assert computed(model) == 0
        bank = AdapterBank(hosted(model))
        bank.attach(key(0), an_adapter(model, tmp_path))
        assert computed(bank.model) == 0  # found under the base's identity
        assert computed(model) == 0
        assert computed(worn(a_model())) > 0  # the base's cache would be silently wrong


def test_what_is_computed_under_an_active_adapter_is_still_the_base(tmp_path: Path) -> None:
    """A memory may hold the invocation: peft's model would use the adapter from there on."""
    settings = Settings(worker=False, extract=False)
    model = worn(a_model(), alora_invocation_tokens=list(INVOCATION))
    with MOS(tmp_path / "a.db", embedder=None, settings=settings) as mos:
        for n in range(12):
            mos.add(f"question : where does ada live ? answer : oslo {n}", user="maya")
        with mos.activated(
            model, TOKENIZER, query="where does ada live", user="maya", rendering=rendering
        ) as given:
            ids = given.inputs["input_ids"]
            cache = next(v for k, v in given.inputs.items() if k in {"cache", "past_key_values"})
            size = cache.get_seq_length()
    with torch.no_grad():
        plain = a_model()(ids[:, :size], use_cache=True).past_key_values
    assert size >= 64
    assert torch.allclose(cache.layers[-1].keys, plain.layers[-1].keys, atol=1e-5)
