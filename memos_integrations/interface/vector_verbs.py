"""The verbs for texts that come with their vectors, as agent frameworks keep their nodes.

Such a text is an ordinary memory: found by words too, governed, versioned, erased. Nothing is
read out of it and nothing folded into it, so what was put is what is found, and a delete is exact.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence

import numpy as np

from memos_integrations.cube.acl import Permission, Trust
from memos_integrations.cube.embedded import KEY_FIELD, Embedded, given_fingerprint, is_given
from memos_integrations.cube.errors import EmbedderMismatch, InvalidInput
from memos_integrations.cube.header import MemoryType, Origin, State
from memos_integrations.cube.ids import CubePath, clean_name
from memos_integrations.cube.item import Hit, MemoryItem
from memos_integrations.cube.ops import Replayable
from memos_integrations.cube.ports import Matrix, Vector
from memos_integrations.infrastructure.backends.embedders import unit_rows
from memos_integrations.infrastructure.vault import embedded
from memos_integrations.infrastructure.vault.behind_names import ensure_writable
from memos_integrations.infrastructure.vault.rows import masked, may_have_vector, to_item
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.interface.arguments import clean_reason, texts
from memos_integrations.interface.reader import About, Turn, as_enum
from memos_integrations.interface.reads import Reads, check_query
from memos_integrations.interface.scope import CubeName, Scope, Where
from memos_integrations.interface.writes import Writes
from memos_integrations.operation.given_vectors import Sought, nearest, vectors_of


class VectorReads(Reads):
    """Finding by given vectors, at one instant of the time machine."""

    def nearest(
        self,
        vector: Sequence[float] | None = None,
        *,
        words: str = "",
        balance: float | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
        filter: Where = None,  # noqa: A002  -- the field's word
        limit: int = 10,
    ) -> list[Hit]:
        """The memories nearest to a vector, to words, or to both; scores are on absolute scales.

        The score is ``balance`` times the cosine with the vector that came with the memory, and
        the rest times the share of the words it holds. ``balance`` is 1 without words and 0
        without a vector. Exact; the filter and the rights come first, so neither costs hits. A
        vector that came with a text was made of all its words, so its score weighs those too that
        are masked for who asks.
        """
        check_query(words, limit)
        sought = _sought(vector, words, balance)
        scope = self._scope(user, agent, session, cube)
        with self._reading(scope, action="search") as reading:
            cubes = self._open_cubes(reading, scope)  # of a closed one not even the model is told
            _ensure_comparable(cubes, sought.vector)
            near = nearest(
                self._rooms.vault,
                self._rooms.given,
                reading,
                cubes,
                sought,
                where=scope.where(filter),
                limit=limit,
            )
        rows = [each.row for each in near]
        self._rooms.vault.shown(scope.principal, "search", rows, cubes=scope.cubes)
        return [Hit(item=to_item(n.row, scope.principal), score=n.score) for n in near]

    def vectors(
        self,
        items: Sequence[str],
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> dict[str, builtins.list[float]]:
        """The unit vectors of these memories by id, of those that have one and may be seen whole.

        A vector that came with a text was made of all its words: who is shown some of them masked
        does not get it, as words can be read back out of a vector.
        """
        scope = self._scope(user, agent, session, cube)
        with self._reading(scope, action="get") as reading:
            numbers = reading.numbers(texts(items, "items"))
            rows = self._visible(reading, [iid for iid, _ in numbers.values()])
            found = vectors_of(
                reading, [row for row in rows if may_have_vector(row, scope.principal)]
            )
        self._rooms.vault.shown(scope.principal, "get", rows, used=False)
        return found

    def embedded(
        self,
        keys: Sequence[str],
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | Sequence[CubeName] | None = None,
    ) -> dict[str, MemoryItem]:
        """The texts that were put under these keys, by key: those that a search may find.

        Decided in memory like the filter of a search, so without reading a large cube.
        """
        where: Where = {KEY_FIELD: {"in": texts(keys, "keys")}}
        scope = self._scope(user, agent, session, cube)
        vault = self._rooms.vault
        with self._reading(scope, action="get") as reading:
            asked = self._cubes(reading, scope)
            space = vault.space(reading, asked, where=scope.where(where), exact=True)
            found = [n for room in space.rooms if room.rows is not None for n in room.rows.tolist()]
            rows = vault.resolve(reading, space.cubes, found, where=space.where)
        vault.shown(scope.principal, "get", rows, cubes=scope.cubes)
        items = [to_item(row, scope.principal) for row in rows]
        return {str(item.header.info["embedded"]): item for item in items}


class VectorVerbs(Writes, VectorReads):
    """Keeping texts with the vectors they came with."""

    def put_embedded(
        self,
        texts: Sequence[Embedded],
        *,
        model: str,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        trust: Trust | str = Trust.IMPORT,
        reason: str = "added",
    ) -> tuple[str, ...]:
        """Keep each text under its key, in one transaction; the ids of the memories, in order.

        A memory of the cube with the same key is replaced; history keeps it. ``model`` names what
        made the vectors: the cube takes no others. Raises ``InvalidInput`` for a text that cannot
        be stored, ``EmbedderMismatch`` where the cube's vectors are of another model.
        """
        clean_name(model, "model")
        clean_reason(reason)
        scope = self._scope(user, agent, session, cube)
        _ensure_embedded(texts)
        last = {each.key: each for each in texts}
        kept = builtins.list(last.values())
        drafts = [self._embedded(each, scope, as_enum(Trust, trust, "trust")) for each in kept]
        matrix = _matrix(kept)

        def work(tx: Transaction) -> dict[str, str]:
            return self._put(tx, scope, drafts, matrix, model=model, reason=reason)

        ids = self._write(scope, work, action="add") if drafts else {}
        return tuple(ids[each.key] for each in texts)

    def _put(
        self,
        tx: Transaction,
        scope: Scope,
        drafts: Sequence[Replayable],
        matrix: dict[int, Vector],
        *,
        model: str,
        reason: str,
    ) -> dict[str, str]:
        home = self._home_of_vectors(tx, scope.cube, model, matrix)
        keys = [str((each.draft.info or {})["embedded"]) for each in drafts]
        replaced = embedded.named(tx, home, keys)
        ensure_writable(tx, home, replaced)
        for old in replaced.values():
            self._rooms.lifecycle.delete(tx, old, reason="replaced")
        made = tx.insert(home, [each.draft for each in drafts], reason=reason)
        places = sorted(matrix)
        if places:
            stack: Matrix = np.stack([matrix[n] for n in places])
            # The content of a new item bears the item's own number.
            tx.embed(home.cid, [made[n].iid for n in places], _mark(model, matrix), stack)
        tx.audit("add", cube=home.path, items=[each.id for each in made], reason=reason)
        return dict(zip(keys, [each.id for each in made], strict=True))

    def _home_of_vectors(
        self, tx: Transaction, path: CubePath, model: str, matrix: dict[int, Vector]
    ) -> CubeRow:
        """The cube, made where it is missing, and claimed for this model's vectors."""
        home = tx.find_cube(path)
        if home is None:
            self._rooms.executor.ensure_own_name(tx, path)
            home = tx.new_cube(path)
        tx.gate(home, Permission.WRITE)
        if matrix:
            mark = _mark(model, matrix)
            if home.embedding not in (None, mark):
                raise EmbedderMismatch(
                    f"cube {path} holds vectors of {home.embedding}, not of {mark}: keep these "
                    "in a cube of their own"
                )
            embedded.claim(tx, home, mark)
        return home

    def _embedded(self, each: Embedded, scope: Scope, trust: Trust) -> Replayable:
        """The text as it may be stored. Raises ``InvalidInput`` for a key or source that would be
        masked."""
        clean_name(each.key, "key")
        about = About.of(
            memory_type=MemoryType.DOCUMENT,
            origin=Origin.IMPORT,
            trust=trust,
            tags=each.tags,
            info={**each.info, "embedded": each.key},
            data=each.data,
            source=each.source,
        )
        rooms = self._rooms
        turn = Turn(each.text, role="document")
        drafts, _ = rooms.reader.read([turn], about, scope.principal, now=rooms.vault.now())
        draft = drafts[0].draft
        if (draft.info or {}).get("embedded") != each.key:
            raise InvalidInput("a key that looks like a secret would be masked; choose another")
        if masked(each.source, keep=rooms.reader.keep) != each.source:
            raise InvalidInput(
                "a source that looks like a secret would be stored for all to read; choose another"
            )
        draft.state = State.ACTIVATED.value
        return drafts[0]


def _ensure_embedded(given: Sequence[Embedded]) -> None:
    if not isinstance(given, Sequence) or not all(isinstance(each, Embedded) for each in given):
        raise InvalidInput("texts must be a list of Embedded")
    for each in given:
        clean_name(each.key, "key")


def _matrix(texts: Sequence[Embedded]) -> dict[int, Vector]:
    """Place -> unit vector, of those that have one. Raises ``UsageError``, ``InvalidInput``."""
    places = [n for n, each in enumerate(texts) if each.vector is not None]
    if not places:
        return {}
    given = [texts[n].vector for n in places]
    if len({len(vector or ()) for vector in given}) > 1:
        raise InvalidInput("the vectors of one call must be of one length")
    rows = unit_rows(given, count=len(places), source="the given vectors")
    return dict(zip(places, rows, strict=True))


def _mark(model: str, matrix: dict[int, Vector]) -> str:
    return given_fingerprint(model, len(next(iter(matrix.values()))))


def _sought(vector: Sequence[float] | None, words: str, balance: float | None) -> Sought:
    if vector is None and not words.strip():
        raise InvalidInput("nearest needs a vector, words, or both")
    usual = 1.0 if not words.strip() else 0.0 if vector is None else 0.5
    share = usual if balance is None else balance
    if not 0.0 <= share <= 1.0:
        raise InvalidInput("balance lies between 0 (words alone) and 1 (the vector alone)")
    unit = None if vector is None else unit_rows([vector], count=1, source="the question")[0]
    return Sought(unit, words, share)


def _ensure_comparable(cubes: Sequence[CubeRow], vector: Vector | None) -> None:
    for cube in cubes if vector is not None else ():
        if cube.embedding is not None and not is_given(cube.embedding):
            raise EmbedderMismatch(
                f"cube {cube.path} was embedded by {cube.embedding}, so that no vector from "
                "elsewhere compares with it: search it by words, or keep vectors in another cube"
            )
        dim = 0 if cube.embedding is None else int(cube.embedding.rpartition("/")[2])
        if vector is not None and dim not in (0, len(vector)):
            raise EmbedderMismatch(
                f"cube {cube.path} holds vectors of {dim} dimensions, not {len(vector)}"
            )
