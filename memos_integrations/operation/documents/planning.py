"""What a new version of a document changes: which chunks are kept, revised, archived or added.

Called by the verbs of documents inside the transaction. Pure: the chunks as they stand and as
they are to be, in; a plan, out. A chunk is the same one if its words are; else if it stands under
the same headings, or in the same place, and says nearly the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from memos_integrations.operation.documents.chunking import Chunk
from memos_integrations.operation.likeness import bag, overlap

_LIKE = 0.5
"""Least share of common words for the same chunk under the same headings."""
_LIKE_ELSEWHERE = 0.7
_REACH = 8
"""How many places a chunk may have moved to be taken for a revised one."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A chunk as the vault holds it."""

    id: str
    heading: str
    digest: str
    body: str
    live: bool
    """Neither archived nor merged away."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. A pair is the id of a standing chunk and the place of the new one."""

    kept: tuple[tuple[str, int], ...]
    revised: tuple[tuple[str, int], ...]
    restored: tuple[tuple[str, int], ...]
    """Archived by an earlier version, and now said again in the same words."""
    added: tuple[int, ...]
    """Places of new chunks that no standing one turns into."""
    removed: tuple[str, ...]


def plan(standing: Sequence[Standing], chunks: Sequence[Chunk]) -> Plan:
    """The cheapest honest way from the chunks that stand to the new ones."""
    live = [each for each in standing if each.live]
    found = _Matches(live, chunks, taken=frozenset())
    found.pair_equal(_place_and_words, _new_place_and_words)
    same = dict(found.pairs)
    found.pair_equal(lambda old: old.digest, lambda new: new.digest)
    found.pair_alike(same_heading=True, least=_LIKE)
    found.pair_alike(same_heading=False, least=_LIKE_ELSEWHERE)
    gone = [each for each in standing if not each.live]
    back = _Matches(gone, chunks, taken=frozenset(found.pairs))
    back.pair_equal(_place_and_words, _new_place_and_words)
    pairs = [(live[old].id, new) for new, old in sorted(found.pairs.items())]
    return Plan(
        kept=tuple(pair for pair in pairs if pair[1] in same),
        revised=tuple(pair for pair in pairs if pair[1] not in same),
        restored=tuple((gone[old].id, new) for new, old in sorted(back.pairs.items())),
        added=tuple(n for n in range(len(chunks)) if n not in found.pairs | back.pairs),
        removed=tuple(old.id for n, old in enumerate(live) if n not in found.old_taken),
    )


def _place_and_words(old: Standing) -> Hashable:
    return old.heading, old.digest


def _new_place_and_words(new: Chunk) -> Hashable:
    return new.heading, new.digest


class _Matches:
    """Pairs of new and old chunks, found from the surest to the least sure."""

    def __init__(
        self, old: Sequence[Standing], new: Sequence[Chunk], *, taken: frozenset[int]
    ) -> None:
        self._old = old
        self._new = new
        self._taken = taken
        self.pairs: dict[int, int] = {}
        """New place -> old place."""
        self.old_taken: set[int] = set()
        self._old_bags: dict[int, Counter[str]] = {}
        self._new_bags: dict[int, Counter[str]] = {}

    def _pair(self, new: int, old: int) -> None:
        self.pairs[new] = old
        self.old_taken.add(old)

    def _open_new(self) -> list[int]:
        return [n for n in range(len(self._new)) if n not in self.pairs and n not in self._taken]

    def _open_old(self) -> list[int]:
        return [n for n in range(len(self._old)) if n not in self.old_taken]

    def pair_equal(
        self, old_key: Callable[[Standing], Hashable], new_key: Callable[[Chunk], Hashable]
    ) -> None:
        """Pair what has the same key, in order."""
        waiting: dict[Hashable, list[int]] = defaultdict(list)
        for place in reversed(self._open_old()):
            waiting[old_key(self._old[place])].append(place)
        for place in self._open_new():
            if waiting[new_key(self._new[place])]:
                self._pair(place, waiting[new_key(self._new[place])].pop())

    def pair_alike(self, *, same_heading: bool, least: float) -> None:
        """Pair what says nearly the same, the likest first, near its old place."""
        found: list[tuple[float, int, int]] = []
        for new_places, old_places in self._groups(same_heading=same_heading):
            for rank, new in enumerate(new_places):
                near = slice(max(0, rank - _REACH), rank + _REACH + 1)
                for old in old_places[near]:
                    alike = self._alike(new, old)
                    if alike >= least:
                        found.append((-alike, new, old))
        for _, new, old in sorted(found):
            if new not in self.pairs and old not in self.old_taken:
                self._pair(new, old)

    def _groups(self, *, same_heading: bool) -> list[tuple[list[int], list[int]]]:
        if not same_heading:
            return [(self._open_new(), self._open_old())]
        old_by: dict[str, list[int]] = defaultdict(list)
        new_by: dict[str, list[int]] = defaultdict(list)
        for place in self._open_old():
            old_by[self._old[place].heading].append(place)
        for place in self._open_new():
            new_by[self._new[place].heading].append(place)
        return [(places, old_by[name]) for name, places in new_by.items() if old_by[name]]

    def _alike(self, new: int, old: int) -> float:
        if new not in self._new_bags:
            self._new_bags[new] = bag(self._new[new].body)
        if old not in self._old_bags:
            self._old_bags[old] = bag(self._old[old].body)
        return overlap(self._new_bags[new], self._old_bags[old])
