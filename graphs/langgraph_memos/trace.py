"""The memory trace: what memory did in a run, on the custom stream, in ids and figures.

``graph.stream(..., stream_mode="custom")`` shows it; words are only in it where the run asks with
``config={"configurable": {"memory_trace": "content"}}``, and ``"off"`` keeps it silent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from langchain_core.runnables import RunnableConfig

from langgraph_memos.state import Recalled, Written
from memos_integrations.cube.errors import UsageError

SETTING: Final = "memory_trace"
Event = Literal[
    "recalled",
    "injected",
    "written",
    "held",
    "prefetched",
    "consolidated",
    "distilled",
    "promoted",
    "forked",
    "drained",
    "refused",
]
Writer = Callable[[Any], None]


class Trace:
    """Tells the run's custom stream what a node did with memory."""

    def __init__(
        self, config: RunnableConfig, runtime: object = None, *, writer: Writer | None = None
    ) -> None:
        wanted = config.get("configurable", {}).get(SETTING, "figures")
        if wanted not in ("figures", "content", "off"):
            raise UsageError(f"{SETTING} is 'figures', 'content' or 'off', not {wanted!r}")
        given: Writer | None = writer or getattr(runtime, "stream_writer", None)
        self._writer = None if wanted == "off" else given
        self._content = wanted == "content"

    def tell(self, event: Event, content: Any = None, **figures: Any) -> None:
        """Send one event: ``{"memory": event, ...figures}``, with its words where asked for."""
        if self._writer is None:
            return
        told = {"memory": event, **figures}
        if self._content and content is not None:
            told["content"] = content
        self._writer(told)

    def recalled(self, found: Sequence[Recalled], **figures: Any) -> None:
        """What was found, with score and reasons by their figures."""
        self.tell(
            "recalled",
            [{"id": each["id"], "text": each["text"], "why": each["why"]} for each in found],
            ids=[each["id"] for each in found],
            scores=[round(each["score"], 4) for each in found],
            signals=[each["signals"] for each in found],
            **figures,
        )

    def written(self, written: Sequence[Written], **figures: Any) -> None:
        """What became of each message."""
        self.tell(
            "written",
            [each["reason"] for each in written],
            ids=[each["id"] for each in written],
            statuses=[each["status"] for each in written],
            **figures,
        )
