"""What an adapter looks like inside a model: the layers it sits on, its tensors, its library form.

Called by what reads adapter files and by the bank. Needs torch and peft (extra ``parametric``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from memos_integrations.cube.errors import MissingExtra
from memos_integrations.infrastructure.parametric.errors import AdapterUnsupported
from memos_integrations.infrastructure.parametric.recipe import Recipe

try:
    import torch
    from peft import LoraConfig
    from peft.tuners.tuners_utils import BaseTunerLayer
except ModuleNotFoundError as error:
    raise MissingExtra("parametric memory", "parametric") from error

PREFIX = "base_model.model."
"""What peft puts before a module's name in the names of its tensors."""

Shapes: TypeAlias = Mapping[str, tuple[int, int]]
"""Linear layers of a base by their own names -> (outputs, inputs)."""


def linear_shapes(base: Any) -> Shapes:
    """The linear layers of a model, whether or not adapters sit on them already."""
    found: dict[str, tuple[int, int]] = {}
    for name, module in base.named_modules():
        layer: Any = getattr(module, "base_layer", module)
        if isinstance(layer, torch.nn.Linear) and not _inside(name):
            found[name] = (layer.out_features, layer.in_features)
    return found


def targeted(shapes: Shapes, targets: Sequence[str]) -> Shapes:
    """The layers an adapter sits on. Raises ``AdapterUnsupported`` where the model has none of
    some name, as another architecture names its layers otherwise."""
    found = {name: shape for name, shape in shapes.items() if name.split(".")[-1] in targets}
    missing = set(targets) - {name.split(".")[-1] for name in found}
    if missing:
        raise AdapterUnsupported(
            f"the model has no linear layers called {', '.join(sorted(missing))}; "
            "name those it has in the recipe's targets"
        )
    return found


def tensor_shapes(shapes: Shapes, recipe: Recipe) -> dict[str, tuple[int, int]]:
    """The tensors of an adapter made by this recipe on this base, by peft's names."""
    tensors: dict[str, tuple[int, int]] = {}
    for name, (outputs, inputs) in targeted(shapes, recipe.targets).items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = (recipe.rank, inputs)
        tensors[f"{PREFIX}{name}.lora_B.weight"] = (outputs, recipe.rank)
    return tensors


def lora_config(recipe: Recipe, invocation: Sequence[int] | None) -> LoraConfig:
    """The activated LoRA of this recipe (peft's aLoRA, https://arxiv.org/abs/2504.12397).

    Without an invocation it works at every token: for training behind what the base computed.
    """
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.targets),
        alora_invocation_tokens=None if invocation is None else list(invocation),
        task_type="CAUSAL_LM",
    )


def adapter_tensors(base: Any, name: str) -> dict[str, Any]:
    """The live parameters of one attached adapter, by peft's names without the adapter's."""
    return {
        f"{PREFIX}{module}.{part}.weight": getattr(layer, part)[name].weight
        for module, layer in tuner_layers(base)
        for part in ("lora_A", "lora_B")
        if name in getattr(layer, part)
    }


def tuner_layers(base: Any) -> Iterable[tuple[str, Any]]:
    """The layers that adapters sit on, with their names."""
    return [(n, m) for n, m in base.named_modules() if isinstance(m, BaseTunerLayer)]


def _inside(name: str) -> bool:
    """Whether a module belongs to an adapter or is what one was put around."""
    return any(part == "base_layer" or part.startswith("lora_") for part in name.split("."))
