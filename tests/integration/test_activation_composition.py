"""Caches of cubes encoded one by one, behind each other in any order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")
transformers = pytest.importorskip("transformers", reason="needs the extra activation")

from cookbook import tiny_world  # noqa: E402
from memos_integrations import MOS, Settings  # noqa: E402
from memos_integrations.cube.errors import InvalidInput  # noqa: E402
from memos_integrations.infrastructure.activation import blend, compose  # noqa: E402
from memos_integrations.infrastructure.activation.errors import CacheUnsupported  # noqa: E402
from memos_integrations.infrastructure.activation.forward import (  # noqa: E402
    cache_name,
    empty_cache,
)
from memos_integrations.infrastructure.activation.identity import Digest  # noqa: E402

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
torch.set_num_threads(1)
T = transformers
ID = Digest("c" * 64)
SHAPE: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {**SHAPE, "num_key_value_heads": 2}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
MOVED = {
    "llama": lambda: T.LlamaConfig(**GROUPED),
    "yarn": lambda: T.LlamaConfig(**GROUPED, rope_parameters=YARN),
    "llama3": lambda: T.LlamaConfig(**GROUPED, rope_parameters=LLAMA3),
    "qwen3": lambda: T.Qwen3Config(**GROUPED, head_dim=8),
    "gpt-neox (a quarter turned)": lambda: T.GPTNeoXConfig(**SHAPE),
    "phi3": lambda: T.Phi3Config(**GROUPED),
    "granite": lambda: T.GraniteConfig(**GROUPED),
    "mixtral": lambda: T.MixtralConfig(**GROUPED, num_local_experts=4),
}
LEAD = [1, 50, 51]


def made(config: Any) -> Any:
    torch.manual_seed(0)
    return T.AutoModelForCausalLM.from_config(config).eval()


def some(seed: int, count: int) -> list[int]:
    return random.Random(seed).choices(range(10, 300), k=count)


def encoded(model: Any, *chunks: list[int]) -> list[Any]:
    return [compose.encode(model, [*LEAD, *chunk], identity=ID)[0] for chunk in chunks]


def next_logits(model: Any, composed: compose.Composed) -> Any:
    last = torch.tensor([[composed.tokens[-1]]])
    with torch.no_grad():
        return model(last, **{cache_name(model): composed.cache}).logits[0, -1]


@pytest.mark.parametrize("name", MOVED)
def test_moved_keys_are_those_of_the_new_place(name: str) -> None:
    model, tokens = made(MOVED[name]()), some(1, 20)
    [kept] = encoded(model, tokens)
    there = empty_cache(model)
    with torch.no_grad():
        model(
            torch.tensor([[*LEAD, *tokens]]),
            position_ids=torch.arange(37, 60)[None],
            **{cache_name(model): there},
        )
    frequencies = compose._rotary(model).inv_freq.float()
    for layer, fresh in zip(kept.layers, there.layers, strict=True):
        turned = compose._turned(layer.keys, 37, frequencies)
        assert torch.allclose(turned, fresh.keys, atol=2e-6)
        assert torch.allclose(layer.values, fresh.values, atol=2e-6)


@pytest.mark.parametrize("at_once", [256, 7])
@pytest.mark.parametrize("name", MOVED)
def test_linking_every_token_is_a_full_prefill(
    name: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "_AT_ONCE", at_once)
    model = made(MOVED[name]())
    chunks, question = [some(n, 15 + n) for n in range(4)], some(9, 5)
    done = compose.linked(
        model, encoded(model, *chunks), question, lead=len(LEAD), link_tokens=10_000
    )
    whole = [*LEAD, *(t for chunk in chunks for t in chunk), *question]
    assert list(done.tokens) == whole
    with torch.no_grad():
        plain = model(torch.tensor([whole])).logits[0, -1]
    assert torch.allclose(next_logits(model, done), plain, atol=1e-5)


@pytest.mark.parametrize("name", MOVED)
def test_blending_every_token_is_a_full_prefill(name: str) -> None:
    model = made(MOVED[name]())
    chunks, question = [some(n, 15 + n) for n in range(4)], some(9, 5)
    done = blend.blended(model, encoded(model, *chunks), question, lead=len(LEAD), share=1.0)
    whole = [*LEAD, *(t for chunk in chunks for t in chunk), *question]
    assert list(done.tokens) == whole
    with torch.no_grad():
        plain = model(torch.tensor([whole])).logits[0, -1]
    assert torch.allclose(next_logits(model, done), plain, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gpt-neox (a quarter turned)"])
def test_what_is_blended_are_the_tokens_whose_keys_differ_most_in_context(name: str) -> None:
    model = made(MOVED[name]())
    chunks = [some(n, 20) for n in range(3)]
    placed = compose.place(model, encoded(model, *chunks), some(9, 4), lead=len(LEAD))
    whole = empty_cache(model)
    with torch.no_grad():
        model(torch.tensor([placed.tokens]), **{cache_name(model): whole})
    first, end = placed.starts[1], len(placed.tokens)
    apart = (whole.layers[1].keys - placed.layers[1].keys[:, :, :end]).norm(dim=3).norm(dim=1)[0]
    most = sorted(range(first, end), key=lambda slot: -apart[slot])[:10]
    assert blend._most_deviating(model, placed, 0.25) == sorted(most)


def test_looking_for_them_runs_no_more_than_one_layer() -> None:
    model, ran = made(MOVED["llama"]()), list[tuple[int, int]]()
    kept = encoded(model, some(1, 30), some(2, 30))
    for n, layer in enumerate(model.model.layers):
        layer.mlp.register_forward_hook(
            lambda _, given, __, n=n: ran.append((n, given[0].shape[1]))
        )
    done = blend.blended(model, kept, some(3, 4), lead=len(LEAD))
    assert done.computed_tokens == 5 + 3  # 15 % of the second chunk, and the question but its last
    assert ran == [(0, len(LEAD) + 60), *((n, 8) for n in range(3))]


def test_blended_tokens_come_nearer_to_the_whole_text_than_moved_ones() -> None:
    model = made(MOVED["llama"]())
    moved = blended = 0.0
    for n in range(8):
        kept, question = encoded(model, *(some(10 * n + c, 20) for c in range(4))), some(n, 4)
        plain = compose.linked(model, kept, question, lead=len(LEAD), link_tokens=0)
        better = blend.blended(model, kept, question, lead=len(LEAD), share=0.5)
        with torch.no_grad():
            whole = model(torch.tensor([plain.tokens])).logits[0, -1]
        moved += float((next_logits(model, plain) - whole).norm())
        blended += float((next_logits(model, better) - whole).norm())
    assert blended < 0.7 * moved


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_lies_from_0_to_1(share: float) -> None:
    model = made(MOVED["llama"]())
    with pytest.raises(InvalidInput, match="share"):
        blend.blended(model, encoded(model, some(1, 5)), [5], lead=len(LEAD), share=share)


def test_one_chunk_alone_is_exact_without_any_linking() -> None:
    model, chunk, question = made(MOVED["llama"]()), some(1, 30), some(2, 4)
    done = compose.linked(model, encoded(model, chunk), question, lead=len(LEAD), link_tokens=0)
    with torch.no_grad():
        plain = model(torch.tensor([[*LEAD, *chunk, *question]])).logits[0, -1]
    assert torch.allclose(next_logits(model, done), plain, atol=1e-5)
    assert done.computed_tokens == len(question) - 1


def test_generation_goes_on_behind_a_composed_prompt() -> None:
    model = made(MOVED["llama"]())
    chunks, question = [some(1, 12), some(2, 12)], some(3, 3)
    done = compose.linked(
        model, encoded(model, *chunks), question, lead=len(LEAD), link_tokens=10_000
    )
    ids = torch.tensor([done.tokens])
    told = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 12, "do_sample": False}
    assert torch.equal(
        model.generate(ids, **{cache_name(model): done.cache}, **told), model.generate(ids, **told)
    )


@pytest.mark.parametrize("join", [compose.linked, blend.blended])
def test_chunks_stay_as_they_were(join: Any) -> None:
    model = made(MOVED["llama"]())
    kept = encoded(model, some(1, 20), some(2, 20))
    before = [[layer.keys.clone() for layer in each.layers] for each in kept]
    for order in (kept, kept[::-1]):
        join(model, order, some(3, 4), lead=len(LEAD))
    for each, keys in zip(kept, before, strict=True):
        assert all(torch.equal(a.keys, b) for a, b in zip(each.layers, keys, strict=True))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (lambda: T.GPT2Config(vocab_size=384, n_embd=32, n_layer=2, n_head=4), "no rotations"),
        (lambda: T.MistralConfig(**GROUPED, sliding_window=16), "let go"),
    ],
)
def test_what_cannot_be_moved_is_refused(config: Any, why: str) -> None:
    with pytest.raises(CacheUnsupported, match=why):
        compose.ensure_movable(made(config()))


def test_chunks_of_other_beginnings_or_models_are_refused() -> None:
    model = made(MOVED["llama"]())
    [one] = encoded(model, some(1, 5))
    other, _ = compose.encode(model, [9, 9, 9, *some(2, 5)], identity=ID)
    foreign, _ = compose.encode(model, [*LEAD, *some(2, 5)], identity=Digest("d" * 64))
    with pytest.raises(InvalidInput, match="same tokens"):
        compose.linked(model, [one, other], [5], lead=len(LEAD))
    with pytest.raises(InvalidInput, match="different models"):
        compose.linked(model, [one, foreign], [5], lead=len(LEAD))
    with pytest.raises(InvalidInput, match="at least one"):
        compose.linked(model, [], [5], lead=0)


# -- through the facade -----------------------------------------------------------------------


@pytest.fixture
def mos() -> Iterator[MOS]:
    with MOS(None, embedder=None, settings=Settings(worker=False, extract=False)) as opened:
        for cube in ("teams/a", "teams/b", "teams/c"):
            opened.create_cube(cube, user="maya")
            opened.add(
                [f"{cube} says {n} " + "box " * 20 for n in range(4)], user="maya", cube=cube
            )
        yield opened


@pytest.mark.parametrize("composition", ["linked", "blend"])
def test_cubes_serve_in_any_company(mos: MOS, composition: Any) -> None:
    model, tokenizer = made(T.LlamaConfig(**GROUPED)), T.ByT5Tokenizer()

    def ask(*cubes: str) -> Any:
        with mos.activated(
            model,
            tokenizer,
            query="which box?",
            user="maya",
            cube=list(cubes),
            composition=composition,
        ) as given:
            model.generate(**given.inputs, max_new_tokens=4, do_sample=False)
            return given

    first = ask("teams/a", "teams/b")
    assert first.cached_tokens == 0
    again = ask("teams/a", "teams/b")
    few = 10 if composition == "linked" else 5
    assert again.computed_tokens < again.prompt_tokens / few
    third = ask("teams/c", "teams/b")
    assert "1 of 2" in third.why
    every = ask("teams/a", "teams/b", "teams/c")
    assert "3 of 3" in every.why
    assert every.computed_tokens < every.prompt_tokens / few


def test_a_corrected_cube_is_computed_anew_and_the_others_are_not(mos: MOS) -> None:
    model, tokenizer = made(T.LlamaConfig(**GROUPED)), T.ByT5Tokenizer()
    about = {"user": "maya", "cube": ["teams/a", "teams/b"], "composition": "linked"}
    for _ in range(2):
        with mos.activated(model, tokenizer, query="which?", **about) as given:
            pass
    item = next(each for each in given.items if each.cube == "teams/b")
    mos.update(item.id, "another box", user="maya")
    with mos.activated(model, tokenizer, query="which?", **about) as given:
        assert "1 of 2" in given.why
    assert any("another box" in each.text for each in given.items)


def test_an_unknown_composition_is_refused(mos: MOS) -> None:
    wrong: Any = "merged"
    with (
        pytest.raises(InvalidInput, match="exact, linked, blend"),
        mos.activated(None, None, query="?", user="maya", composition=wrong),
    ):
        pass


# -- what it costs in answers: a model that reads facts ---------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("cubes", "facts"), [(2, 1), (2, 2), (4, 1)])
def test_joined_cubes_answer_within_two_points_of_the_whole_text(cubes: int, facts: int) -> None:
    model, tokenizer = tiny_world.load()
    world = tiny_world.the_world()
    rng, questions = random.Random(17), 1_000
    whole = linked = blended = 0

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    lead = ids("<s>")
    for _ in range(questions):
        known = [
            (name, relation, rng.choice(world.values[relation]))
            for name in rng.sample(world.names[150:], cubes * facts)
            for relation in [rng.choice(list(tiny_world.RELATIONS))]
        ]
        said = [f"{tiny_world.statement(fact, rng.randrange(3))} ." for fact in known]
        texts = [ids(" ".join(said[n * facts : (n + 1) * facts])) for n in range(cubes)]
        name, relation, value = rng.choice(known)
        wording = rng.randrange(2)
        asked = tiny_world.question((name, relation, value), wording)
        question = ids(f"question : {asked} ? answer :")
        kept = [compose.encode(model, [*lead, *each], identity=ID)[0] for each in texts]
        rng.shuffle(kept)
        done = compose.linked(model, kept, question, lead=len(lead), link_tokens=4)
        mixed = blend.blended(model, kept, question, lead=len(lead))
        gold = tokenizer.convert_tokens_to_ids(value)
        with torch.no_grad():
            plain = model(torch.tensor([done.tokens])).logits[0, -1]
        whole += int(plain.argmax()) == gold
        linked += int(next_logits(model, done).argmax()) == gold
        blended += int(next_logits(model, mixed).argmax()) == gold
    assert whole > 0.5 * questions  # the model does read
    assert linked >= whole - 0.02 * questions, (whole, linked)
    assert blended >= whole - 0.02 * questions, (whole, blended)
