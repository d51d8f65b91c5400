"""Adapters on a model: rows that use one, rows that do not, and a base that stays as it is."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parametric")
peft = pytest.importorskip("peft", reason="needs the extra parametric")

from memos_integrations.cube.errors import InvalidInput, NotFound  # noqa: E402
from memos_integrations.infrastructure.activation.forward import (  # noqa: E402
    cache_name,
    empty_cache,
    extend,
)
from memos_integrations.infrastructure.activation.model_identity import identify  # noqa: E402
from memos_integrations.infrastructure.parametric import wrapping  # noqa: E402
from memos_integrations.infrastructure.parametric.bank import AdapterBank  # noqa: E402
from memos_integrations.infrastructure.parametric.errors import (  # noqa: E402
    AdapterRefused,
    AdapterUnsupported,
)
from memos_integrations.infrastructure.parametric.lora import adapter_tensors  # noqa: E402
from memos_integrations.infrastructure.parametric.recipe import Recipe  # noqa: E402
from tests.unit.parametric_toys import (  # noqa: E402
    RECIPE,
    a_model,
    an_adapter,
    hosted,
    key,
    tensors,
)

SHARED = [2, *range(20, 30)]
"""What a memory's tokens may be."""
ASKED = [3, 4, 6, 7, 21]
"""A question, from its invocation on."""
TOLD = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}


def bank_of(model: Any, folder: Path, *, adapters: int = 3, **about: Any) -> AdapterBank:
    """A bank with so many adapters of random numbers."""
    bank = AdapterBank(hosted(model), **about)
    for n in range(adapters):
        bank.attach(key(n), an_adapter(model, folder, seed=n))
    return bank


@torch.no_grad()
def logits(model: Any, inputs: dict[str, Any]) -> Any:
    return model(**inputs).logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_without_an_adapter_are_the_untouched_base_bitwise(dtype: Any, tmp_path: Path) -> None:
    untouched, model = a_model(dtype=dtype), a_model(dtype=dtype)
    bank = bank_of(model, tmp_path)
    rows = [[*SHARED[:n], *ASKED] for n in (11, 3, 7, 1)]
    inputs = bank.rows_inputs(
        [(rows[0], key(0)), (rows[1], None), (rows[2], key(2)), (rows[3], None)]
    )
    mixed = logits(bank.model, inputs)
    plain = logits(untouched, {k: inputs[k] for k in ("input_ids", "attention_mask")})
    assert torch.equal(mixed[1], plain[1])
    assert torch.equal(mixed[3], plain[3])
    for row in (0, 2):
        assert torch.equal(mixed[row, :-5], plain[row, :-5])  # the base's up to the invocation
        assert not torch.allclose(mixed[row, -5:], plain[row, -5:], atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_plain_call_is_the_base_whatever_is_attached(dtype: Any, tmp_path: Path) -> None:
    model = a_model(dtype=dtype)
    ids = torch.tensor([[*SHARED, *ASKED]])
    before = logits(model, {"input_ids": ids})
    bank = bank_of(model, tmp_path)
    assert torch.equal(logits(model, {"input_ids": ids}), before)
    assert torch.equal(logits(bank.model, {"input_ids": ids}), before)
    for n in range(3):
        bank.drop(key(n))
    assert torch.equal(logits(model, {"input_ids": ids}), before)
    assert bank.resident() == ()


def test_each_row_answers_with_its_own_adapter(tmp_path: Path) -> None:
    bank = bank_of(a_model(), tmp_path)
    row = [*SHARED, *ASKED]
    alone = [logits(bank.model, bank.rows_inputs([(row, key(n))]))[0, -1] for n in range(3)]
    mixed = logits(bank.model, bank.rows_inputs([(row, key(n)) for n in (2, 0, 1)]))[:, -1]
    for at, n in enumerate((2, 0, 1)):
        assert torch.allclose(mixed[at], alone[n], atol=1e-5)
        others = [alone[m] for m in range(3) if m != n]
        assert not any(torch.allclose(mixed[at], each, atol=1e-2) for each in others)


@torch.no_grad()
def test_one_cache_of_the_base_serves_under_it_and_five_adapters(tmp_path: Path) -> None:
    model = a_model()
    bank = bank_of(model, tmp_path, adapters=5)
    built = 0

    def counted(_: Any, args: Any, given: dict[str, Any]) -> None:
        nonlocal built
        built += given["input_ids"].shape[1]

    for who in (None, *map(key, range(5))):
        row = [*SHARED, *ASKED]
        whole = logits(bank.model, bank.rows_inputs([(row, who)]))[0, -1]
        cache = empty_cache(model)
        extend(model, cache, SHARED)
        inputs = bank.rows_inputs([(row, who)], cache)
        hook = model.register_forward_pre_hook(counted, with_kwargs=True)
        bank.model.generate(**inputs, **TOLD | {"max_new_tokens": 1})
        hook.remove()
        tail = {**inputs, "input_ids": inputs["input_ids"][:, len(SHARED) :]}
        fresh = empty_cache(model)
        extend(model, fresh, SHARED)
        tail[cache_name(model)] = fresh
        assert torch.allclose(logits(bank.model, tail)[0, -1], whole, atol=1e-5)
    assert built == 6 * len(ASKED)  # nothing of what the cache holds was computed again


def test_rows_of_other_lengths_share_one_cache(tmp_path: Path) -> None:
    model = a_model()
    bank = bank_of(model, tmp_path)
    rows = [([*SHARED, *ASKED], key(0)), ([*SHARED, 22, 23, *ASKED], None)]
    alone = [bank.model.generate(**bank.rows_inputs([row]), **TOLD)[0, -5:] for row in rows]
    cache = empty_cache(model)
    extend(model, cache, SHARED)
    inputs = bank.rows_inputs(rows, cache)
    assert inputs["attention_mask"][0].tolist() == [1] * 11 + [0, 0] + [1] * 5
    together = bank.model.generate(**inputs, **TOLD)[:, -5:]
    assert torch.equal(together, torch.stack(alone))


def test_rows_that_would_silently_be_the_base_are_refused(tmp_path: Path) -> None:
    model = a_model()
    bank = bank_of(model, tmp_path, adapters=1)
    with pytest.raises(AdapterRefused, match="lacks the tokens"):
        bank.rows_inputs([([*SHARED, 3, 6, 7], key(0))])
    cache = empty_cache(model)
    extend(model, cache, [*SHARED, 3, 4])
    with pytest.raises(AdapterRefused, match="reaches past"):
        bank.rows_inputs([([*SHARED, *ASKED], key(0))], cache)
    with pytest.raises(InvalidInput, match="begin with"):
        bank.rows_inputs([([*SHARED, 3, 4, 6], None), ([*SHARED[1:], *ASKED], None)], cache)
    with pytest.raises(NotFound):
        bank.rows_inputs([([*SHARED, *ASKED], key(7))])
    with pytest.raises(InvalidInput, match="needs tokens"):
        bank.rows_inputs([([], None)])


def test_the_adapter_unused_for_longest_makes_room(tmp_path: Path) -> None:
    bank = bank_of(a_model(), tmp_path, adapters=3, most_resident=3)
    bank.rows_inputs([(ASKED, key(0))])
    bank.attach(key(3), an_adapter(bank._hosted.model, tmp_path, seed=3))
    assert bank.resident() == (key(2), key(0), key(3))
    assert set(bank.model.peft_config) >= {f"m{key(0)}"}
    assert f"m{key(1)}" not in bank.model.peft_config


def test_a_broken_file_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = a_model()
    bank = bank_of(model, tmp_path, adapters=1)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(an_adapter(model, tmp_path, seed=9).read_bytes()[:-1])
    before = sorted(name for name, _ in model.named_parameters())
    with pytest.raises(AdapterRefused):
        bank.attach(key(1), broken)
    assert bank.resident() == (key(0),)
    assert sorted(name for name, _ in model.named_parameters()) == before


def test_attaching_draws_no_random_numbers(tmp_path: Path) -> None:
    model = a_model()
    bank, path = bank_of(model, tmp_path, adapters=0), an_adapter(model, tmp_path)
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    bank.attach(key(1), path)
    assert torch.equal(torch.rand(3), wanted)


def test_a_model_with_a_plain_lora_is_refused() -> None:
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    worn = a_model()
    wrapping_warns = pytest.warns(FutureWarning)
    with wrapping_warns:
        given = peft.get_peft_model(worn, config)
    for model in (given, worn):
        with pytest.raises(InvalidInput, match="carries adapters"):
            AdapterBank(hosted(model))
    with pytest.raises(InvalidInput, match="transformers model"):
        AdapterBank(hosted(object()))


def test_a_model_without_the_recipes_layers_is_refused() -> None:
    from memos_integrations.infrastructure.parametric.lora import linear_shapes, tensor_shapes

    with pytest.raises(AdapterUnsupported, match="query_key_value"):
        tensor_shapes(linear_shapes(a_model()), Recipe(targets=("query_key_value",)))


def test_a_hosted_model_is_wrapped_once(tmp_path: Path) -> None:
    model = a_model()
    first, second = AdapterBank(hosted(model)), AdapterBank(hosted(model))
    assert first.model is second.model
    first.attach(key(0), an_adapter(model, tmp_path))
    assert second.base == first.base == identify(a_model(), hosted(model).tokenizer).digest()


def test_the_base_keeps_its_numbers_under_every_adapter(tmp_path: Path) -> None:
    model = a_model()
    before = {name: each.clone() for name, each in model.named_parameters()}
    bank = bank_of(model, tmp_path)
    wrapping.put(bank.model, "one", RECIPE, (3, 4))
    factors = adapter_tensors(model, "one").values()
    with wrapping.Switch(bank.model, "one", factors).on(train=True):
        assert {n.split(".")[-2] for n, p in model.named_parameters() if p.requires_grad} == {"one"}
    after = {n.replace(".base_layer.", "."): p for n, p in model.named_parameters()}
    assert all(torch.equal(after[name], each) for name, each in before.items())
    assert not any(each.requires_grad for each in after.values())


def test_many_threads_attach_use_and_drop(tmp_path: Path) -> None:
    model = a_model()
    host = hosted(model)
    bank = AdapterBank(host, most_resident=2)
    files = [an_adapter(model, tmp_path, seed=n) for n in range(4)]
    row = [*SHARED, *ASKED]
    wanted = {}
    for n, path in enumerate(files):
        bank.attach(key(n), path)
        wanted[n] = logits(bank.model, bank.rows_inputs([(row, key(n))]))
    wrong: list[Any] = []

    def work(seed: int) -> None:
        for step in range(12):
            n = (seed + step * 3) % 4
            try:
                with host.lock:
                    bank.attach(key(n), files[n])
                    got = logits(bank.model, bank.rows_inputs([(row, key(n))]))
                if not torch.equal(got, wanted[n]):
                    wrong.append((seed, step))
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []
    assert len(bank.resident()) <= 2


def test_numbers_of_another_adapter_stay_apart(tmp_path: Path) -> None:
    model = a_model()
    bank = bank_of(model, tmp_path, adapters=2)
    live = adapter_tensors(model, f"m{key(1)}")
    assert all(torch.equal(live[name], each) for name, each in tensors(model, seed=1).items())
    bank.drop(key(0))
    assert all(torch.equal(live[name], each) for name, each in tensors(model, seed=1).items())
