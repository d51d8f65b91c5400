"""What a model answers, token by token and how sure, with or without an adapter.

Called by the training for its teacher and by the gates. Needs torch and peft (extra
``parametric``). The teacher is the base, so no adapter is named; a student's rows go the way that
``AdapterBank`` goes, activated from the invocation on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from memos_integrations.cube.errors import MissingExtra
from memos_integrations.infrastructure.activation.forward import cache_name, empty_cache
from memos_integrations.infrastructure.parametric.manifest import invocation_start
from memos_integrations.infrastructure.parametric.soft import Answer, divergence, shortened

try:
    import torch
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error

ROWS = 64
"""Prompts that are run at once."""


@dataclass(frozen=True, slots=True)
class Student:
    """An attached adapter by its name in peft's model, and the tokens that activate it."""

    model: Any
    name: str
    invocation: tuple[int, ...]


def read(base: Any, prompts: Sequence[Sequence[int]], *, ends: set[int], most: int) -> list[Answer]:
    """The base's greedy answers, up to a token of ``ends`` or ``most`` tokens."""
    done: list[Answer | None] = [None] * len(prompts)
    for rows in _by_length(prompts):
        answers = _greedy(base, [prompts[n] for n in rows], ends, most)
        for n, answer in zip(rows, answers, strict=True):
            done[n] = answer
    return [each for each in done if each is not None]


@dataclass(frozen=True, slots=True)
class Compared:
    """A student's answer to one prompt beside another's."""

    same: bool
    """Whether it gives this answer: its greedy choice at every token of it."""
    far: float
    """Its mean KL divergence in nats from it."""
    lost: float
    """How much less likely the other holds what the student says, at the first token where they
    part; 0 where they do not."""


def compare(
    student: Student, prompts: Sequence[Sequence[int]], answers: Sequence[Answer]
) -> list[Compared]:
    """The student's answers beside these."""
    done: dict[int, Compared] = {}
    for rows in _by_length(prompts):
        logits = _student_logits(student, [prompts[n] for n in rows], [answers[n] for n in rows])
        done |= {n: _beside(answers[n], given) for n, given in zip(rows, logits, strict=True)}
    return [done[n] for n in range(len(prompts))]


def _beside(answer: Answer, logits: Any) -> Compared:
    chosen = logits.argmax(-1).tolist()
    far = float(divergence(answer.likely, answer.shares, logits).mean())
    apart = [n for n, token in enumerate(answer.tokens) if token != chosen[n]]
    if not apart:
        return Compared(True, far, 0.0)
    at = apart[0]
    return Compared(False, far, answer.share(at, answer.tokens[at]) - answer.share(at, chosen[at]))


def padded(rows: Sequence[Sequence[int]], device: Any) -> tuple[Any, Any]:
    """Rows as ``[rows, tokens]``, padded on the left, and the mask of what is no padding."""
    longest = max(map(len, rows))
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for n, row in enumerate(rows):
        ids[n, longest - len(row) :] = torch.tensor(list(row), dtype=torch.long)
        mask[n, longest - len(row) :] = 1
    return ids.to(device), mask.to(device)


def positions(mask: Any) -> Any:
    """The place of every token among those that are no padding."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def _by_length(prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Prompts of about one length together, so that little is padded."""
    order = sorted(range(len(prompts)), key=lambda n: (len(prompts[n]), n))
    for start in range(0, len(order), ROWS):
        yield order[start : start + ROWS]


def _greedy(
    base: Any, prompts: Sequence[Sequence[int]], ends: set[int], most: int
) -> Iterator[Answer]:
    with torch.no_grad():
        steps = _steps(base, prompts, ends, most)
    tokens = torch.stack([chosen for chosen, _, _ in steps], dim=1).tolist()
    for n, row in enumerate(tokens):
        size = next((at + 1 for at, token in enumerate(row) if token in ends), len(row))
        likely = torch.stack([each[n] for _, each, _ in steps[:size]])
        shares = torch.stack([each[n] for _, _, each in steps[:size]])
        yield Answer(tuple(row[:size]), likely, shares)


def _steps(
    base: Any, prompts: Sequence[Sequence[int]], ends: set[int], most: int
) -> list[tuple[Any, Any, Any]]:
    """For every token of the answers the choice ``[rows]`` and what was likely ``[rows, k]``."""
    ids, mask = padded(prompts, base.device)
    cache, place = empty_cache(base), positions(mask)
    steps: list[tuple[Any, Any, Any]] = []
    going = torch.ones(len(prompts), dtype=torch.bool)
    while going.any() and len(steps) < most:
        logits = base(
            input_ids=ids,
            attention_mask=mask,
            position_ids=place,
            use_cache=True,
            logits_to_keep=1,
            **{cache_name(base): cache},
        ).logits[:, -1]
        chosen = logits.argmax(-1)
        steps.append((chosen.cpu(), *(each.cpu() for each in shortened(logits))))
        going &= torch.tensor([int(token) not in ends for token in chosen])
        ids, place = chosen[:, None], place[:, -1:] + 1
        mask = torch.cat([mask, torch.ones_like(ids)], dim=-1)
    return steps


def _student_logits(
    student: Student, prompts: Sequence[Sequence[int]], answers: Sequence[Answer]
) -> list[Any]:
    """Logits before every token of the answers, ``[tokens, vocabulary]`` each."""
    rows = [[*p, *a.tokens[:-1]] for p, a in zip(prompts, answers, strict=True)]
    starts = [invocation_start(prompt, student.invocation) for prompt in prompts]
    offsets = [None if at is None else len(row) - at for row, at in zip(rows, starts, strict=True)]
    ids, mask = padded(rows, student.model.device)
    longest = max(len(each.tokens) for each in answers)
    with torch.no_grad():
        logits = student.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions(mask),
            use_cache=False,
            logits_to_keep=longest,
            adapter_names=[student.name] * len(rows),
            alora_offsets=offsets,
        ).logits.cpu()
    return [row[-len(each.tokens) :] for row, each in zip(logits, answers, strict=True)]
