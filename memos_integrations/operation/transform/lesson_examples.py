"""From lessons to what a training sees: prompts with and without other memories, and the answers
that the base reads off the words.

Called by ``distil``. Needs torch (extra ``parametric``). No answer is ever given by anybody: of the
forms in which a memory is asked for, the one the base is surest of gives the answer to all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from memos_integrations.infrastructure.parametric import answering
from memos_integrations.infrastructure.parametric.examples import Example, Lessons
from memos_integrations.infrastructure.parametric.recipe import Recipe
from memos_integrations.infrastructure.parametric.soft import Answer, certain
from memos_integrations.operation.transform.hosted import Hosted
from memos_integrations.operation.transform.invocation import ends_of, parted, prompt_tokens
from memos_integrations.operation.transform.lesson import Lesson
from memos_integrations.operation.transform.loosely import Loosely

_CONTEXTS = 24
_IN_CONTEXT = 3
_ANSWER_TOKENS = 32
_KEPT_TOKENS = 8
"""Tokens of an answer that replay holds on to: the first ones decide it."""
_LOOSE = 12
"""Variants of each question in other words, without other memories before it."""
_PART = 64


@dataclass(frozen=True, slots=True)
class Classroom:
    """A hosted model's base as teacher, asked in parts so that others can ask it in between."""

    hosted: Hosted
    invocation: tuple[int, ...]
    between: Callable[[], None]
    """Called between two parts; it may raise."""

    def prompt(self, memory: str, question: str) -> tuple[int, ...]:
        return prompt_tokens(self.hosted, memory, question)

    def read(self, prompts: Sequence[Sequence[int]], *, most: int = _ANSWER_TOKENS) -> list[Answer]:
        """What the base answers."""
        done: list[Answer] = []
        for start in range(0, len(prompts), _PART):
            self.between()
            with self.hosted.lock:
                part = prompts[start : start + _PART]
                ends = ends_of(self.hosted)
                done += answering.read(self.hosted.model, part, ends=ends, most=most)
        return done

    def example(self, memory: str, question: str, answer: Answer) -> Example:
        return Example(*parted(self.prompt(memory, question), self.invocation), answer)


def taught(room: Classroom, lessons: Sequence[Lesson]) -> list[Answer]:
    """The answer to each lesson: what the base reads off its words in its surest form."""
    asked = [(n, q) for n, lesson in enumerate(lessons) for q in lesson.questions]
    answers = room.read([room.prompt(lessons[n].statement, q) for n, q in asked])
    best: dict[int, Answer] = {}
    for (n, _), answer in zip(asked, answers, strict=True):
        if n not in best or answer.confidence > best[n].confidence:
            best[n] = answer
    return [best[n] for n in range(len(lessons))]


def contexts(distractors: Sequence[str], *, seed: int, count: int = _CONTEXTS) -> list[str]:
    """Other memories that may stand before a question, a few at a time."""
    rng = random.Random(seed)  # noqa: S311  -- must repeat
    known = sorted(set(distractors))
    if not known:
        return []
    sizes = [rng.randint(1, min(_IN_CONTEXT, len(known))) for _ in range(count)]
    return ["\n".join(rng.sample(known, size)) for size in sizes]


def examples(
    room: Classroom,
    recipe: Recipe,
    lessons: Sequence[Lesson],
    answers: Sequence[Answer],
    *,
    replay: Sequence[str],
    distractors: Sequence[str],
) -> Lessons:
    """What the training sees, form by form."""
    before = contexts(distractors, seed=recipe.seed)
    kept = _kept(room, replay, before)
    if recipe.objective == "language":
        texts = tuple((_as_text(room, lesson),) for lesson in lessons)
        return Lessons(texts, kept, (len(texts),))
    loosely = Loosely(lessons, replay, seed=recipe.seed)
    learnt: list[tuple[Example, ...]] = []
    alike: list[int] = []
    for form in zip_longest(*(lesson.questions for lesson in lessons)):
        rows = [
            (each, q, a) for each, q, a in zip(lessons, form, answers, strict=True) if q is not None
        ]
        for each, question, answer in rows:
            said = [(m, loosely(question, each.statement)) for m in (*before, *[""] * _LOOSE)]
            learnt.append(tuple(room.example(m, q, answer) for m, q in [("", question), *said]))
        alike.append(len(rows))
    return Lessons(tuple(learnt), kept, tuple(alike))


def _kept(
    room: Classroom, replay: Sequence[str], before: Sequence[str]
) -> tuple[tuple[Example, ...], ...]:
    """Each question alone and behind one of the contexts, with what the base answers there."""
    memories = [("", *([before[n % len(before)]] if before else [])) for n in range(len(replay))]
    asked = [(m, q) for q, each in zip(replay, memories, strict=True) for m in each]
    answers = iter(room.read([room.prompt(m, q) for m, q in asked], most=_KEPT_TOKENS))
    return tuple(
        tuple(room.example(m, q, next(answers)) for m in each)
        for q, each in zip(replay, memories, strict=True)
    )


def _as_text(room: Classroom, lesson: Lesson) -> Example:
    """The words themselves behind the invocation, for the objective that learns text."""
    before, _ = parted(room.prompt("", lesson.questions[0]), room.invocation)
    ids = room.hosted.tokenizer(lesson.statement, add_special_tokens=False)["input_ids"]
    return Example(before, room.invocation, certain(ids))
