"""``python -m bench.parametric [--quick] [--facts N] [--seeds N]``: memories in weights, measured.

Quality on the small model of the invented world (``cookbook/tiny_world.py``), which knows 600 facts
in its weights and reads others in its context; mechanics on a Qwen2 shape of 138M parameters with
random weights, as what numbers a model holds does not change what they cost. One thread; processor
seconds are told. Answers are held against the world's own truth here, not only the teacher's.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import peft
import torch

from bench.activation import a_model
from cookbook import tiny_world
from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.parametric import adapter_file, wrapping
from memos_integrations.infrastructure.parametric.answering import Student, compare
from memos_integrations.infrastructure.parametric.bank import AdapterBank
from memos_integrations.infrastructure.parametric.lora import (
    adapter_tensors,
    linear_shapes,
    lora_config,
    tensor_shapes,
)
from memos_integrations.infrastructure.parametric.recipe import (
    Figures,
    Gates,
    Manifest,
    Recipe,
    Verdict,
)
from memos_integrations.infrastructure.parametric.soft import certain
from memos_integrations.operation.transform.distil import Distilled, distil
from memos_integrations.operation.transform.hosted import Hosted
from memos_integrations.operation.transform.invocation import ends_of, prompt_tokens
from memos_integrations.operation.transform.lesson import Lesson

Fact = tiny_world.Fact
WORLD = tiny_world.the_world()
SHARD = 25
RECIPE = Recipe()
REPLAYED = [f for n, f in enumerate(WORLD.known) if n % 6]
"""Known facts that replay asks for, in both forms: three of four of these questions are trained on,
the fourth is for measuring."""
UNSEEN = WORLD.known[::6]
"""Known facts that nothing ever asks for in a training."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one way to learn, each a share of questions answered with the truth."""

    name: str
    trained: float
    held: float
    teacher: float
    kept: float
    """Known facts, in the form that replay held back; the base's own stand in the heading."""
    unseen: float
    """Known facts that replay never asked for."""
    drift: float
    seconds_per_fact: float


def replayed_questions() -> tuple[str, ...]:
    """Both forms of what is kept. ``distil`` holds a quarter back, to measure by it."""
    return tuple(tiny_world.question(f, form) for f in REPLAYED for form in (0, 1))


def a_host() -> Hosted:
    """A fresh model of the world."""
    model, tokenizer = tiny_world.load()
    return Hosted(
        "tiny",
        model,
        tokenizer,
        rendering=tiny_world.rendering,
        invocation="question :",
        replay=replayed_questions(),
        canaries=tuple(tiny_world.question(f, n % 2) for n, f in enumerate(UNSEEN)),
    )


def a_lesson(fact: Fact, held: int) -> Lesson:
    """A fact told once, asked for in one question form and three cloze forms."""
    clozes = (each.format(e=fact[0]) for each in tiny_world.CLOZES[fact[1]])
    asked = (tiny_world.question(fact, 1 - held), *clozes)
    said = f"{tiny_world.statement(fact)} ."
    return Lesson(" ".join(fact), 1, said, asked, tiny_world.question(fact, held))


def right(host: Hosted, student: Student | None, asked: Sequence[tuple[str, str, Fact]]) -> float:
    """Share of (memory, question, fact) that is answered with the fact's value."""
    prompts = [prompt_tokens(host, memory, question) for memory, question, _ in asked]
    gold = [certain([host.tokenizer.convert_tokens_to_ids(fact[2])]) for _, _, fact in asked]
    if student is None:
        from memos_integrations.infrastructure.parametric import answering

        said = answering.read(host.model, prompts, ends=ends_of(host), most=1)
        return _share([s.tokens[0] == g.tokens[0] for s, g in zip(said, gold, strict=True)])
    return _share([each.same for each in compare(student, prompts, gold)])


def _share(given: Sequence[bool]) -> float:
    return sum(given) / len(given)


def shard_row(name: str, host: Hosted, facts: Sequence[Fact], held: int, made: Distilled) -> Row:
    """What an adapter knows, asked by the way it serves."""
    model = wrapping.wrapped(host.model)
    student = attached(host, made.file, "row")
    row = measured(name, host, student, facts, held)
    wrapping.take_off(model, "row")
    return replace(
        row,
        drift=made.manifest.figures.drift_kl,
        seconds_per_fact=made.build_seconds / len(facts),
    )


def measured(name: str, host: Hosted, student: Student, facts: Sequence[Fact], held: int) -> Row:
    ask = tiny_world.question
    said = [f"{tiny_world.statement(f)} ." for f in facts]
    return Row(
        name,
        right(host, student, [("", ask(f, 1 - held), f) for f in facts]),
        right(host, student, [("", ask(f, held), f) for f in facts]),
        right(host, None, [(s, ask(f, held), f) for s, f in zip(said, facts, strict=True)]),
        right(host, student, [("", ask(f), f) for f in REPLAYED[::2]]),
        right(host, student, [("", ask(f, n % 2), f) for n, f in enumerate(UNSEEN)]),
        0.0,
        0.0,
    )


def attached(host: Hosted, file: bytes, name: str) -> Student:
    """The adapter in these bytes, on its model under this name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        path.write_bytes(file)
        shapes = linear_shapes(host.model)
        base = adapter_file.read_manifest(path).base
        got = adapter_file.load(path, base=base, shapes=shapes)
    model, told = wrapping.wrapped(host.model), got.manifest
    wrapping.put_known(model, name, told.recipe, told.invocation, got.tensors)
    return Student(model, name, told.invocation)


def taught(host: Hosted, facts: Sequence[Fact], held: int, recipe: Recipe) -> Distilled:
    lessons = [a_lesson(fact, held) for fact in facts]
    others = [each.statement for each in lessons]
    return distil(host, lessons, recipe, Gates(), distractors=others)


def sharded(host: Hosted, facts: Sequence[Fact], held: int, recipe: Recipe, name: str) -> Row:
    """Facts in shards, each question put to the shard that holds its fact."""
    rows = []
    for start in range(0, len(facts), SHARD):
        part = facts[start : start + SHARD]
        rows.append(shard_row(name, host, part, held, taught(host, part, held, recipe)))
        show_row(replace(rows[-1], name=f"  shard {start // SHARD + 1}"))
    return mean_row(name, rows)


def mean_row(name: str, rows: Sequence[Row]) -> Row:
    figures = [[getattr(row, f) for row in rows] for f in Row.__slots__ if f != "name"]
    return Row(name, *(sum(each) / len(each) for each in figures))


def merged(host: Hosted, facts: Sequence[Fact], made: Sequence[Distilled], how: str) -> Row:
    """Adapters of several shards as one, by a way that peft offers. It merges plain LoRAs only, so
    what was trained is put on as such, and works at every token, as nothing stands before."""
    model = wrapping.wrapped(host.model)
    names = [f"part{n}" for n in range(len(made))]
    for name, each in zip(names, made, strict=True):
        student = attached(host, each.file, name)
        numbers = {k: t.clone() for k, t in adapter_tensors(host.model, name).items()}
        wrapping.take_off(model, name)
        wrapping.put(model, name, each.manifest.recipe, None)
        with torch.no_grad():
            for key, tensor in adapter_tensors(host.model, name).items():
                tensor.copy_(numbers[key])
    more = {"density": 0.5} if how != "linear" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = [1.0] * len(names)
        model.add_weighted_adapter(names, weights, "whole", combination_type=how, **more)
    wrapping.rest(model)
    row = measured(f"merged: {how}", host, replace(student, name="whole"), facts, 1)
    for name in (*names, "whole"):
        wrapping.take_off(model, name)
    return row


def show_row(row: Row) -> None:
    print(
        f"  {row.name:34}{row.trained:9.3f}{row.held:9.3f}{row.teacher:9.3f}{row.kept:9.3f}"
        f"{row.unseen:9.3f}{row.drift:9.3f}{row.seconds_per_fact:9.2f}",
        flush=True,
    )


def quality(facts: int, seeds: int, many: int) -> None:
    host = a_host()
    ask = tiny_world.question
    kept = right(host, None, [("", ask(f), f) for f in REPLAYED[::2]])
    unseen = right(host, None, [("", ask(f, n % 2), f) for n, f in enumerate(UNSEEN)])
    print(f"the base alone: replayed facts {kept:.3f}, others {unseen:.3f}; shards of {SHARD}")
    heads = ("trained", "held out", "teacher", "kept", "unseen", "drift", "CPU s/fact")
    print(" " * 36 + "".join(f"{each:>9}"[:9] + " " * (len(each) > 9) for each in heads))
    known = WORLD.new[:facts]
    for held in (1, 0):
        for seed in range(seeds):
            recipe = replace(RECIPE, seed=seed)
            name = f"{facts} facts, form {held} held out, seed {seed}"
            show_row(sharded(host, known, held, recipe, name))
    if many:
        show_row(sharded(host, WORLD.new[:many], 1, RECIPE, f"{many} facts, routed"))


def beside(facts: int, parts: int) -> None:
    """Other ways to learn the same: what each of our choices is worth."""
    known = WORLD.new[:facts]
    print(f"beside it, {facts} facts in one adapter:")
    for name, recipe in (
        ("language modelling", replace(RECIPE, objective="language")),
        ("no replay", replace(RECIPE, replay_weight=0.0)),
        ("rank 16", replace(RECIPE, rank=16, alpha=32)),
    ):
        host = a_host()
        show_row(shard_row(name, host, known, 1, taught(host, known, 1, recipe)))
    host, size = a_host(), facts // parts
    shards = [known[n * size : (n + 1) * size] for n in range(parts)]
    made = [taught(host, each, 1, RECIPE) for each in shards]
    rows = [shard_row("", host, f, 1, m) for f, m in zip(shards, made, strict=True)]
    show_row(mean_row(f"the same in {parts} shards, routed", rows))
    for how in ("linear", "ties", "dare_linear"):
        torch.manual_seed(0)
        show_row(merged(host, known, made, how))


# -- what it costs on a model of some size ------------------------------------------------------


class Timed:
    """Median processor seconds of something done a few times."""

    def __init__(self, rounds: int = 3) -> None:
        self.rounds = rounds

    def __call__(self, work: Any) -> float:
        taken = []
        for _ in range(self.rounds):
            began = time.process_time()
            work()
            taken.append(time.process_time() - began)
        return sorted(taken)[len(taken) // 2]


class Letters:
    """Token ids for ids: nothing is read here."""

    pad_token_id = 0
    chat_template = None

    def get_vocab(self) -> dict[str, int]:
        return {"a": 1}


def mechanics() -> None:
    """Sizes and seconds of default adapters on 138M parameters, and what they must keep."""
    base = a_model()
    host = Hosted("qwen2", base, Letters())
    bank, timed = AdapterBank(host), Timed()
    recipe, invocation = Recipe(), (7, 8)
    rng = torch.Generator().manual_seed(1)
    shapes = tensor_shapes(linear_shapes(base), recipe)
    numbers = {k: torch.randn(s, generator=rng) * 0.02 for k, s in shapes.items()}
    figures = Figures(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
    told = Manifest(
        bank.base, recipe, Digest("d" * 64), figures, Verdict(True, ("made up",)), invocation
    )
    keys = [Digest(f"{n:064x}") for n in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        path.write_bytes(adapter_file.dump(numbers, told))
        print(f"an adapter of rank {recipe.rank}: {path.stat().st_size / 2**20:.1f} MiB")
        rest = iter(keys)
        print(f"  attach from a file {timed(lambda: bank.attach(next(rest), path)):9.3f} s")
        gone = iter(keys)
        print(f"  take off           {timed(lambda: bank.drop(next(gone))):9.3f} s")
        for key in keys[:5]:
            bank.attach(key, path)
        peft_costs(bank, timed, keys)
        batches(bank, timed, keys, invocation)
        exported(path, base, bank, keys[0], invocation, Path(folder) / "out")
    steps(bank, timed, recipe)


def peft_costs(bank: AdapterBank, timed: Timed, keys: Sequence[Digest]) -> None:
    """What peft's own switches cost; here no adapter is ever switched, rows name theirs."""
    name = f"m{keys[0]}"
    taken = timed(lambda: bank.model.set_adapter(name, inference_mode=True))
    wrapping.rest(bank.model)
    print(f"  peft's set_adapter {taken:9.3f} s")
    from peft.utils.hotswap import hotswap_adapter_from_state_dict

    numbers = {k: t.clone() for k, t in adapter_tensors(bank._hosted.model, name).items()}
    config = bank.model.peft_config[name]
    swap = lambda: hotswap_adapter_from_state_dict(bank.model, numbers, name, config)  # noqa: E731
    try:
        print(f"  peft's hotswap     {timed(swap):9.3f} s")
    except Exception as error:  # noqa: BLE001  -- told, as it is peft's own matter
        print(f"  peft's hotswap     refused: {type(error).__name__}")


def batches(
    bank: AdapterBank, timed: Timed, keys: Sequence[Digest], invocation: tuple[int, ...]
) -> None:
    """Six rows of 64 tokens: all of the base, or each with another adapter."""
    rng = torch.Generator().manual_seed(2)
    ids = torch.randint(10, 40_000, (6, 62), generator=rng).tolist()
    rows = [[*row[:48], *invocation, *row[48:]] for row in ids]
    who = [None, *keys[:5]]
    alone = bank.rows_inputs([(row, None) for row in rows])
    mixed = bank.rows_inputs(list(zip(rows, who, strict=True)))
    with torch.no_grad():
        plain, given = (bank.model(**each, logits_to_keep=1).logits for each in (alone, mixed))
        slow = timed(lambda: bank.model(**mixed, logits_to_keep=1))
        fast = timed(lambda: bank.model(**alone, logits_to_keep=1))
    print(f"  six rows of 64 tokens: base {fast:.3f} s, base and five adapters {slow:.3f} s")
    same = torch.equal(plain[0], given[0])
    print(f"  the base's row of the mixed batch is bitwise the same: {same}")


def exported(
    path: Path, base: Any, bank: AdapterBank, key: Digest, invocation: tuple[int, ...], out: Path
) -> None:
    """The export in a fresh model of peft's own gives the same logits."""
    adapter_file.export(path, out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fresh = peft.PeftModel.from_pretrained(a_model(), out).eval()
    row = [5, 6, *invocation, 9, 10]
    with torch.no_grad():
        ours = bank.model(**bank.rows_inputs([(row, key)])).logits
        theirs = fresh(torch.tensor([row])).logits
    far = (ours - theirs).abs().max().item()
    print(f"  export loaded by PeftModel.from_pretrained: logits differ by {far:.1e}")


def steps(bank: AdapterBank, timed: Timed, recipe: Recipe) -> None:
    """One step of training: 32 rows of 24 tokens, forward and backward to the second matrices."""
    wrapping.put(bank.model, "step", recipe, None)
    base = bank._hosted.model
    ids = torch.randint(10, 40_000, (32, 24))
    learning = [t for key, t in adapter_tensors(base, "step").items() if "lora_B" in key]
    optimizer = torch.optim.AdamW(learning, fused=True)
    switch = wrapping.Switch(bank.model, "step", learning)

    def step() -> None:
        with switch.on(train=True):
            base(ids, logits_to_keep=1, use_cache=False).logits.float().pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    print(f"  a training step of 32 rows of 24 tokens {timed(step):.2f} s")
    assert lora_config(recipe, None).alora_invocation_tokens is None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.parametric", description=__doc__)
    parser.add_argument("--facts", type=int, default=100, help="facts of the first table")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--many", type=int, default=500, help="facts that are routed to shards")
    parser.add_argument("--quick", action="store_true", help="50 facts, one seed, no comparison")
    parser.add_argument("--only", choices=["quality", "beside", "mechanics"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.only in (None, "mechanics"):
        mechanics()
    if given.only in (None, "quality"):
        quick = given.quick
        quality(
            50 if quick else given.facts, 1 if quick else given.seeds, 0 if quick else given.many
        )
    if given.only in (None, "beside") and not given.quick:
        beside(50, 5)


if __name__ == "__main__":
    main()
