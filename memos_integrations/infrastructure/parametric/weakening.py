"""Makes a trained adapter as weak as its lessons allow: what it does elsewhere shrinks with it.

Called by the training. Needs torch (extra ``parametric``). Judged by examples that were trained on,
so nothing is chosen by a form that was held out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from memos_integrations.cube.errors import MissingExtra
from memos_integrations.infrastructure.parametric.examples import Example, together
from memos_integrations.infrastructure.parametric.prefixes import Prefixes
from memos_integrations.infrastructure.parametric.wrapping import Switch

try:
    import torch
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error

_SCALES = (0.95, 0.9, 0.85, 0.8)
_MAY_COST = 0.01
"""Share of the answers that are right at full strength."""
_ROWS = 64


def weaken(
    factors: Iterable[Any], right: Callable[[], float], *, lock: AbstractContextManager[Any]
) -> float:
    """Scale the up-projections ``factors`` down as long as nearly all answers stay ``right()``, a
    share from 0 to 1; the scale that was left. The lock is held for each change."""
    whole = [(each, each.detach().clone()) for each in factors]
    least, best = right() - _MAY_COST, 1.0
    for scale in _SCALES:
        _scale(whole, scale, lock)
        if right() < least:
            break
        best = scale
    _scale(whole, best, lock)
    return best


def share_right(
    rows: Sequence[Example],
    prefixes: Prefixes,
    switch: Switch,
    *,
    lock: AbstractContextManager[Any],
) -> float:
    """Share of examples whose answer is given, the likeliest token at each of its places."""
    right = 0
    for start in range(0, len(rows), _ROWS):
        for before, group in together(rows[start : start + _ROWS]):
            longest = max(len(each.answer.tokens) for each in group)
            with lock, torch.no_grad():
                prefixes.prepare(before)
                with switch.on():
                    logits = prefixes.logits(before, [each.row for each in group], longest)
            said = zip(
                logits.argmax(-1).tolist(), (each.answer.tokens for each in group), strict=True
            )
            right += sum(given[-len(tokens) :] == list(tokens) for given, tokens in said)
    return right / len(rows)


def _scale(whole: Sequence[tuple[Any, Any]], scale: float, lock: Any) -> None:
    with lock, torch.no_grad():
        for tensor, full in whole:
            tensor.copy_(full * scale)
