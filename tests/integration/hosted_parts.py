"""Small hosted models for tests of memory in weights, and people of an invented world."""

from __future__ import annotations

import hashlib
import json
import runpy
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from memos_integrations import MOS
from memos_integrations.cube.ids import CubePath, new_item_id
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.parametric.recipe import Figures, Recipe
from memos_integrations.infrastructure.vault import adapters
from memos_integrations.infrastructure.vault.artifacts import Source
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import Transaction
from memos_integrations.operation.transform.adapter_bytes import wipe_noted, writing

ROOT = Path(__file__).parents[2]
TEMPLATE = (
    "<s> {% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }} "
    "{% elif m['role'] == 'user' %}question : {{ m['content'] }} ? answer :"
    "{% else %} {{ m['content'] }} . {% endif %}{% endfor %}"
)
"""A chat as the model of the invented world was taught to read."""
INVOCATION = "question :"
_FIGURES = json.dumps(
    {
        "figures": asdict(Figures(1, 1, 1, 1, 0, 0, 1)),
        "verdict": {"why": ["made for a test"]},
        "seconds": 1.0,
    }
)


def the_world() -> SimpleNamespace:
    """The cookbook's invented world."""
    return SimpleNamespace(**runpy.run_path(str(ROOT / "cookbook" / "tiny_world.py")))


def tiny(tiny_world: Any) -> tuple[Any, Any]:
    """The model that knows that world, with a chat template."""
    model, tokenizer = tiny_world.load()
    tokenizer.chat_template = TEMPLATE
    return model, tokenizer


def untaught() -> tuple[Any, Any]:
    """A model of random weights with a chat template: fast, and it knows nothing."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=384,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=0,
        eos_token_id=1,
    )
    tokenizer = transformers.ByT5Tokenizer()
    tokenizer.chat_template = TEMPLATE
    return transformers.AutoModelForCausalLM.from_config(config).eval(), tokenizer


def forms_of(relations: Any) -> Callable[[MemoryItem], Sequence[str]]:
    """Ways to ask for what a statement of the invented world says: two questions and a cloze."""

    def forms(item: MemoryItem) -> Sequence[str]:
        name, *rest = item.text.rstrip(" .").split()
        for statement, *questions in relations.values():
            said = statement.format(e=name, v=rest[-1]) if rest else ""
            if said == item.text.rstrip(" ."):
                asked = [each.format(e=name) for each in questions]
                return [asked[0], said.rpartition(" ")[0], asked[1]]
        return []

    return forms


def host(mos: MOS, parts: tuple[Any, Any], tiny_world: Any, **more: Any) -> None:
    """Host it under ``tiny``, with the questions of its world kept as they are."""
    known = tiny_world.the_world().known
    mos.host_model(
        "tiny",
        *parts,
        invocation=INVOCATION,
        forms=forms_of(tiny_world.RELATIONS),
        line=lambda item: f"{item.text.rstrip(' .')} .",
        replay=[tiny_world.question(fact, n % 2) for n, fact in enumerate(known[:200])],
        canaries=[tiny_world.question(fact) for fact in known[200:240]],
        **more,
    )


def learn(mos: MOS, *items: str, cube: str = "users/maya", seed: int = 0) -> str:
    """Publish an adapter of random weights for these memories; its id. Nothing is trained, so
    what it answers is only known to be not what the base answers."""
    import torch

    from memos_integrations.infrastructure.activation.identity import Digest
    from memos_integrations.infrastructure.parametric import adapter_file
    from memos_integrations.infrastructure.parametric.lora import linear_shapes, tensor_shapes
    from memos_integrations.infrastructure.parametric.recipe import Manifest, Verdict

    rooms = mos._rooms
    teaching = rooms.adapters.teaching("tiny")
    bank = rooms.adapters.bank("tiny")
    recipe = Recipe(rank=4)
    torch.manual_seed(seed)
    shapes = tensor_shapes(linear_shapes(teaching.hosted.model), recipe)
    manifest = Manifest(
        base=bank.base,
        recipe=recipe,
        data=Digest("0" * 64),
        figures=Figures(1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0),
        verdict=Verdict(True, ("made for a test",)),
        invocation=tuple(
            teaching.hosted.tokenizer(INVOCATION, add_special_tokens=False)["input_ids"]
        ),
    )
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    return _published(mos, items, adapter_file.dump(tensors, manifest), bank.base, cube)


def _published(mos: MOS, items: Sequence[str], file: bytes, base: Any, cube: str) -> str:
    vault = mos._rooms.vault

    def work(tx: Transaction) -> str:
        where = tx.find_cube(CubePath(cube), tenant="default")
        assert where is not None
        rows = current(tx, [iid for iid, _ in tx.numbers(items).values()])
        sources = tuple(Source(row.id, row.version) for row in rows)
        taken = adapters.members(tx.connection, cid=where.cid, model="tiny").values()
        new = adapters.NewAdapter(
            id=str(new_item_id(tx.at)),
            tenant=where.tenant,
            cid=where.cid,
            model="tiny",
            shard=max(taken, default=-1) + 1,
            recipe="{}",
            sources=sources,
            rebuild=False,
        )
        shards = {row.iid: new.shard for row in rows}
        adapters.join_shards(tx, shards, cid=where.cid, model="tiny")
        assert adapters.add(tx, new)
        made = adapters.Made(base, hashlib.sha256(file).hexdigest(), len(file), 1.0)
        assert adapters.name_bytes(tx, new.id, made)
        return new.id

    with writing(vault):
        made = vault.maintain(work)
        vault.blobs.put(file)
        assert vault.maintain(lambda tx: adapters.publish(tx, made, figures=_FIGURES, data=base))
    wipe_noted(vault)
    return made
