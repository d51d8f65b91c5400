"""Cubes in random company: what was computed for one serves again at any place beside any others,
as if it were computed there and then, whatever was corrected, removed or erased in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the extra activation")
transformers = pytest.importorskip("transformers", reason="needs the extra activation")

from memos_integrations import MOS, Settings  # noqa: E402
from memos_integrations.infrastructure.activation import blend, codec, compose  # noqa: E402
from memos_integrations.infrastructure.activation.forward import (  # noqa: E402
    cache_name,
    empty_cache,
)
from memos_integrations.infrastructure.activation.identity import Digest  # noqa: E402
from memos_integrations.interface.activation_verbs import (  # noqa: E402
    by_cube,
    control_tokens,
    memory_text,
)
from memos_integrations.operation.transform.prompt import parts_of  # noqa: E402

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
torch.set_num_threads(1)
ID = Digest("e" * 64)
WORDS = "red blue green lamp box door key north south river stone paper".split()
VOCABULARY = {word: n for n, word in enumerate(["<unk>", *WORDS], 1)}
SETTINGS = Settings(worker=False, extract=False, synchronous="normal", audit_reads=False)
JOINED = {"linked": compose.linked, "blend": blend.blended}
CUBES = [f"teams/{n}" for n in range(12)]
QUESTION = "north key ?"


class Words:
    """A tokenizer of whole words, in the two methods that are used of one."""

    chat_template = None

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [VOCABULARY.get(word, 1) for word in text.split()]}

    def get_vocab(self) -> dict[str, int]:
        return VOCABULARY


def a_model() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.6,
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


MODEL = a_model()


def next_logits(tokens: Any, cache: Any) -> Any:
    with torch.no_grad():
        last = torch.tensor([[int(tokens[-1])]])
        return MODEL(last, **{cache_name(MODEL): cache}).logits[0, -1]


def computed_at(chunk: codec.Kept, start: int) -> Any:
    """The keys and values of its own tokens where they begin at ``start``, told by positions."""
    cache, places = empty_cache(MODEL), torch.arange(len(chunk.tokens)) + start - 1
    with torch.no_grad():
        ids = torch.tensor([chunk.tokens])
        MODEL(ids, position_ids=places[None], **{cache_name(MODEL): cache})
    return [(layer.keys[:, :, 1:], layer.values[:, :, 1:]) for layer in cache.layers]


CHUNKS = st.lists(st.lists(st.integers(2, 30), min_size=1, max_size=25), min_size=1, max_size=12)


@settings(deadline=None, max_examples=25)
@given(CHUNKS, st.randoms(use_true_random=False))
def test_in_every_order_each_chunk_is_what_it_would_be_at_its_place(
    chunks: list[list[int]], rng: random.Random
) -> None:
    kept = [compose.encode(MODEL, [1, *chunk], identity=ID)[0] for chunk in chunks]
    order = rng.sample(kept, rng.randint(1, len(kept)))
    placed = compose.place(MODEL, order, [5], lead=1)
    for chunk, start in zip(order, placed.starts, strict=True):
        end = start + len(chunk.tokens) - 1
        there = computed_at(chunk, start)
        for layer, (keys, values) in zip(placed.layers, there, strict=True):
            assert torch.allclose(layer.keys[:, :, start:end], keys, atol=1e-4)
            assert torch.allclose(layer.values[:, :, start:end], values, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(
    CHUNKS,
    st.lists(st.integers(2, 30), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
    st.sampled_from(["linked", "blend"]),
)
def test_every_order_computed_wholly_is_a_full_prefill(
    chunks: list[list[int]], question: list[int], rng: random.Random, kind: str
) -> None:
    lead = [1]
    kept = [compose.encode(MODEL, [*lead, *chunk], identity=ID)[0] for chunk in chunks]
    for _ in range(2):  # the same chunks again, in another company
        order = rng.sample(kept, rng.randint(1, len(kept)))
        wholly: dict[str, Any] = {"link_tokens": 100} if kind == "linked" else {"share": 1.0}
        done = JOINED[kind](MODEL, order, question, lead=1, **wholly)
        assert list(done.tokens) == [*lead, *(t for k in order for t in k.tokens[1:]), *question]
        with torch.no_grad():
            plain = MODEL(torch.tensor([done.tokens])).logits[0, -1]
        assert torch.allclose(next_logits(done.tokens, done.cache), plain, atol=2e-4)


class Company:
    """Twelve cubes, what they hold by our own account, and what may happen to them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.path = folder / f"{seed}.db"
        self.mos = MOS(self.path, embedder=None, settings=SETTINGS)
        self.held: dict[str, dict[str, str]] = {}
        self.asked = self.stored = 0
        for cube in CUBES:
            self.mos.create_cube(cube, user="a")
            self.held[cube] = {}

    def run(self, steps: int) -> None:
        acts: list[Callable[[], None]] = [
            *(self.ask,) * 12,
            *(self.add,) * 2,
            *(self.correct, self.archive, self.delete, self.erase, self.empty, self.reopen),
        ]
        try:
            for cube in CUBES:
                self.add(cube)
            for _ in range(steps):
                self.rng.choice(acts)()
            self.ask()
        finally:
            self.mos.close()

    def ask(self) -> None:
        """What is given is what our account says, and as if computed there and then."""
        full = [cube for cube in CUBES if self.held[cube]]
        if not full:
            return
        company = self.rng.sample(full, self.rng.randint(1, len(full)))
        kind: Any = self.rng.choice(["linked", "blend"])
        with self.mos.activated(
            MODEL, Words(), query=QUESTION, user="a", cube=company, composition=kind
        ) as given_:
            fresh = self.afresh(given_.items, kind)
            served = given_.inputs[cache_name(MODEL)]
            assert given_.inputs["input_ids"][0].tolist() == list(fresh.tokens)
            logits = next_logits(fresh.tokens, served)
            assert torch.allclose(logits, next_logits(fresh.tokens, fresh.cache), atol=1e-5)
        told = {(item.id, item.text) for item in given_.items}
        assert told == {entry for cube in company for entry in self.held[cube].items()}
        self.asked += len(company)
        self.stored += int(given_.why.split()[0])

    def afresh(self, items: Any, kind: str) -> compose.Composed:
        texts = [memory_text(each, control_tokens(Words())) for each in by_cube(items).values()]
        parts = parts_of(Words(), texts, QUESTION)
        kept = [
            compose.encode(MODEL, [*parts.lead, *each], identity=ID)[0] for each in parts.chunks
        ]
        return JOINED[kind](MODEL, kept, parts.tail, lead=len(parts.lead))

    def add(self, cube: str | None = None) -> None:
        """At any time of the world, so that the order of the cubes changes."""
        cube = cube or self.rng.choice(CUBES)
        text = " ".join(self.rng.choices(WORDS, k=self.rng.randrange(1, 30)))
        day = f"20{self.rng.randrange(10, 25)}-0{self.rng.randrange(1, 10)}-01"
        added = self.mos.add(text, user="a", cube=cube, time=day)
        self.held[cube].setdefault(added.id, text)

    def one(self) -> tuple[str, str] | None:
        every = [(cube, item) for cube in CUBES for item in sorted(self.held[cube])]
        return self.rng.choice(every) if every else None

    def correct(self) -> None:
        if (found := self.one()) is not None:
            cube, item = found
            text = " ".join(self.rng.choices(WORDS, k=self.rng.randrange(1, 30)))
            self.mos.update(item, text, user="a")
            self.held[cube][item] = text

    def gone(self, verb: Callable[..., Any]) -> None:
        if (found := self.one()) is not None:
            verb(found[1], user="a")
            del self.held[found[0]][found[1]]

    def archive(self) -> None:
        self.gone(self.mos.archive)

    def delete(self) -> None:
        self.gone(self.mos.delete)

    def erase(self) -> None:
        self.gone(self.mos.erase)

    def empty(self) -> None:
        """All of a cube goes; what comes later is another one under its name."""
        cube = self.rng.choice(CUBES)
        for item in list(self.held[cube]):
            self.mos.delete(item, user="a")
        self.held[cube] = {}

    def reopen(self) -> None:
        self.mos.close()
        self.mos = MOS(self.path, embedder=None, settings=SETTINGS)


def run(seeds: range, folder: Path, steps: int) -> None:
    asked = stored = 0
    for seed in seeds:
        company = Company(seed, folder)
        company.run(steps)
        asked, stored = asked + company.asked, stored + company.stored
    assert stored > asked / 3  # else it would prove nothing


def test_cubes_in_changing_company_are_never_stale(tmp_path: Path) -> None:
    run(range(2), tmp_path, 14)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_cubes_in_changing_company_are_never_stale_over_and_over(part: int, tmp_path: Path) -> None:
    run(range(100 * part, 100 * part + 15), tmp_path, 30)
