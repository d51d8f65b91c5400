"""A model that adapters are attached to, made once: the base's own numbers stay as they are.

Needs torch and peft (extra ``parametric``). An anchor of rank 1 on one layer keeps peft's model
alive while no adapter is attached. No adapter is ever active by itself: a plain call of the model
is the base's, bitwise, and a row names the adapter it wants.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

from memos_integrations.cube.errors import InvalidInput, MissingExtra
from memos_integrations.infrastructure.parametric.errors import AdapterUnsupported
from memos_integrations.infrastructure.parametric.lora import (
    adapter_tensors,
    linear_shapes,
    lora_config,
    tuner_layers,
)
from memos_integrations.infrastructure.parametric.recipe import Recipe

try:
    import torch
    from peft import PeftModel, PeftModelForCausalLM
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error

_ANCHOR = "memos_anchor"
_MADE = "_memos_adapters"
"""Where a base keeps the model that was put around it, so that it is done once."""


def wrapped(base: Any) -> PeftModel:
    """The peft model around ``base``; the same one for the same base.

    The base's parameters are frozen and keep their numbers; only their names change. Raises
    ``InvalidInput`` for a model that carries adapters of someone else, and ``AdapterUnsupported``
    for one without linear layers.
    """
    made = vars(base).get(_MADE) if isinstance(base, torch.nn.Module) else None
    if made is not None:
        return made
    if not isinstance(base, torch.nn.Module) or not hasattr(base, "config"):
        raise InvalidInput("model must be a transformers model")
    if isinstance(base, PeftModel) or tuner_layers(base):
        raise InvalidInput(
            "the model carries adapters already: hand over the base alone; a plain LoRA changes "
            "what stands before the question, so no stored cache of the base serves under it"
        )
    first = next(iter(linear_shapes(base)), None)
    if first is None:
        raise AdapterUnsupported("the model has no linear layers")
    config = lora_config(Recipe(rank=1, alpha=1, targets=(first.split(".")[-1],)), [0])
    config.target_modules = [first]
    with torch.random.fork_rng(devices=[]), _no_warnings():
        made = PeftModelForCausalLM(base, config, adapter_name=_ANCHOR)
    base.__dict__[_MADE] = made
    rest(made)
    return made.eval()


def put(model: PeftModel, name: str, recipe: Recipe, invocation: tuple[int, ...] | None) -> None:
    """Put an adapter on, new: it changes nothing yet. Draws from torch's random numbers."""
    with _no_warnings():
        model.add_adapter(name, lora_config(recipe, invocation))
    rest(model)


def put_known(
    model: PeftModel,
    name: str,
    recipe: Recipe,
    invocation: tuple[int, ...],
    tensors: Mapping[str, Any],
) -> None:
    """Put an adapter on with these numbers, by ``lora.adapter_tensors``' names."""
    with torch.random.fork_rng(devices=[]):
        put(model, name, recipe, invocation)
    with torch.no_grad():
        for key, parameter in adapter_tensors(base_of(model), name).items():
            parameter.copy_(tensors[key])


def take_off(model: PeftModel, name: str) -> None:
    """Take an adapter off; its memory is freed, the base is as it was."""
    with _no_warnings():
        model.delete_adapter(name)
    rest(model)


def rest(model: PeftModel) -> None:
    """No adapter is active by itself, and none is trained."""
    tuner: Any = model.base_model
    tuner.set_adapter([], inference_mode=True)
    model.active_adapter = _ANCHOR


class Switch:
    """One adapter, used by every row of a plain call within a block, at little cost a block.

    peft's ``set_adapter`` looks at every module of the model, which takes a small model as long as
    a forward pass; here the layers are found once, so make it after the adapter was put on.
    ``learning`` are the parameters that want gradients where it is on to be trained.
    """

    def __init__(self, model: PeftModel, name: str, learning: Iterable[Any]) -> None:
        self._name = name
        self._layers: list[Any] = [
            layer for _, layer in tuner_layers(base_of(model)) if name in layer.lora_A
        ]
        self._learning = list(learning)

    @contextmanager
    def on(self, *, train: bool = False) -> Generator[None]:
        self._set([self._name], train)
        try:
            yield
        finally:
            self._set([], False)

    def _set(self, names: list[str], train: bool) -> None:
        for layer in self._layers:
            layer._active_adapter = names
        for parameter in self._learning:
            parameter.requires_grad_(train)


def base_of(model: PeftModel) -> Any:
    """The user's own model inside."""
    return model.get_base_model()


@contextmanager
def _no_warnings() -> Generator[None]:
    """peft warns of several adapters on one model, which is what is meant here, and calls what
    newer versions of transformers have renamed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
