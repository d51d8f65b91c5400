"""What a local model is given for one call, in whichever form memory comes: one shape for all.

Called by the chat models of the adapters, which then generate and tell what the call was.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from memos_integrations.interface.activation_verbs import Activated
from memos_integrations.interface.adapted_verb import AdaptedRow
from memos_integrations.interface.asker import Asker
from memos_integrations.interface.mos import MOS
from memos_integrations.interface.scope import CubeName
from memos_integrations.operation.transform.prompt import Question, Turn

Form: TypeAlias = Literal["adapter", "text", "base"]


@dataclass(frozen=True, slots=True)
class LocalPrompt:
    """``model.generate(**inputs)``, and what is to be told of it."""

    model: Any
    inputs: dict[str, Any]
    """``input_ids`` and ``attention_mask``, ``[1, prompt_tokens]`` each, and what goes along."""
    prompt_tokens: int
    cached_tokens: int
    computed_tokens: int
    """Tokens of the memory that were computed now, and are stored for the next time."""
    told: dict[str, Any]
    """Ids and figures, for the metadata of the answer."""
    keep: Callable[[Sequence[int]], int]
    """As ``Activated.keep``."""


def of_cache(model: Any, given: Activated) -> LocalPrompt:
    """All memories of the scope, as far as they were computed before."""
    return LocalPrompt(
        model,
        given.inputs,
        given.prompt_tokens,
        given.cached_tokens,
        given.computed_tokens,
        {"memory_ids": [item.id for item in given.items], "memory_cache": given.why},
        given.keep,
    )


@contextmanager
def adapted_prompt(
    mos: MOS,
    name: str,
    asked: Question,
    *,
    asker: Asker,
    cube: CubeName | Sequence[CubeName] | None = None,
    conversation: str | None = None,
) -> Generator[LocalPrompt]:
    """What the memories found for the last question say: from weights, as text, or not at all.

    ``name`` is that of the hosted model, which is the caller's until the block ends: enter and
    leave it in one thread. What ``conversation`` has written to memory itself is left out. Raises
    what ``MOS.adapted`` raises.
    """
    turns: Sequence[Turn] | None = None if isinstance(asked, str) else asked
    with mos.adapted(
        model=name,
        query=question_in(asked),
        cube=cube,
        filter=None if conversation is None else {"conversation": {"!=": conversation}},
        turns=turns,
        **asker.keywords(),
    ) as given:
        size = int(given.inputs["input_ids"].shape[1])
        yield LocalPrompt(given.model, given.inputs, size, 0, 0, routed(given.rows[0]), _keep_none)


def routed(row: AdaptedRow) -> dict[str, Any]:
    """How a question was answered, as ids: which adapter, beside which text, and why."""
    return {
        "memory_form": form_of(row),
        "memory_adapter": row.adapter,
        "memory_ids": [item.id for item in row.items],
        "memory_learnt": [item.id for item in row.learnt],
        "memory_why": row.why,
    }


def form_of(row: AdaptedRow) -> Form:
    """The form in which memory came; text may stand beside an adapter."""
    if row.adapter is not None:
        return "adapter"
    return "text" if row.items else "base"


def question_in(asked: Question) -> str:
    """What is asked: the words themselves, or those of the last turn of a person."""
    if isinstance(asked, str):
        return asked
    said = (turn["content"] for turn in reversed(asked) if turn["role"] == "user")
    return next(said, "")


def _keep_none(_answer: Sequence[int]) -> int:
    return 0
