"""Memories into an adapter: the base teaches it what it reads off their words, gates judge it.

Called by the task that trains in the background; calls the training and the measures. Needs torch
and peft (extra ``parametric``). Context distillation: the teacher is the same model with the text
before the question (https://arxiv.org/abs/2209.15189), the adapter answers without it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any

from memos_integrations.cube.errors import InvalidInput
from memos_integrations.infrastructure.activation.identity import Digest, tagged_digest
from memos_integrations.infrastructure.activation.model_identity import identify
from memos_integrations.infrastructure.parametric import adapter_file, wrapping
from memos_integrations.infrastructure.parametric.answering import Student
from memos_integrations.infrastructure.parametric.errors import BudgetSpent, TrainingStopped
from memos_integrations.infrastructure.parametric.lora import (
    adapter_tensors,
    linear_shapes,
    tensor_shapes,
)
from memos_integrations.infrastructure.parametric.recipe import Gates, Manifest, Recipe
from memos_integrations.infrastructure.parametric.training import Limits, train
from memos_integrations.infrastructure.strict_json import encode_object
from memos_integrations.operation.transform.gating import judged
from memos_integrations.operation.transform.hosted import Hosted
from memos_integrations.operation.transform.invocation import invocation_of
from memos_integrations.operation.transform.lesson import Lesson
from memos_integrations.operation.transform.lesson_examples import Classroom, examples, taught
from memos_integrations.operation.transform.measuring import Exam, measured

_HELD_BACK = 0.25
"""Share of the replay questions that is for measuring alone."""
_TRAINED, _READ = 0.9, 0.05


@dataclass(frozen=True, slots=True)
class Distilled:
    """An adapter as one file, what was measured of it, and what making it took."""

    file: bytes
    manifest: Manifest
    build_seconds: float
    """Processor seconds, those before an interruption included."""


def distil(
    hosted: Hosted,
    lessons: Sequence[Lesson],
    recipe: Recipe,
    gates: Gates,
    *,
    distractors: Sequence[str],
    checkpoint: Path | None = None,
    progress: Callable[[float, str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    seconds: float | None = None,
    max_bytes: int | None = None,
) -> Distilled:
    """Train an adapter on these memories, measure it, and say whether it may be published.

    The same model, lessons and recipe give the same bytes. ``distractors`` are other memories that
    may stand before a question. ``checkpoint`` is a file that is written while it trains and read
    where an earlier call was ended. ``progress(share, words)`` is called often. The hosted model
    answers others in between; its lock is held for short steps only. Raises ``TrainingStopped``
    once ``should_stop()``, ``BudgetSpent`` for more processor ``seconds`` or ``max_bytes``,
    ``InvalidInput`` without lessons or an invocation, ``AdapterUnsupported`` for a model without
    the recipe's layers.
    """
    if not lessons:
        raise InvalidInput("there is nothing to learn: no lessons were given")
    began = time.process_time()
    told = progress or _silent
    stop = should_stop or _never
    with hosted.lock:
        model = wrapping.wrapped(hosted.model)
        base = identify(model, hosted.tokenizer).digest()
        invocation = invocation_of(hosted)
    _ensure_fits(hosted, recipe, max_bytes)
    data = _digest(lessons, distractors, hosted)
    room = Classroom(hosted, invocation, lambda: _ensure_wanted(stop))
    told(0.0, "reading what the memories say")
    answers = taught(room, lessons)
    kept, held_back = _parted(hosted.replay)
    seen = examples(room, recipe, lessons, answers, replay=kept, distractors=distractors)
    read = time.process_time() - began
    name = f"t{data}"
    limits = Limits(
        training=tagged_digest({"base": base, "data": data, "recipe": _json(recipe)}),
        lock=hosted.lock,
        checkpoint=checkpoint,
        reached=lambda share: told(_READ + share * (_TRAINED - _READ), "learning"),
        should_stop=stop,
        seconds=None if seconds is None else seconds - read,
    )
    place = train(model, name, recipe, seen, limits)
    measuring = time.process_time()
    told(_TRAINED, "measuring")
    exam = Exam(
        tuple(lessons),
        tuple(answers),
        replay=held_back,
        canaries=hosted.canaries,
        distractors=tuple(distractors),
        seed=recipe.seed,
    )
    tensors = _activated(hosted, name, recipe, invocation)
    try:
        figures = measured(room, Student(model, name, invocation), exam)
    finally:
        with hosted.lock:
            wrapping.take_off(model, name)
    verdict = judged(figures, gates, replayed=bool(exam.replay))
    manifest = Manifest(base, recipe, data, figures, verdict, invocation)
    file = adapter_file.dump(tensors, manifest)
    told(1.0, "published" if verdict.published else "discarded")
    return Distilled(file, manifest, read + place.seconds + time.process_time() - measuring)


def _parted(replay: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Questions to train on and those held back, the same ones every time. Drawn at random: a list
    in the order of its forms would lose a whole form to every fourth."""
    rng = random.Random("held back")  # noqa: S311  -- must repeat
    held = set(rng.sample(range(len(replay)), ceil(_HELD_BACK * len(replay))))
    kept = tuple(q for n, q in enumerate(replay) if n not in held)
    return kept, tuple(q for n, q in enumerate(replay) if n in held)


def _activated(
    hosted: Hosted, name: str, recipe: Recipe, invocation: tuple[int, ...]
) -> dict[str, Any]:
    """The trained numbers, and in the place of what was trained the adapter as it will serve."""
    with hosted.lock:
        model = wrapping.wrapped(hosted.model)
        trained = adapter_tensors(hosted.model, name)
        tensors = {key: each.detach().clone() for key, each in trained.items()}
        wrapping.take_off(model, name)
        wrapping.put_known(model, name, recipe, invocation, tensors)
    return tensors


def _ensure_fits(hosted: Hosted, recipe: Recipe, max_bytes: int | None) -> None:
    shapes = tensor_shapes(linear_shapes(hosted.model), recipe)
    size = 4 * sum(prod(shape) for shape in shapes.values())
    if max_bytes is not None and size > max_bytes:
        raise BudgetSpent(
            f"an adapter of rank {recipe.rank} on these layers takes {size} bytes, more than the "
            f"{max_bytes} it may: lower the rank or name fewer layers in the recipe's targets"
        )


def _digest(lessons: Sequence[Lesson], distractors: Sequence[str], hosted: Hosted) -> Digest:
    """Of everything that is learnt, kept or measured."""
    told = {
        "lessons": [asdict(each) for each in lessons],
        "distractors": list(distractors),
        "replay": list(hosted.replay),
        "canaries": list(hosted.canaries),
    }
    return tagged_digest({"data": encode_object(told)})


def _ensure_wanted(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise TrainingStopped("it was asked to stop; call again to go on")


def _json(recipe: Recipe) -> bytes:
    return encode_object(asdict(recipe))


def _silent(share: float, words: str) -> None:
    """Nobody asked how far it is."""


def _never() -> bool:
    return False
