"""The tokens from which on an adapter is active, and those that end an answer.

Pure but for the tokenizer it is handed. What a template writes before the user's turn is the same
in every prompt, and stands behind the memory: a cache that ends before it is the base's.
"""

from __future__ import annotations

from collections.abc import Sequence

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.parametric.manifest import MAX_INVOCATION, invocation_start
from memos_integrations.operation.transform.hosted import Hosted
from memos_integrations.operation.transform.prompt import tokens_of

_ENDS = (".", " .", "。", "!", "?", "\n")
_LONGEST = 16
"""Tokens of a template's header that are taken: the last ones are the ones that matter."""


def invocation_of(hosted: Hosted) -> tuple[int, ...]:
    """The hosted model's invocation as token ids: the one it was given, or read off its template.

    Raises ``InvalidInput`` where neither tells one, or where it is not in the prompts.
    """
    if hosted.invocation is not None:
        given = hosted.tokenizer(hosted.invocation, add_special_tokens=False)["input_ids"]
        found = tuple(int(token) for token in given)
    else:
        found = _written_before(hosted)
    if not 0 < len(found) <= MAX_INVOCATION:
        raise InvalidInput(
            f"the model {hosted.name!r} needs an invocation of 1 to {MAX_INVOCATION} tokens: name "
            "the text that stands in every prompt between the memory and the question"
        )
    words = _words(hosted)
    for memory in ("", words[0]):
        tokens = prompt_tokens(hosted, memory, words[1])
        if invocation_start(tokens, found) is None:
            raise InvalidInput(
                f"prompts of the model {hosted.name!r} do not hold its invocation as tokens: name "
                "text that the tokenizer reads the same by itself and in a prompt"
            )
    return found


def prompt_tokens(hosted: Hosted, memory: str, question: str) -> tuple[int, ...]:
    """The prompt for a question over this memory, or over none."""
    return tokens_of(hosted.tokenizer, memory, question, rendering=hosted.rendering)


def parted(
    tokens: Sequence[int], invocation: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A prompt in what the base computes and what the adapter does. Raises ``InvalidInput``."""
    at = invocation_start(tokens, invocation)
    if at is None:
        raise InvalidInput("a prompt lacks the tokens from which on an adapter is active")
    return tuple(tokens[:at]), tuple(tokens[at:])


def ends_of(hosted: Hosted) -> set[int]:
    """Tokens that end an answer: the model's own; without a chat template, which teaches a model
    to end, also the marks that end a sentence."""
    configured = getattr(hosted.model.generation_config, "eos_token_id", None)
    own = configured if isinstance(configured, list) else [configured]
    ends = {int(each) for each in [*own, hosted.tokenizer.eos_token_id] if each is not None}
    if getattr(hosted.tokenizer, "chat_template", None) and hosted.rendering is None:
        return ends
    unknown = getattr(hosted.tokenizer, "unk_token_id", None)
    for mark in _ENDS:
        ids = hosted.tokenizer(mark, add_special_tokens=False)["input_ids"]
        if len(ids) == 1 and ids[0] != unknown:
            ends.add(int(ids[0]))
    return ends


def _written_before(hosted: Hosted) -> tuple[int, ...]:
    words = _words(hosted)
    bare, over = (_lead(hosted, memory, words) for memory in ("", words[0]))
    size = 0
    while size < min(len(bare), len(over), _LONGEST) and bare[-size - 1] == over[-size - 1]:
        size += 1
    return bare[len(bare) - size :]


def _lead(hosted: Hosted, memory: str, words: tuple[str, str]) -> tuple[int, ...]:
    """What every prompt over this memory begins with."""
    one, other = (prompt_tokens(hosted, memory, f"{word} {word}") for word in words)
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return one[:same]


def _words(hosted: Hosted) -> tuple[str, str]:
    """Two words that the tokenizer tells apart from their first token on."""
    tokenizer, found = hosted.tokenizer, dict[int, str]()
    unknown = getattr(tokenizer, "unk_token_id", None)
    for word in sorted(tokenizer.get_vocab(), key=lambda each: (len(each), each)):
        if word.isascii() and word.isalnum():
            first = int(tokenizer(word, add_special_tokens=False)["input_ids"][0])
            if first != unknown and first not in found:
                found[first] = word
        if len(found) == 2:
            one, other = found.values()
            return one, other
    raise InvalidInput("the tokenizer knows fewer than two words")
