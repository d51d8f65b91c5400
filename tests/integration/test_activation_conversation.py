"""A conversation over memory goes on where its last turn ended, and only for whoever leads it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")
transformers = pytest.importorskip("transformers", reason="needs the extra activation")

from memos_integrations import MOS, Settings  # noqa: E402
from memos_integrations.cube.errors import InvalidInput  # noqa: E402
from memos_integrations.infrastructure.activation.generation import generate  # noqa: E402
from memos_integrations.operation.transform.prompt import Turn  # noqa: E402

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
torch.set_num_threads(1)
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</{{ m['role'] }}>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
SHAPE: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
LETTERS = [n for n in range(384) if not ord("a") + 3 <= n <= ord("z") + 3]
GREEDY = {"max_new_tokens": 70, "do_sample": False, "suppress_tokens": LETTERS}
"""Letters only: what the model says is read back as the tokens that it said."""


def a_tokenizer() -> Any:
    made = transformers.ByT5Tokenizer()
    made.chat_template = TEMPLATE
    return made


def a_model(config: Any) -> Any:
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module")
def model() -> Any:
    return a_model(transformers.LlamaConfig(**SHAPE))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return a_tokenizer()


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, extract=False)
    with MOS(tmp_path / "m.db", embedder=None, settings=settings) as opened:
        opened.add(["The heater failed on Monday", "It was replaced on Tuesday"], user="maya")
        yield opened


class Talk:
    """One person's turns with one model."""

    def __init__(self, mos: MOS, model: Any, tokenizer: Any, **about: Any) -> None:
        self.mos, self.model, self.tokenizer = mos, model, tokenizer
        self.about = {"user": "maya", "conversation": "monday"} | about
        self.turns: list[Turn] = []

    def says(self, words: str, *, keep: bool = True) -> Any:
        """What was handed to the model, after checking its answer against the model alone."""
        self.turns.append(Turn(role="user", content=words))
        with self.mos.activated(
            self.model, self.tokenizer, query=self.turns, **self.about
        ) as given:
            ids = given.inputs["input_ids"]
            answer = generate(self.model, self.tokenizer, given.inputs, GREEDY)
            plain = self.model.generate(ids, attention_mask=torch.ones_like(ids), **GREEDY)
            assert answer.ids == tuple(plain[0, ids.shape[1] :].tolist())
            if keep:
                given.keep(answer.ids)
        self.turns.append(Turn(role="assistant", content=answer.text))
        return given


def fresh(given: Any) -> int:
    """Tokens of the prompt that had to be computed, before or by the generation."""
    return int(given.prompt_tokens - given.cached_tokens)


def test_a_turn_costs_what_is_new_in_it(mos: MOS, model: Any, tokenizer: Any) -> None:
    talk = Talk(mos, model, tokenizer)
    costs = [fresh(talk.says(f"What failed on day {n}, and who knows of it?")) for n in range(6)]
    # The question, the marks around it and the answer, and at most a block that was not full.
    assert max(costs[1:]) <= 42 + 40 + 64
    assert costs[0] > 160


def test_without_the_answer_the_turns_before_the_last_are_found(
    mos: MOS, model: Any, tokenizer: Any
) -> None:
    talk = Talk(mos, model, tokenizer)
    given = [talk.says(f"What failed on day {n}?", keep=False) for n in range(4)]
    for before, after in pairwise(given[1:]):
        assert after.cached_tokens == before.cached_tokens + before.computed_tokens
    assert given[3].cached_tokens > given[0].prompt_tokens
    told = Talk(mos, model, tokenizer, conversation=None)
    told.turns = talk.turns[:-2]
    assert told.says("What failed on day 3?").cached_tokens < given[3].cached_tokens


@pytest.mark.parametrize(
    "other", [{"user": "sam", "cube": "users/maya"}, {"conversation": "tuesday"}, {"agent": "aide"}]
)
def test_what_was_said_is_found_by_nobody_else(
    mos: MOS, model: Any, tokenizer: Any, other: Any
) -> None:
    mos.share(to="sam", user="maya")
    talk = Talk(mos, model, tokenizer)
    talk.says("What failed on day 1, which nobody else may know of?")
    told = talk.says("And then?")
    apart = Talk(mos, model, tokenizer, **other)
    apart.turns = talk.turns[:-2]
    guess = apart.says("And then?")
    assert told.cached_tokens > 300
    assert guess.cached_tokens <= 128  # the memory, which they share, if at all


def test_the_memory_serves_other_conversations_and_alone_goes_to_disk(
    mos: MOS, model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    for day in ("monday", "tuesday"):
        talk = Talk(mos, model, tokenizer, conversation=day)
        first = talk.says("What failed?")
        assert first.cached_tokens == (0 if day == "monday" else 128)
        talk.says("And on day 2?")
        for _ in range(3):  # tried again: a kept turn is found more than once
            talk.turns = talk.turns[:-2]
            talk.says("And on day 2?")
    files = [each for each in (tmp_path / "m.db.blobs").rglob("*") if each.is_file()]
    sizes = [each.stat().st_size for each in files if each.stat().st_size > 10_000]
    assert len(sizes) == 1
    assert sizes[0] < 128 * (2 * 2 * 32 * 4 + 4) + 4_096


def test_a_changed_memory_is_read_anew_with_all_that_was_said(
    mos: MOS, model: Any, tokenizer: Any
) -> None:
    talk = Talk(mos, model, tokenizer)
    talk.says("What failed?")
    first = mos.list(user="maya")[-1]
    mos.update(first.id, first.text.replace("e", "a"), user="maya")
    assert talk.says("And then?").cached_tokens <= 64
    mos.erase(mos.list(user="maya")[0].id, user="maya")
    assert talk.says("And then?").cached_tokens <= 64


def test_sliding_windows_keep_the_turns_before_the_last(mos: MOS, tokenizer: Any) -> None:
    config = transformers.MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=32)
    talk = Talk(mos, a_model(config), tokenizer)
    given = [talk.says(f"What failed on day {n}?") for n in range(4)]
    for before, after in pairwise(given[1:]):
        assert after.cached_tokens == before.cached_tokens + before.computed_tokens > 0


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        ("What failed?", {}),
        ([], {}),
        ([Turn(role="user", content="What failed?")], {"composition": "linked"}),
        ([Turn(role="user", content="What failed?")], {"conversation": ""}),
    ],
)
def test_what_is_no_conversation_is_refused(
    mos: MOS, model: Any, tokenizer: Any, asked: Any, more: Any
) -> None:
    about = {"user": "maya", "conversation": "monday"} | more
    with (
        pytest.raises(InvalidInput),
        mos.activated(model, tokenizer, query=asked, **about),
    ):
        pass
