"""Many questions behind one cache, as one batch: the answers each would get by itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")
transformers = pytest.importorskip("transformers", reason="needs the extra activation")

from memos_integrations import MOS, AsyncMOS, Settings  # noqa: E402
from memos_integrations.cube.errors import InvalidInput  # noqa: E402
from memos_integrations.infrastructure.activation import codec  # noqa: E402
from memos_integrations.infrastructure.activation.batches import (  # noqa: E402
    batch_inputs,
    ensure_batched,
)
from memos_integrations.infrastructure.activation.errors import CacheUnsupported  # noqa: E402
from memos_integrations.infrastructure.activation.forward import (  # noqa: E402
    cache_name,
    empty_cache,
    extend,
)
from memos_integrations.infrastructure.activation.identity import Digest  # noqa: E402

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
torch.set_num_threads(1)
T = transformers
SHAPE: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 4_096,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {**SHAPE, "num_key_value_heads": 2}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0}
SMALL_GPT2: dict[str, Any] = {
    "vocab_size": 384,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
BATCHED = {
    "llama": lambda: T.LlamaConfig(**GROUPED),
    "yarn": lambda: T.LlamaConfig(**GROUPED, rope_parameters=YARN),
    "qwen2": lambda: T.Qwen2Config(**GROUPED),
    "qwen3": lambda: T.Qwen3Config(**GROUPED, head_dim=8),
    "phi3": lambda: T.Phi3Config(**GROUPED),
    "gpt-neox": lambda: T.GPTNeoXConfig(**SHAPE),
    "gpt2 (learned positions)": lambda: T.GPT2Config(**SMALL_GPT2),
    "granite": lambda: T.GraniteConfig(**GROUPED),
    "mixtral": lambda: T.MixtralConfig(**GROUPED, num_local_experts=4),
}
REFUSED = {
    "mistral": (lambda: T.MistralConfig(**GROUPED, sliding_window=16), "sliding window"),
    "gemma3": (
        lambda: T.Gemma3TextConfig(**GROUPED, head_dim=8, sliding_window=16),
        "sliding window",
    ),
    "bloom": (lambda: T.BloomConfig(vocab_size=384, hidden_size=32, n_layer=2, n_head=4), "no pos"),
}
GREEDY: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
QUESTIONS = ["where is it?", "?", "what did the neighbour say about the blue box last week?"]


def made(config: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return T.AutoModelForCausalLM.from_config(config).eval()


def some(seed: int, count: int) -> list[int]:
    return random.Random(seed).choices(range(10, 300), k=count)


def alone(model: Any, ids: list[int], **how: Any) -> list[int]:
    """The answer to one prompt that is read wholly, up to the first end."""
    given = torch.tensor([ids])
    told = {**GREEDY, **how}
    answer = model.generate(given, attention_mask=torch.ones_like(given), **told)[0]
    return ended(answer[len(ids) :].tolist())


def ended(answer: list[int]) -> list[int]:
    """In a batch, what follows the end of an answer is padding."""
    return answer[: answer.index(2)] if 2 in answer else answer


def answers(model: Any, inputs: dict[str, Any], **how: Any) -> list[list[int]]:
    start = inputs["input_ids"].shape[1]
    return [ended(row[start:].tolist()) for row in model.generate(**inputs, **{**GREEDY, **how})]


def prompts(inputs: dict[str, Any]) -> list[list[int]]:
    """The tokens of each row that the mask shows."""
    rows = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in rows]


@pytest.mark.parametrize("name", BATCHED)
def test_every_row_is_answered_as_by_itself(name: str) -> None:
    model = made(BATCHED[name]())
    ensure_batched(model)
    context, questions = some(1, 40), [some(2, 7), some(3, 1), some(4, 19), some(5, 7)]
    cache = empty_cache(model)
    extend(model, cache, context)
    kept = codec.keep(cache, context, identity=Digest("a" * 64))
    inputs = batch_inputs(model, codec.use(kept, model.config), context, questions, pad=0)
    assert prompts(inputs) == [[*context, *each] for each in questions]
    expected = [alone(model, [*context, *each]) for each in questions]
    assert len({tuple(each) for each in expected}) > 1  # else it would prove nothing
    assert answers(model, inputs) == expected


def test_without_a_cache_it_is_a_padded_batch() -> None:
    model = made(BATCHED["llama"]())
    questions = [some(2, 7), some(3, 2)]
    inputs = batch_inputs(model, empty_cache(model), [], questions, pad=0)
    assert answers(model, inputs) == [alone(model, each) for each in questions]


def test_rows_share_the_tensors_of_the_cache_which_stays_as_it_was() -> None:
    model, context = made(BATCHED["llama"]()), some(1, 40)
    cache = empty_cache(model)
    extend(model, cache, context)
    kept = codec.keep(cache, context, identity=Digest("a" * 64))
    before = [layer.keys.clone() for layer in kept.layers]
    inputs = batch_inputs(
        model, codec.use(kept, model.config), context, [some(n, n) for n in (3, 4, 5)], pad=0
    )
    for layer, stored in zip(inputs[cache_name(model)].layers, kept.layers, strict=True):
        assert layer.keys.shape[0] == 3
        assert layer.keys.data_ptr() == stored.keys.data_ptr()
        assert layer.values.data_ptr() == stored.values.data_ptr()
    answers(model, inputs)
    assert all(torch.equal(a.keys, b) for a, b in zip(kept.layers, before, strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_would_count_the_padding_are_refused(name: str) -> None:
    config, why = REFUSED[name]
    with pytest.raises(CacheUnsupported, match=why):
        ensure_batched(made(config()))


# -- through the facade -----------------------------------------------------------------------


@pytest.fixture
def mos() -> Iterator[MOS]:
    with MOS(None, embedder=None, settings=Settings(worker=False, extract=False)) as opened:
        for cube in ("teams/a", "teams/b"):
            opened.create_cube(cube, user="maya")
            opened.add([f"{cube} says {n} " + "box " * 9 for n in range(4)], user="maya", cube=cube)
        yield opened


ABOUT: dict[str, Any] = {"user": "maya", "cube": ["teams/a", "teams/b"]}


@pytest.fixture(scope="module")
def model() -> Any:
    return made(T.LlamaConfig(**GROUPED), seed=3)


def test_a_batch_answers_what_one_by_one_does_and_computes_the_memory_once(
    mos: MOS, model: Any
) -> None:
    tokenizer = T.ByT5Tokenizer()
    with mos.activated_batch(model, tokenizer, queries=QUESTIONS, **ABOUT) as batch:
        found = answers(model, batch.inputs)
    assert batch.cached_tokens == 0
    singly = []
    for question, length in zip(QUESTIONS, batch.prompt_tokens, strict=True):
        with mos.activated(model, tokenizer, query=question, **ABOUT) as one:
            singly.append(answers(model, one.inputs)[0])
        assert one.prompt_tokens == length
        assert one.computed_tokens == 0  # what the batch computed serves each by itself
        assert one.items == batch.items
    assert found == singly
    with mos.activated_batch(model, tokenizer, queries=QUESTIONS, **ABOUT) as again:
        assert (again.cached_tokens, again.computed_tokens) == (batch.computed_tokens, 0)
        assert answers(model, again.inputs) == found


@pytest.mark.parametrize("composition", ["linked", "blend"])
def test_composed_batches_answer_what_one_by_one_does(
    mos: MOS, model: Any, composition: Any
) -> None:
    tokenizer, about = T.ByT5Tokenizer(), {**ABOUT, "composition": composition}
    with mos.activated_batch(model, tokenizer, queries=QUESTIONS, **about) as batch:
        found = answers(model, batch.inputs)
    singly = []
    for question in QUESTIONS:
        with mos.activated(model, tokenizer, query=question, **about) as one:
            singly.append(answers(model, one.inputs)[0])
        assert "2 of 2" in one.why
    assert found == singly


def test_beams_of_every_row_are_those_of_the_row_alone(mos: MOS, model: Any) -> None:
    tokenizer, told = T.ByT5Tokenizer(), {"num_beams": 3}
    about = {**ABOUT, "beams": 3}
    with mos.activated_batch(model, tokenizer, queries=QUESTIONS, **about) as batch:
        ids = prompts(batch.inputs)
        assert answers(model, batch.inputs, **told) == [alone(model, each, **told) for each in ids]


def test_conversations_with_system_turns_of_their_own_share_what_they_begin_with(
    mos: MOS, model: Any
) -> None:
    tokenizer = T.ByT5Tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}\n{% endfor %}<assistant> "
    )
    queries = [
        [{"role": "system", "content": f"Be {how}."}, {"role": "user", "content": "Where?"}]
        for how in ("brief", "kind")
    ]
    with mos.activated_batch(model, tokenizer, queries=queries, **ABOUT) as batch:
        assert answers(model, batch.inputs) == [alone(model, p) for p in prompts(batch.inputs)]
    with (
        pytest.raises(InvalidInput, match="same beginning"),
        mos.activated_batch(model, tokenizer, queries=queries, composition="linked", **ABOUT),
    ):
        pass


@pytest.mark.parametrize("queries", [[], "one question", ["fine", ""], [["no turn"]], [None]])
def test_queries_that_are_none_are_refused(mos: MOS, queries: Any) -> None:
    with (
        pytest.raises(InvalidInput),
        mos.activated_batch(None, None, queries=queries, **ABOUT),
    ):
        pass


def test_sliding_windows_are_refused_through_the_facade_too(mos: MOS) -> None:
    sliding = made(T.MistralConfig(**GROUPED, sliding_window=16))
    with (
        pytest.raises(CacheUnsupported, match="sliding window"),
        mos.activated_batch(sliding, T.ByT5Tokenizer(), queries=QUESTIONS, **ABOUT),
    ):
        pass


def test_an_event_loop_gets_the_same_batch(model: Any) -> None:
    async def twice() -> list[int]:
        settings = Settings(worker=False, extract=False)
        async with AsyncMOS(None, embedder=None, settings=settings) as mos:
            await mos.add("the box is blue " * 10, user="maya")
            found: list[int] = []
            for _ in range(2):
                about: dict[str, Any] = {"queries": QUESTIONS, "user": "maya"}
                async with mos.activated_batch(model, T.ByT5Tokenizer(), **about) as given:
                    found.append(given.cached_tokens)
            return found

    first, second = asyncio.run(twice())
    assert (first, second > 0) == (0, True)
