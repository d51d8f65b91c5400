"""How an adapter is made, what was measured of it, and whether it may be published. Data only.

Part of every adapter: who finds one can tell how it came about. Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from memos_integrations.infrastructure.activation.identity import Digest

Objective: TypeAlias = Literal["context", "language"]
"""``context``: learn what the same model answers with the text before it (context distillation).
``language``: learn the text itself, which teaches little and is here to be compared with."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a training depends on besides the model and the lessons."""

    seed: int = 0
    objective: Objective = "context"
    rank: int = 32
    alpha: int = 64
    learning_rate: float = 3e-3
    exposures: int = 400
    """How often each fact is seen, over all its question forms."""
    batch: int = 8
    replay_weight: float = 4.0
    """What keeping the old answers counts beside learning the new ones; 0 forgets them."""
    targets: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of an adapter, each a share of questions from 0 to 1, but for the drift."""

    recall: float
    """Answers as the teacher gives them, on forms that were trained."""
    held_out_recall: float
    """The same on a form that was not."""
    distracted_recall: float
    """The same with other memories standing before the question."""
    teacher_agreement: float
    """How well the teacher can be asked at all: its answers, with the text before the question,
    in the form that was not trained, beside those it taught."""
    old_knowledge_loss: float
    """What the answers to replay questions lose, as far as the base itself can tell: how much
    less likely it holds what is said instead. Where it is as often right as it is sure, this is
    the share of its right answers that are lost; a coin that falls otherwise loses nothing."""
    drift_kl: float
    """Mean KL divergence in nats from the base on the canary prompts, adapter active."""
    seconds: float = 0.0
    """Processor seconds, where whoever shows the figures adds them. Not in the file: the same
    recipe and lessons give the same bytes."""
    distracted_teacher: float = 1.0
    """How often the base gives these answers where the text stands among the other memories: what
    whoever is not given the adapter gets there."""


@dataclass(frozen=True, slots=True)
class Gates:
    """What an adapter must reach to be published."""

    recall_below_teacher: float = 0.02
    """How far both recalls may lie below what the teacher agrees with itself."""
    held_out_recall: float = 0.90
    distracted_recall: float = 0.85
    """Or, where that is less, as much as the base reads off the text there, less the same share."""
    old_knowledge_loss: float = 0.02
    drift_kl: float = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an adapter is published, and each gate it passed or failed in words."""

    published: bool
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What stands in an adapter's file beside its tensors."""

    base: Digest
    """Digest of model and tokenizer without adapters: it serves under no other."""
    recipe: Recipe
    data: Digest
    """Of the lessons it was made of."""
    figures: Figures
    verdict: Verdict
    invocation: tuple[int, ...]
    """Token ids from which on it is active (activated LoRA); what stands before is the base's."""
