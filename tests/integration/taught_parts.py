"""What the tests of frameworks share whose model answers from adapters: maya's facts of the
invented world, hosted beside a model that knows nothing of them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from memos_integrations import MOS, Settings
from tests.integration.hosted_parts import host, the_world

WORLD = the_world()
FACTS = WORLD.the_world().new[:3]
WORDS = [WORLD.statement(fact) for fact in FACTS]
QUESTIONS = [WORLD.question(fact) for fact in FACTS]
OFF_TOPIC = WORLD.question(WORLD.the_world().known[0])


@contextmanager
def told_to(parts: tuple[Any, Any], *, count: int = len(FACTS)) -> Generator[MOS]:
    """Memory in which maya has told the first ``count`` facts; hosts the model as ``tiny``."""
    with MOS(None, embedder=None, settings=Settings(worker=False, extract=False)) as opened:
        host(opened, parts, WORLD)
        opened.add(WORDS[:count], user="maya")
        opened.work()
        yield opened


def memory(mos: MOS, n: int) -> str:
    """The id of the nth fact."""
    return next(item.id for item in mos.list(user="maya") if item.text == WORDS[n])


def said_by_hand(mos: MOS, tokenizer: Any, question: str) -> str:
    """What the model answers maya where it is called without any framework."""
    with mos.adapted(model="tiny", query=question, user="maya") as given:
        start = given.inputs["input_ids"].shape[1]
        ids = given.model.generate(**given.inputs, max_new_tokens=6, do_sample=False)[0, start:]
    return str(tokenizer.decode(ids, skip_special_tokens=True))
