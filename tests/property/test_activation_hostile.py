"""Seeded sequences of hostile operations: whatever happens between two questions, what is served
answers as the text itself would."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra activation")
transformers = pytest.importorskip("transformers", reason="needs the extra activation")

from memos_integrations import MOS, Settings  # noqa: E402
from memos_integrations.infrastructure.activation.forward import cache_name  # noqa: E402

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
torch.set_num_threads(1)
SEQUENCES = 2_000
PARTS = 8
WORDS = "red blue green lamp box door key north south river stone paper".split()
VOCABULARY = {word: n for n, word in enumerate(["<unk>", *WORDS], 1)}
SETTINGS = Settings(worker=False, extract=False, synchronous="normal", audit_reads=False)


class Words:
    """A tokenizer of whole words, in the two methods that are used of one."""

    chat_template = None

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [VOCABULARY.get(word, 1) for word in text.split()]}

    def get_vocab(self) -> dict[str, int]:
        return VOCABULARY


def a_model(seed: int, **changed: Any) -> Any:
    torch.manual_seed(seed)
    shape = {
        "vocab_size": 16,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "initializer_range": 0.6,
    }
    if changed.pop("sliding", False):
        config = transformers.MistralConfig(**shape, sliding_window=48)
    else:
        config = transformers.LlamaConfig(**shape, **changed)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


class Sequence:
    """One memory, some models, and what may happen to them."""

    def __init__(self, seed: int, folder: Path, models: list[Any]) -> None:
        self.rng = random.Random(seed)
        self.path = folder / f"{seed}.db"
        self.models = models
        self.mos = MOS(self.path, embedder=None, settings=SETTINGS)
        self.asked = self.wrong = self.served = 0

    def run(self, steps: int) -> None:
        acts: list[Callable[[], None]] = [
            *(self.ask,) * 9,
            *(
                self.add,
                self.add,
                self.correct,
                self.delete,
                self.erase,
                self.reopen,
                self.harm,
                self.swap,
                self.nudge,
            ),
        ]
        try:
            for _ in range(3):
                self.add()
            for _ in range(steps):
                self.rng.choice(acts)()
            self.ask()
        finally:
            self.mos.close()

    def said(self) -> str:
        return " ".join(self.rng.choices(WORDS, k=self.rng.randrange(20, 90)))

    def one(self) -> str | None:
        found = self.mos.list(user="a")
        return self.rng.choice(found).id if found else None

    def ask(self) -> None:
        model = self.models[self.rng.choice([0, 0, 0, 1, 2])]
        question = " ".join(self.rng.choices(WORDS, k=3))
        with self.mos.activated(
            model, Words(), query=question, user="a", rendering=lambda m, q: f"{m} {q}"
        ) as given:
            ids, cache = given.inputs["input_ids"], given.inputs[cache_name(model)]
            start = given.cached_tokens + given.computed_tokens
            with torch.no_grad():
                ours = model(ids[:, start:], **{cache_name(model): cache}).logits[:, -1]
                plain = model(ids).logits[:, -1]
        self.asked += 1
        self.served += given.cached_tokens > 0
        self.wrong += not torch.allclose(ours, plain, atol=1e-4, rtol=1e-4)

    def add(self) -> None:
        self.mos.add(self.said(), user="a")

    def correct(self) -> None:
        if (item := self.one()) is not None:
            self.mos.update(item, self.said(), user="a")

    def delete(self) -> None:
        if (item := self.one()) is not None:
            self.mos.delete(item, user="a")

    def erase(self) -> None:
        if (item := self.one()) is not None:
            self.mos.erase(item, user="a")

    def reopen(self) -> None:
        self.mos.close()
        self.mos = MOS(self.path, embedder=None, settings=SETTINGS)

    def harm(self) -> None:
        """Another byte, a shorter file, or one cache under the name of another."""
        folder = Path(f"{self.path}.blobs")
        files = sorted(each for each in folder.rglob("*") if each.is_file())
        if not files:
            return
        file = self.rng.choice(files)
        data = bytearray(file.read_bytes())
        how = self.rng.randrange(3)
        if how == 0 and data:
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        elif how == 1:
            del data[self.rng.randrange(len(data) + 1) :]
        else:
            data = bytearray(self.rng.choice(files).read_bytes())
        self.mos.close()  # a file that is mapped is never written in place by us either
        file.unlink()
        file.write_bytes(data)
        self.mos = MOS(self.path, embedder=None, settings=SETTINGS)

    def swap(self) -> None:
        """Weights of one model in the shape of another: only the digest tells them apart."""
        first, second = self.models[0], self.models[1]
        self.models[0], self.models[1] = second, first

    def nudge(self) -> None:
        """Weights changed the way an adapter is merged."""
        model = self.models[0]
        layer = model.model.layers[0].self_attn.k_proj
        layer.weight.data += self.rng.choice([-0.2, 0.2])


def run(seeds: range, folder: Path) -> tuple[int, int, int]:
    models = [a_model(0), a_model(1), a_model(2, sliding=True)]
    asked = served = wrong = 0
    for seed in seeds:
        each = Sequence(seed, folder, models)
        each.run(6)
        asked, served, wrong = asked + each.asked, served + each.served, wrong + each.wrong
    return asked, served, wrong


def test_a_few_hostile_sequences_give_no_wrong_answer(tmp_path: Path) -> None:
    asked, served, wrong = run(range(16), tmp_path)
    assert wrong == 0
    assert served > asked / 4  # else it would prove nothing


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_two_thousand_hostile_sequences_give_no_wrong_answer(part: int, tmp_path: Path) -> None:
    share = SEQUENCES // PARTS
    asked, served, wrong = run(range(part * share, (part + 1) * share), tmp_path)
    assert wrong == 0
    assert served > asked / 4
