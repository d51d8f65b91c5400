"""The verb that hands one memory to a local model for many questions at once.

Called by programs that run a transformers model themselves; needs the extra ``activation``. The
memories are read, found computed and withdrawn as in ``activated``, once for all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.cube.item import MemoryItem
from memos_integrations.interface.activation_verbs import (
    ActivationVerbs,
    CompositionName,
    by_cube,
    check_asked,
    control_tokens,
    memory_text,
)
from memos_integrations.interface.arguments import whole
from memos_integrations.interface.scope import CubeName, Where
from memos_integrations.operation.transform.cube_reading import Memories, sources_in
from memos_integrations.operation.transform.prompt import Question, parts_of, prompt_of

if TYPE_CHECKING:
    from memos_integrations.operation.transform.batch import Batch
    from memos_integrations.operation.transform.keeper import Keeper
    from memos_integrations.operation.transform.prefill import At

_MOST_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class ActivatedBatch:
    """What a model is to be given: ``model.generate(**batch.inputs)``."""

    inputs: dict[str, Any]
    """``input_ids``, ``attention_mask`` and ``position_ids``, ``[queries, longest prompt]`` each,
    and the filled cache. Answers begin behind the last column, in the order of the queries."""
    prompt_tokens: tuple[int, ...]
    """Of each row, without padding."""
    cached_tokens: int
    """Tokens of the common beginning that were not computed again."""
    computed_tokens: int
    """Tokens of the memory that were computed now, once for all rows."""
    items: tuple[MemoryItem, ...]
    """The memories in the prompts, in their order."""
    why: str


class BatchVerb(ActivationVerbs):
    """One memory, many questions."""

    @contextmanager
    def activated_batch(
        self,
        model: Any,
        tokenizer: Any,
        *,
        queries: Sequence[Question],
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        rendering: Callable[[str, str], str] | None = None,
        beams: int = 1,
        composition: CompositionName = "exact",
    ) -> Generator[ActivatedBatch]:
        """All memories of the scope before each of ``queries``, as one batch over one cache.

        Each of the queries is a question or a conversation; all else is as in ``activated``. The
        rows share the stored tensors until the model writes behind them, so a batch takes no more
        memory than its answers do until then. Shorter rows are padded between the memory and the
        question, under a mask; in float32 each row gets the greedy tokens it would get by itself.

        Raises as ``activated``, and ``CacheUnsupported`` for models with a sliding window, without
        positions of their own or with an attention kernel that takes no mask.
        """
        _check_queries(queries)
        whole(beams, "beams", least=1, most=1_000)
        keeper, here = self._at(model, tokenizer, composition)
        from memos_integrations.operation.transform import batch as transform  # noqa: PLC0415

        memories = self._memories(user, agent, session, cube, filter)
        here = here.over(memories)
        batch = _filled(keeper, here, tokenizer, memories, queries, rendering, composition)
        shared, rows = batch.shared, batch.questions
        yield ActivatedBatch(
            transform.inputs_of(here, batch, pad=_padding(tokenizer), beams=beams),
            tuple(len(batch.prefix) + len(row) for row in rows),
            shared.cached_tokens,
            shared.computed_tokens,
            memories.items,
            shared.why,
        )


def _check_queries(queries: Sequence[Question]) -> None:
    if isinstance(queries, str) or not queries or len(queries) > _MOST_ROWS:
        raise InvalidInput(f"queries must be 1 to {_MOST_ROWS} questions or conversations")
    for query in queries:
        check_asked(query)


def _filled(
    keeper: Keeper,
    here: At,
    tokenizer: Any,
    memories: Memories,
    queries: Sequence[Question],
    rendering: Callable[[str, str], str] | None,
    composition: CompositionName,
) -> Batch:
    from memos_integrations.operation.transform.batch import (  # noqa: PLC0415
        batched,
        batched_parts,
    )

    control = control_tokens(tokenizer)
    if composition == "exact":
        text = memory_text(memories.items, control)
        prompts = [prompt_of(tokenizer, text, each, rendering=rendering) for each in queries]
        return batched(keeper, here, prompts, memories.sources)
    cubes = by_cube(memories.items)
    texts = [memory_text(each, control) for each in cubes.values()]
    parts = [parts_of(tokenizer, texts, each, rendering=rendering) for each in queries]
    sources = {name: sources_in(each, memories.place) for name, each in cubes.items()}
    return batched_parts(keeper, here, parts, sources, kind=composition)


def _padding(tokenizer: Any) -> int:
    """A token that stands where nothing looks."""
    known = (getattr(tokenizer, name, None) for name in ("pad_token_id", "eos_token_id"))
    return next((int(each) for each in known if each is not None), 0)
