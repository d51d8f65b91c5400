"""What stands before the adapter begins: computed by the base once, used by every batch after it.

Called by the training. Needs torch and transformers (extra ``parametric``).
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from memos_integrations.cube.errors import MissingExtra
from memos_integrations.infrastructure.activation.forward import cache_name, empty_cache, extend
from memos_integrations.infrastructure.parametric.answering import padded, positions

try:
    import torch
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error

_MOST_KEPT = 64


class Prefixes:
    """Caches of prompt beginnings of one base, the ones used last."""

    def __init__(self, base: Any) -> None:
        self._base = base
        self._kept: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def logits(self, before: tuple[int, ...], rows: Sequence[Sequence[int]], keep: int) -> Any:
        """Logits ``[rows, keep, vocabulary]`` at the ends of these rows behind ``before``.

        What adapters are active on the base see the rows only, every token of them. Call
        ``prepare`` for ``before`` while none is active.
        """
        cache = copy.deepcopy(self._kept[before]) if before else empty_cache(self._base)
        if before and len(rows) > 1:
            cache.batch_repeat_interleave(len(rows))
        ids, mask = padded(rows, self._base.device)
        whole = torch.cat([torch.ones((len(rows), len(before)), dtype=mask.dtype), mask.cpu()], 1)
        place = positions(whole)[:, len(before) :].to(ids.device)
        return self._base(
            input_ids=ids,
            attention_mask=None if bool(mask.all()) else whole.to(ids.device),
            position_ids=place,
            use_cache=True,
            logits_to_keep=keep,
            **{cache_name(self._base): cache},
        ).logits[:, -keep:]

    def prepare(self, before: tuple[int, ...]) -> None:
        """Compute the beginning, where that is not done yet, and let go of the oldest."""
        if before and before not in self._kept:
            cache = empty_cache(self._base)
            extend(self._base, cache, before)
            self._kept[before] = cache
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        elif before:
            self._kept.move_to_end(before)
