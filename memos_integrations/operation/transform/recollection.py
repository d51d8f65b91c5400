"""From weights back to text: what an adapter claims, held against the memories it was made of.

Called by the facade's ``claims``. A lookup, verified by asking: each memory that the adapter was
made of is asked for in the form it never saw, with the adapter active and no text, and the answer
is held against the one that the base reads off the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.operation.transform.lesson import Lesson
from memos_integrations.operation.transform.prompt import prompt_of
from memos_integrations.operation.transform.teaching import Teaching

if TYPE_CHECKING:
    from memos_integrations.infrastructure.parametric.bank import AdapterBank

_BATCH = 16
_MOST_TOKENS = 32
_END = re.compile(r"[.!?。！？\n]")


@dataclass(frozen=True, slots=True)
class Recollection:
    """What the weights answered, and what the text says."""

    item: str
    version: int
    question: str
    answer: str
    expected: str

    @property
    def agrees(self) -> bool:
        return bool(self.answer) and self.answer == self.expected


def recollected(
    teaching: Teaching, bank: AdapterBank, key: Digest, lessons: Sequence[Lesson]
) -> list[Recollection]:
    """One recollection for each lesson, in order. The adapter is attached and stays so; hold the
    hosted model's lock."""
    found: list[Recollection] = []
    for start in range(0, len(lessons), _BATCH):
        part = lessons[start : start + _BATCH]
        learnt = [(_prompt(teaching, "", each.held_out), key) for each in part]
        read = [(_prompt(teaching, each.statement, each.held_out), None) for each in part]
        answers = answered(teaching, bank, [*learnt, *read])
        found += [
            Recollection(each.item, each.version, each.held_out, said, text)
            for each, said, text in zip(part, answers, answers[len(part) :], strict=False)
        ]
    return found


def answered(
    teaching: Teaching, bank: AdapterBank, rows: Sequence[tuple[Sequence[int], Digest | None]]
) -> list[str]:
    """The first sentence that each row is answered with, greedily, without its end mark."""
    tokenizer = teaching.hosted.tokenizer
    inputs = bank.rows_inputs(rows)
    start = inputs["input_ids"].shape[1]
    pad = getattr(tokenizer, "pad_token_id", None)
    options = {"max_new_tokens": _MOST_TOKENS, "do_sample": False, "pad_token_id": pad or 0}
    ids: Any = bank.model.generate(**inputs, **options)
    texts = [tokenizer.decode(each[start:], skip_special_tokens=True) for each in ids]
    return [_END.split(text.strip(), maxsplit=1)[0].strip() for text in texts]


def _prompt(teaching: Teaching, memory: str, question: str) -> tuple[int, ...]:
    hosted = teaching.hosted
    done = prompt_of(hosted.tokenizer, memory, question, rendering=hosted.rendering)
    return done.tokens
