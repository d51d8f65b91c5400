"""MemLoader: an archive becomes a new cube, or nothing happens. Every row is hostile until checked.

Called by the facade: ``stage`` outside any transaction (structure, policy, vectors, blobs), then
``load`` inside one. What the loader decides:

* Restrictions travel, privileges do not. Private stays private, labels, expiry and quarantine
  stay; the new cube and everything in it belong to the loader; who else may see it travels only
  with ``with_grants``, inside one tenant.
* Ids are made anew. The old one is the last step of the provenance chain, as an ``import``.
* The log is replayed in its order, so every version, link and tombstone stands where it stood.
* An archive proves nothing about its maker. Unless the loader vouches for it (``trusted``), its
  memories get the trust class and origin ``import``, changes count as the loader's, legal holds
  are not taken over, and vectors are made anew, because they could point anywhere.
* Text is redacted as in any write; spans that the archive knows beyond that stay masked.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter

from memos_integrations.cube.acl import Effect, Grant, Permission, SubjectKind, Visibility
from memos_integrations.cube.draft import fold
from memos_integrations.cube.embedded import is_given
from memos_integrations.cube.entries import encode
from memos_integrations.cube.errors import HostileArchive, InvalidInput
from memos_integrations.cube.events import EventKind
from memos_integrations.cube.header import TOMBSTONES, State
from memos_integrations.cube.ids import CubePath, from_micros, new_item_id
from memos_integrations.infrastructure import record_rows
from memos_integrations.infrastructure.governance.redaction import (
    RedactionPolicy,
    Span,
    Written,
    apply_on_write,
    spans_from_json,
    spans_to_json,
)
from memos_integrations.infrastructure.staged import Staged
from memos_integrations.infrastructure.vault.rows import dumps, dumps_or_none, masked
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.infrastructure.wire import (
    GRANTS,
    ITEMS,
    LINKS,
    RECORDS,
    VERSIONS,
    EntryRow,
    GrantRow,
    ItemRow,
    LinkRow,
    VersionRow,
    parse,
)

_BATCH_ROWS = 1000
_PERSONAL = frozenset({"personal"})

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class LoadRules:
    """What the loading principal asked for, and what this vault demands of every write."""

    redaction: RedactionPolicy
    max_text_chars: int
    trusted: bool
    with_grants: bool
    model: str | None
    """Fingerprint of the embedder in use; vectors of another are not taken over."""


@dataclass(slots=True)
class Loaded:
    """What came in."""

    cube: CubeRow
    ids: dict[str, str] = field(default_factory=dict[str, str])
    """Id in the archive -> id of the new item."""
    versions: int = 0
    links: int = 0
    grants: int = 0
    vectors: int = 0
    records: int = 0
    masked: dict[str, int] = field(default_factory=dict[str, int])
    unfinished: list[int] = field(default_factory=list[int])
    """Item rows that need their fine stage."""


@dataclass(slots=True)
class _Chain:
    """How far the versions of one item have come."""

    iid: int
    version: int = 0
    tid: int | None = None
    state: State = State.GENERATED
    merged_into: str | None = None
    words: dict[int, int] = field(default_factory=dict[int, int])
    """Version -> the words it brought."""


class MemLoader:
    """Writes one staged archive into an open transaction. One use per load."""

    def __init__(
        self, tx: Transaction, staged: Staged, rules: LoadRules, *, progress: Progress | None
    ) -> None:
        self._tx = tx
        self._staged = staged
        self._rules = rules
        self._progress = progress
        self._rows = _Rows(tx)
        self._chains: dict[str, _Chain] = {}
        self._open: set[tuple[int, str, int]] = set()
        self._last = 0
        self._vectors = staged.vectors if self._takes_vectors() else None

    def load(self, path: CubePath) -> Loaded:
        """The new cube with everything in it. Raises ``HostileArchive``; then nothing is kept."""
        staged, rules = self._staged, self._rules
        shown = staged.policy.visibility if rules.with_grants else Visibility.PRIVATE
        if shown is Visibility.INHERIT:
            raise HostileArchive("policy.json: a cube has nothing to inherit its visibility from")
        info = masked(staged.policy.info, keep=self._kept())
        done = Loaded(self._tx.new_cube(path, visibility=shown, info=info))
        self._replay(done)
        self._check_merges()
        self._rows.flush()
        if rules.with_grants:
            done.grants = sum(self._grant(done.cube, row) for row in self._grants())
        if RECORDS in staged.reader.names():
            done.records = record_rows.load(self._tx, done.cube.cid, staged.reader)
        self._settle(done)
        return done

    def _takes_vectors(self) -> bool:
        facts, rules = self._staged.facts, self._rules
        ours = rules.model in (None, facts.embedding)
        return rules.trusted and (ours or is_given(facts.embedding))

    def _kept(self) -> frozenset[str]:
        return _PERSONAL - self._rules.redaction.on_write

    # -- the log ------------------------------------------------------------------------------

    def _replay(self, done: Loaded) -> None:
        items = self._items()
        total = max(1, self._staged.count(VERSIONS))
        log: list[Iterator[VersionRow | LinkRow]] = [self._versions(), self._links()]
        for row in heapq.merge(*log, key=attrgetter("at")):
            if row.at <= self._last:
                raise HostileArchive(f"two events stand at place {row.at} of the archive's log")
            self._last = row.at
            if isinstance(row, LinkRow):
                self._link(done, row)
                continue
            if row.version == 1:
                self._open_item(done, next(items, None), row)
            self._version(done, row)
            if self._progress is not None and done.versions % _BATCH_ROWS == 0:
                self._progress(done.versions / total)
        if next(items, None) is not None:
            raise HostileArchive(f"{ITEMS}: a memory without any version")

    def _items(self) -> Iterator[ItemRow]:
        for number, row in enumerate(self._staged.reader.lines(ITEMS), 1):
            yield parse(ItemRow, row, f"line {number} of {ITEMS}")

    def _versions(self) -> Iterator[VersionRow]:
        for number, row in enumerate(self._staged.reader.lines(VERSIONS), 1):
            yield parse(VersionRow, row, f"line {number} of {VERSIONS}")

    def _links(self) -> Iterator[LinkRow]:
        for number, row in enumerate(self._staged.reader.lines(LINKS), 1):
            yield parse(LinkRow, row, f"line {number} of {LINKS}")

    def _open_item(self, done: Loaded, item: ItemRow | None, first: VersionRow) -> None:
        if item is None or item.id != first.item:
            raise HostileArchive(f"{ITEMS} and {VERSIONS} do not name the same memories in order")
        if item.id in self._chains:
            raise HostileArchive(f"memory {item.id} begins twice")
        iid = self._tx.next_seq()
        self._chains[item.id] = _Chain(iid)
        done.ids[item.id] = new_id = new_item_id(self._tx.at)
        visibility = item.visibility.value
        if not self._rules.with_grants and item.visibility is not Visibility.PRIVATE:
            visibility = Visibility.INHERIT.value
        self._rows.items.append(
            (
                *(iid, new_id, done.cube.cid, min(item.created, self._tx.at)),
                *(self._tx.principal.name, visibility, dumps_or_none(sorted(set(item.labels)))),
                *(item.trust.value if self._rules.trusted else "import", item.expires, None, None),
            )
        )
        if item.quarantined:
            self._rows.quarantined.append((iid,))
        if item.entry is not None:
            self._rows.entries.append(_entry_values(iid, done.cube.cid, item.entry))

    def _version(self, done: Loaded, row: VersionRow) -> None:
        chain = self._chains.get(row.item)
        if chain is None or row.version != chain.version + 1:
            raise HostileArchive(f"version {row.version} of memory {row.item} is out of its chain")
        _check_state(row)
        seq = int(self._tx.seq) if row.version == 1 else int(self._tx.next_seq())
        cid = done.cube.cid
        tid = self._words(done, chain, row, seq)
        if row.version > 1:
            self._rows.closings.append((seq, chain.iid, chain.version))
        chain.version, chain.tid, chain.state = row.version, tid, row.before or row.state
        chain.merged_into = row.merged_into
        self._rows.versions.append(self._version_values(row, chain, cid, seq))
        self._rows.outbox.append(
            (seq, self._tx.at, cid, chain.iid, row.version, EventKind.PUT.value)
        )
        self._use_blobs(chain.iid, row)
        done.versions += 1
        self._rows.flush_if_full()

    def _words(self, done: Loaded, chain: _Chain, row: VersionRow, seq: int) -> int | None:
        """The number of the words this version tells, kept when it is the first to tell them."""
        if row.words == row.version and row.text is not None:
            chain.words[row.version] = seq
            self._keep_words(done, chain.iid, row, row.text, seq)
            return seq
        if row.text is not None or row.data is not None or row.spans or row.vector is not None:
            raise HostileArchive(f"memory {row.item} has words where it should have none")
        if row.words is None:
            return None
        if row.words not in chain.words:
            raise HostileArchive(f"memory {row.item} repeats words that it never had")
        return chain.words[row.words]

    def _keep_words(self, done: Loaded, iid: int, row: VersionRow, text: str, tid: int) -> None:
        if len(text) > self._rules.max_text_chars:
            raise HostileArchive(f"memory {row.item} has more text than this vault stores")
        written = self._redacted(row, text)
        for what, count in written.removed.items():
            done.masked[what] = done.masked.get(what, 0) + count
        cid = done.cube.cid
        data = masked(row.data, keep=self._kept()) if row.data else None
        words = fold(row.speaker or row.role, written.text)
        spans = spans_to_json(written.spans)
        self._rows.contents.append((tid, cid, iid, words, written.text, dumps_or_none(data), spans))
        if row.vector is None:
            return
        vector = self._staged.next_vector(row.vector)
        if self._vectors is not None and written.text == text:
            model = self._staged.facts.embedding
            self._rows.embeddings.append((tid, cid, model, vector))
            done.vectors += 1

    def _redacted(self, row: VersionRow, text: str) -> Written:
        try:
            known = spans_from_json(json.dumps(row.spans) if row.spans else None, length=len(text))
        except InvalidInput as error:
            raise HostileArchive(f"memory {row.item}: {error}") from error
        policy = self._rules.redaction
        if known:
            policy = replace(policy, detectors=(*policy.detectors, _Known(text, known)))
        return apply_on_write(text, policy)

    def _version_values(
        self, row: VersionRow, chain: _Chain, cid: int, seq: int
    ) -> tuple[object, ...]:
        trusted = self._rules.trusted
        state, before = row.state.value, row.before.value if row.before else None
        if row.before is not None and not trusted:
            state, before = row.before.value, None  # somebody else's legal hold binds nobody here
        blobs = [blob.model_dump() for blob in row.blobs]
        return (
            *(seq, chain.iid, cid, row.version, min(row.recorded, self._tx.at), chain.tid, state),
            *(before, row.kind.value, row.memory_type.value, row.time, row.valid_from),
            *(row.valid_to, row.role, row.speaker, row.conversation, row.agent),
            *(row.origin.value if trusted else "import", row.source, row.model),
            *(dumps_or_none(row.tags), dumps_or_none(masked(row.info, keep=self._kept()))),
            *(self._provenance(row), dumps_or_none(blobs), row.priority, row.confidence),
            *(row.storage_mode.value, int(row.stale), self._merged_into(row)),
            *(row.actor if trusted else self._tx.principal.name, row.reason),
        )

    def _provenance(self, row: VersionRow) -> str:
        """The chain as it came, and the step that brought it here."""
        steps = [step.model_dump(mode="json", exclude_none=True) for step in row.provenance]
        for step in steps:
            if "quote" in step:
                step["quote"] = masked(step["quote"], keep=self._kept())
        arrival = {
            "source_kind": "import",
            "source": row.item,
            "actor": self._tx.principal.name,
            "action": "loaded",
            "at": from_micros(self._tx.at).isoformat(),
        }
        return dumps([*steps, arrival])

    def _merged_into(self, row: VersionRow) -> int | None:
        if row.merged_into is None:
            return None
        successor = self._chains.get(row.merged_into)
        if successor is None or row.merged_into == row.item:
            raise HostileArchive(f"memory {row.item} is merged into one that is not there")
        return successor.iid

    def _use_blobs(self, iid: int, row: VersionRow) -> None:
        for blob in row.blobs:
            ref = blob.ref()
            # Bytes that the archive does not carry may be somebody else's in this very vault.
            if self._staged.blobs.get(ref.sha256) != ref:
                raise HostileArchive(f"memory {row.item} names a blob that the archive lacks")
            self._rows.blobs.append((ref.sha256, ref.bytes, ref.media_type, self._tx.at))
            self._rows.blob_uses.append((ref.sha256, iid))

    def _link(self, done: Loaded, row: LinkRow) -> None:
        source, target = self._chains.get(row.source), self._chains.get(row.target)
        if source is None or target is None or source is target:
            raise HostileArchive("a link of the archive leads nowhere")
        cid = done.cube.cid
        key = (source.iid, row.relation.value, target.iid)
        if (row.event == "link") == (key in self._open):
            raise HostileArchive("a link of the archive is drawn twice, or taken away undrawn")
        if row.event == "link":
            self._open.add(key)
            done.links += 1
            self._tx.link_rows(cid, source.iid, row.relation, target.iid, row.target_version)
        else:
            self._open.remove(key)
            seq = self._tx.next_seq()
            self._tx.execute(queries("writes")["close_edge"], (seq, *key))
            self._tx.emit(EventKind.LINKED, cid, source.iid, seq=seq)

    # -- policy -------------------------------------------------------------------------------

    def _grants(self) -> Iterator[GrantRow]:
        if GRANTS in self._staged.reader.names():
            for number, row in enumerate(self._staged.reader.lines(GRANTS), 1):
                yield parse(GrantRow, row, f"line {number} of {GRANTS}")

    def _grant(self, cube: CubeRow, row: GrantRow) -> int:
        who = self._tx.principal
        if (SubjectKind(row.subject_kind), row.subject) in who.subjects():
            return 0  # the loader owns the cube; a rule could only lock it out
        chain = None if row.item is None else self._chains.get(row.item)
        if row.item is not None and chain is None:
            raise HostileArchive("a grant of the archive is on a memory that is not there")
        rule = Grant(
            who.tenant,
            cube.path,
            SubjectKind(row.subject_kind),
            row.subject,
            Permission(row.permissions),
            Effect(row.effect),
            expires=row.expires,
        )
        self._tx.grant(rule, cid=cube.cid, iid=None if chain is None else chain.iid)
        return 1

    # -- the end ------------------------------------------------------------------------------

    def _check_merges(self) -> None:
        """Refuses memories that are, over some steps, merged into themselves."""
        sound: set[str] = set()
        for start in self._chains:
            path: set[str] = set()
            at: str | None = start
            while at is not None and at not in sound:
                if at in path:
                    raise HostileArchive(f"memory {at} is merged into itself over some steps")
                path.add(at)
                chain = self._chains[at]
                at = chain.merged_into if chain.state is State.MERGED else None
            sound |= path

    def _settle(self, done: Loaded) -> None:
        sql = queries("portability")
        cid = done.cube.cid
        self._staged.end_vectors()
        if self._rules.trusted:
            self._tx.execute(sql["hold"], (cid,))
        if done.vectors:
            self._tx.execute(
                "UPDATE cube SET embedding = ? WHERE cid = ?", (self._staged.facts.embedding, cid)
            )
        rows = self._tx.execute(sql["unfinished"], (cid, self._rules.model))
        done.unfinished = [int(iid) for (iid,) in rows]
        self._tx.changed.add(cid)


@dataclass(frozen=True, slots=True)
class _Known:
    """Finds what the archive already knew to be sensitive in one text."""

    text: str
    spans: tuple[Span, ...]
    name: str = "known"
    label: str = "known"

    def find(self, text: str) -> list[Span]:
        # A replacement moves what follows it; from then on the other detectors decide alone.
        return list(self.spans) if text == self.text else []


def _entry_values(iid: int, cid: int, entry: EntryRow) -> tuple[object, ...]:
    space = encode(tuple(entry.namespace))
    return iid, cid, space, entry.key, dumps(list(entry.fields)), entry.ttl


def _check_state(row: VersionRow) -> None:
    frozen = row.state is State.FROZEN
    illegal = row.before in (State.FROZEN, *TOMBSTONES) or frozen != (row.before is not None)
    if illegal or (row.state in TOMBSTONES) != (row.words is None):
        raise HostileArchive(f"version {row.version} of memory {row.item} has no possible state")


@dataclass(slots=True)
class _Rows:
    """Rows on their way into the tables, a batch at a time."""

    tx: Transaction
    items: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    quarantined: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    entries: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    contents: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    versions: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    closings: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    outbox: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    embeddings: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    blobs: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    blob_uses: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])

    def flush_if_full(self) -> None:
        if len(self.versions) >= _BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits, in an order in which each row finds what it needs."""
        writes, own = queries("writes"), queries("portability")
        for sql, rows in (
            (writes["item"], self.items),
            (own["quarantine"], self.quarantined),
            (queries("entries")["name"], self.entries),
            (writes["content"], self.contents),
            (writes["version"], self.versions),
            (writes["close_version"], self.closings),
            (writes["outbox"], self.outbox),
            (writes["embedding"], self.embeddings),
            (own["blob"], self.blobs),
            (own["blob_use"], self.blob_uses),
        ):
            if rows:
                self.tx.connection.executemany(sql, rows)
                rows.clear()
