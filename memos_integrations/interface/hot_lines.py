"""Memories as lines of a prompt, kept in memory with what they cost: the hot tier at work.

Bounded in bytes, least recently used out first. A line is only used again for exactly the item
that truth and governance have just given to this asker (words, header, masks), so it can be
neither stale nor somebody else's; what it saves is rendering and counting tokens. Emptied by an
erase.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from memos_integrations.cube.item import MemoryItem
from memos_integrations.cube.ports import TokenCounter
from memos_integrations.interface.context import render


@dataclass(frozen=True, slots=True)
class Line:
    """A rendered memory and its tokens."""

    text: str
    tokens: int


class HotLines:
    """A bounded cache of lines; thread-safe."""

    def __init__(self, tokens: TokenCounter, *, max_bytes: float) -> None:
        self._tokens = tokens
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int, str], tuple[Line, int]] = OrderedDict()
        self._bytes = 0
        self.hits = 0
        self.misses = 0

    @property
    def bytes(self) -> int:
        """Held now."""
        return self._bytes

    def line(self, item: MemoryItem, *, keep: bool) -> Line:
        """The item as a line; kept for the next time where ``keep`` says so."""
        text = render(item)  # cheap, and what makes a kept count safe: it is of these very words
        key = (item.header.id, item.header.version, text)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                self.hits += 1
                return found[0]
            self.misses += 1
        made = Line(text, self._tokens.count(text) + 1)
        if keep:
            self._keep(key, made)
        return made

    def forget(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _keep(self, key: tuple[str, int, str], line: Line) -> None:
        size = len(line.text.encode("utf-8", "replace"))
        if size > self._max_bytes:
            return
        with self._lock:
            if key in self._kept:
                return
            while self._bytes + size > self._max_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed
            self._kept[key] = (line, size)
            self._bytes += size
