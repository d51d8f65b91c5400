"""Where an adapter begins: on what tells the lessons apart.

Called by the training. Needs torch and peft (extra ``parametric``). A model that does not know the
names in new lessons hides them soon behind what they have in common; an adapter that begins with
random directions spends most of its training on finding them. So the down-projections begin as the
directions in which the inputs of a layer differ between lessons, as a share of all that they and
the questions to be kept do there: a linear discriminant (Fisher 1936) in place of the principal
components of EVA (https://arxiv.org/abs/2410.07170). The up-projections are zero, so nothing
changes yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from memos_integrations.cube.errors import MissingExtra
from memos_integrations.infrastructure.parametric.lora import tuner_layers

try:
    import torch
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error

_RIDGE = 0.01
"""Of the mean variance: what is smaller than that is noise."""
_KEPT_WEIGHT = 30.0
"""What the questions to be kept count beside the lessons: their directions are avoided."""
_WIDEST = 4096
"""Inputs of a layer above which its random beginning stays: the eigenvectors would cost more."""


class Spread:
    """What the inputs of each adapted layer do, in all and between lessons."""

    def __init__(self, base: Any, name: str) -> None:
        self._layers = [
            layer
            for _, layer in tuner_layers(base)
            if name in layer.lora_A and layer.in_features <= _WIDEST
        ]
        self._name = name
        self._whole: dict[int, Any] = {}
        self._between: dict[int, Any] = {}
        self._kept: dict[int, Any] = {}
        self._tokens = self._kept_tokens = 0

    def watch(self, mask: Any, run: Callable[[], Any]) -> None:
        """Run the base over lessons in one question form; ``mask`` ``[lessons, tokens]`` says
        which tokens count."""
        counts = mask.sum(0).clamp(min=1)[:, None]

        def seen(n: int, inputs: Any) -> None:
            apart = (inputs - (inputs.sum(0) / counts)) * mask[..., None]
            _add(self._whole, n, inputs)
            _add(self._between, n, apart)

        self._run(mask, run, seen)
        self._tokens += int(mask.sum())

    def watch_kept(self, mask: Any, run: Callable[[], Any]) -> None:
        """The same over questions whose answers stay: directions they use are avoided."""
        self._run(mask, run, lambda n, inputs: _add(self._kept, n, inputs))
        self._kept_tokens += int(mask.sum())

    def begin(self) -> None:
        """Set the down-projections of the adapter."""
        for n, layer in enumerate(self._layers):
            weight = layer.lora_A[self._name].weight
            whole = self._whole[n].double() / self._tokens
            if self._kept_tokens:
                whole = whole + _KEPT_WEIGHT * self._kept[n].double() / self._kept_tokens
            found = _directions(whole, self._between[n].double() / self._tokens, weight.shape[0])
            with torch.no_grad():
                weight[: len(found)].copy_(found)

    def _run(self, mask: Any, run: Callable[[], Any], seen: Callable[[int, Any], None]) -> None:
        def hook(n: int) -> Callable[[Any, Sequence[Any]], None]:
            return lambda _, args: seen(n, args[0].detach().float() * mask[..., None])

        hooks = [layer.register_forward_pre_hook(hook(n)) for n, layer in enumerate(self._layers)]
        try:
            run()
        finally:
            for each in hooks:
                each.remove()


def _add(kept: dict[int, Any], n: int, inputs: Any) -> None:
    flat = inputs.flatten(0, 1)
    kept[n] = kept.get(n, 0) + flat.T @ flat


def _directions(whole: Any, between: Any, most: int) -> Any:
    """The ``most`` best directions ``[k, inputs]``, each of unit mean square over all inputs."""
    size = whole.shape[0]
    ridge = _RIDGE * whole.trace() / size
    total = whole + ridge * torch.eye(size, dtype=whole.dtype, device=whole.device)
    values, vectors = torch.linalg.eigh(total)
    root = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    _, best = torch.linalg.eigh(root @ between @ root)
    return (root @ best[:, -most:]).T.float()
