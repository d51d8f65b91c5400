"""A model of random weights with a tokenizer of whole words, and adapters of random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from memos_integrations.infrastructure.activation.identity import Digest
from memos_integrations.infrastructure.activation.model_identity import identify
from memos_integrations.infrastructure.parametric import adapter_file
from memos_integrations.infrastructure.parametric.lora import linear_shapes, tensor_shapes
from memos_integrations.infrastructure.parametric.recipe import Figures, Manifest, Recipe, Verdict
from memos_integrations.operation.transform.hosted import Hosted
from memos_integrations.operation.transform.lesson import Lesson

# Two threads on busy cores wait for each other; one is faster for tensors of this size.
torch.set_num_threads(1)

NAMES = "ada bea cem dov eli fay gus hal ivy jon kai lou".split()
PLACES = "oslo rome lima bonn cork bern kyiv nice".split()
WORDS = "question : answer where does live which place is home of the lives in ? . I".split()
INVOCATION = (3, 4)
"""The tokens of "question :"."""
RECIPE = Recipe(
    rank=4, alpha=8, exposures=12, batch=4, targets=("q_proj", "v_proj", "up_proj", "down_proj")
)


def a_tokenizer() -> Any:
    words = ["<pad>", "<unk>", "<s>", *WORDS, *NAMES, *PLACES]
    vocabulary = {word: n for n, word in enumerate(words)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", bos_token="<s>"
    )


def a_model(seed: int = 0, dtype: Any = torch.float32, **changed: Any) -> Any:
    torch.manual_seed(seed)
    shape = {
        "vocab_size": 48,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
        **changed,
    }
    config = transformers.LlamaConfig(**shape)
    return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def hosted(model: Any, **about: Any) -> Hosted:
    """Hosted with prompts of the form ``<s> memory question : ... ? answer :``."""
    given = {
        "rendering": rendering,
        "invocation": "question :",
        "replay": tuple(f"where does {name} live" for name in NAMES[8:]),
        "canaries": tuple(f"which place is home of {name}" for name in NAMES[8:]),
    }
    return Hosted("toy", model, a_tokenizer(), **given | about)


def rendering(memory: str, question: str) -> str:
    return f"<s> {memory} question : {question} ? answer :"


def lessons(count: int = 4) -> list[Lesson]:
    return [
        Lesson(
            f"item-{n}",
            1,
            f"{name} lives in {PLACES[n % len(PLACES)]} .",
            (f"where does {name} live", f"{name} lives in"),
            f"which place is the home of {name}",
        )
        for n, name in enumerate(NAMES[:count])
    ]


def manifest(model: Any, recipe: Recipe = RECIPE, **changed: Any) -> Manifest:
    about = {
        "base": identify(model, a_tokenizer()).digest(),
        "recipe": recipe,
        "data": Digest("d" * 64),
        "figures": Figures(1.0, 1.0, 1.0, 1.0, 0.0, 0.0),
        "verdict": Verdict(True, ("passed",)),
        "invocation": INVOCATION,
    }
    return Manifest(**about | changed)


def tensors(model: Any, recipe: Recipe = RECIPE, *, seed: int = 1, scale: float = 0.3) -> Any:
    rng = torch.Generator().manual_seed(seed)
    shapes = tensor_shapes(linear_shapes(model), recipe)
    return {name: torch.randn(shape, generator=rng) * scale for name, shape in shapes.items()}


def an_adapter(model: Any, folder: Path, *, seed: int = 1, recipe: Recipe = RECIPE) -> Path:
    """The file of an adapter of random numbers for this model."""
    path = folder / f"{seed}.safetensors"
    made = tensors(model, recipe, seed=seed)
    path.write_bytes(adapter_file.dump(made, manifest(model, recipe)))
    return path


def key(n: int) -> Digest:
    return Digest(f"{n:064x}")
