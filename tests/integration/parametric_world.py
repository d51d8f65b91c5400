"""A small model of an invented world, hosted: what the tests of adapters share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cookbook import tiny_world
from memos_integrations import MOS, Settings
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.parametric.recipe import Gates, Recipe

Fact = tiny_world.Fact
WORLD = tiny_world.the_world()
QUICK = Recipe(exposures=4, rank=4, batch=8)
"""Learns nothing to speak of, in a moment."""
OPEN = Gates(
    recall_below_teacher=1.0,
    held_out_recall=0.0,
    distracted_recall=0.0,
    old_knowledge_loss=1.0,
    drift_kl=1e9,
)
"""Lets everything through."""
_VERBS = {each[0].split()[1]: name for name, each in tiny_world.RELATIONS.items()}


def told(fact: Fact) -> str:
    """The fact as it is remembered."""
    return f"{tiny_world.statement(fact)} ."


def asked(fact: Fact) -> str:
    """A question for it, of the form that is never trained on."""
    return tiny_world.question(fact, 1)


def forms(item: MemoryItem) -> Sequence[str]:
    """Ways to ask for what a memory of this world says, the last one to be held out."""
    words = item.text.split()
    relation = _VERBS.get(words[1]) if len(words) > 1 else None
    if relation is None:
        return ()
    name = words[0]
    fact = (name, relation, "")
    return (
        tiny_world.question(fact, 0),
        f"the {relation} of {name} is",
        f"{name} has {relation}",
        tiny_world.question(fact, 1),
    )


def host(mos: MOS, model: Any, tokenizer: Any, **about: Any) -> None:
    """Host the world's model under the name ``tiny``."""
    given: dict[str, Any] = {
        "rendering": tiny_world.rendering,
        "invocation": "question :",
        "replay": [tiny_world.question(fact) for fact in WORLD.known[:16]],
        "canaries": [tiny_world.question(fact, 1) for fact in WORLD.known[64:68]],
        "forms": forms,
        "line": lambda item: item.text,
    }
    mos.host_model("tiny", model, tokenizer, **given | about)


def opened(path: Path, **about: Any) -> MOS:
    """A memory that learns when it is told to."""
    settings = {"worker": False, "extract": False} | about.pop("settings", {})
    return MOS(path, embedder=None, settings=Settings(**settings), **about)


def fill(mos: MOS, facts: Sequence[Fact], *, user: str = "ann", **about: Any) -> list[str]:
    """Tell facts, each a memory; their ids."""
    return [mos.add(told(fact), user=user, **about).id for fact in facts]


def files_with(folder: Path, needle: bytes) -> list[str]:
    """The names of all files under a folder whose raw bytes hold this."""
    return [p.name for p in sorted(folder.rglob("*")) if p.is_file() and needle in p.read_bytes()]
