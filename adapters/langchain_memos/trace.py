"""The memory trace of an agent on its custom stream: what was injected, what was written.

The same form as the nodes of ``langgraph_memos`` use: ``{"memory": event, ...figures}``. Words are
only in it where ``config={"configurable": {"memory_trace": "content"}}``; ``"off"`` is silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from langchain_core.runnables.config import ensure_config
from langgraph.runtime import Runtime

from langchain_memos.asker import Asker
from memos_integrations.cube.errors import UsageError
from memos_integrations.cube.outcomes import Outcome
from memos_integrations.interface.context import Context

SETTING: Final = "memory_trace"
_MODES: Final = ("figures", "content", "off")


def tell(runtime: Runtime[Any] | None, told: dict[str, Any], *, words: object = None) -> None:
    """Send one event to the custom stream of the run."""
    mode = ensure_config().get("configurable", {}).get(SETTING, "figures")
    if mode not in _MODES:
        raise UsageError(f"{SETTING} is one of {', '.join(_MODES)}, not {mode!r}")
    if runtime is not None and mode != "off":
        runtime.stream_writer({**told, "content": words} if mode == "content" else told)


def injected(block: Context | None, asker: Asker) -> dict[str, Any]:
    """What a call of the model was given as text, as ids and figures, one list for each."""
    scores = {} if block is None else {hit.id: hit.score for hit in block.hits}
    sections = () if block is None else block.sections
    shown = [(item, section.name) for section in sections for item in section.items]
    return {
        "memory": "injected",
        "user": asker.user,
        "thread": asker.thread,
        "ids": [item.id for item, _ in shown],
        "versions": [item.version for item, _ in shown],
        "sections": [name for _, name in shown],
        "scores": [scores.get(item.id) for item, _ in shown],
        "trust": [item.header.trust.value for item, _ in shown],
        "tokens": 0 if block is None else block.tokens,
        "left_out": 0 if block is None else block.left_out,
    }


def written(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What became of each message."""
    return {
        "memory": "written",
        "ids": [each.id for each in outcomes],
        "statuses": [each.status for each in outcomes],
    }
