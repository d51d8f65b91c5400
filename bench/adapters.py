"""``python -m bench.adapters [--quick]``: many adapters in one memory, found by search, forgotten.

The model of the cookbook's invented world learns facts that it does not know, 25 to an adapter, and
is asked for each in a form it never saw, beside questions about people whom no memory is about.
Then some memories of one adapter are erased. One thread; everything goes through the verbs of MOS.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cookbook import tiny_world
from memos_integrations import MOS, Settings
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.parametric.recipe import Gates, Recipe
from memos_integrations.infrastructure.vault import adapters as rows
from memos_integrations.interface.adapted_verb import Adapted

FACTS_PER_ADAPTER = 25
ERASED = 5
RECIPE = Recipe()
GATES = Gates(recall_below_teacher=0.25, held_out_recall=0.7, distracted_recall=0.4)
"""Recall may be lower than by default: what is measured here is the routing, and what an adapter
does not know shows in the recall. The model reads one memory among others at .6 itself."""
_BATCH = 16
_VERBS = {each[0].split()[1]: name for name, each in tiny_world.RELATIONS.items()}


@dataclass(slots=True)
class Figures:
    """What was measured."""

    adapters: int = 0
    published: int = 0
    facts: int = 0
    train_seconds: float = 0.0
    """Processor seconds for all adapters."""
    bytes: int = 0
    recall: float = 0.0
    routed: float = 0.0
    """Share of questions for which the adapter that holds the fact was active."""
    off_topic: int = 0
    off_topic_adapters: int = 0
    """Questions about nobody of the memory for which an adapter was active all the same."""
    off_topic_same: int = 0
    """Those whose logits are bitwise those of a fresh copy of the model on the same batch."""
    known_kept: float = 0.0
    """Share of what the model knew that it still answers, asked beside the others."""
    forget_seconds: float = 0.0
    """Processor seconds for the erasure and for making the adapter anew."""
    erased_recall: float = 0.0
    """Of the erased facts, with the new adapter made active for them."""
    kept_before: float = 0.0
    kept_after: float = 0.0
    others_same: bool = False
    """Whether every other adapter has the bytes it had."""
    base_same: bool = False
    """Whether the base answers a batch by itself bitwise as before."""
    needles_found: int = 0
    """Erased words and pieces of the old adapter that some file still holds."""


class Bench:
    """One memory with a hosted model."""

    def __init__(self, folder: Path, adapters: int) -> None:
        self.folder, self.figures = folder, Figures()
        self.world = tiny_world.the_world()
        self.model, self.tokenizer = tiny_world.load()
        # Frozen as a hosted model is: torch rounds otherwise where weights want gradients.
        self.fresh = tiny_world.load()[0].requires_grad_(False)
        self.facts = self.world.new[: adapters * FACTS_PER_ADAPTER]
        settings = Settings(worker=False, extract=False)
        self.mos = MOS(self.folder / "agent.db", settings=settings)
        self.ids: dict[tiny_world.Fact, str] = {}

    def run(self) -> Figures:
        """Fill, learn, ask, forget."""
        for fact in self.facts:
            self.ids[fact] = self.mos.add(f"{tiny_world.statement(fact)} .", user="ann").id
        self.mos.work()
        self._learn()
        self._ask()
        self._ask_off_topic()
        self._forget()
        self.mos.close()
        return self.figures

    def _learn(self) -> None:
        known = self.world.known
        self.mos.host_model(
            "tiny",
            self.model,
            self.tokenizer,
            rendering=tiny_world.rendering,
            invocation="question :",
            replay=[tiny_world.question(fact, form) for fact in known[:500] for form in (0, 1)],
            canaries=[tiny_world.question(fact, 1) for fact in known[500:532]],
            forms=forms,
            line=lambda item: item.text,
        )
        began = time.process_time()
        self.mos.distil(
            model="tiny",
            user="ann",
            facts_per_adapter=FACTS_PER_ADAPTER,
            recipe=RECIPE,
            gates=GATES,
            wait=True,
        )
        made = self.mos.adapters(user="ann")
        figures = self.figures
        figures.train_seconds = time.process_time() - began
        figures.adapters, figures.facts = len(made), len(self.facts)
        figures.published = sum(each.state == "published" for each in made)
        figures.bytes = sum(each.bytes for each in made)
        for each in made:
            print(f"  shard {each.shard}: {each.state}, {each.figures}, {each.verdict}", flush=True)

    def _ask(self) -> None:
        holds = {item: m.id for m in self.mos.adapters(user="ann") for item in m.items}
        right = routed = 0
        for part in parts(self.facts):
            with self._adapted([tiny_world.question(fact, 1) for fact in part]) as given:
                right += sum(a == f[2] for a, f in zip(self._answers(given), part, strict=True))
                active = zip(given.rows, part, strict=True)
                routed += sum(row.adapter == holds.get(self.ids[f]) for row, f in active)
        self.figures.recall, self.figures.routed = right / len(self.facts), routed / len(self.facts)

    def _ask_off_topic(self) -> None:
        """Questions about others in one batch with questions that adapters answer."""
        known = self.world.known[500:600]
        strangers = [(name, "home", "") for name in self.world.names[850:]]
        figures, kept = self.figures, 0
        for part in parts([*known, *strangers], _BATCH // 2):
            beside = [tiny_world.question(fact, 1) for fact in self.facts[: len(part)]]
            asked = [tiny_world.question(fact) for fact in part]
            with self._adapted([*asked, *beside]) as given:
                mixed = self._logits(given.model, given.inputs)[: len(part)]
                plain = {k: given.inputs[k] for k in ("input_ids", "attention_mask")}
                alone = self._logits(self.fresh, plain)[: len(part)]
                rows = given.rows[: len(part)]
            figures.off_topic += len(part)
            figures.off_topic_adapters += sum(row.adapter is not None for row in rows)
            figures.off_topic_same += sum(map(torch.equal, mixed, alone))
            said = self.tokenizer.convert_ids_to_tokens(mixed.argmax(-1).tolist())
            kept += sum(a == f[2] for a, f in zip(said, part, strict=True) if f in known)
        figures.known_kept = kept / len(known)

    def _forget(self) -> None:
        made = {each.shard: each for each in self.mos.adapters(user="ann") if each.usable}
        if not made:
            return
        shard = min(made)
        inside = [fact for fact in self.facts if self.ids[fact] in made[shard].items]
        gone, kept = inside[:ERASED], inside[ERASED:]
        self.figures.kept_before = self._forced(made[shard].id, kept)
        needles = self._needles(made[shard].id, gone)
        before = self._base()
        began = time.process_time()
        for fact in gone:
            self.mos.erase(self.ids[fact], user="ann")
        self.mos.work()
        self.figures.forget_seconds = time.process_time() - began
        after = {each.shard: each for each in self.mos.adapters(user="ann") if each.usable}
        if shard in after:
            self.figures.erased_recall = self._forced(after[shard].id, gone)
            self.figures.kept_after = self._forced(after[shard].id, kept)
        self.figures.others_same = {n: m.id for n, m in made.items() if n != shard} == {
            n: m.id for n, m in after.items() if n != shard
        }
        self.figures.base_same = torch.equal(before, self._base())
        raw = [p.read_bytes() for p in self.folder.rglob("*") if p.is_file()]
        self.figures.needles_found = sum(any(n in each for each in raw) for n in needles)

    def _needles(self, adapter: str, gone: Sequence[tiny_world.Fact]) -> list[bytes]:
        """The erased names, and pieces of the file they were learnt into."""
        vault = self.mos._rooms.vault
        with vault.readers.snapshot() as connection:
            (sha256,) = connection.execute(
                "SELECT a.sha256 FROM adapter d JOIN artifact a ON a.aid = d.aid WHERE d.id = ?",
                (adapter,),
            ).fetchone()
        data = vault.blobs.read(sha256)
        step = len(data) // 16
        pieces = [data[at : at + 64] for at in range(step, len(data) - 64, step)]
        return [
            *(fact[0].encode() for fact in gone),
            *(p for p in pieces if any(p)),
            sha256.encode(),
        ]

    def _forced(self, adapter: str, facts: Sequence[tiny_world.Fact]) -> float:
        """Recall with this adapter active for every question, whatever the search says."""
        rooms = self.mos._rooms.adapters
        bank = rooms.bank("tiny")
        questions = [tiny_world.question(fact, 1) for fact in facts]
        with self._adapted(questions[:1]):
            row = self._row(adapter)
            rooms.attach("tiny", row)
            prompts = [self._prompt(question) for question in questions]
            inputs = bank.rows_inputs([(prompt, row.key) for prompt in prompts])
            said = self._said(bank.model, inputs)
        return sum(a == f[2] for a, f in zip(said, facts, strict=True)) / len(facts)

    def _row(self, adapter: str) -> Any:
        with self.mos._rooms.vault.readers.snapshot() as connection:
            return rows.get(connection, adapter)

    def _prompt(self, question: str) -> list[int]:
        text = tiny_world.rendering("", question)
        return [int(n) for n in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def _base(self) -> Any:
        """The base by itself on one batch: the model that was handed over, no adapter named."""
        texts = [tiny_world.rendering("", tiny_world.question(f)) for f in self.world.known[:8]]
        given = self.tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        )
        with torch.no_grad():
            return self.model(given.input_ids, attention_mask=given.attention_mask).logits

    def _adapted(self, questions: Sequence[str]) -> Any:
        return self.mos.adapted(model="tiny", query=list(questions), user="ann")

    def _answers(self, given: Adapted) -> list[str]:
        return self._said(given.model, given.inputs)

    def _said(self, model: Any, inputs: dict[str, Any]) -> list[str]:
        told = {"max_new_tokens": 1, "do_sample": False, "pad_token_id": 0}
        with torch.no_grad():
            ids = model.generate(**inputs, **told)[:, -1].tolist()
        return list(self.tokenizer.convert_ids_to_tokens(ids))

    def _logits(self, model: Any, inputs: dict[str, Any]) -> Any:
        """Of the first token of each answer, ``[rows, vocabulary]``."""
        places = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
        with torch.no_grad():
            return model(**inputs, position_ids=places, logits_to_keep=1).logits[:, -1]


def forms(item: MemoryItem) -> Sequence[str]:
    """Ways to ask for what a memory of this world says; the last one is held out."""
    name, verb = item.text.split()[:2]
    fact = (name, _VERBS[verb], "")
    asked = (f"the {fact[1]} of {name} is", f"{name} has {fact[1]}")
    return (tiny_world.question(fact, 0), *asked, tiny_world.question(fact, 1))


def parts(facts: Sequence[tiny_world.Fact], size: int = _BATCH) -> Iterator[list[tiny_world.Fact]]:
    """The facts, so many at a time."""
    for start in range(0, len(facts), size):
        yield list(facts[start : start + size])


def measure(adapters: int) -> Figures:
    """All figures with so many adapters in one memory."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        return Bench(Path(folder), adapters).run()


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.adapters", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 adapters instead of 20")
    parser.add_argument("--adapters", type=int, default=20)
    given = parser.parse_args()
    for name, value in asdict(measure(3 if given.quick else given.adapters)).items():
        print(f"{name:20} {value:.3f}" if isinstance(value, float) else f"{name:20} {value}")


if __name__ == "__main__":
    main()
