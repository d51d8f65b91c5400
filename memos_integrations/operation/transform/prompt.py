"""A prompt that begins with memory: rendered once, tokenised whole, and where its memory part ends.

Pure but for the tokenizer it is handed. The part that does not depend on the question is found by
rendering other questions and comparing tokens, not text: merges of tokens across the border would
make a cut in the text another prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias

from memos_integrations.cube.errors import InvalidInput

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
    tokenizer: Any, memory: str, question: str, *, rendering: Rendering | None = None
) -> Prompt:
    """The prompt for this question over this memory, under the tokenizer's chat template.

    Without a template, or with ``rendering``, the text is what is rendered. Raises
    ``InvalidInput`` for a prompt without tokens.
    """
    tokens = _tokens(tokenizer, memory, question, rendering)
    if not tokens:
        raise InvalidInput("the prompt has no tokens: there is neither memory nor a question")
    others = [_tokens(tokenizer, memory, each, rendering) for each in _OTHER_QUESTIONS]
    return Prompt(tuple(tokens), min(_common(tokens, other) for other in others))


def _tokens(
    tokenizer: Any, memory: str, question: str, rendering: Rendering | None
) -> Sequence[int]:
    if rendering is None and getattr(tokenizer, "chat_template", None):
        return _by_template(tokenizer, memory, question)
    text = rendering(memory, question) if rendering else f"{memory}\n\n{question}"
    special = rendering is None
    return [int(n) for n in tokenizer(text, add_special_tokens=special)["input_ids"]]


def _by_template(tokenizer: Any, memory: str, question: str) -> list[int]:
    """The template is applied once and as tokens: applying it to text again doubles its marks."""
    said = [{"role": "system", "content": memory}, {"role": "user", "content": question}]
    try:
        done = _apply(tokenizer, said)
    except Exception:  # noqa: BLE001  -- templates are programs of their own and raise what they like
        done = _apply(tokenizer, [{"role": "user", "content": f"{memory}\n\n{question}"}])
    return [int(n) for n in done["input_ids"]]


def _apply(tokenizer: Any, messages: list[dict[str, str]]) -> Any:
    return tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=True
    )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
