"""The verbs that read. The same class answers for now and, through ``as_of``, for the past."""

from __future__ import annotations

import builtins
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from memos_integrations.cube.acl import Principal
from memos_integrations.cube.embedded import is_given
from memos_integrations.cube.errors import EmbedderMismatch, InvalidInput, NotFound
from memos_integrations.cube.filters import Filter, matches, mentions
from memos_integrations.cube.header import SEARCHABLE, Link, Relation
from memos_integrations.cube.ids import LATEST, CubePath, from_micros
from memos_integrations.cube.item import Hit, MemoryItem
from memos_integrations.cube.mem_cube import MemCube
from memos_integrations.cube.provenance import ProvenanceStep
from memos_integrations.infrastructure.backends.embedders import embed_query
from memos_integrations.infrastructure.backends.sqlite_graph import SqliteGraph
from memos_integrations.infrastructure.vault.cube_forms import bytes_by_form
from memos_integrations.infrastructure.vault.governed import Instant, Pick
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, built, to_item
from memos_integrations.infrastructure.vault.transaction import CubeRow
from memos_integrations.infrastructure.vault.usage_records import FORM
from memos_integrations.interface.arguments import whole
from memos_integrations.interface.context import (
    Context,
    Order,
    SectionName,
    Standing,
    pack,
    wanted_sections,
)
from memos_integrations.interface.cubes import to_cube
from memos_integrations.interface.reader import micros_of
from memos_integrations.interface.reranking import POOL, reranked
from memos_integrations.interface.scope import CubeName, Scope, Where
from memos_integrations.interface.showable_verb import ShowableVerb
from memos_integrations.interface.standing import nearness, sources_of, standing_rows
from memos_integrations.interface.version_verb import VersionVerb
from memos_integrations.operation.operator.question import Query
from memos_integrations.operation.operator.search import Found
from memos_integrations.operation.reading.dates import spoken_times

_MAX_QUERY_CHARS = 100_000
_MAX_LIMIT = 10_000
_EXPLAINED = 1_000
_OF_FACTS = ("memory_type", "origin", "model")
_BAD = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One step of a memory's history."""

    version: int
    at: datetime
    actor: str
    reason: str
    item: MemoryItem


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a memory comes from and what was made of it, as far as the asker may see."""

    item: MemoryItem
    steps: tuple[ProvenanceStep, ...]
    sources: tuple[MemoryItem, ...]
    """What it was derived from, nearest first."""
    derived: tuple[MemoryItem, ...]
    """What was derived from it, nearest first."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a memory is or is not among the hits of a question."""

    item: MemoryItem
    hit: Hit | None
    rank: int | None
    """1 is best; ``None`` when a search does not show it."""
    reasons: tuple[str, ...]


class Reads(ShowableVerb, VersionVerb):
    """Search, context and looking things up, at one instant of the time machine."""

    def search(
        self,
        query: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        limit: int = 10,
        explain: bool = False,
        valid_at: datetime | str | None = None,
    ) -> list[Hit]:
        """The memories that fit ``query`` best, best first.

        Raises ``AccessDenied`` for a cube of which the asker may see nothing, ``InvalidFilter``
        for an unknown field or operator. ``explain=True`` adds the terms of each score;
        ``valid_at`` asks what held in the world at that time.
        """
        check_query(query, limit)
        scope = self._scope(user, agent, session, cube)
        judge = self._rooms.reranker
        wanted = limit if judge is None else max(limit, POOL)
        found = self._find(scope, query, filter, wanted, self._valid(valid_at))
        hits = [to_hit(each, scope.principal, explain=explain) for each in found]
        rows = [each.row for each in found]
        if judge is not None:
            hits = reranked(judge, query, hits, explain=explain)[:limit]
            shown = {hit.id for hit in hits}
            rows = [row for row in rows if row.id in shown]
        self._rooms.vault.shown(scope.principal, "search", rows, cubes=scope.cubes)
        return hits

    def context(
        self,
        query: str,
        *,
        budget_tokens: int = 1000,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002
        limit: int = 20,
        sections: Sequence[SectionName] | None = None,
        order: Order = "best",
    ) -> Context:
        """A block of memories for a prompt, at most ``budget_tokens`` long, with provenance.

        It has up to five sections, each with its share of the budget: ``working`` memory, the
        ``profile`` (preferences and facts about people that hold now, found or not), ``tools``,
        ``documents`` and the ``memories`` found by the question. ``sections`` names those wanted;
        ``order="time"`` puts each section in the order of time. Nothing is said twice.
        """
        whole(budget_tokens, "budget_tokens", least=1)
        wanted = wanted_sections(sections)
        if order not in ("best", "time"):
            raise InvalidInput("order must be 'best' or 'time'")
        hits = self.search(
            query,
            user=user,
            agent=agent,
            session=session,
            cube=cube,
            filter=filter,
            limit=limit,
            explain=True,
        )
        scope = self._scope(user, agent, session, cube)
        return pack(
            hits,
            budget_tokens=budget_tokens,
            tokens=self._rooms.tokens,
            standing=self._standing(scope, query, filter, wanted),
            sections=wanted,
            order=order,
        )

    def get(
        self,
        item: str,
        *,
        version: int | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> MemoryItem:
        """One memory by id, at a version if given. Raises ``NotFound``."""
        scope = self._scope(user, agent, session, cube)
        with self._reading(scope, action="get") as reading:
            row = self._item(reading, scope, item)
            if version is not None:
                row = _pick_version(self._versions(reading, row), item, version)
            if row.tid is None or not _in_scope(row, scope):
                raise NotFound(f"no memory {item} is visible to {scope.principal.name}")
        self._rooms.vault.shown(scope.principal, "get", [row])
        return to_item(row, scope.principal)

    def list(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002
        limit: int = 100,
        offset: int = 0,
    ) -> builtins.list[MemoryItem]:
        """The memories of the scope, newest first, archived and stale ones too.

        Merged memories and tombstones are left out unless the filter asks about ``state``.
        """
        whole(limit, "limit", least=0)
        whole(offset, "offset", least=0)
        scope = self._scope(user, agent, session, cube)
        where = scope.where(filter)
        with self._reading(scope, action="list") as reading:
            cids = [c.cid for c in self._open_cubes(reading, scope)]
            rows = reading.governed.listing(
                cids=cids, pick=_kept(where), where=where, limit=limit, offset=offset
            )
        self._rooms.vault.shown(scope.principal, "list", rows, cubes=scope.cubes)
        return [to_item(row, scope.principal) for row in rows]

    def count(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002
    ) -> int:
        """How many memories of the scope the asker may see."""
        scope = self._scope(user, agent, session, cube)
        where = scope.where(filter)
        with self._reading(scope, action="count") as reading:
            cids = [c.cid for c in self._open_cubes(reading, scope)]
            total = reading.governed.count(cids=cids, pick=_kept(where), where=where)
        self._rooms.vault.shown(scope.principal, "count", [], cubes=scope.cubes)
        return total

    def history(
        self,
        item: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> builtins.list[VersionRecord]:
        """Every version of a memory, oldest first, with who changed it and why."""
        scope = self._scope(user, agent, session, cube)
        with self._reading(scope, action="history") as reading:
            rows = self._versions(reading, self._item(reading, scope, item))
        self._rooms.vault.shown(scope.principal, "history", rows[-1:])
        return [
            VersionRecord(
                row.version,
                from_micros(row.recorded),
                row.actor,
                row.reason,
                to_item(row, scope.principal),
            )
            for row in rows
        ]

    def provenance(
        self,
        item: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> Provenance:
        """Where a memory comes from, step by step, and what was derived from it."""
        scope = self._scope(user, agent, session, cube)
        with self._reading(scope, action="provenance") as reading:
            row = self._item(reading, scope, item)
            sources = self._walk(reading, row, backwards=False)
            derived = self._walk(reading, row, backwards=True)
        self._rooms.vault.shown(scope.principal, "provenance", [row, *sources, *derived])
        seen = to_item(row, scope.principal)
        return Provenance(
            seen,
            seen.header.provenance,
            tuple(to_item(each, scope.principal) for each in sources),
            tuple(to_item(each, scope.principal) for each in derived),
        )

    def links(
        self,
        item: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> builtins.list[Link]:
        """The typed links of a memory, both ways, to memories the asker may see."""
        scope = self._scope(user, agent, session, cube)
        with self._reading(scope, action="links") as reading:
            row = self._item(reading, scope, item)
            at = min(reading.asking.instant.seq, LATEST)
            edges = reading.connection.execute(
                "SELECT source, relation, target, target_version FROM edge "
                "WHERE (source = ?1 OR target = ?1) AND seq_from <= ?2 AND seq_to > ?2 "
                "ORDER BY seq_from, source, target",
                (row.iid, at),
            ).fetchall()
            ends = self._visible(reading, [n for e in edges for n in (e[0], e[2])])
        self._rooms.vault.shown(scope.principal, "links", [], cubes=[row.path])
        names = {each.iid: each.id for each in ends}
        return [
            Link(source=names[s], relation=Relation(r), target=names[t], target_version=v)
            for s, r, t, v in edges
            if s in names and t in names
        ]

    def explain(
        self,
        query: str,
        item: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002
    ) -> Explanation:
        """Why this memory is, or is not, found by this question."""
        scope = self._scope(user, agent, session, cube)
        seen = self.get(item, user=user, agent=agent, session=session, cube=cube)
        check_query(query, 1)
        there = self._scope(user, agent, session, cube if cube is not None else seen.cube)
        found = self._find(there, query, filter, _EXPLAINED, self._instant)
        for place, each in enumerate(found, 1):
            if each.row.id == item:
                hit = Hit(item=seen, score=each.score, signals=each.terms)
                return Explanation(seen, hit, place, tuple(s.why for s in hit.signals))
        return Explanation(seen, None, None, tuple(self._why_not(seen, scope, filter)))

    def stats(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> dict[str, Any]:
        """Counts of what the asker may see, by state, type, trust and form, and how search works.

        What was told is counted; facts drawn from it stand behind it and are not counted again.
        """
        scope = self._scope(user, agent, session, cube)
        where = scope.where(None)
        with self._reading(scope, action="stats") as reading:
            cids = [c.cid for c in self._open_cubes(reading, scope)]
            by = {
                name: reading.governed.tallies(name, cids=cids, where=where)
                for name in ("state", "memory_type", "trust", "stale")
            }
            total = reading.governed.count(cids=cids, pick="told", where=where)
            forms = reading.governed.columns(FORM, cids=cids, pick="told", where=where)
            by["form"] = dict(sorted(Counter(str(row[0]) for row in forms).items()))
            made = bytes_by_form(
                reading.connection, [g.cid for g in reading.governed.gates(cids) if g.open]
            )
        self._rooms.vault.shown(scope.principal, "stats", [], cubes=scope.cubes)
        embedder = self._rooms.embedder
        return {
            "cubes": [str(path) for path in scope.cubes],
            "memories": total,
            **by,
            "form_bytes": {form: size for form, (_, size) in sorted(made.items())},
            "embedder": embedder.fingerprint if embedder else None,
            "arms": ["lexical", "vector"] if embedder else ["lexical"],
        }

    def cubes(
        self, *, user: str | None = None, agent: str | None = None, session: str | None = None
    ) -> builtins.list[MemCube]:
        """The cubes the asker may read as a whole."""
        scope = self._scope(user, agent, session)
        with self._reading(scope, action="cubes") as reading:
            open_ = [gate for gate in reading.governed.gates() if gate.open]
            rows = [
                row
                for gate in open_
                for row in reading.cubes([CubePath(gate.path)], tenant=gate.tenant)
            ]
            return [to_cube(reading.connection, row) for row in rows]

    # -- what the verbs share -----------------------------------------------------------------

    def _find(
        self, scope: Scope, query: str, given: Where, limit: int, instant: Instant
    ) -> builtins.list[Found]:
        where = scope.where(given)
        asked = self._query(query)
        with self._reading(scope, action="search", instant=instant) as reading:
            cubes = self._cubes(reading, scope)
            self._ensure_same_embedder(reading, scope, cubes)
            return self._rooms.operator.search(reading, cubes, asked, where=where, limit=limit)

    def _standing(
        self, scope: Scope, query: str, given: Where, wanted: Sequence[SectionName]
    ) -> builtins.list[Standing]:
        """What the working and profile sections may hold beside what the question finds."""
        if "working" not in wanted and "profile" not in wanted:
            return []
        with self._reading(scope, action="context") as reading:
            cids = [cube.cid for cube in self._cubes(reading, scope)]
            rows = standing_rows(reading, cids, scope.where(given)) if cids else []
            near = nearness(reading, rows, self._vector(query), self._rooms.vault.model)
            drawn = sources_of(reading, rows)
            told = {r.iid: r.id for r in self._visible(reading, builtins.list(drawn.values()))}
        self._rooms.vault.shown(scope.principal, "context", rows)
        return [
            Standing(
                to_item(row, scope.principal),
                near.get(row.iid, 0.0),
                told.get(drawn.get(row.iid, 0)),
            )
            for row in rows
        ]

    def _ensure_same_embedder(
        self, reading: Reading, scope: Scope, cubes: Sequence[CubeRow]
    ) -> None:
        """Raise ``EmbedderMismatch``; of a closed cube not even that is told."""
        model = self._rooms.vault.model
        for cube in cubes:
            # Where vectors came with the texts, plain questions are answered by words.
            given = is_given(cube.embedding)
            if model and cube.embedding and cube.embedding != model and not given:
                self._ensure_open(reading, scope, [cube])
                raise EmbedderMismatch(
                    f"cube {cube.path} was embedded by {cube.embedding}, not {model}: open it "
                    "with that embedder, or re-embed it with mos.reembed(cube=...)"
                )

    def _query(self, query: str) -> Query:
        times = spoken_times(query, at=self._rooms.vault.now())
        return Query(query, self._vector(query), times)

    def _vector(self, query: str) -> Any:
        embedder = self._rooms.embedder
        return None if embedder is None or not query.strip() else embed_query(embedder, query)

    def _valid(self, valid_at: datetime | str | None) -> Instant:
        if valid_at is None:
            return self._instant
        return replace(self._instant, valid_micros=micros_of(valid_at, "valid_at"))

    def _versions(self, reading: Reading, row: Stored) -> builtins.list[Stored]:
        """The versions of an item up to the instant; visible because the item is."""
        return reading.governed.versions(row.iid, cids=[row.cid], upto=reading.asking.instant.seq)

    def _walk(self, reading: Reading, row: Stored, *, backwards: bool) -> builtins.list[Stored]:
        graph = SqliteGraph(reading.connection, at=reading.asking.instant.seq)
        reached = graph.walk(
            [row.iid], relations=[Relation.DERIVED_FROM], depth=16, backwards=backwards
        )
        return self._visible(reading, [r.item for r in reached])

    def _visible(self, reading: Reading, items: Sequence[int]) -> builtins.list[Stored]:
        """These item rows as far as the asker may see them, in the order given."""
        cids = reading.cubes_of(items)
        rows = {r.iid: r for r in reading.governed.items(items, cids=cids)}
        return [rows[n] for n in dict.fromkeys(items) if n in rows]

    def _why_not(self, item: MemoryItem, scope: Scope, where: Where) -> builtins.list[str]:
        header = item.header
        reasons: list[str] = []
        asked = scope.where(where)
        if asked is not None and not matches(asked, item):
            reasons.append("the filter or the scope leaves it out")
        if header.state not in SEARCHABLE:
            reasons.append(f"it is {header.state.value}")
        if header.stale:
            reasons.append("a source it was derived from changed since (stale)")
        if header.quarantined:
            reasons.append("its source is quarantined")
        if header.valid_to is not None:
            reasons.append(f"it was valid until {header.valid_to:%d %B %Y}")
        if header.embedding is None and self._rooms.embedder is not None:
            reasons.append("it has no vector yet: its fine stage is still to come")
        return reasons or ["it shares neither words nor meaning with the question"]


def _kept(where: Filter | None) -> Pick:
    """What a listing covers: what was told, unless the filter itself says what it wants.

    Facts stand behind the memory whose words they restate; a filter on what only tells them apart
    from it asks for them.
    """
    if where is None:
        return "told"
    if mentions(where, ("state",)):
        return "present"
    return "kept" if mentions(where, _OF_FACTS) else "told"


def to_hit(found: Found, principal: Principal, *, explain: bool) -> Hit:
    """What ``principal`` is shown of a memory that was found; every value has its type already."""
    values = {
        "item": to_item(found.row, principal),
        "score": found.score,
        "signals": found.terms if explain else (),
    }
    return built(Hit, _HIT_FIELDS, values)


_HIT_FIELDS = frozenset(Hit.model_fields)


def check_query(query: object, limit: int) -> None:
    if not isinstance(query, str):
        raise InvalidInput(f"query must be text, not {type(query).__name__}")
    if len(query) > _MAX_QUERY_CHARS:
        raise InvalidInput(f"query is longer than {_MAX_QUERY_CHARS} characters")
    if _BAD.search(query):
        raise InvalidInput("query holds NUL or lone surrogates; send valid text")
    whole(limit, "limit", least=1, most=_MAX_LIMIT)


def _pick_version(rows: Sequence[Stored], item: str, version: int) -> Stored:
    for row in rows:
        if row.version == version:
            return row
    raise NotFound(f"memory {item} has no version {version}; it has 1 to {rows[-1].version}")


def _in_scope(row: Stored, scope: Scope) -> bool:
    """Whether the item lies in the cubes and passes the narrowing that the call named."""
    if not scope.at_home and row.path not in scope.cubes:
        return False
    return scope.narrow is None or matches(scope.narrow, to_item(row, scope.principal))
