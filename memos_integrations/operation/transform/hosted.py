"""The local models a program has handed over, so that background work can run them.

Called by the facade's ``host_model``; read by what fills caches and trains adapters. A task names
a model by its name; a process that does not host it leaves the task to one that does.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from memos_integrations.cube.errors import InvalidInput, NotFound
from memos_integrations.operation.transform.prompt import Rendering


@dataclass(frozen=True, slots=True)
class Hosted:
    """A transformers model, its tokenizer and how prompts are written for it."""

    name: str
    model: Any
    tokenizer: Any
    rendering: Rendering | None = None
    """As for ``MOS.activated``; by default the tokenizer's chat template."""
    invocation: str | None = None
    """The text from which on an adapter is active, such as what a template writes before the
    user's turn. By default it is read off the template."""
    replay: tuple[str, ...] = ()
    """Questions whose answers a training must leave as they are."""
    canaries: tuple[str, ...] = ()
    """Prompts on which drift is measured; never trained on."""
    lock: threading.RLock = field(default_factory=threading.RLock, compare=False)
    """Held by whoever runs the model with adapters or trains on it."""


class Hosts:
    """Hosted models by name. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosted: dict[str, Hosted] = {}

    def add(self, hosted: Hosted) -> None:
        """Host it, in place of another of that name."""
        if not hosted.name.strip():
            raise InvalidInput("a hosted model needs a name")
        with self._lock:
            self._hosted[hosted.name] = hosted

    def get(self, name: str) -> Hosted:
        """Raises ``NotFound`` for a model that this process does not host."""
        with self._lock:
            found = self._hosted.get(name)
        if found is None:
            raise NotFound(f"this program hosts no model {name!r}; hand it over with host_model")
        return found

    def names(self) -> Sequence[str]:
        """In the order in which they were handed over."""
        with self._lock:
            return tuple(self._hosted)
