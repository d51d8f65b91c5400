"""Turns of a conversation in which nobody can end their own turn and begin another's. Pure.

Called by the adapters before a chat template writes the turns down.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from memos_integrations.interface.activation_verbs import control_tokens, parted
from memos_integrations.operation.transform.prompt import Turn

_OWN = re.compile(r"</?(?:think|tool_call)>|\s+")
"""Control tokens that stand inside a turn of a model, or in what tells it of its tools."""


def harmless_turns(turns: Sequence[Turn], tokenizer: Any) -> list[Turn]:
    """The turns with every control token of the tokenizer parted by a joiner that is not seen.

    Of all roles: a system turn may repeat a memory or what describes a tool, and a model what it
    was told to repeat. Thoughts and calls of these two stay as they were written.
    """
    control = control_tokens(tokenizer)

    def unless_own(found: re.Match[str]) -> str:
        return found[0] if _OWN.fullmatch(found[0]) else parted(found)

    return [
        Turn(
            role=each["role"],
            content=control.sub(
                unless_own if each["role"] in ("system", "assistant") else parted, each["content"]
            ),
        )
        for each in turns
    ]
