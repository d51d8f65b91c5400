"""A prompt that begins with memory: rendered once, tokenised whole, and where its memory part ends.

Pure but for the tokenizer it is handed. The part that does not depend on the question is found by
rendering other questions and comparing tokens, not text: merges of tokens across the border would
make a cut in the text another prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias, TypedDict

from memos_integrations.cube.errors import InvalidInput


class Turn(TypedDict):
    """One turn of a conversation, as chat templates take it."""

    role: str
    content: str


Question: TypeAlias = str | Sequence[Turn]
"""What is asked, or a conversation whose last turn asks it."""

Rendering: TypeAlias = Callable[[str, str], str]
"""Memory and question -> the whole prompt as text, special tokens included."""

_OTHER_QUESTIONS = ("Z", "•")
"""Two that begin differently, so that no question shares its first token with both."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of a prompt; the first ``stable`` of them are the same for every question."""

    tokens: tuple[int, ...]
    stable: int


def prompt_of(
    tokenizer: Any, memory: str, question: Question, *, rendering: Rendering | None = None
) -> Prompt:
    """The prompt for this question over this memory, under the tokenizer's chat template.

    Without a template, or with ``rendering``, the text is what is rendered. A leading system turn
    of a conversation stands before the memory; its other turns are never part of what is stable.
    Raises ``InvalidInput`` for a prompt without tokens, and for a conversation where no template
    says how to write one.
    """
    tokens = _tokens(tokenizer, memory, question, rendering)
    if not tokens:
        raise InvalidInput("the prompt has no tokens: there is neither memory nor a question")
    others = [
        _tokens(tokenizer, memory, _instead(question, each), rendering) for each in _OTHER_QUESTIONS
    ]
    return Prompt(tuple(tokens), min(_common(tokens, other) for other in others))


def _instead(question: Question, other: str) -> Question:
    """Another question in the same place, without the conversation before it."""
    if isinstance(question, str):
        return other
    return [*_leading(question), Turn(role="user", content=other)]


def _leading(turns: Sequence[Turn]) -> list[Turn]:
    return list(turns[:1]) if turns and turns[0]["role"] == "system" else []


def _tokens(
    tokenizer: Any, memory: str, question: Question, rendering: Rendering | None
) -> Sequence[int]:
    if rendering is None and getattr(tokenizer, "chat_template", None):
        asked = question if not isinstance(question, str) else [Turn(role="user", content=question)]
        return _by_template(tokenizer, memory, asked)
    if not isinstance(question, str):
        raise InvalidInput("a conversation needs a tokenizer with a chat template")
    text = rendering(memory, question) if rendering else f"{memory}\n\n{question}"
    special = rendering is None
    return [int(n) for n in tokenizer(text, add_special_tokens=special)["input_ids"]]


def _by_template(tokenizer: Any, memory: str, turns: Sequence[Turn]) -> list[int]:
    """The template is applied once and as tokens: applying it to text again doubles its marks."""
    leading = _leading(turns)
    system = "\n\n".join([*(turn["content"] for turn in leading), memory])
    rest = list(turns[len(leading) :])
    try:
        done = _apply(tokenizer, [Turn(role="system", content=system), *rest])
    except Exception:  # noqa: BLE001  -- a template is a program of its own, and knows no such turn
        first = Turn(role="user", content=f"{system}\n\n{rest[0]['content']}" if rest else system)
        done = _apply(tokenizer, [first, *rest[1:]])
    return [int(n) for n in done["input_ids"]]


def _apply(tokenizer: Any, messages: list[Turn]) -> Any:
    return tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=True
    )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
