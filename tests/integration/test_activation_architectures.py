"""Restored caches equal live ones bitwise on real models of each architecture, or are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")
transformers = pytest.importorskip("transformers", reason="needs the extra activation")

from memos_integrations.infrastructure.activation import codec  # noqa: E402
from memos_integrations.infrastructure.activation.errors import (  # noqa: E402
    CacheRefused,
    CacheUnsupported,
)
from memos_integrations.infrastructure.activation.forward import cache_name  # noqa: E402
from memos_integrations.infrastructure.activation.identity import Digest  # noqa: E402

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
torch.set_num_threads(1)
ID = Digest("a" * 64)
_ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BASE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    **_ENDS,
}
GROUPED = {**BASE, "num_key_value_heads": 2}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts": 4,
    "num_experts_per_tok": 2,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0}
T = transformers
KEPT: dict[str, Callable[[], Any]] = {
    "llama": lambda: T.LlamaConfig(**GROUPED),
    "llama-yarn": lambda: T.LlamaConfig(**GROUPED, rope_parameters=YARN),
    "qwen2": lambda: T.Qwen2Config(**GROUPED),
    "qwen3": lambda: T.Qwen3Config(**GROUPED, head_dim=8),
    "mistral-sliding": lambda: T.MistralConfig(**GROUPED, sliding_window=16),
    "gemma2": lambda: T.Gemma2Config(**GROUPED, head_dim=8, sliding_window=16),
    "gemma3": lambda: T.Gemma3TextConfig(**GROUPED, head_dim=8, sliding_window=16),
    "phi3": lambda: T.Phi3Config(**GROUPED),
    "gpt2": lambda: T.GPT2Config(
        vocab_size=97, n_embd=32, n_layer=4, n_head=4, n_positions=256, **_ENDS
    ),
    "gpt-neox": lambda: T.GPTNeoXConfig(**BASE),
    "olmo": lambda: T.OlmoConfig(**GROUPED),
    "granite": lambda: T.GraniteConfig(**GROUPED),
    "mixtral-moe": lambda: T.MixtralConfig(**GROUPED, num_local_experts=4),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "linear attention": lambda: T.Qwen3NextConfig(**GROUPED, head_dim=8, **LINEAR),
    "dynamic": lambda: T.LlamaConfig(**GROUPED, rope_parameters={**YARN, "rope_type": "dynamic"}),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def made(config: Any, dtype: Any = torch.float32, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return T.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def prompt(seed: int = 1) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    context = torch.randint(3, 97, (1, 40), generator=generator)
    return context, torch.randint(3, 97, (1, 7), generator=generator)


def over(model: Any, cache: Any) -> dict[str, Any]:
    return {cache_name(model): cache}


def repeated(cache: Any, beams: int) -> Any:
    cache.batch_repeat_interleave(beams)
    return cache


def prefilled(model: Any, tokens: Any) -> Any:
    cache = T.DynamicCache(config=model.config)
    with torch.no_grad():
        model(tokens, **over(model, cache), logits_to_keep=1)
    return cache


def from_file(kept: codec.Kept, folder: Path) -> codec.Kept:
    path = folder / "cache.safetensors"
    path.write_bytes(codec.dump(kept))
    return codec.load(path, identity=ID)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KEPT)
def test_restored_cache_equals_the_live_one(name: str, dtype: str, tmp_path: Path) -> None:
    model = made(KEPT[name](), DTYPES[dtype])
    codec.ensure_supported(model.config)
    context, question = prompt()
    live = prefilled(model, context)
    kept = codec.keep(live, context[0].tolist(), identity=ID)
    restored = from_file(kept, tmp_path)
    assert restored.tokens == kept.tokens
    with torch.no_grad():
        expected = model(question, **over(model, live)).logits
        for _ in range(2):  # the second use finds it as the first one did
            used = codec.use(restored, model.config)
            assert torch.equal(model(question, **over(model, used)).logits, expected)


@pytest.mark.parametrize("name", KEPT)
def test_greedy_tokens_equal_those_of_a_full_prefill(name: str, tmp_path: Path) -> None:
    model = made(KEPT[name]())
    context, question = prompt()
    kept = from_file(
        codec.keep(prefilled(model, context), context[0].tolist(), identity=ID), tmp_path
    )
    whole = torch.cat([context, question], 1)
    told = {"max_new_tokens": 16, "do_sample": False, "attention_mask": torch.ones_like(whole)}
    plain = model.generate(whole, **told)
    assert torch.equal(
        model.generate(whole, **over(model, codec.use(kept, model.config)), **told), plain
    )


@pytest.mark.parametrize(
    ("name", "why"), [("linear attention", "LinearAttentionLayer"), ("dynamic", "'dynamic'")]
)
def test_what_has_no_codec_is_refused_by_name(name: str, why: str) -> None:
    with pytest.raises(CacheUnsupported, match=why):
        codec.ensure_supported(REFUSED[name]())


def test_a_part_of_a_cache_serves_where_every_token_is_kept(tmp_path: Path) -> None:
    model = made(KEPT["llama"]())
    context, question = prompt()
    kept = from_file(
        codec.keep(prefilled(model, context), context[0].tolist(), identity=ID), tmp_path
    )
    with torch.no_grad():
        part = codec.use(kept, model.config, upto=24)
        expected = model(question, **over(model, prefilled(model, context[:, :24]))).logits
        assert torch.allclose(model(question, **over(model, part)).logits, expected, atol=1e-6)


def test_a_part_of_a_sliding_window_is_refused() -> None:
    model = made(KEPT["mistral-sliding"]())
    context, _ = prompt()
    kept = codec.keep(prefilled(model, context), context[0].tolist(), identity=ID)
    with pytest.raises(CacheRefused, match="window has moved"):
        codec.use(kept, model.config, upto=24)


def test_use_and_generation_leave_the_kept_cache_as_it_was() -> None:
    model = made(KEPT["gemma3"]())
    context, question = prompt()
    kept = codec.keep(prefilled(model, context), context[0].tolist(), identity=ID)
    before = [(x.keys.clone(), x.values.clone()) for x in kept.layers]
    whole = torch.cat([context, question], 1)
    mask = torch.ones_like(whole)
    for beams in (1, 3):
        model.generate(
            whole,
            attention_mask=mask,
            **over(model, repeated(codec.use(kept, model.config), beams)),
            max_new_tokens=8,
            num_beams=beams,
            do_sample=False,
        )
    for layer, (keys, values) in zip(kept.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


def test_beams_over_a_kept_cache_give_what_beams_over_the_prompt_give() -> None:
    model = made(KEPT["llama"]())
    context, question = prompt()
    kept = codec.keep(prefilled(model, context), context[0].tolist(), identity=ID)
    whole = torch.cat([context, question], 1)
    told = {
        "attention_mask": torch.ones_like(whole),
        "max_new_tokens": 8,
        "num_beams": 3,
        "do_sample": False,
    }
    assert torch.equal(
        model.generate(whole, **over(model, repeated(codec.use(kept, model.config), 3)), **told),
        model.generate(whole, **told),
    )


@pytest.mark.parametrize("other", ["qwen2", "mistral-sliding"])
def test_a_cache_of_another_shape_of_model_is_refused_or_unusable(other: str) -> None:
    model = made(KEPT["llama"]())
    context, _ = prompt()
    kept = codec.keep(prefilled(model, context), context[0].tolist(), identity=ID)
    config = KEPT[other]()
    if other == "mistral-sliding":
        with pytest.raises(CacheRefused, match="DynamicSlidingWindowLayer"):
            codec.use(kept, config)
    config.num_hidden_layers = 3
    config.layer_types = None
    with pytest.raises(CacheRefused, match="layers"):
        codec.use(kept, config)


def test_a_cache_that_has_not_seen_these_tokens_is_not_kept() -> None:
    model = made(KEPT["llama"]())
    context, _ = prompt()
    cache = prefilled(model, context)
    with pytest.raises(CacheRefused, match="exactly the 39 tokens"):
        codec.keep(cache, context[0].tolist()[:-1], identity=ID)
    with pytest.raises(CacheRefused, match="exactly the 40 tokens"):
        codec.keep(T.DynamicCache(config=model.config), context[0].tolist(), identity=ID)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_not_kept(number: float, dtype: Any) -> None:
    model = made(KEPT["llama"]())
    context, _ = prompt()
    cache = prefilled(model, context)
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys.to(dtype), layer.values.to(dtype)
    codec.keep(cache, context[0].tolist(), identity=ID)
    cache.layers[2].values[0, 0, 3, 1] = number
    with pytest.raises(CacheRefused, match="not finite"):
        codec.keep(cache, context[0].tolist(), identity=ID)
