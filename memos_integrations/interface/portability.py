"""The verbs that carry memory over borders: a cube out and in, and the large files beside it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from memos_integrations.cube.acl import Permission, Principal
from memos_integrations.cube.errors import AccessDenied, Conflict, InvalidInput, NotFound
from memos_integrations.cube.ids import CubePath, clean_name, clean_path, from_micros
from memos_integrations.cube.item import BlobRef
from memos_integrations.cube.mem_cube import MemCube
from memos_integrations.infrastructure.archive import ArchiveLimits, ArchiveWriter
from memos_integrations.infrastructure.blobs import OCTETS, clean_sha256
from memos_integrations.infrastructure.dumper import Dumped, MemDumper
from memos_integrations.infrastructure.governance.redaction import RedactionPolicy
from memos_integrations.infrastructure.loader import Loaded, LoadRules, MemLoader
from memos_integrations.infrastructure.staged import Staged
from memos_integrations.infrastructure.vault import blob_claims
from memos_integrations.infrastructure.vault.governed import Governed
from memos_integrations.infrastructure.vault.masked_blobs import shows_masked
from memos_integrations.infrastructure.vault.reading import Reading
from memos_integrations.infrastructure.vault.sql import queries
from memos_integrations.infrastructure.vault.transaction import CubeRow, Transaction
from memos_integrations.infrastructure.vault.vault import MemVault
from memos_integrations.interface.base import Verbs
from memos_integrations.interface.cubes import to_cube
from memos_integrations.interface.scope import CubeName, Scope
from memos_integrations.operation.facts.adopting import adopt
from memos_integrations.operation.fine_task import queue_cube, queue_items
from memos_integrations.operation.tool_copies import note_loaded_calls

PathName = str | os.PathLike[str]
Progress = Callable[[float], None]

_IDS_PER_AUDIT_LINE = 1000


@dataclass(frozen=True, slots=True)
class DumpReport:
    """What an archive holds."""

    path: Path
    cube: str
    items: int
    versions: int
    links: int
    grants: int
    """0 without admin rights on the cube: who else may see it is then left out."""
    blobs: int
    vectors: int
    records: int
    """Bytes under a name, such as checkpoints; never masked."""
    masked_versions: int
    """Versions whose words were masked for the asker."""
    bytes: int


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of an archive."""

    cube: MemCube
    ids: dict[str, str]
    """Id in the archive -> id of the new memory."""
    versions: int
    links: int
    grants: int
    blobs: int
    vectors: int
    records: int
    masked: dict[str, int]
    """What redaction took out, by kind."""
    task_ids: tuple[str, ...]
    """The fine stage of what is not embedded or activated yet; pass each to ``wait``."""

    @property
    def items(self) -> int:
        return len(self.ids)


class PortabilityVerbs(Verbs):
    """Dumping and loading cubes, storing and fetching blobs."""

    def dump(
        self,
        path: PathName,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> DumpReport:
        """Write a cube, as the asker may read it, into one archive file; what it holds.

        With its whole visible history, links, vectors, blobs and records. Needs read rights on the
        cube; what is hidden from the asker is left out, what it is not cleared for is masked (never
        in records, which are opaque). Grants go in only with admin rights. Raises ``Conflict``
        where the file exists and ``replace`` is not set, or when something was erased while it was
        written.
        """
        scope = self._scope(user, agent, session, cube)
        _ensure_whole(scope)
        target = Path(path)
        vault = self._rooms.vault
        with ArchiveWriter(target, replace=replace) as writer:
            with self._reading(scope, action="dump") as reading:
                row = self._readable_cube(reading, scope)
                dumper = MemDumper(reading, row, blobs=vault.blobs, progress=progress)
                facts = dumper.write(writer, with_policy=_is_admin(reading, row))
            # Audited before the file appears: there is never a dump that nobody knows of.
            vault.write(
                scope.principal, lambda tx: _audit_dump(tx, row, dumper.done), action="dump"
            )
            writer.finish(cube=facts, created=from_micros(vault.now()))
        _tell(progress, 1.0)
        return _dump_report(target, row, dumper.done)

    def load(
        self,
        path: PathName,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
        trusted: bool = False,
        with_grants: bool = False,
        limits: ArchiveLimits | None = None,
        progress: Progress | None = None,
    ) -> LoadReport:
        """Make a new cube of the asker's from an archive, all of it or nothing.

        ``cube`` names it; by default it is named as in the archive. Memories come with the trust
        class ``import``. ``trusted`` vouches that the archive is the asker's own dump, unchanged:
        trust classes, actors, legal holds and vectors are then taken over. ``with_grants`` takes
        over who else may see it, inside the tenant it was dumped in. Raises ``Conflict`` where the
        cube exists, ``HostileArchive`` for an archive that breaks any rule.
        """
        scope = self._scope(user, agent, session, cube)
        vault, settings = self._rooms.vault, self._rooms.settings
        rules = LoadRules(
            redaction=dataclasses.replace(RedactionPolicy(), on_write=settings.mask_on_write),
            max_text_chars=settings.max_text_chars,
            trusted=trusted,
            with_grants=with_grants,
            model=vault.model,
        )
        with Staged(Path(path), store=vault.blobs, limits=limits) as staged:
            _ensure_vouchable(staged, scope.principal, rules)
            name = clean_path(staged.facts.path) if scope.at_home else scope.cube

            def work(tx: Transaction) -> LoadReport:
                return self._load(tx, name, staged, rules, progress)

            report = self._write(scope, work, action="load")
        _tell(progress, 1.0)
        return report

    def _load(
        self,
        tx: Transaction,
        name: CubePath,
        staged: Staged,
        rules: LoadRules,
        progress: Progress | None,
    ) -> LoadReport:
        self._rooms.executor.ensure_own_name(tx, name)
        if tx.find_cube(name) is not None:
            raise Conflict(f"cube {name} exists already; load the archive as cube=... another")
        for ref in staged.blobs.values():
            self._rooms.vault.blobs.renew(ref.sha256)
        done = MemLoader(tx, staged, rules, progress=progress).load(name)
        adopt(tx, done.cube.cid)
        note_loaded_calls(tx, done.cube.cid)
        queue_cube(tx, done.cube.cid)
        _audit_load(tx, name, staged, done)
        tasks = queue_items(tx, done.cube.cid, done.unfinished)
        cube = tx.find_cube(name)
        assert cube is not None  # noqa: S101  -- made above
        return LoadReport(
            cube=to_cube(tx.connection, cube),
            ids=done.ids,
            versions=done.versions,
            links=done.links,
            grants=done.grants,
            blobs=len(staged.blobs),
            vectors=done.vectors,
            records=done.records,
            masked=done.masked,
            task_ids=tasks,
        )

    # -- blobs --------------------------------------------------------------------------------

    def put_blob(
        self,
        data: bytes | BinaryIO | Path,
        *,
        media_type: str = OCTETS,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
    ) -> BlobRef:
        """Store a large payload durably; name it in ``add(blobs=[...])`` to keep it.

        What no memory names is removed by ``collect_blobs`` after a while.
        """
        scope = self._scope(user, agent, session)
        ref = self._rooms.vault.blobs.put(data, media_type=clean_name(media_type, "media_type"))

        self._write(scope, lambda tx: blob_claims.claim(tx, ref), action="put_blob")
        return ref

    def get_blob(
        self,
        item: str,
        sha256: str,
        *,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        cube: CubeName | None = None,
    ) -> bytes:
        """The bytes of a blob that a memory names, now or in an earlier version.

        Raises ``NotFound`` for a memory the asker may not read, or one that never named it;
        ``AccessDenied`` where it holds words that the asker is shown masked.
        """
        scope = self._scope(user, agent, session, cube)
        wanted = clean_sha256(sha256)
        with self._reading(scope, action="get_blob") as reading:
            row = self._item(reading, scope, item)
            versions = reading.governed.versions(row.iid, cids=[row.cid])
            named = {b["sha256"] for each in versions for b in json.loads(each.blobs or "[]")}
            if wanted not in named:
                raise NotFound(f"memory {item} has no blob {wanted}")
            who = scope.principal
            if any(shows_masked(reading.connection, who, each, wanted) for each in versions):
                told = f"{who.name} is shown memory {item} masked, and its blob is not"
                refusal = AccessDenied(told)
                refusal.items = (item,)
                raise refusal
        self._rooms.vault.shown(scope.principal, "get_blob", [row])
        return self._rooms.vault.blobs.read(wanted)

    def collect_blobs(self, *, older_than_seconds: float = 3600.0) -> list[str]:
        """Remove the blobs that no memory names and nobody touched for a while; their names."""
        vault = self._rooms.vault
        sql = queries("portability")["blob_is_named"]

        def is_named(sha256: str) -> bool:
            with vault.readers.snapshot() as connection:
                return connection.execute(sql, (sha256,)).fetchone() is not None

        gone = vault.blobs.collect(is_named, older_than_seconds=older_than_seconds)
        if gone:
            vault.maintain(lambda tx: blob_claims.forget(tx, gone))
        return gone

    # -- what the verbs share -----------------------------------------------------------------

    def _readable_cube(self, reading: Reading, scope: Scope) -> CubeRow:
        """The cube, when the principal may read it as a whole and not just single items."""
        found = reading.cubes(scope.cubes)
        if not found and scope.at_home:
            raise NotFound(f"there is no cube {scope.cube} for {scope.principal.name}")
        (row,) = self._cubes(reading, scope)
        if not reading.governed.gates([row.cid])[0].open:
            refusal = AccessDenied(
                f"{scope.principal.name} may not read cube {row.path}; ask its owner for a grant"
            )
            refusal.cube = row.path
            raise refusal
        return row


def renewed(vault: MemVault, blobs: Sequence[BlobRef]) -> tuple[BlobRef, ...]:
    """The blobs, safe from the collector until they are named. Raises ``NotFound`` for a missing
    one and ``InvalidInput`` for one that is not as its name says."""
    for ref in blobs:
        if not isinstance(ref, BlobRef):
            raise InvalidInput("blobs takes what put_blob returned")
        clean_name(ref.media_type, "media_type")
        vault.blobs.renew(ref.sha256)
        if vault.blobs.path(ref.sha256).stat().st_size != ref.bytes:
            raise InvalidInput(f"blob {ref.sha256} is not {ref.bytes} bytes long")
    return tuple(blobs)


def _ensure_whole(scope: Scope) -> None:
    if scope.narrow is not None:
        raise InvalidInput(
            "a dump takes a cube as a whole: leave out session, and agent beside a user"
        )


def _ensure_vouchable(staged: Staged, who: Principal, rules: LoadRules) -> None:
    facts = staged.facts
    if rules.trusted and (facts.tenant, facts.owner) != (who.tenant, who.name):
        raise InvalidInput(
            f"trusted=True is for one's own dump, and this archive says it is not {who.name}'s; "
            "load it without"
        )
    if rules.with_grants and facts.tenant != who.tenant:
        raise InvalidInput("with_grants=True needs an archive of the same tenant; load it without")


def _is_admin(reading: Reading, cube: CubeRow) -> bool:
    asking = dataclasses.replace(reading.asking, need=Permission.ADMIN)
    return Governed(reading.connection, asking).gates([cube.cid])[0].open


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    yield from (
        ids[start : start + _IDS_PER_AUDIT_LINE]
        for start in range(0, max(1, len(ids)), _IDS_PER_AUDIT_LINE)
    )


def _audit_dump(tx: Transaction, cube: CubeRow, done: Dumped) -> None:
    tx.gate(cube, Permission.READ)
    since = tx.execute(queries("portability")["erased_since"], (cube.cid, done.seq)).fetchone()
    if since is not None:
        raise Conflict("something was erased while the dump was written; dump the cube again")
    told = {"versions": done.versions, "records": done.records}
    for ids in _chunks(list(done.ids.values())):
        tx.audit("dump", cube=cube.path, items=ids, extra=told)


def _audit_load(tx: Transaction, name: str, staged: Staged, done: Loaded) -> None:
    facts = staged.facts
    extra: dict[str, str | int] = {"archive_of": facts.path, "archive_tenant": facts.tenant}
    for ids in _chunks(list(done.ids.values())):
        tx.audit("load", cube=name, items=ids, extra=extra)


def _dump_report(path: Path, cube: CubeRow, done: Dumped) -> DumpReport:
    return DumpReport(
        path=path,
        cube=cube.path,
        items=len(done.ids),
        versions=done.versions,
        links=done.links,
        grants=done.grants,
        blobs=done.blobs,
        vectors=done.vectors,
        records=done.records,
        masked_versions=done.masked,
        bytes=path.stat().st_size,
    )


def _tell(progress: Progress | None, share: float) -> None:
    if progress is not None:
        progress(share)
