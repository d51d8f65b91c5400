"""Where an adapter begins: on what tells the lessons apart.

Called by the training. Needs torch and peft (extra ``parametric``). A model that does not know the
names in new lessons hides them soon behind what they have in common; an adapter that begins with
random directions spends most of its training on finding them. So the down-projections begin as the
directions in which the inputs of a layer differ between lessons, as a share of all they do there:
a linear discriminant (Fisher 1936) in place of the principal components of EVA
(https://arxiv.org/abs/2410.07170). The up-projections are zero, so nothing changes yet.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from memos_integrations.cube.errors import MissingExtra
from memos_integrations.infrastructure.parametric.lora import tuner_layers

try:
    import torch
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error

_RIDGE = 0.01
"""Of the mean variance: what is smaller than that is noise."""
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
        self._tokens = 0

    def watch(self, mask: Any, run: Callable[[], Any]) -> None:
        """Run the base over lessons in one question form; ``mask`` ``[lessons, tokens]`` says
        which tokens count."""
        counts = mask.sum(0).clamp(min=1)[:, None]
        with self._watched(mask, counts):
            run()
        self._tokens += int(mask.sum())

    def begin(self) -> None:
        """Set the down-projections of the adapter."""
        for n, layer in enumerate(self._layers):
            weight = layer.lora_A[self._name].weight
            found = _directions(self._whole[n], self._between[n], self._tokens, weight.shape[0])
            with torch.no_grad():
                weight[: len(found)].copy_(found)

    @contextmanager
    def _watched(self, mask: Any, counts: Any) -> Generator[None]:
        hooks = [
            layer.register_forward_pre_hook(self._hook(n, mask, counts))
            for n, layer in enumerate(self._layers)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, n: int, mask: Any, counts: Any) -> Callable[[Any, Sequence[Any]], None]:
        def seen(_: Any, args: Sequence[Any]) -> None:
            inputs = args[0].detach().float() * mask[..., None]
            apart = (inputs - (inputs.sum(0) / counts)) * mask[..., None]
            for kept, rows in ((self._whole, inputs), (self._between, apart)):
                flat = rows.flatten(0, 1)
                kept[n] = kept.get(n, 0) + flat.T @ flat

        return seen


def _directions(whole: Any, between: Any, tokens: int, most: int) -> Any:
    """The ``most`` best directions ``[k, inputs]``, each of unit mean square over all inputs."""
    size = whole.shape[0]
    total = whole.double() / tokens
    total += _RIDGE * total.trace() / size * torch.eye(size, dtype=total.dtype, device=total.device)
    values, vectors = torch.linalg.eigh(total)
    root = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    _, best = torch.linalg.eigh(root @ (between.double() / tokens) @ root)
    return (root @ best[:, -most:]).T.float()
