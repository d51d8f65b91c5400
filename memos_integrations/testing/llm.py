"""Language models for tests: one that reads from a script, and a server that can misbehave.

They take part in no production path; programs that use this package may use them in their tests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from memos_integrations.cube.errors import LLMUnavailable
from memos_integrations.cube.ports import Completion

Line: TypeAlias = str | Completion | Exception | Callable[[str], "str | Completion"]
"""What a scripted model does next: answer, raise, or answer to the prompt."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call as it came in."""

    prompt: str
    system: str | None
    schema: Mapping[str, object] | None
    max_tokens: int


class ScriptedLLM:
    """An ``LLM`` that says its lines in order; the last one is repeated. Thread-safe."""

    def __init__(self, *lines: Line, name: str = "scripted/1") -> None:
        self.name = name
        self.asked: list[Asked] = []
        self._left = list(lines)
        self._lock = threading.Lock()

    def complete(
        self,
        prompt: str,
        *,
        system: str | None = None,
        schema: Mapping[str, object] | None = None,
        max_tokens: int = 1024,
    ) -> Completion:
        with self._lock:
            self.asked.append(Asked(prompt, system, schema, max_tokens))
            if not self._left:
                raise LLMUnavailable("the script is empty")
            line = self._left[0] if len(self._left) == 1 else self._left.pop(0)
        if isinstance(line, Exception):
            raise line
        said = line(prompt) if callable(line) else line
        return Completion(said) if isinstance(said, str) else said
