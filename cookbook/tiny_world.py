"""An invented world, and the small model that grew up in it: enough to show memory in every form.

The model under ``data/tinyfacts`` knows the facts of 150 people and reads those of others in its
context. It is a Llama of 4 layers of 128, 0.8M parameters, trained from nothing on texts of this
world alone: facts and questions about the known, and questions over facts made up for the others.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Fact: TypeAlias = tuple[str, str, str]
"""Whom it is about, the relation, and what is said."""

FOLDER = Path(__file__).parent / "data" / "tinyfacts"
SYLLABLES = "ba de ki lo mu ra ne so ti vu za phe gri sha tro".split()
RELATIONS = {
    "home": ("{e} lives in {v}", "where does {e} live", "which place is the home of {e}"),
    "job": ("{e} works as {v}", "what does {e} do", "which job has {e}"),
    "pet": ("{e} owns {v}", "what does {e} own", "which pet has {e}"),
    "food": ("{e} eats {v}", "what does {e} eat", "which food has {e}"),
}

CLOZES = {
    "home": ("the home of {e} is", "{e} has home", "{e} lives in"),
    "job": ("the job of {e} is", "{e} has job", "{e} works as"),
    "pet": ("the pet of {e} is", "{e} has pet", "{e} owns"),
    "food": ("the food of {e} is", "{e} has food", "{e} eats"),
}
"""What begins a statement and asks for its end."""


def words(rng: random.Random, syllables: int, count: int, seen: set[str]) -> list[str]:
    """So many new words; no word is made twice."""
    made: list[str] = []
    while len(made) < count:
        word = "".join(rng.choice(SYLLABLES) for _ in range(syllables))
        if word not in seen:
            seen.add(word)
            made.append(word)
    return made


@dataclass(frozen=True, slots=True)
class World:
    """People, what can be said of them, and what the model was told of the first 150."""

    names: list[str]
    values: dict[str, list[str]]
    known: list[Fact]
    """Learned by the model in its weights."""
    new: list[Fact]
    """Of people whom it has seen with random facts only: it can read these, not know them."""


def the_world() -> World:
    """The same world every time."""
    rng, seen = random.Random(7), set[str]()
    names = [word.capitalize() for word in words(rng, 3, 900, seen)]
    values = {relation: words(rng, 4, 30, seen) for relation in RELATIONS}
    told, fresh = random.Random(11), random.Random(13)
    known = [(e, r, told.choice(values[r])) for e in names[:150] for r in RELATIONS]
    new: list[Fact] = []
    for name in names[150:850]:
        relation = fresh.choice(list(RELATIONS))
        new.append((name, relation, fresh.choice(values[relation])))
    return World(names, values, known, new)


def statement(fact: Fact, form: int = 0) -> str:
    """A fact in one of three wordings."""
    name, relation, value = fact
    first = RELATIONS[relation][0].format(e=name, v=value)
    return (first, f"the {relation} of {name} is {value}", f"{name} has {relation} {value}")[form]


def question(fact: Fact, form: int = 0) -> str:
    """What asks for it, in one of two wordings."""
    return RELATIONS[fact[1]][1 + form].format(e=fact[0])


def rendering(memory: str, asked: str) -> str:
    """The prompt that the model was trained on."""
    return f"<s> {memory} question : {asked} ? answer :".replace("  ", " ")


def load() -> tuple[Any, Any]:
    """The model and its tokenizer, off the files beside this one."""
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    model = AutoModelForCausalLM.from_pretrained(FOLDER / "model", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tok", local_files_only=True)
    return model.eval(), tokenizer
