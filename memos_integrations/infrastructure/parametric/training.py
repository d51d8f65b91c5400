"""Trains one adapter: it learns answers, and keeps what the base says elsewhere.

Called by ``operation.transform.distil``. Needs torch and peft (extra ``parametric``). The loss is
the KL divergence from what the teacher said, on the tokens of answers alone. The down-projections
stay as they began (LoRA-FA, https://arxiv.org/abs/2308.03303), on directions that tell lessons
apart and that old questions use little. What stands before the invocation is the base's and
computed once, so every token that is trained on is one at which the adapter works, and it trains as
a plain LoRA. The base's numbers are never touched, and the lock of the hosted model is held for
single steps only, so others answer in between.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from memos_integrations.cube.errors import MissingExtra
from memos_integrations.infrastructure.parametric import checkpoint, wrapping
from memos_integrations.infrastructure.parametric.checkpoint import Place
from memos_integrations.infrastructure.parametric.errors import BudgetSpent, TrainingStopped
from memos_integrations.infrastructure.parametric.examples import Example, Lessons, together
from memos_integrations.infrastructure.parametric.lora import adapter_tensors
from memos_integrations.infrastructure.parametric.prefixes import Prefixes
from memos_integrations.infrastructure.parametric.recipe import Recipe
from memos_integrations.infrastructure.parametric.soft import divergence
from memos_integrations.infrastructure.parametric.starting import Spread
from memos_integrations.infrastructure.parametric.weakening import share_right, weaken

try:
    import torch
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error

_LOOK_EVERY = 5
"""Rounds between two looks at whether enough was learnt."""
_COOLING = 0.2
"""Share of the rounds so far that follow once it was, at a falling rate."""
_ENOUGH_KL = 0.02
_WARM_STEPS = 20
_BETAS = (0.9, 0.98)
"""Adam's, with a short memory of squares: what is learnt of a name is learnt in few steps."""
_LEAST_RATE = 0.02
_CLIP = 1.0
_SAVE_SECONDS = 10.0
_WATCHED = 64
_PLAIN = 0.4
"""Share of batches that ask in exactly the lessons' forms, without other memories before them."""
_EARLY_KEEPING = 0.1
"""Share of the replay weight at first; all of it from the middle on: what is new is learnt sooner
where it may shake the old, which then comes back."""
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Limits:
    """When a training is to end, and how it tells."""

    training: str
    """Digest of everything that it depends on, for its checkpoint."""
    lock: AbstractContextManager[Any]
    checkpoint: Path | None
    reached: Callable[[float], None]
    should_stop: Callable[[], bool]
    seconds: float | None


def train(model: Any, name: str, recipe: Recipe, lessons: Lessons, limits: Limits) -> Place:
    """Put an adapter called ``name`` on the model and train it; it stays there, at rest.

    The same recipe and lessons give the same numbers, bitwise, also when it was stopped and went
    on in between. Raises ``TrainingStopped`` and ``BudgetSpent``, the adapter taken off again.
    """
    with limits.lock, torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        wrapping.put(model, name, recipe, None)
    try:
        return _Training(model, name, recipe, lessons, limits).run()
    except BaseException:
        with limits.lock:
            wrapping.take_off(model, name)
        raise


class _Training:
    def __init__(
        self, model: Any, name: str, recipe: Recipe, lessons: Lessons, limits: Limits
    ) -> None:
        self._name, self._recipe = name, recipe
        self._lessons, self._limits = lessons, limits
        self._base = wrapping.base_of(model)
        self._prefixes = Prefixes(self._base)
        self._parameters = adapter_tensors(self._base, name)
        self._learning = {k: t for k, t in self._parameters.items() if "lora_B" in k}
        self._switch = wrapping.Switch(model, name, self._learning.values())
        self._beside: dict[tuple[int, ...], list[Example]] = {}
        for each in (each for variants in lessons.kept for each in variants[1:]):
            self._beside.setdefault(each.before, []).append(each)
        self._optimizer = torch.optim.AdamW(
            self._learning.values(), betas=_BETAS, weight_decay=0.0, fused=True
        )
        self._began, self._spent, self._saved = time.process_time(), 0.0, time.monotonic()
        share = lessons.alike[0] / len(lessons.learnt)
        self._rounds = max(1, round(recipe.exposures * share))

    def run(self) -> Place:
        place = self._resumed()
        if place is None:
            place = Place(self._limits.training, 0, self._rounds, 0.0)
            self._start()
        while place.rounds < place.ends_after:
            self._round(place)
            done = place.rounds + 1
            place = Place(place.training, done, self._end(place, done), self._seconds())
            self._save(place)
            self._limits.reached(done / place.ends_after)
        if self._recipe.replay_weight and self._lessons.kept:
            weaken(self._learning.values(), self._right, lock=self._limits.lock)
        return replace(place, seconds=self._seconds())

    # -- one round ----------------------------------------------------------------------------

    def _round(self, place: Place) -> None:
        rng = random.Random(f"{self._recipe.seed}:{place.rounds}")  # noqa: S311  -- must repeat
        learnt = self._batches(rng, len(self._lessons.learnt), self._recipe.batch)
        kept = list[list[int]]()
        if self._recipe.replay_weight:
            kept = self._batches(rng, len(self._lessons.kept), self._recipe.batch)
        for n, rows in enumerate(learnt):
            self._ensure_wanted(place)
            step = place.rounds * len(learnt) + n
            share = step / (place.ends_after * len(learnt))
            keeping = min(1.0, _EARLY_KEEPING + 2 * (1 - _EARLY_KEEPING) * share)
            drawn = self._drawn(rng, rows, kept[n % len(kept)] if kept else [])
            self._step(*drawn, self._rate(step, share), self._recipe.replay_weight * keeping)

    def _batches(self, rng: random.Random, rows: int, size: int) -> list[list[int]]:
        """Every row once, in batches of about this size."""
        order = list(range(rows))
        rng.shuffle(order)
        count = max(1, round(rows / size))
        return [order[at::count] for at in range(count)] if rows else []

    def _drawn(
        self, rng: random.Random, learnt: list[int], kept: list[int]
    ) -> tuple[list[Example], list[Example]]:
        """The rows as they stand alone, or all behind the same other memories."""
        variants = min(len(self._lessons.learnt[n]) for n in learnt)
        variant = 0 if rng.random() < _PLAIN else rng.randrange(variants)
        learn = [self._lessons.learnt[n][variant] for n in learnt]
        beside = self._beside.get(learn[0].before, []) if variant and kept else []
        if beside:
            return learn, rng.sample(beside, min(len(beside), len(kept)))
        return learn, [self._lessons.kept[n][0] for n in kept]

    def _rate(self, step: int, share: float) -> float:
        """Rises at first, falls over the last steps."""
        rise, fall = (step + 1) / _WARM_STEPS, (1 - share) / _COOLING
        return self._recipe.learning_rate * min(1.0, rise, fall + _LEAST_RATE)

    def _step(self, learn: list[Example], keep: list[Example], rate: float, keeping: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with self._limits.lock:
            groups = together([*learn, *keep])
            counts = {id(each): 1.0 / len(learn) for each in learn}
            counts |= {id(each): keeping / len(keep) for each in keep}
            for before, _ in groups:
                self._prefixes.prepare(before)
            with self._switch.on(train=True):
                for before, rows in groups:
                    far = self._divergence(before, rows)
                    weights = torch.tensor([counts[id(each)] for each in rows], device=far.device)
                    (far * weights).sum().backward()
            torch.nn.utils.clip_grad_norm_(self._learning.values(), _CLIP)
            self._optimizer.step()
            self._optimizer.zero_grad()

    def _divergence(self, before: tuple[int, ...], rows: list[Example]) -> Any:
        """Mean over the answer's tokens for each row, ``[rows]``."""
        sizes = [len(each.answer.tokens) for each in rows]
        logits = self._prefixes.logits(before, [each.row for each in rows], max(sizes))
        picked = torch.cat([given[-size:] for given, size in zip(logits, sizes, strict=True)])
        likely = torch.cat([each.answer.likely for each in rows]).to(picked.device)
        shares = torch.cat([each.answer.shares for each in rows]).to(picked.device)
        parts = divergence(likely, shares, picked).split(sizes)
        return torch.stack([each.mean() for each in parts])

    # -- beginning, looking, ending -----------------------------------------------------------

    def _start(self) -> None:
        spread = Spread(self._base, self._name)
        plain = iter([variants[0] for variants in self._lessons.learnt])
        kept = [variants[0] for variants in self._lessons.kept]
        with self._limits.lock, torch.no_grad():
            for size in self._lessons.alike:
                self._watch(spread.watch, list(islice(plain, size)))
            for start in range(0, len(kept) if self._recipe.replay_weight else 0, _WATCHED):
                self._watch(spread.watch_kept, kept[start : start + _WATCHED])
            spread.begin()

    def _watch(self, watch: Callable[[Any, Callable[[], Any]], None], rows: list[Example]) -> None:
        for before, group in together(rows):
            self._prefixes.prepare(before)
            longest = max(len(each.row) for each in group)
            mask = torch.tensor(
                [[n >= longest - len(e.row) for n in range(longest)] for e in group]
            )
            given = [each.row for each in group]
            run = partial(self._prefixes.logits, before, given, 1)
            watch(mask.to(self._base.device), run)

    def _end(self, place: Place, done: int) -> int:
        """Rounds after which it ends: sooner, where all is learnt and what was known is kept."""
        if place.ends_after < self._rounds or done % _LOOK_EVERY or done == self._rounds:
            return place.ends_after
        learnt = self._far(self._lessons.learnt)
        if learnt > _ENOUGH_KL or (
            self._lessons.kept and self._far(self._lessons.kept) > _ENOUGH_KL
        ):
            return place.ends_after
        return min(place.ends_after, done + max(1, round(done * _COOLING)))

    def _far(self, rows: Sequence[Sequence[Example]]) -> float:
        """Mean divergence over the plain variants."""
        total = 0.0
        plain = [variants[0] for variants in rows]
        for start in range(0, len(plain), _WATCHED):
            for before, group in together(plain[start : start + _WATCHED]):
                with self._limits.lock, torch.no_grad():
                    self._prefixes.prepare(before)
                    with self._switch.on():
                        total += float(self._divergence(before, group).sum())
        return total / len(plain)

    def _right(self) -> float:
        """Share of what was trained that is answered right, alone and behind other memories."""
        rows = [each for variants in self._lessons.learnt for each in variants[:2]]
        return share_right(rows, self._prefixes, self._switch, lock=self._limits.lock)

    def _ensure_wanted(self, place: Place) -> None:
        if self._limits.should_stop():
            raise TrainingStopped(
                "the training was asked to stop; call again with its checkpoint to go on"
            )
        limit = self._limits.seconds
        if limit is not None and self._seconds() > limit:
            raise BudgetSpent(
                f"{limit:.0f} processor seconds were not enough: {place.rounds} rounds of "
                f"{place.ends_after} are done. Call again with more, and its checkpoint, to go on"
            )

    def _seconds(self) -> float:
        return self._spent + time.process_time() - self._began

    # -- checkpoints --------------------------------------------------------------------------

    def _resumed(self) -> Place | None:
        path = self._limits.checkpoint
        found = path and checkpoint.read(path, self._limits.training, self._shapes())
        if not found:
            return None
        place, tensors = found
        with torch.no_grad():
            for key, tensor in self._parameters.items():
                tensor.copy_(tensors[key])
            for key, tensor in self._learning.items():
                for part in _MOMENTS:
                    self._optimizer.state[tensor][part] = tensors[f"{key}.{part}"].to(tensor.device)
                self._optimizer.state[tensor]["step"] = tensors[f"{key}.step"]
        self._spent = place.seconds
        return place

    def _save(self, place: Place) -> None:
        path = self._limits.checkpoint
        if path is None or time.monotonic() - self._saved < _SAVE_SECONDS:
            return
        tensors = dict(self._parameters)
        for key, tensor in self._learning.items():
            for part in (*_MOMENTS, "step"):
                tensors[f"{key}.{part}"] = self._optimizer.state[tensor][part]
        checkpoint.write(path, place, tensors)
        self._saved = time.monotonic()

    def _shapes(self) -> dict[str, Any]:
        steps = {f"{key}.step": torch.zeros(()) for key in self._learning}
        parts = {f"{k}.{part}": t for k, t in self._learning.items() for part in _MOMENTS}
        return {**self._parameters, **parts, **steps}
