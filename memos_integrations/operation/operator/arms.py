"""The arms: each proposes memories from its own index; none of them decides.

An arm reads an index of the search space and nothing else. A new arm (graph, time) is one more
class with ``propose``; the operator takes whatever arms it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from memos_integrations.cube.ports import Vector
from memos_integrations.infrastructure.vault.search_space import Space


@dataclass(frozen=True, slots=True)
class Query:
    """A question as the arms see it; ``vector`` is ``None`` without an embedder."""

    text: str
    vector: Vector | None = None


class Place(NamedTuple):
    """Where a proposed memory lives."""

    cube: int
    item: int


class Arm(Protocol):
    name: str

    def propose(self, query: Query, space: Space, *, limit: int) -> list[Place]:
        """At most ``limit`` places per cube, best first."""
        ...


class LexicalArm:
    """Memories that share words with the question."""

    name = "lexical"

    def propose(self, query: Query, space: Space, *, limit: int) -> list[Place]:
        return [
            Place(room.cube, p.item)
            for room in space.rooms
            for p in space.text.search(room.cube, query.text, limit=limit, within=room.rows)
        ]


class VectorArm:
    """Memories whose meaning is close to the question's."""

    name = "vector"

    def propose(self, query: Query, space: Space, *, limit: int) -> list[Place]:
        if query.vector is None or space.vectors is None:
            return []
        return [
            Place(room.cube, p.item)
            for room in space.rooms
            for p in space.vectors.search(room.cube, query.vector, limit=limit, within=room.rows)
        ]
