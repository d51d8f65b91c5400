"""The memory part of a prompt for a hosted model, written as ``activated`` writes it.

Handed to the background by the composition root, so that what is computed ahead is what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memos_integrations.cube.item import MemoryItem
from memos_integrations.interface.activation_verbs import control_tokens, memory_text


def written_for(items: Sequence[MemoryItem], tokenizer: Any) -> str:
    """The memories as lines that hold no control token of this tokenizer."""
    return memory_text(items, control_tokens(tokenizer))
