"""Small hosted models for tests of memory in weights, and people of an invented world."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from memos_integrations import MOS
from memos_integrations.cube.item import MemoryItem

ROOT = Path(__file__).parents[2]
TEMPLATE = (
    "<s> {% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }} "
    "{% elif m['role'] == 'user' %}question : {{ m['content'] }} ? answer :"
    "{% else %} {{ m['content'] }} . {% endif %}{% endfor %}"
)
"""A chat as the model of the invented world was taught to read."""
INVOCATION = "question :"


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
