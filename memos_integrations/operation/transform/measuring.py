"""What an adapter knows, and what it spoiled: measured the way it will serve.

Called by ``distil``. Needs torch and peft (extra ``parametric``). An answer counts where the
adapter's greedy choice at every token of the teacher's answer is the teacher's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from memos_integrations.infrastructure.parametric import answering
from memos_integrations.infrastructure.parametric.answering import Compared, Student
from memos_integrations.infrastructure.parametric.recipe import Figures
from memos_integrations.infrastructure.parametric.soft import Answer
from memos_integrations.operation.transform.lesson import Lesson
from memos_integrations.operation.transform.lesson_examples import Classroom, contexts

_PART = 64
_FIRST_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Exam:
    """What is asked: nothing of it was trained on but the lessons' own question forms."""

    lessons: tuple[Lesson, ...]
    answers: tuple[Answer, ...]
    """The teacher's, as they were taught."""
    replay: tuple[str, ...]
    canaries: tuple[str, ...]
    distractors: tuple[str, ...]
    seed: int


def measured(room: Classroom, student: Student, exam: Exam) -> Figures:
    """The figures of an attached adapter."""
    asked = [
        (a, q)
        for lesson, a in zip(exam.lessons, exam.answers, strict=True)
        for q in lesson.questions
    ]
    trained = _compare(room, student, [("", q) for _, q in asked], [a for a, _ in asked])
    held = [("", each.held_out) for each in exam.lessons]
    unseen = _compare(room, student, held, exam.answers)
    others = [_without(exam, each, n) for n, each in enumerate(exam.lessons)]
    asked_among = [(m, each.held_out) for m, each in zip(others, exam.lessons, strict=True)]
    distracted = _compare(room, student, asked_among, exam.answers)
    agree = _agree(room, exam, [each.statement for each in exam.lessons])
    among = [_with(exam, each, m) for m, each in zip(others, exam.lessons, strict=True)]
    kept = _beside_base(room, student, [("", q) for q in exam.replay])
    watched = kept
    if exam.canaries:
        watched = _beside_base(room, student, [("", q) for q in exam.canaries])
    elif not exam.replay:
        texts = [(each.statement, each.held_out) for each in exam.lessons]
        watched = _beside_base(room, student, texts)
    return Figures(
        recall=_share([each.same for each in trained]),
        held_out_recall=_share([each.same for each in unseen]),
        distracted_recall=_share([each.same for each in distracted]),
        teacher_agreement=_share(agree),
        old_knowledge_loss=_share([each.lost for each in kept]),
        drift_kl=_share([each.far for each in watched]),
        distracted_teacher=_share(_agree(room, exam, among)),
    )


def _agree(room: Classroom, exam: Exam, memories: Sequence[str]) -> list[bool]:
    """Whether the base, reading these, gives the answers it taught to the held-out form."""
    prompts = [
        room.prompt(m, each.held_out) for m, each in zip(memories, exam.lessons, strict=True)
    ]
    read = room.read(prompts)
    return [a.tokens == b.tokens for a, b in zip(read, exam.answers, strict=True)]


def _beside_base(
    room: Classroom, student: Student, asked: Sequence[tuple[str, str]]
) -> list[Compared]:
    """What the adapter says to each prompt beside the base."""
    answers = room.read([room.prompt(m, q) for m, q in asked], most=_FIRST_TOKENS)
    return _compare(room, student, asked, answers)


def _compare(
    room: Classroom,
    student: Student,
    asked: Sequence[tuple[str, str]],
    answers: Sequence[Answer],
) -> list[Compared]:
    done = list[Compared]()
    for start in range(0, len(asked), _PART):
        room.between()
        prompts = [room.prompt(m, q) for m, q in asked[start : start + _PART]]
        with room.hosted.lock:
            done += answering.compare(student, prompts, answers[start : start + _PART])
    return done


def _without(exam: Exam, lesson: Lesson, n: int) -> str:
    """Other memories than this one, drawn apart from those of the training."""
    others = [each for each in exam.distractors if each != lesson.statement]
    drawn = contexts(others, seed=exam.seed + 1 + n, count=1)
    return drawn[0] if drawn else ""


def _with(exam: Exam, lesson: Lesson, others: str) -> str:
    """The lesson's own text at some place among the other memories."""
    lines = others.split("\n") if others else []
    rng = random.Random(f"{exam.seed}:{lesson.item}")  # noqa: S311  -- must repeat
    lines.insert(rng.randint(0, len(lines)), lesson.statement)
    return "\n".join(lines)


def _share(each: Sequence[float]) -> float:
    return sum(each) / len(each) if each else 0.0
