"""The graph arm: memories that name what the question names, and what hangs together with these.

Called by the operator beside the other arms, with the open reading: names and links stand in the
truth. It looks at nothing where a question names nobody, and steps over no memory that the asker
may not be shown, whichever way a link points.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memos_integrations.cube.header import Relation
from memos_integrations.cube.ports import Rows
from memos_integrations.infrastructure.backends.column_table import find
from memos_integrations.infrastructure.backends.words import tokens
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.search_space import Room, Space
from memos_integrations.operation.operator.entity_graph import (
    Step,
    names_anything,
    naming,
    neighbours,
    runs_of_chinese,
    sharing_names,
    words_of,
)

FOLLOWED = (Relation.RELATES_TO, Relation.FOLLOWS, Relation.PART_OF, Relation.MENTIONS)
"""What the arm steps along. Facts are left to folding; what was superseded is no answer."""
_STARTS = 24
"""Memories that the first step starts from, those of the rarest names first."""
_FADE = 0.5
"""What is left of the worth of a memory in those one step from it."""
_MOST_NAMING = 2_000
"""A name that more memories hold tells none of them apart."""
_MOST_CANDIDATES = 200
_MOST_WORDS = 5
_INSIDE = frozenset("of the de van von da del la".split())


@dataclass(frozen=True, slots=True)
class Linked:
    """What the graph says of the memories of one cube."""

    items: Rows
    """Ascending."""
    worth: NDArray[np.float32]
    """In (0, 1]: which share of what the question names a memory names, rare names counting
    more; halved with each step away from such a memory."""

    def of(self, items: Rows) -> NDArray[np.float32]:
        """The worth of these; 0 for what the graph does not reach."""
        at = find(self.items, items)
        worth: NDArray[np.float32] = np.append(self.worth, np.float32(0))[at]
        return worth

    def best(self, limit: int) -> Rows:
        """At most ``limit`` items, the worthiest first, of equal ones the newest."""
        order = np.lexsort((-self.items, -self.worth))[:limit]
        best: Rows = self.items[order]
        return best


class GraphArm:
    """Memories reached from the names of the question, over at most ``depth`` links."""

    name = "graph"

    def __init__(self, *, depth: int = 1) -> None:
        self._depth = depth

    def reach(
        self, reading: Reading, space: Space, room: Room, text: str, *, said: Iterable[str] = ()
    ) -> Linked | None:
        """What the names of ``text`` lead to in one cube; ``None`` where it names nobody known.

        ``said`` are names that another signal answers for, those of speakers.
        """
        columns = space.columns(room.cube)
        if columns is None or not names_anything(reading, room.cube):
            return None
        names = names_asked(text, but=said)
        if not names:
            return None
        worth = _naming(reading, room.cube, names, total=len(columns.items))
        if not worth:
            return None
        start = level = _open(reading, room, columns.items, worth, most=_MOST_NAMING)
        reached = dict(start)
        for _ in range(self._depth):
            level = _open(reading, room, columns.items, _stepped(reading, level, reached))
            reached |= level
        if not reached:
            return None
        items = np.array(sorted(reached), np.int64)
        return Linked(items, np.array([reached[n] for n in items.tolist()], np.float32))


def names_asked(text: str, *, but: Iterable[str] = ()) -> list[str]:
    """What may be a name in a question: words in capitals, and runs of Chinese."""
    if text.isascii() and text.islower():
        return []
    left_out = {name.casefold() for name in but}
    names = (*_in_capitals(text), *(() if text.isascii() else runs_of_chinese(text)))
    asked = dict.fromkeys(name for name in names if name.casefold() not in left_out)
    return list(asked)[:_MOST_CANDIDATES]


def _in_capitals(text: str) -> Iterator[str]:
    """Words with a capital, and runs of such words with small ones like "of" inside; never from
    a word that tells nothing on, as the first of a question often does."""
    words = [word.removesuffix("'s").removesuffix("\u2019s") for word in words_of(text)]
    for place, first in enumerate(words):
        if first[0].isupper() and tokens(first):
            yield first
            for size in range(1, _MOST_WORDS):
                run = words[place : place + size + 1]
                if len(run) <= size or not (run[-1][0].isupper() or run[-1] in _INSIDE):
                    break
                if run[-1] not in _INSIDE:
                    yield " ".join(run)


def _naming(reading: Reading, cube: int, names: Sequence[str], *, total: int) -> dict[int, float]:
    """Items that hold any of the names, each with its share of what all known names are worth."""
    held = naming(reading, cube, names, most=_MOST_NAMING)
    rarity = {name: _rarity(len(items), total) for name, items in held.items()}
    whole = sum(rarity.values())
    worth: dict[int, float] = {}
    for name, items in held.items():
        for item in items:
            worth[item] = worth.get(item, 0.0) + rarity[name] / whole
    return worth


def _rarity(holders: int, total: int) -> float:
    return math.log1p((total - min(holders, total) + 0.5) / (holders + 0.5))


def _stepped(
    reading: Reading, level: dict[int, float], reached: dict[int, float]
) -> dict[int, float]:
    """What lies one step from the worthiest of a level and was not reached before."""
    starts = sorted(level, key=lambda item: (-level[item], -item))[:_STARTS]
    if not starts:
        return {}
    steps: list[Step] = neighbours(reading, starts, relations=FOLLOWED)
    steps += sharing_names(reading, starts, most=len(starts) * _STARTS)
    found: dict[int, float] = {}
    for step in steps:
        if step.end not in reached:
            found[step.end] = max(found.get(step.end, 0.0), level[step.start] * _FADE)
    return found


def _open(
    reading: Reading, room: Room, held: Rows, worth: dict[int, float], *, most: int = 500
) -> dict[int, float]:
    """Those of these items that the room lets be proposed and the asker may be shown."""
    ranked = sorted(worth, key=lambda item: (-worth[item], -item))[:most]
    items = room.open_of(np.array(ranked, np.int64))
    items = items[find(held, items) >= 0]
    seen = reading.governed.searchable(items.tolist(), cids=[room.cube])
    return {item: worth[item] for item in items.tolist() if item in seen}
