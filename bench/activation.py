"""``python -m bench.activation [--quick]``: the first token after a long context, stored or read.

Every cell asks one question over one context, on a Qwen2 shape of 138M parameters with random
weights in bfloat16 (the numbers a model holds do not change what it costs). One thread; the arms
take turns; processor and wall seconds are told, as a disk shows only in the second.
"""

from __future__ import annotations

import argparse
import copy
import os
import pickle
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

from memos_integrations.infrastructure.activation import blend, codec, compose
from memos_integrations.infrastructure.activation.batches import batch_inputs
from memos_integrations.infrastructure.activation.forward import cache_name, empty_cache, extend
from memos_integrations.infrastructure.activation.identity import Digest

GRID = [(c, q) for c in (583, 2773, 6064) for q in (167, 303, 953)] + [(6000, 16)]
QUICK = [(583, 167), (2773, 167)]
IDENTITY = Digest("b" * 64)


@dataclass(slots=True)
class Arm:
    """One way to the first token, and what it took in each round."""

    name: str
    run: Callable[[], Any]
    cpu: list[float] = field(default_factory=list[float])
    wall: list[float] = field(default_factory=list[float])

    def once(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.run()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


def a_model() -> Any:
    """Qwen2 with 12 layers of 768, grouped attention; 138M parameters."""
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=45_000,
        hidden_size=768,
        intermediate_size=3_072,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_key_value_heads=4,
        max_position_embeddings=8_192,
        tie_word_embeddings=True,
    )
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()


class Cell:
    """A context, a question, and every way to the first token of its answer."""

    def __init__(self, model: Any, context: int, question: int, folder: Path) -> None:
        self.model, self.context, self.question = model, context, question
        rng = torch.Generator().manual_seed(context * 1_000 + question)
        ids = torch.randint(10, 40_000, (context + question,), generator=rng).tolist()
        self.ids, self.asked = ids, ids[context:]
        cache = empty_cache(model)
        self.build_cpu = -time.process_time()
        extend(model, cache, ids[:context])
        self.kept = codec.keep(cache, ids[:context], identity=IDENTITY)
        self.build_cpu += time.process_time()
        self.path, self.pickled = folder / "cache.safetensors", folder / "cache.pickle"
        self.path.write_bytes(codec.dump(self.kept))
        self.pickled.write_bytes(pickle.dumps([(x.keys, x.values) for x in self.kept.layers]))
        self.live = cache

    def arms(self) -> list[Arm]:
        return [
            Arm("direct", lambda: extend(self.model, empty_cache(self.model), self.ids)),
            Arm("from memory", lambda: self._first(codec.use(self.kept, self.model.config))),
            Arm("from a cold file", self._cold),
            Arm("deepcopy per question", lambda: self._first(copy.deepcopy(self.live))),
            Arm("pickle", self._pickled),
            Arm("no context", lambda: extend(self.model, empty_cache(self.model), self.asked)),
        ]

    def _first(self, cache: Any) -> None:
        extend(self.model, cache, self.asked)

    def _cold(self) -> None:
        _drop_pages(self.path)
        self._first(codec.use(codec.load(self.path, identity=IDENTITY), self.model.config))

    def _pickled(self) -> None:
        """As libraries do that pickle: our own file, so nobody else's code is run."""
        _drop_pages(self.pickled)
        cache = empty_cache(self.model)
        for layer, (keys, values) in zip(
            cache.layers, pickle.loads(self.pickled.read_bytes()), strict=True
        ):
            layer.update(keys, values)
        self._first(cache)

    def check(self) -> None:
        """The stored way gives the token of the direct one, up to bfloat16's rounding."""
        with torch.no_grad():
            ids = torch.tensor([self.ids])
            plain = self.model(ids, logits_to_keep=1).logits.float()
            ours = self.model(
                ids[:, self.context :],
                logits_to_keep=1,
                **{cache_name(self.model): codec.use(self.kept, self.model.config)},
            ).logits.float()
        drift = (plain - ours).abs().max() / plain.abs().max()
        assert drift < 0.05, f"logits differ by {drift:.3f} of their size"


def _drop_pages(path: Path) -> None:
    """A file whose pages lie in memory is no file: write them out and let go of them."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(cell: Cell, rounds: int) -> list[Arm]:
    arms = cell.arms()
    for arm in arms[1:]:
        arm.run()  # once unmeasured, but for the long one
    for _ in range(rounds):
        for arm in arms:
            arm.once()
    return arms


def show(cell: Cell, arms: list[Arm]) -> None:
    direct = arms[0]
    print(
        f"\n{cell.context} tokens of context, {cell.question} of question, "
        f"{cell.kept.bytes / 2**20:.0f} MiB; built once in "
        f"{cell.build_cpu:.2f} CPU s ({cell.build_cpu / min(direct.cpu):.2f} x direct)"
    )
    show_arms(arms)


def show_arms(arms: list[Arm]) -> None:
    """The first arm is what the others are compared with, the last one the limit."""
    direct, limit = arms[0], statistics.median(arms[-1].cpu)
    print(f"  {'':24}{'CPU s':>10}{'wall s':>10}{'x faster':>10}{'x no context':>14}")
    for arm in arms:
        cpu, wall = statistics.median(arm.cpu), statistics.median(arm.wall)
        ratio = statistics.median(d / a for d, a in zip(direct.cpu, arm.cpu, strict=True))
        print(f"  {arm.name:24}{cpu:10.3f}{wall:10.3f}{ratio:10.1f}{cpu / limit:14.2f}")


def show_composed(model: Any, *, cubes: int, each: int, question: int) -> None:
    """Cubes encoded one by one, joined in another order each time, against reading all of it."""
    rng = torch.Generator().manual_seed(cubes)
    texts = torch.randint(10, 40_000, (cubes, each), generator=rng).tolist()
    asked = torch.randint(10, 40_000, (question,), generator=rng).tolist()
    kept = [compose.encode(model, [1, *text], identity=IDENTITY)[0] for text in texts]
    whole, shuffled = [1, *(token for text in texts for token in text), *asked], random.Random(1)

    def joined(how: Callable[..., compose.Composed]) -> None:
        done = how(model, shuffled.sample(kept, cubes), asked, lead=1)
        extend(model, done.cache, asked[-1:])

    arms = [
        Arm("direct", lambda: extend(model, empty_cache(model), whole)),
        Arm("linked cubes", lambda: joined(compose.linked)),
        Arm("blended cubes", lambda: joined(blend.blended)),
        Arm("no context", lambda: extend(model, empty_cache(model), asked)),
    ]
    for arm in arms[1:]:
        arm.run()
    for _ in range(3):
        for arm in arms:
            arm.once()
    print(f"\n{cubes} cubes of {each} tokens in any order, {question} of question")
    show_arms(arms)


def show_batch(model: Any, *, context: int, questions: int, each: int) -> None:
    """Questions over one stored context as a batch, one by one, and each with the context read."""
    rng = torch.Generator().manual_seed(questions)
    ids = torch.randint(10, 40_000, (context,), generator=rng).tolist()
    asked = torch.randint(10, 40_000, (questions, each), generator=rng).tolist()
    cache = empty_cache(model)
    extend(model, cache, ids)
    kept = codec.keep(cache, ids, identity=IDENTITY)

    def at_once() -> None:
        used = codec.use(kept, model.config)
        given = batch_inputs(model, used, ids, asked, pad=0)
        fresh = {name: given[name][:, context:] for name in ("input_ids", "position_ids")}
        with torch.no_grad():
            model(
                **fresh,
                attention_mask=given["attention_mask"],
                logits_to_keep=1,
                **{cache_name(model): used},
            )

    arms = [
        Arm("direct", lambda: [extend(model, empty_cache(model), [*ids, *q]) for q in asked]),
        Arm("one by one", lambda: [extend(model, codec.use(kept, model.config), q) for q in asked]),
        Arm("as a batch", at_once),
        Arm("no context", lambda: [extend(model, empty_cache(model), q) for q in asked]),
    ]
    for arm in arms[1:]:
        arm.run()
    for _ in range(3):
        for arm in arms:
            arm.once()
    print(f"\n{questions} questions of {each} over {context} tokens of context")
    show_arms(arms)


def main(*, quick: bool = False) -> None:
    """Print the grid. The limit of every cell is its question alone, without any context."""
    torch.set_num_threads(1)
    model = a_model()
    print(
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f}M parameters, bfloat16, one thread"
    )
    for context, question in QUICK if quick else GRID:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR", ".")) as folder:
            cell = Cell(model, context, question, Path(folder))
            cell.check()
            show(cell, measure(cell, rounds=3))
    cubes = 4 if quick else 8
    show_composed(model, cubes=cubes, each=250 if quick else 750, question=167)
    show_batch(model, context=583 if quick else 2773, questions=4 if quick else 8, each=64)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.activation", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two cells of the grid")
    main(quick=parser.parse_args().quick)
