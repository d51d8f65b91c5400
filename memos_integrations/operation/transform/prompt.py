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
_PLACE = "\ue000memory\ue001"
"""Where the memory goes: private characters, which no template writes."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of a prompt; the first ``stable`` of them are the same for every question."""

    tokens: tuple[int, ...]
    stable: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Token ids of a prompt in parts that can be computed one by one."""

    lead: tuple[int, ...]
    """What every prompt begins with."""
    chunks: tuple[tuple[int, ...], ...]
    tail: tuple[int, ...]
    """The question, and what stands around it."""


def parts_of(
    tokenizer: Any,
    memories: Sequence[str],
    question: Question,
    *,
    rendering: Rendering | None = None,
) -> Parts:
    """The prompt in parts: each memory is tokenised by itself, so its tokens stay the same
    whatever stands beside it. Raises ``InvalidInput`` as ``prompt_of``."""
    text = _text(tokenizer, _PLACE, question, rendering)
    before, found, after = text.partition(_PLACE)
    if not found or _PLACE in after:
        raise InvalidInput("the prompt must hold the memory once, as it is")
    templated = rendering is not None or bool(getattr(tokenizer, "chat_template", None))
    lead = _ids(tokenizer, before, special=not templated)
    chunks = [_ids(tokenizer, f"{each}\n", special=False) for each in memories]
    tail = _ids(tokenizer, after, special=False)
    if not tail or not any(chunks):
        raise InvalidInput("the prompt needs a memory and a question after it")
    return Parts(lead, tuple(each for each in chunks if each), tail)


def prompt_of(
    tokenizer: Any, memory: str, question: Question, *, rendering: Rendering | None = None
) -> Prompt:
    """The prompt for this question over this memory, under the tokenizer's chat template.

    Without a template, or with ``rendering``, the text is what is rendered. A leading system turn
    of a conversation stands before the memory; its other turns are never part of what is stable.
    Raises ``InvalidInput`` for a prompt without tokens, and for a conversation where no template
    says how to write one.
    """
    tokens = tokens_of(tokenizer, memory, question, rendering=rendering)
    others = [
        _tokens(tokenizer, memory, _instead(question, each), rendering) for each in _OTHER_QUESTIONS
    ]
    return Prompt(tokens, min(_common(tokens, other) for other in others))


def tokens_of(
    tokenizer: Any, memory: str, question: Question, *, rendering: Rendering | None = None
) -> tuple[int, ...]:
    """The tokens of ``prompt_of`` alone, in a third of the time: nothing else is rendered."""
    tokens = _tokens(tokenizer, memory, question, rendering)
    if not tokens:
        raise InvalidInput("the prompt has no tokens: there is neither memory nor a question")
    return tuple(tokens)


def said_before(
    tokenizer: Any,
    memory: str,
    turns: Sequence[Turn],
    tokens: Sequence[int],
    *,
    rendering: Rendering | None = None,
) -> int:
    """How many of the prompt's ``tokens`` stay the same whatever its last turn says.

    ``tokens`` are those of ``prompt_of`` for these turns. A template may write earlier turns
    otherwise once later ones are there: what is counted here is compared again at every use.
    """
    others = [
        _tokens(
            tokenizer, memory, [*turns[:-1], Turn(role=turns[-1]["role"], content=c)], rendering
        )
        for c in _OTHER_QUESTIONS
    ]
    return min(_common(tokens, other) for other in others)


def stable_of_all(prompts: Sequence[Prompt]) -> int:
    """How many tokens all of these begin with, whatever they ask."""
    first = prompts[0].tokens
    alike = (_common(first, prompt.tokens) for prompt in prompts)
    return min(*(prompt.stable for prompt in prompts), *alike)


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
        done = _by_template(tokenizer, memory, question, tokenize=True, return_dict=True)
        return [int(n) for n in done["input_ids"]]
    text = _text(tokenizer, memory, question, rendering)
    return _ids(tokenizer, text, special=rendering is None)


def _text(tokenizer: Any, memory: str, question: Question, rendering: Rendering | None) -> str:
    if rendering is None and getattr(tokenizer, "chat_template", None):
        return str(_by_template(tokenizer, memory, question, tokenize=False))
    if not isinstance(question, str):
        raise InvalidInput("a conversation needs a tokenizer with a chat template")
    return rendering(memory, question) if rendering else f"{memory}\n\n{question}"


def _ids(tokenizer: Any, text: str, *, special: bool) -> tuple[int, ...]:
    return tuple(int(n) for n in tokenizer(text, add_special_tokens=special)["input_ids"])


def _by_template(tokenizer: Any, memory: str, question: Question, **how: Any) -> Any:
    """The template is applied once: applying it to its own text again doubles its marks."""
    turns = [Turn(role="user", content=question)] if isinstance(question, str) else question
    leading = _leading(turns)
    parts = [*(turn["content"] for turn in leading), memory]
    system = "\n\n".join(part for part in parts if part)
    rest = list(turns[len(leading) :])

    def apply(messages: list[Turn]) -> Any:
        return tokenizer.apply_chat_template(messages, add_generation_prompt=True, **how)

    if not system and rest:
        return apply(rest)
    try:
        return apply([Turn(role="system", content=system), *rest])
    except Exception:  # noqa: BLE001  -- a template is a program of its own, and knows no such turn
        first = Turn(role="user", content=f"{system}\n\n{rest[0]['content']}" if rest else system)
        return apply([first, *rest[1:]])


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
