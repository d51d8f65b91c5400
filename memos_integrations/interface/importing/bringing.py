"""Foreign memories become memories here: new ones, corrected ones, or none where nothing changed.

Called by ``import_from``, a transaction for each batch. What came is kept as what it is: of the
origin ``import``, with the times it had, and with the system and the id it has there in ``info``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from memos_integrations.cube.acl import Permission, Principal, Trust
from memos_integrations.cube.entries import Namespace, PutEntry, encode
from memos_integrations.cube.errors import InvalidInput, MemosError
from memos_integrations.cube.header import TOMBSTONES, MemoryType, Origin, State
from memos_integrations.cube.ids import CubePath, to_micros
from memos_integrations.cube.ops import AddOp, Replayable, UpdateOp
from memos_integrations.cube.outcomes import AddResult
from memos_integrations.infrastructure.vault.entries import EntryRows, holders
from memos_integrations.infrastructure.vault.imported import Imported, known, note
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.rows import Stored, dumps
from memos_integrations.infrastructure.vault.stored import current
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.interface.base import Rooms
from memos_integrations.interface.entry_drafts import draft_of
from memos_integrations.interface.importing.foreign import Foreign
from memos_integrations.interface.json_values import clean_json
from memos_integrations.interface.reader import About, Turn
from memos_integrations.interface.updates import update_columns
from memos_integrations.operation.entries import EntryWriter, Put

Fate: TypeAlias = Literal["new", "changed", "unchanged"]
EXISTS = "exists here"
_SOURCE = "import:"
_RESERVED = frozenset({"imported_from", "imported_id"})


@dataclass(slots=True)
class Brought:
    """What became of a batch."""

    fates: dict[str, int] = field(default_factory=dict[str, int])
    left: dict[str, int] = field(default_factory=dict[str, int])
    ids: list[str] = field(default_factory=list[str])
    task_ids: list[str] = field(default_factory=list[str])
    masked: dict[str, int] = field(default_factory=dict[str, int])

    def count(self, fate: Fate) -> None:
        self.fates[fate] = self.fates.get(fate, 0) + 1

    def leave(self, why: str, number: int = 1) -> None:
        self.left[why] = self.left.get(why, 0) + number


@dataclass(frozen=True, slots=True)
class Ready:
    """A foreign memory that was checked and may be written as it is."""

    foreign: Foreign
    key: str
    words: str
    whole: str
    first: Replayable | Put
    """As it is written when it is new: a memory in its earliest wording, or an entry."""

    def fate(self, seen: Imported | None) -> Fate:
        if seen is None:
            return "new"
        same = seen.words == self.words if self.foreign.words_only else seen.whole == self.whole
        return "unchanged" if same else "changed"

    def as_noted(self, item: str) -> Imported:
        return Imported(item, self.words, self.whole)


class Bringer:
    """Writes foreign memories of one system into one cube."""

    def __init__(
        self, rooms: Rooms, who: Principal, cube: CubePath, *, system: str, trust: Trust
    ) -> None:
        self._rooms = rooms
        self._who = who
        self._cube = cube
        self._system = system
        self._trust = trust

    def ready(self, found: Iterable[Foreign], done: Brought) -> Iterator[Ready]:
        """Those that can be written; why the others cannot goes into ``done``."""
        now = self._rooms.vault.now()
        for each in found:
            try:
                yield self._ready(each, now)
            except InvalidInput as error:
                done.leave(_short(error))

    def _ready(self, each: Foreign, now: int) -> Ready:
        info = clean_json(self._info(each), "info")
        first: Replayable | Put
        if each.name is None:
            first = self._memory(each, (*each.earlier, each.text)[0], info, now)
            self._rooms.reader.require_text(each.text)
        else:
            first = self._entry(each, info, now)
        whole = dumps([each.text, dict(each.value), info, list(each.tags)])
        named = dumps(["import", self._system, self._cube, each.id])
        return Ready(each, f"import:{_hash(named)}", _hash(each.text), _hash(whole), first)

    def _info(self, each: Foreign) -> dict[str, Any]:
        told = {name: fact for name, fact in each.info.items() if name not in _RESERVED}
        return {**told, "imported_from": self._system, "imported_id": each.id}

    def _memory(self, each: Foreign, text: str, info: dict[str, Any], now: int) -> Replayable:
        about = About.of(
            memory_type=MemoryType(each.memory_type or "long_term"),
            tags=each.tags,
            info=info,
            trust=self._trust,
            origin=Origin.IMPORT,
            source=f"{_SOURCE}{self._system}",
        )
        turn = Turn(text, each.role, each.speaker, each.time, each.session, each.id[:500])
        drafts, refused = self._rooms.reader.read([turn], about, self._who, now=now)
        if refused:
            raise InvalidInput(refused[0].reason or "it cannot be stored")
        made = drafts[0]
        made.draft.agent = each.agent or made.draft.agent
        if each.expires is not None:
            made.draft.expires = to_micros(each.expires)
        # Its id tells whether it came before; two that say the same there are two here.
        return Replayable(made.draft, 0, False, made.masked)

    def _entry(self, each: Foreign, info: dict[str, Any], now: int) -> Put:
        assert each.name is not None  # noqa: S101  -- as the caller saw
        put = draft_of(PutEntry(*each.name, each.value), self._who, self._rooms, now=now)
        draft = put.draft
        draft.origin, draft.trust, draft.info = Origin.IMPORT.value, self._trust.value, info
        draft.source = f"{_SOURCE}{self._system}"
        draft.time = now if each.time is None else to_micros(each.time)
        draft.expires = None if each.expires is None else to_micros(each.expires)
        return put

    # -- writing ------------------------------------------------------------------------------

    def bring(self, tx: Transaction, batch: Sequence[Ready]) -> Brought:
        """Write a batch; all of it commits together."""
        done = Brought()
        cube = self._rooms.executor.cube_for_writing(tx, self._cube)
        fates = [(each, known(tx.connection, self._who, each.key)) for each in batch]
        new = [each for each, seen in fates if seen is None]
        self._add(tx, [each for each in new if isinstance(each.first, Replayable)], done)
        for each in new:
            if isinstance(each.first, Put):
                self._new_entry(tx, cube, each, each.first, done)
        for each, seen in fates:
            if seen is not None and each.fate(seen) == "changed":
                self._changed(tx, cube, each, seen, done)
            elif seen is not None:
                done.count("unchanged")
        return done

    def _add(self, tx: Transaction, new: Sequence[Ready], done: Brought) -> None:
        """Store memories in their first wording, then what they became."""
        firsts = [each.first for each in new if isinstance(each.first, Replayable)]
        drafts = [replace(first, place=place) for place, first in enumerate(firsts)]
        if not drafts:
            return
        op = AddOp(self._cube, tuple(drafts), reason=f"imported from {self._system}")
        made = self._rooms.executor.execute(tx, [op])[0]
        assert isinstance(made, AddResult)  # noqa: S101  -- what an AddOp gives
        done.task_ids += made.task_ids
        for each, item, draft in zip(new, made.ids, drafts, strict=True):
            for what, count in (draft.masked or {}).items():
                done.masked[what] = done.masked.get(what, 0) + count
            for text in (*each.foreign.earlier, each.foreign.text)[1:]:
                self._update(tx, item, text, {}, done)
            self._note_new(tx, each, item, done)

    def _new_entry(
        self, tx: Transaction, cube: CubeRow, each: Ready, put: Put, done: Brought
    ) -> None:
        """Store an entry, unless its name holds what no import brought."""
        there = self._held(tx, cube, each)
        if there is not None and not _brought(there):
            done.leave(EXISTS)
            return
        try:
            item = self._put(tx, cube, each, put)
        except MemosError as error:
            done.leave(f"{EXISTS}, and {_short(error)}")
            return
        self._note_new(tx, each, item, done)

    def _held(self, tx: Transaction, cube: CubeRow, each: Ready) -> Stored | None:
        """What the name of an entry holds here, also where that is hidden from who imports."""
        assert each.foreign.name is not None  # noqa: S101  -- it is an entry
        namespace, key = each.foreign.name
        iids = holders(tx, [(cube.cid, encode(namespace), key)]).values()
        found = current(tx, list(iids))
        return found[0] if found and State(found[0].state) not in TOMBSTONES else None

    def _note_new(self, tx: Transaction, each: Ready, item: str, done: Brought) -> None:
        note(tx, each.key, each.as_noted(item))
        done.ids.append(item)
        done.count("new")

    def _changed(
        self, tx: Transaction, cube: CubeRow, each: Ready, seen: Imported, done: Brought
    ) -> None:
        """Correct what an earlier import brought; what was deleted here stays deleted."""
        numbers = tx.numbers([seen.item])
        rows = current(tx, [iid for iid, _ in numbers.values()])
        if not rows or State(rows[0].state) in TOMBSTONES:
            done.leave("changed there, deleted here")
            return
        if isinstance(each.first, Put) and not _brought(rows[0]):
            done.leave("changed there, put anew here")
            return
        try:
            tx.items([seen.item], Permission.WRITE)
            if isinstance(each.first, Put):
                self._put(tx, cube, each, each.first)
            else:
                text = None if seen.words == each.words else each.foreign.text
                self._update(tx, seen.item, text, self._columns(each), done)
        except MemosError as error:
            done.leave(f"changed there, and here {_short(error)}")
            return
        note(tx, each.key, each.as_noted(seen.item))
        done.ids.append(seen.item)
        done.count("changed")

    def _columns(self, each: Ready) -> dict[str, Any]:
        if each.foreign.words_only:
            return {}
        info, tags = self._info(each.foreign), each.foreign.tags
        return update_columns(info=info, tags=tags, keep=self._rooms.reader.keep)

    def _update(
        self, tx: Transaction, item: str, text: str | None, columns: dict[str, Any], done: Brought
    ) -> None:
        op = UpdateOp(item, text, columns, reason=f"changed in {self._system}")
        made = self._rooms.executor.execute(tx, [op])[0]
        done.task_ids += made.task_ids

    def _put(self, tx: Transaction, cube: CubeRow, each: Ready, put: Put) -> str:
        rooms = self._rooms
        assert each.foreign.name is not None  # noqa: S101  -- it is an entry
        namespace, key = each.foreign.name
        writer = EntryWriter(rooms.executor, rooms.lifecycle, embeds=rooms.embedder is not None)
        writer.write(tx, {(self._cube, encode(namespace), key): put})
        (iid,) = holders(tx, [(cube.cid, encode(namespace), key)]).values()
        (row,) = current(tx, [iid])
        return row.id


def names_taken(
    reading: Reading, cids: Sequence[int], batch: Sequence[Ready]
) -> set[tuple[Namespace, str]]:
    """The names of a batch that hold what no import brought, as far as the importer sees it."""
    names = [each.foreign.name for each in batch if each.foreign.name is not None]
    asked = [(cid, encode(namespace), key) for cid in cids for namespace, key in names]
    found = EntryRows(reading, cids).get(asked).values() if asked else ()
    return {(named.namespace, named.key) for named in found if not _brought(named.row)}


def _brought(row: Stored) -> bool:
    """Whether an import wrote what an entry holds now, and nobody put it since."""
    return row.source is not None and row.source.startswith(_SOURCE)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _short(error: Exception) -> str:
    """Why, in words that hold nothing of the file: our own errors name rules, not content."""
    return f"{type(error).__name__}: {str(error)[:120]}"
