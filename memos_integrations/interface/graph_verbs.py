"""The verbs of the graph: what is related to a memory or a name, and which names there are."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from memos_integrations.cube.header import Relation
from memos_integrations.cube.item import MemoryItem
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, to_item
from memos_integrations.interface.arguments import texts, whole
from memos_integrations.interface.reader import as_enum
from memos_integrations.interface.reads import Reads
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.operation.operator.entity_graph import (
    Step,
    Way,
    keys_of,
    mentioned,
    neighbours,
    sharing_names,
    spelled,
    walk,
)

_DEEPEST = 16
_MOST = 1_000
_READ_FOR_NAMES = 2_000


@dataclass(frozen=True, slots=True)
class Related:
    """A memory that hangs together with another one, and how."""

    item: MemoryItem
    depth: int
    """Steps from what was asked about; 0 where the memory itself holds the name asked for."""
    relations: tuple[str, ...]
    """The relation of each step, nearest to the start first."""


@dataclass(frozen=True, slots=True)
class Entity:
    """Somebody or something that memories name."""

    name: str
    """As it is written most often."""
    memories: int


class GraphVerbs(Reads):
    """Following links and names, at one instant of the time machine."""

    def related(
        self,
        what: str,
        *,
        relations: Sequence[Relation | str] | None = None,
        depth: int = 1,
        limit: int = 50,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> builtins.list[Related]:
        """The memories that hang together with ``what`` (the id of a memory, or a name).

        Typed links are followed both ways, and names from memory to memory as ``mentions``;
        ``relations`` says which. No step leads over a memory that the asker may not see. A name
        finds memories by what they name now, also in ``as_of``.
        """
        whole(depth, "depth", least=1, most=_DEEPEST)
        whole(limit, "limit", least=1, most=_MOST)
        asked = relations if relations is None else texts(relations, "relations")
        wanted = None if asked is None else [as_enum(Relation, r, "relation") for r in asked]
        scope = self._scope(user, agent, session, cube)
        with self._reading(scope, action="related") as reading:
            cids = [each.cid for each in self._open_cubes(reading, scope)]
            start, by_id = self._start(reading, scope, cids, what, limit)

            def steps(items: Sequence[int]) -> Sequence[Step]:
                found = neighbours(reading, items, relations=wanted)
                if wanted is None or Relation.MENTIONS in wanted:
                    found += sharing_names(reading, items)
                return found

            def visible(items: Sequence[int]) -> set[int]:
                return {row.iid for row in self._told(reading, scope, items)}

            ways = walk(
                [Way(row.iid, ()) for row in start],
                depth=depth,
                limit=limit + len(start),
                steps=steps,
                visible=visible,
            )
            ways = [way for way in ways if way.relations or not by_id][:limit]
            rows = {r.iid: r for r in self._told(reading, scope, [way.item for way in ways])}
        self._rooms.vault.shown(scope.principal, "related", [*rows.values()], cubes=scope.cubes)
        return [
            Related(
                to_item(rows[way.item], scope.principal),
                len(way.relations),
                tuple(relation.value for relation in way.relations),
            )
            for way in ways
        ]

    def entities(
        self,
        *,
        limit: int = 100,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> builtins.list[Entity]:
        """The names in the memories the asker may see, those named most first.

        Read off the words the asker is shown, of the 2,000 newest memories of the scope.
        """
        whole(limit, "limit", least=1, most=_MOST)
        scope = self._scope(user, agent, session, cube)
        with self._reading(scope, action="entities") as reading:
            cids = [each.cid for each in self._open_cubes(reading, scope)]
            rows = reading.governed.listing(
                cids=cids, pick="searchable", where=scope.where(None), limit=_READ_FOR_NAMES
            )
            keys = keys_of(reading, [row.iid for row in rows])
        self._rooms.vault.shown(scope.principal, "entities", [], cubes=scope.cubes)
        written: dict[bytes, dict[str, int]] = {}
        for row in rows:
            if row.iid in keys:
                shown = to_item(row, scope.principal).text
                for key, name in spelled(shown, keys[row.iid]).items():
                    told = written.setdefault(key, {})
                    told[name] = told.get(name, 0) + 1
        return _named_most(written.values(), limit)

    def _start(
        self, reading: Reading, scope: Scope, cids: Sequence[int], what: str, limit: int
    ) -> tuple[builtins.list[Stored], bool]:
        """Where to begin, and whether that is a memory named by its id."""
        number = reading.numbers([what]).get(what)
        if number is not None:
            return [self._item(reading, scope, what)], True
        items = [n for cid in cids for n in mentioned(reading, cid, [what], limit)]
        return self._told(reading, scope, items), False

    def _told(self, reading: Reading, scope: Scope, items: Sequence[int]) -> builtins.list[Stored]:
        """These item rows as far as the asker may see them and they still say something."""
        cids = reading.cubes_of(items)
        where = scope.where(None)
        found = reading.governed.items(items, cids=cids, pick="kept", where=where)
        rows = {row.iid: row for row in found if not row.quarantined}
        return [rows[n] for n in dict.fromkeys(items) if n in rows]


def _named_most(written: Iterable[dict[str, int]], limit: int) -> builtins.list[Entity]:
    found = [
        Entity(max(sorted(names), key=lambda name: names[name]), sum(names.values()))
        for names in written
    ]
    return sorted(found, key=lambda each: (-each.memories, each.name))[:limit]
